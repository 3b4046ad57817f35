"""What ccxt's ``binanceusdm`` does, done against a real paper exchange."""

from typing import Any

import ccxt
import pytest

from tests.paper_process import PaperProcess

BTC = "BTC/USDT:USDT"


async def test_a_limit_order_rests_is_found_by_both_ids_listed_amended_and_cancelled(usdm: Any) -> None:
    placed = await usdm.create_order(BTC, "limit", "buy", 0.01, 60000, {"clientOrderId": "first"})
    assert (placed["status"], placed["filled"], placed["clientOrderId"]) == ("open", 0, "first")
    assert (await usdm.fetch_order(placed["id"], BTC))["clientOrderId"] == "first"
    assert (await usdm.fetch_order(None, BTC, {"origClientOrderId": "first"}))["id"] == placed["id"]
    assert [order["id"] for order in await usdm.fetch_open_orders()] == [placed["id"]]
    amended = await usdm.edit_order(placed["id"], BTC, "limit", "buy", 0.02, 61000)
    assert (amended["id"], amended["amount"], amended["price"]) == (placed["id"], 0.02, 61000)
    cancelled = await usdm.cancel_order(None, BTC, {"origClientOrderId": "first"})
    assert (cancelled["id"], cancelled["status"]) == (placed["id"], "canceled")
    assert await usdm.fetch_open_orders(BTC) == []
    assert [order["status"] for order in await usdm.fetch_orders(BTC)] == ["canceled"]


async def test_a_market_order_takes_several_levels_at_their_average_and_pays_the_taker_fee(
    usdm: Any, paper: PaperProcess
) -> None:
    order = await usdm.create_order(BTC, "market", "buy", 1)
    fills = paper.orders()[0]["fills"]
    assert len(fills) > 1
    assert (order["status"], order["filled"]) == ("closed", 1)
    notional = sum(float(fill["price"]) * float(fill["quantity"]) for fill in fills)
    assert order["average"] == pytest.approx(notional)
    trades = await usdm.fetch_my_trades(BTC)
    assert sum(trade["fee"]["cost"] for trade in trades) == pytest.approx(notional * 0.0005)
    assert {trade["takerOrMaker"] for trade in trades} == {"taker"}


async def test_a_resting_order_fills_at_its_price_as_maker_once_the_market_reaches_it(
    usdm: Any, paper: PaperProcess
) -> None:
    placed = await usdm.create_order(BTC, "limit", "buy", 0.01, 60000)
    paper.set_price("usdm", "BTCUSDT", 60001)
    assert (await usdm.fetch_order(placed["id"], BTC))["status"] == "open"
    paper.set_price("usdm", "BTCUSDT", 59900)
    filled = await usdm.fetch_order(placed["id"], BTC)
    assert (filled["status"], filled["average"]) == ("closed", 60000)
    assert [trade["takerOrMaker"] for trade in await usdm.fetch_my_trades(BTC)] == ["maker"]


async def test_positions_average_their_entry_reduce_flip_and_realise_their_profit(
    usdm: Any, paper: PaperProcess
) -> None:
    async def trade(side: str, price: int, amount: float) -> dict[str, Any]:
        paper.set_price("usdm", "BTCUSDT", price, hold=True)
        await usdm.create_order(BTC, "limit", side, amount, price - 100 if side == "buy" else price + 100)
        paper.set_price("usdm", "BTCUSDT", price - 200 if side == "buy" else price + 200, hold=True)
        position: dict[str, Any] = paper.accounts()["main"]["positions"]["BTCUSDT"]
        return position

    assert float((await trade("buy", 60100, 1))["entry_price"]) == 60000
    assert float((await trade("buy", 62100, 1))["entry_price"]) == 61000
    reduced = await trade("sell", 62900, 0.5)
    assert (float(reduced["amount"]), float(reduced["entry_price"])) == (1.5, 61000)
    flipped = await trade("sell", 63900, 2.5)
    assert (float(flipped["amount"]), float(flipped["entry_price"])) == (-1, 64000)
    realised = sum(float(t["info"]["realizedPnl"]) for t in await usdm.fetch_my_trades(BTC))
    assert realised == pytest.approx(0.5 * 2000 + 1.5 * 3000)
    [position] = await usdm.fetch_positions()
    assert (position["side"], position["contracts"], position["entryPrice"]) == ("short", 1, 64000)
    assert position["unrealizedPnl"] == pytest.approx(64000 - position["markPrice"])


async def test_a_reduce_only_order_never_turns_a_position_around(usdm: Any, paper: PaperProcess) -> None:
    await usdm.create_order(BTC, "market", "buy", 0.3)
    closing = await usdm.create_order(BTC, "market", "sell", 2, None, {"reduceOnly": True})
    assert (closing["filled"], closing["status"]) == (0.3, "expired")
    assert float(paper.accounts()["main"]["positions"]["BTCUSDT"]["amount"]) == 0
    with pytest.raises(ccxt.InvalidOrder, match="-2022"):
        await usdm.create_order(BTC, "market", "sell", 0.1, None, {"reduceOnly": True})


async def test_a_resting_reduce_only_order_expires_when_there_is_nothing_left_to_reduce(
    usdm: Any, paper: PaperProcess
) -> None:
    await usdm.create_order(BTC, "market", "buy", 0.3)
    resting = await usdm.create_order(BTC, "limit", "sell", 0.3, 65000, {"reduceOnly": True})
    await usdm.create_order(BTC, "market", "sell", 0.3)
    paper.set_price("usdm", "BTCUSDT", 66000)
    assert (await usdm.fetch_order(resting["id"], BTC))["status"] == "expired"
    assert float(paper.accounts()["main"]["positions"]["BTCUSDT"]["amount"]) == 0


async def test_reduce_only_orders_are_exempt_from_the_minimum_notional(usdm: Any) -> None:
    sol = "SOL/USDT:USDT"
    await usdm.create_order("XRP/USDT:USDT", "market", "buy", 100)
    with pytest.raises(ccxt.InvalidOrder, match="-4164"):
        await usdm.create_order("XRP/USDT:USDT", "market", "sell", 0.1)
    order = await usdm.create_order("XRP/USDT:USDT", "market", "sell", 0.1, None, {"reduceOnly": True})
    assert order["status"] == "closed"
    assert (await usdm.create_order(sol, "market", "buy", 1))["status"] == "closed"


async def test_each_time_in_force_does_what_it_says(usdm: Any, paper: PaperProcess) -> None:
    resting = await usdm.create_order(BTC, "limit", "buy", 0.1, 60000, {"postOnly": True})
    assert (resting["status"], resting["timeInForce"]) == ("open", "PO")
    with pytest.raises(ccxt.OrderNotFillable, match="-5022"):
        await usdm.create_order(BTC, "limit", "buy", 0.1, 65000, {"postOnly": True})
    with pytest.raises(ccxt.OrderNotFillable, match="-5021"):
        await usdm.create_order(BTC, "limit", "buy", 0.1, 60000, {"timeInForce": "FOK"})
    at_once = await usdm.create_order(BTC, "limit", "buy", 0.1, 65000, {"timeInForce": "FOK"})
    assert at_once["status"] == "closed"
    first_level = float(paper.books()["usdm", "BTCUSDT"]["ask"])
    partly = await usdm.create_order(BTC, "limit", "buy", 5, first_level, {"timeInForce": "IOC"})
    assert partly["status"] == "expired"
    assert 0 < partly["filled"] < 5
    gone = await usdm.create_order(BTC, "limit", "buy", 0.1, 60000, {"timeInForce": "IOC"})
    assert (gone["status"], gone["filled"]) == ("expired", 0)


async def test_a_marketable_limit_takes_what_is_there_and_rests_with_the_remainder(
    usdm: Any, paper: PaperProcess
) -> None:
    ask = float(paper.books()["usdm", "BTCUSDT"]["ask"])
    order = await usdm.create_order(BTC, "limit", "buy", 5, ask)
    assert order["status"] == "open"
    assert 0 < order["filled"] < 5
    assert order["info"]["status"] == "PARTIALLY_FILLED"


@pytest.mark.parametrize(
    ("order_type", "price", "params", "raw"),
    [
        ("market", None, {"stopLossPrice": 60000}, "STOP_MARKET"),
        ("limit", 59500, {"stopLossPrice": 60000}, "STOP"),
        ("market", None, {"takeProfitPrice": 70000}, "TAKE_PROFIT_MARKET"),
        ("limit", 70500, {"takeProfitPrice": 70000}, "TAKE_PROFIT"),
    ],
)
async def test_conditional_orders_are_placed_found_listed_and_cancelled_as_algo_orders(
    usdm: Any, paper: PaperProcess, order_type: str, price: int | None, params: dict[str, Any], raw: str
) -> None:
    placed = await usdm.create_order(BTC, order_type, "sell", 0.1, price, {**params, "clientOrderId": "c1"})
    assert (placed["status"], placed["info"]["orderType"]) == ("open", raw)
    assert placed["triggerPrice"] == next(iter(params.values()))
    found = await usdm.fetch_order(None, BTC, {"trigger": True, "clientOrderId": "c1"})
    assert found["id"] == placed["id"]
    assert [o["id"] for o in await usdm.fetch_open_orders(BTC, None, None, {"trigger": True})] == [
        found["id"]
    ]
    assert await usdm.fetch_open_orders(BTC) == []
    with pytest.raises(ccxt.InvalidOrder, match="-4116"):
        await usdm.create_order(BTC, order_type, "sell", 0.1, price, {**params, "clientOrderId": "c1"})
    cancelled = await usdm.cancel_order(None, BTC, {"trigger": True, "clientOrderId": "c1"})
    assert cancelled["clientOrderId"] == "c1"
    assert (await usdm.fetch_order(placed["id"], BTC, {"trigger": True}))["status"] == "canceled"
    with pytest.raises(ccxt.OrderNotFound):
        await usdm.cancel_order(placed["id"], BTC, {"trigger": True})
    paper.set_price("usdm", "BTCUSDT", 50000)
    paper.set_price("usdm", "BTCUSDT", 80000)
    assert paper.orders() == []


async def test_a_triggered_stop_becomes_an_order_with_its_client_id_and_is_finished_when_that_ends(
    usdm: Any, paper: PaperProcess
) -> None:
    await usdm.create_order(BTC, "market", "buy", 0.1)
    stop = await usdm.create_order(
        BTC, "market", "sell", 0.1, None, {"stopLossPrice": 60000, "clientOrderId": "s1", "reduceOnly": True}
    )
    paper.set_price("usdm", "BTCUSDT", 60001)
    assert (await usdm.fetch_order(stop["id"], BTC, {"trigger": True}))["status"] == "open"
    paper.set_price("usdm", "BTCUSDT", 60000)
    after = await usdm.fetch_order(stop["id"], BTC, {"trigger": True})
    assert (after["status"], after["info"]["algoStatus"]) == ("closed", "FINISHED")
    actual = await usdm.fetch_order(None, BTC, {"clientOrderId": "s1"})
    assert actual["id"] == after["info"]["actualOrderId"]
    assert (actual["status"], actual["filled"], actual["info"]["origType"]) == ("closed", 0.1, "STOP_MARKET")
    with pytest.raises(ccxt.OrderNotFound):
        await usdm.cancel_order(stop["id"], BTC, {"trigger": True})


async def test_a_triggered_stop_limit_rests_and_one_the_book_refuses_is_rejected_with_the_reason(
    usdm: Any, paper: PaperProcess
) -> None:
    stop = await usdm.create_order(BTC, "limit", "buy", 0.1, 64500, {"stopLossPrice": 65000})
    nothing_to_reduce = await usdm.create_order(
        BTC, "market", "buy", 0.1, None, {"stopLossPrice": 65000, "reduceOnly": True}
    )
    paper.set_price("usdm", "BTCUSDT", 65000)
    after = await usdm.fetch_order(stop["id"], BTC, {"trigger": True})
    assert after["info"]["algoStatus"] == "TRIGGERED"
    assert [order["price"] for order in await usdm.fetch_open_orders(BTC)] == [64500]
    refused = await usdm.fetch_order(nothing_to_reduce["id"], BTC, {"trigger": True})
    assert refused["info"]["algoStatus"] == "REJECTED"
    reasons = {str(algo["algo_id"]): algo["reason"] for algo in paper.algo_orders()}
    assert reasons[nothing_to_reduce["id"]] == "ReduceOnly Order is rejected."


async def test_a_close_position_stop_closes_whatever_is_held(usdm: Any, paper: PaperProcess) -> None:
    await usdm.create_order(BTC, "market", "buy", 0.7)
    await usdm.create_order(BTC, "market", "sell", 0.1, None, {"stopLossPrice": 60000, "closePosition": True})
    paper.set_price("usdm", "BTCUSDT", 59000)
    assert float(paper.accounts()["main"]["positions"]["BTCUSDT"]["amount"]) == 0


async def test_amending_follows_the_documented_ways_out(usdm: Any, paper: PaperProcess) -> None:
    ask = float(paper.books()["usdm", "BTCUSDT"]["ask"])
    partly = await usdm.create_order(BTC, "limit", "buy", 5, ask)
    below_executed = await usdm.edit_order(partly["id"], BTC, "limit", "buy", 0.001, ask)
    assert below_executed["status"] == "canceled"
    resting = await usdm.create_order(BTC, "limit", "buy", 0.1, 60000)
    with pytest.raises(ccxt.OperationRejected, match="-5027"):
        await usdm.edit_order(resting["id"], BTC, "limit", "buy", 0.1, 60000)
    taking = await usdm.edit_order(resting["id"], BTC, "limit", "buy", 0.1, 65000)
    assert (taking["status"], taking["filled"]) == ("closed", 0.1)
    maker = await usdm.create_order(BTC, "limit", "buy", 0.1, 60000, {"postOnly": True})
    assert (await usdm.edit_order(maker["id"], BTC, "limit", "buy", 0.1, 65000))["status"] == "canceled"
    with pytest.raises(ccxt.OrderNotFound):
        await usdm.edit_order(maker["id"], BTC, "limit", "buy", 0.2, 61000)


async def test_a_batch_places_what_it_can_and_shows_the_code_of_each_refusal(
    usdm: Any, paper: PaperProcess
) -> None:
    orders = await usdm.create_orders(
        [
            {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": 60000},
            {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": 100},
        ]
    )
    assert sorted(order["status"] for order in orders) == ["open", "rejected"]
    assert [entry["code"] for entry in paper.audit()] == [0, -4013]


async def test_cancelling_all_takes_one_symbol_and_one_account_only(
    usdm: Any, paper: PaperProcess, connect: Any
) -> None:
    other = await connect(paper, "usdm", "alt")
    for client, symbol, price in ((usdm, BTC, 60000), (usdm, "ETH/USDT:USDT", 3000), (other, BTC, 60000)):
        await client.create_order(symbol, "limit", "buy", 0.1, price)
    await usdm.cancel_all_orders(BTC)
    assert [order["symbol"] for order in await usdm.fetch_open_orders()] == ["ETH/USDT:USDT"]
    assert len(await other.fetch_open_orders(BTC)) == 1


async def test_balance_leverage_margin_mode_and_market_data_are_understood_by_ccxt(usdm: Any) -> None:
    await usdm.set_leverage(10, BTC)
    await usdm.set_margin_mode("isolated", BTC)
    with pytest.raises(ccxt.MarginModeAlreadySet):
        await usdm.set_margin_mode("isolated", BTC)
    with pytest.raises(ccxt.OperationRejected, match="-4059"):
        await usdm.set_position_mode(False)
    await usdm.create_order(BTC, "market", "buy", 1)
    balance = await usdm.fetch_balance()
    assert balance["USDT"]["used"] == pytest.approx(6400)
    assert balance["USDT"]["total"] == pytest.approx(1_000_000 - 64_000 * 0.0005, rel=1e-4)
    assert (await usdm.fetch_ticker(BTC))["last"] == 64000
    book = await usdm.fetch_order_book(BTC, 5)
    assert len(book["bids"]) == len(book["asks"]) == 5
    assert book["bids"][0][0] < (await usdm.fetch_mark_price(BTC))["markPrice"] < book["asks"][0][0]
    assert len(await usdm.fetch_tickers()) == len(usdm.markets)


async def test_an_order_beyond_the_margin_is_refused(usdm: Any) -> None:
    await usdm.set_leverage(1, BTC)
    with pytest.raises(ccxt.InsufficientFunds, match="-2019"):
        await usdm.create_order(BTC, "limit", "buy", 20, 60000)
