"""What ccxt's ``binance`` does on spot, done against a real paper exchange."""

from decimal import Decimal
from typing import Any

import ccxt
import pytest

from tests.paper_process import PaperProcess
from tests.workers.paper.conftest import point_at, settings

BTC = "BTC/USDT"


def money(paper: PaperProcess, asset: str) -> tuple[Decimal | int, Decimal | int]:
    """Free and locked units of an asset."""
    balance = paper.accounts()["main"]["balances"][asset]
    return Decimal(balance["free"]), Decimal(balance["locked"])


async def test_a_limit_order_locks_its_money_until_it_is_cancelled(spot: Any, paper: PaperProcess) -> None:
    placed = await spot.create_order(BTC, "limit", "buy", 0.01, 60000, {"clientOrderId": "first"})
    assert (placed["status"], placed["clientOrderId"]) == ("open", "first")
    assert money(paper, "USDT") == (999_400, 600)
    assert (await spot.fetch_order(None, BTC, {"origClientOrderId": "first"}))["id"] == placed["id"]
    assert [order["id"] for order in await spot.fetch_open_orders()] == [placed["id"]]
    assert (await spot.cancel_order(placed["id"], BTC))["status"] == "canceled"
    assert money(paper, "USDT") == (1_000_000, 0)
    assert await spot.fetch_open_orders(BTC) == []


async def test_an_edit_cancels_and_places_in_one_request(spot: Any, paper: PaperProcess) -> None:
    first = await spot.create_order(BTC, "limit", "buy", 0.01, 60000, {"clientOrderId": "one"})
    second = await spot.edit_order(first["id"], BTC, "limit", "buy", 0.02, 61000, {"clientOrderId": "two"})
    assert second["clientOrderId"] == "two"
    assert [order["status"] for order in paper.orders()] == ["CANCELED", "NEW"]
    assert [(e["kind"], e["client_order_id"]) for e in paper.audit()[1:]] == [
        ("cancel", "one"),
        ("place", "two"),
    ]
    with pytest.raises(ccxt.BadResponse, match="-2022"):
        await spot.edit_order(first["id"], BTC, "limit", "buy", 0.02, 61000)
    assert len(paper.orders()) == 2


async def test_a_market_order_pays_its_fee_in_what_it_receives(spot: Any, paper: PaperProcess) -> None:
    bought = await spot.create_order(BTC, "market", "buy", 0.5)
    assert (bought["status"], bought["filled"]) == ("closed", 0.5)
    assert bought["fees"] == [{"currency": "BTC", "cost": 0.0005}]
    assert money(paper, "BTC")[0] == 100 + Decimal("0.5") - Decimal("0.0005")
    assert money(paper, "USDT")[0] == 1_000_000 - Decimal(str(bought["cost"]))
    sold = await spot.create_order(BTC, "market", "sell", 0.5)
    assert sold["fees"][0]["currency"] == "USDT"
    trades = await spot.fetch_my_trades(BTC)
    assert [trade["side"] for trade in trades] == ["buy", "sell"]


async def test_a_market_order_by_cost_spends_no_more_than_asked(spot: Any, paper: PaperProcess) -> None:
    await spot.create_market_buy_order_with_cost(BTC, 1000)
    spent = 1_000_000 - money(paper, "USDT")[0]
    assert 999 <= spent <= 1000


async def test_a_resting_order_fills_as_maker_and_frees_what_it_did_not_need(
    spot: Any, paper: PaperProcess
) -> None:
    await spot.create_order(BTC, "limit", "buy", 0.01, 60000)
    await spot.create_order(BTC, "limit", "sell", 0.01, 66000)
    assert money(paper, "BTC") == (100 - Decimal("0.01"), Decimal("0.01"))
    paper.set_price("spot", "BTCUSDT", 59000)
    paper.set_price("spot", "BTCUSDT", 67000)
    assert [order["status"] for order in paper.orders()] == ["FILLED", "FILLED"]
    assert money(paper, "USDT") == (1_000_000 - 600 + 660 - Decimal("0.66"), 0)
    assert money(paper, "BTC") == (100 - Decimal("0.00001"), 0)
    assert {trade["takerOrMaker"] for trade in await spot.fetch_my_trades(BTC)} == {"maker"}


@pytest.mark.parametrize(
    ("order_type", "price", "params", "raw", "fires_at", "status"),
    [
        ("market", None, {"stopLossPrice": 60000}, "STOP_LOSS", 60000, "FILLED"),
        ("limit", 61000, {"stopLossPrice": 60000}, "STOP_LOSS_LIMIT", 60000, "NEW"),
        ("limit", 59000, {"stopLossPrice": 60000}, "STOP_LOSS_LIMIT", 60000, "FILLED"),
        ("market", None, {"takeProfitPrice": 70000}, "TAKE_PROFIT", 70000, "FILLED"),
        ("limit", 71000, {"takeProfitPrice": 70000}, "TAKE_PROFIT_LIMIT", 70000, "NEW"),
    ],
)
async def test_stops_wait_with_their_money_locked_and_work_from_their_trigger_on(
    spot: Any,
    paper: PaperProcess,
    order_type: str,
    price: int | None,
    params: dict[str, Any],
    raw: str,
    fires_at: int,
    status: str,
) -> None:
    placed = await spot.create_order(BTC, order_type, "sell", 0.1, price, params)
    shown = await spot.fetch_order(placed["id"], BTC)
    assert (shown["info"]["type"], shown["info"]["isWorking"], shown["status"]) == (raw, False, "open")
    assert money(paper, "BTC")[1] == Decimal("0.1")
    paper.set_price("spot", "BTCUSDT", fires_at)
    [order] = paper.orders()
    assert (order["is_working"], order["status"]) == (True, status)
    assert money(paper, "BTC")[1] == (Decimal("0.1") if status == "NEW" else 0)


async def test_a_buy_stop_that_triggers_spends_what_it_locked(spot: Any, paper: PaperProcess) -> None:
    await spot.create_order(BTC, "market", "buy", 0.1, None, {"stopLossPrice": 66000})
    assert money(paper, "USDT") == (1_000_000 - 6600, 6600)
    paper.set_price("spot", "BTCUSDT", 66000)
    [order] = paper.orders()
    assert order["status"] == "FILLED"
    assert money(paper, "USDT") == (1_000_000 - Decimal(order["executed_quote"]), 0)


async def test_each_time_in_force_does_what_it_says(spot: Any) -> None:
    maker = await spot.create_order(BTC, "limit", "buy", 0.1, 60000, {"postOnly": True})
    assert (maker["status"], maker["postOnly"]) == ("open", True)
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        await spot.create_order(BTC, "limit", "buy", 0.1, 65000, {"postOnly": True})
    for tif in ("FOK", "IOC"):
        gone = await spot.create_order(BTC, "limit", "buy", 0.1, 60000, {"timeInForce": tif})
        assert (gone["status"], gone["filled"]) == ("expired", 0)
        filled = await spot.create_order(BTC, "limit", "buy", 0.1, 65000, {"timeInForce": tif})
        assert filled["status"] == "closed"


async def test_cancelling_all_needs_something_to_cancel(spot: Any) -> None:
    await spot.create_order(BTC, "limit", "buy", 0.01, 60000)
    await spot.create_order(BTC, "limit", "sell", 0.01, 70000)
    assert {order["status"] for order in await spot.cancel_all_orders(BTC)} == {"canceled"}
    with pytest.raises(ccxt.OrderNotFound):
        await spot.cancel_all_orders(BTC)


async def test_balances_currencies_and_market_data_are_understood_by_ccxt(spot: Any) -> None:
    await spot.create_order(BTC, "limit", "buy", 0.01, 60000)
    assert (await spot.fetch_balance())["USDT"] == {"free": 999_400, "used": 600, "total": 1_000_000}
    assert "BTC" in await spot.fetch_currencies()
    assert (await spot.fetch_ticker(BTC))["last"] == 64000
    assert (await spot.fetch_order_book(BTC, 5))["bids"][0][0] < 64000
    assert await spot.fetch_time() > 1_600_000_000_000


def test_the_synchronous_class_works_as_well(paper: PaperProcess) -> None:
    client = ccxt.binance(settings("main"))
    point_at(client, paper.url, "spot")
    placed = client.create_order(BTC, "limit", "buy", 0.01, 60000)
    assert client.cancel_order(placed["id"], BTC)["status"] == "canceled"
    client.session.close()
