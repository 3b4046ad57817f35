"""Binance spot against the paper exchange: a real server that checks signatures, windows and filters."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from common.exchange.base import ExchangeFailure, Outcome, Usage
from common.exchange.ccxt_exchange import CcxtExchange
from orderlane.intents import OrderType, Side, TimeInForce
from orderlane.orders import OrderStatus
from tests.common.exchange.conftest import on_paper
from tests.common.exchange.stub_server import Answer
from tests.common.exchange.venues import AT_MS, BINANCE, CREDENTIALS, ID, SPOT, opened, order, reference
from tests.paper_process import PaperProcess

FAR: dict[str, Any] = {"price": Decimal(60000), "amount": Decimal("0.01")}


async def test_an_order_is_placed_found_listed_and_cancelled(spot: CcxtExchange) -> None:
    placed = await spot.place(order(**FAR), spot.now_ms())
    assert (placed.status, placed.client_order_id, placed.filled) == (OrderStatus.ACTIVE, ID, Decimal(0))
    assert (placed.amount, placed.price, placed.average) == (Decimal("0.01"), Decimal(60000), None)
    assert placed.exchange_at > 0
    by_client_id = await spot.find(reference())
    by_id = await spot.find(reference(exchange_order_id=placed.exchange_order_id))
    assert by_client_id is not None
    assert by_client_id == by_id
    assert by_client_id.exchange_order_id == placed.exchange_order_id
    for listed in (await spot.open_orders("main"), await spot.open_orders("main", SPOT)):
        assert [(one.client_order_id, one.symbol) for one in listed] == [(ID, SPOT)]
    assert await spot.open_orders("alt") == []
    cancelled = await spot.cancel(reference(), spot.now_ms())
    assert cancelled is not None
    assert (cancelled.status, cancelled.client_order_id) == (OrderStatus.CANCELED, ID)
    with pytest.raises(ExchangeFailure) as caught:
        await spot.cancel(reference(), spot.now_ms())
    assert caught.value.outcome is Outcome.NOT_FOUND


async def test_a_market_order_reports_its_average_and_its_fees_by_currency(
    spot: CcxtExchange, paper: PaperProcess
) -> None:
    bought = await spot.place(order(type=OrderType.MARKET, price=None), spot.now_ms())
    assert (bought.status, bought.filled) == (OrderStatus.FILLED, Decimal("0.5"))
    assert bought.fees == {"BTC": Decimal("0.0005")}
    fills = paper.orders()[0]["fills"]
    spent = sum(Decimal(fill["price"]) * Decimal(fill["quantity"]) for fill in fills)
    assert bought.average is not None
    assert abs(bought.average * bought.filled - spent) < Decimal("0.0000001")


@pytest.mark.parametrize("kind", [kind for kind in OrderType if kind.has_trigger])
async def test_a_conditional_order_is_an_ordinary_one_here(spot: CcxtExchange, kind: OrderType) -> None:
    stops = kind in (OrderType.STOP_MARKET, OrderType.STOP_LIMIT)
    request = order(
        type=kind,
        side=Side.SELL,
        amount=Decimal("0.01"),
        trigger_price=Decimal(50000 if stops else 90000),
        price=Decimal(50000 if stops else 90000) if kind.has_price else None,
    )
    placed = await spot.place(request, spot.now_ms())
    assert placed.status is OrderStatus.ACTIVE
    assert [one.client_order_id for one in await spot.open_orders("main", SPOT)] == [ID]
    await spot.cancel_all("main", SPOT, spot.now_ms())
    found = await spot.find(reference(conditional=True))
    assert found is not None
    assert found.status is OrderStatus.CANCELED


async def test_cancel_all_ends_every_order_and_none_is_no_failure(spot: CcxtExchange) -> None:
    for number in range(3):
        await spot.place(order(client_order_id=f"{number}" * 25, **FAR), spot.now_ms())
    await spot.cancel_all("main", SPOT, spot.now_ms())
    assert await spot.open_orders("main") == []
    await spot.cancel_all("main", SPOT, spot.now_ms())


async def test_the_same_order_sent_again_is_a_duplicate_and_one_that_is_unknown_is_absent(
    spot: CcxtExchange,
) -> None:
    assert await spot.find(reference()) is None
    await spot.place(order(**FAR), spot.now_ms())
    with pytest.raises(ExchangeFailure) as caught:
        await spot.place(order(**FAR), spot.now_ms())
    assert caught.value.outcome is Outcome.DUPLICATE


async def test_a_request_that_is_too_old_is_late_and_not_executed(
    spot: CcxtExchange, paper: PaperProcess
) -> None:
    for moment in (spot.now_ms() - 10_500, spot.now_ms() + 5_000):
        with pytest.raises(ExchangeFailure) as caught:
            await spot.place(order(**FAR), moment)
        assert caught.value.outcome is Outcome.LATE
    assert paper.orders() == []


async def test_refusals_carry_the_venues_code_and_words(spot: CcxtExchange) -> None:
    for request, code in (
        (order(amount=Decimal("0.000001")), "-1013"),
        (order(amount=Decimal(9000)), "-2010"),
        (order(price=Decimal(90000), time_in_force=TimeInForce.PO), "-2010"),
    ):
        with pytest.raises(ExchangeFailure) as caught:
            await spot.place(request, spot.now_ms())
        assert (caught.value.outcome, caught.value.code) == (Outcome.REFUSED, code)
        assert caught.value.message


async def test_a_wrong_key_is_refused_and_never_reads_as_an_absence(paper: PaperProcess) -> None:
    exchange = on_paper(paper, "binance", accounts={"main": CREDENTIALS})
    await exchange.sync_clock()
    await exchange.fetch_ccxt_markets()
    with pytest.raises(ExchangeFailure) as caught:
        await exchange.find(reference())
    assert caught.value.outcome is Outcome.REFUSED
    await exchange.close()


@pytest.mark.parametrize(
    ("fault", "executed"),
    [
        ("drop_before", False), ("drop_after", True), ("reset_before", False), ("reset_before_read", False),
        ("reset_after", True), ("error_before", False), ("error_after", True), ("cut_body", True),
        ("empty_body", True), ("foreign_body", True),
    ],
)  # fmt: skip
async def test_whatever_hides_the_outcome_is_unknown_and_the_order_is_then_found_or_not(
    spot: CcxtExchange, paper: PaperProcess, fault: str, executed: bool
) -> None:
    paper.fault("POST /api/v3/order", fault, count=1)
    with pytest.raises(ExchangeFailure) as caught:
        await spot.place(order(**FAR), spot.now_ms())
    assert caught.value.outcome is Outcome.UNKNOWN
    assert (await spot.find(reference()) is not None) == executed
    assert len(paper.orders()) == executed


@pytest.mark.parametrize("fault", ["429", "418"])
async def test_a_throttled_order_was_not_executed(
    spot: CcxtExchange, paper: PaperProcess, fault: str
) -> None:
    paper.fault("POST /api/v3/order", fault, count=1)
    with pytest.raises(ExchangeFailure) as caught:
        await spot.place(order(**FAR), spot.now_ms())
    assert caught.value.outcome is Outcome.THROTTLED
    assert caught.value.retry_after_ms > 0
    assert paper.orders() == []


async def test_usage_comes_from_the_headers(spot: CcxtExchange) -> None:
    told: list[tuple[str, Usage]] = []
    spot.on_usage = lambda usages, account: told.extend((account, usage) for usage in usages)
    await spot.place(order(account="alt", **FAR), spot.now_ms())
    await asyncio.sleep(0)
    names = {(account, usage.scope, usage.limit_name) for account, usage in told}
    assert names >= {
        ("alt", "ip", "weight_1m"),
        ("alt", "account", "orders_10s"),
        ("alt", "account", "orders_1d"),
    }
    assert all(usage.used > 0 for _, usage in told)


async def test_the_reference_price_is_the_middle_of_the_book(spot: CcxtExchange, paper: PaperProcess) -> None:
    book = paper.books()["spot", "BTCUSDT"]
    assert await spot.reference_price(SPOT) == (Decimal(book["bid"]) + Decimal(book["ask"])) / 2


async def test_markets_of_one_process_serve_another(spot: CcxtExchange, paper: PaperProcess) -> None:
    markets = await spot.fetch_ccxt_markets()
    other = on_paper(paper, "binance")
    other.use_ccxt_markets(markets)
    assert (await other.place(order(account="alt", **FAR), other.now_ms())).status is OrderStatus.ACTIVE
    await other.close()


async def test_fees_of_several_fills_add_up_by_currency() -> None:
    fills = [
        {"qty": "0.1", "commission": "0.001", "commissionAsset": "BNB"},
        {"qty": "0.2", "commission": "0.002", "commissionAsset": "BNB"},
        {"qty": "0.15", "commission": "0.5", "commissionAsset": "USDT"},
        {"qty": "0.05", "commission": "0", "commissionAsset": "BTC"},
    ]
    body = {
        **BINANCE.accepted,
        "status": "FILLED",
        "executedQty": "0.5",
        "cummulativeQuoteQty": "32000",
        "fills": fills,
    }
    async with opened("binance") as (exchange, stub):
        stub.answer(BINANCE.place_route, Answer(body))
        report = await exchange.place(order(), AT_MS)
        assert report.fees == {"BNB": Decimal("0.003"), "USDT": Decimal("0.5")}
        assert report.average == 64000
