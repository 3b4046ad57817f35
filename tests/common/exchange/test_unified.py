"""A venue without a file of its own: ccxt's unified methods, and nothing taken for certain."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from common.exchange.base import ExchangeFailure, Outcome
from orderlane.orders import OrderStatus
from tests.common.exchange.documented.poloniex import poloniex
from tests.common.exchange.stub_server import Answer
from tests.common.exchange.venues import AT_MS, ID, SPOT, order, reference

ORDER = {
    "orderId": 5,
    "clientOrderId": ID,
    "symbol": "BTC_USDT",
    "side": "BUY",
    "type": "LIMIT",
    "price": "64000",
    "quantity": "0.5",
    "filledQuantity": "0.1",
    "state": "PARTIALLY_FILLED",
    "createTime": AT_MS,
}


async def test_absence_can_not_be_proven_there() -> None:
    async with poloniex() as (exchange, _):
        assert exchange.receive_window_ms is None
        assert not exchange.amends_in_place


async def test_an_order_is_placed_with_its_client_id_and_reported() -> None:
    async with poloniex() as (exchange, stub):
        stub.answer("POST /orders", Answer({"id": "5", "clientOrderId": ID}))
        report = await exchange.place(order(), AT_MS)
        sent = stub.seen[-1].params
        assert sent["clientOrderId"] == ID
        assert (Decimal(sent["quantity"]), Decimal(sent["price"])) == (Decimal("0.5"), Decimal(64000))
        assert (report.exchange_order_id, report.status) == ("5", OrderStatus.ACTIVE)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer({"code": 21604, "message": "Invalid userId"}, 400), Outcome.UNKNOWN),
        (Answer({"code": 24101, "message": "Invalid symbol"}, 400), Outcome.REFUSED),
        (Answer({"code": 21350, "message": "Amount must be greater than 1 USDT"}, 400), Outcome.UNKNOWN),
        (Answer({"code": 424242, "message": "news"}, 400), Outcome.UNKNOWN),
        (Answer({"code": 24101, "message": "Invalid symbol"}, 500), Outcome.UNKNOWN),
        (Answer("<html>", 200), Outcome.UNKNOWN),
        (Answer({}, 200), Outcome.UNKNOWN),
        (Answer("", 429), Outcome.THROTTLED),
        (Answer(fault="reset"), Outcome.UNKNOWN),
    ],
    ids=str,
)
async def test_only_few_of_ccxts_classes_are_verdicts(answer: Answer, outcome: Outcome) -> None:
    async with poloniex() as (exchange, stub):
        stub.answer("POST /orders", answer)
        with pytest.raises(ExchangeFailure) as caught:
            await exchange.place(order(), AT_MS)
        assert caught.value.outcome is outcome, caught.value
        assert stub.paths() == ["POST /orders"]


async def test_an_order_is_looked_for_by_client_id_among_those_listed() -> None:
    async with poloniex() as (exchange, stub):
        listed: list[Any] = [{**ORDER, "id": "5"}]
        stub.answer("GET /orders", Answer(listed))
        stub.answer("GET /orders/history", Answer([]))
        found = await exchange.find(reference())
        assert found is not None
        assert (found.exchange_order_id, found.status, found.filled) == (
            "5",
            OrderStatus.PARTIAL,
            Decimal("0.1"),
        )
        assert len(await exchange.open_orders("main", SPOT)) == 1
        stub.answer("GET /orders", Answer([]))
        assert await exchange.find(reference()) is None
        stub.answer("GET /orders", Answer("", 500))
        with pytest.raises(ExchangeFailure):
            await exchange.find(reference())


async def test_cancelling_goes_by_the_exchanges_id() -> None:
    async with poloniex() as (exchange, stub):
        stub.answer("GET /orders", Answer([{**ORDER, "id": "5"}]))
        stub.answer("DELETE /orders/5", Answer({"orderId": "5", "state": "PENDING_CANCEL", "code": 200}))
        await exchange.cancel(reference(), AT_MS)
        assert stub.paths() == ["GET /orders", "DELETE /orders/5"]
        stub.answer("GET /orders", Answer([]))
        with pytest.raises(ExchangeFailure) as caught:
            await exchange.cancel(reference(), AT_MS)
        assert caught.value.outcome is Outcome.NOT_FOUND
