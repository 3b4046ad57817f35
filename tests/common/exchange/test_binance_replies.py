"""What Binance answers is read as ccxt reads it, and whatever can't be true is no answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from common.exchange.base import ExchangeFailure, OrderReport, Outcome
from common.exchange.classify import Operation
from common.exchange.transport import Call
from orderlane.orders import OrderStatus
from tests.common.exchange.stub_server import Answer
from tests.common.exchange.venues import AT_MS, BINANCE, ID, USDM, VenueUnderTest, opened, order, reference

FILLS = [
    {"price": "63990.1", "qty": "0.2", "commission": "0.00020000", "commissionAsset": "BTC", "tradeId": 1},
    {"price": "64000.2", "qty": "0.1", "commission": "0.00010000", "commissionAsset": "BTC", "tradeId": 2},
]
PARTLY = {"status": "PARTIALLY_FILLED", "executedQty": "0.30000"}
WHOLLY = {"status": "FILLED", "executedQty": "0.50000"}
REPLIES = [
    (BINANCE, {}),
    (BINANCE, {**PARTLY, "cummulativeQuoteQty": "19197.03", "fills": FILLS}),
    (
        BINANCE,
        {
            **WHOLLY,
            "cummulativeQuoteQty": "32000.00",
            "price": "0.00000000",
            "type": "MARKET",
            "fills": [{**FILLS[0], "qty": "0.5"}],
        },
    ),
    (BINANCE, {"status": "EXPIRED"}),
    (USDM, {}),
    (USDM, {**PARTLY, "avgPrice": "63993.46", "cumQuote": "19198.04"}),
    (USDM, {**WHOLLY, "avgPrice": "63999.9", "cumQuote": "31999.95", "orderId": 8389765491234567890}),
    (USDM, {"status": "EXPIRED", "executedQty": "0.1", "avgPrice": "64000", "cumQuote": "6400"}),
]
CCXT_STATUSES = {
    OrderStatus.ACTIVE: "open",
    OrderStatus.PARTIAL: "open",
    OrderStatus.FILLED: "closed",
    OrderStatus.EXPIRED: "expired",
}


def as_ccxt_says_it(report: OrderReport) -> dict[str, Any]:
    return {
        "id": report.exchange_order_id,
        "clientOrderId": report.client_order_id,
        "symbol": report.symbol,
        "status": CCXT_STATUSES[report.status],
        "amount": report.amount,
        "price": report.price,
        "filled": report.filled,
        "average": report.average,
        "fees": report.fees,
        "timestamp": report.exchange_at,
    }


def by_ccxt(found: dict[str, Any], report: OrderReport) -> dict[str, Any]:
    numbers = {
        name: Decimal(found[name]) if found[name] is not None else None
        for name in ("amount", "price", "filled", "average")
    }
    if report.price is None:
        numbers["price"] = None  # ccxt puts the average in the place of a market order's price
    fees: dict[str, Decimal] = {}
    for fee in found["fees"]:
        if fee["currency"]:
            fees[fee["currency"]] = fees.get(fee["currency"], Decimal(0)) + Decimal(str(fee["cost"]))
    moment = found["lastUpdateTimestamp"] or found["timestamp"]
    names = ("id", "clientOrderId", "symbol", "status")
    return {**{name: found[name] for name in names}, **numbers, "fees": fees, "timestamp": moment}


@pytest.mark.parametrize(("venue", "changes"), REPLIES)
async def test_a_placed_order_is_reported_as_ccxts_create_order_reports_it(
    venue: VenueUnderTest, changes: dict[str, Any]
) -> None:
    async with opened(venue.venue) as (exchange, stub):
        stub.answer(venue.place_route, Answer({**venue.accepted, **changes}))
        report = await exchange.place(order(venue), AT_MS)
        with Call(Operation.PLACE, AT_MS):
            theirs = await exchange._public.create_order(
                venue.symbol, "limit", "buy", "0.5", "64000", {"clientOrderId": ID}
            )
        assert as_ccxt_says_it(report) == by_ccxt(theirs, report)


WRONG: dict[str, list[Any]] = {
    "symbol": [None, "", 7, "ETHUSDT", [], "B" * 999],
    "orderId": [None, "", "zz", True, [], {}, -1, 1.5, "9" * 999],
    "clientOrderId": [None, "", 7, True, [], {}, "another"],
    "status": [None, "", 7, True, [], "ODD"],
    "origQty": [None, "", "zz", True, [], {}, "-1", "NaN", "Infinity", "9" * 999, "1e999"],
    "executedQty": [None, "", "zz", True, [], {}, "-1", "NaN", "Infinity", "9" * 999, "0.6"],
    "price": [None, "", "zz", True, [], {}, "-1", "NaN", "9" * 999],
}
TIMES: list[Any] = [None, "", "soon", True, [], {}, -1, 0, 1_760_000_000, int("9" * 999)]


WRONG_OF_ONE: dict[str, dict[str, list[Any]]] = {
    "binance": {
        "transactTime": TIMES,
        "cummulativeQuoteQty": [None, "", "zz", True, "NaN", "9" * 999],
        "fills": [None, 7, {}, [7], [{}], [{**FILLS[0], "qty": "0"}, {**FILLS[0], "commission": "zz"}]],
    },
    "binanceusdm": {"updateTime": TIMES, "avgPrice": [None, "", "zz", True, "-1", "NaN", "9" * 999]},
}


@pytest.mark.parametrize("venue", [BINANCE, USDM], ids=lambda venue: venue.venue)
async def test_a_reply_with_one_field_that_can_not_be_true_is_no_answer(venue: VenueUnderTest) -> None:
    async with opened(venue.venue) as (exchange, stub):
        wrong = {**WRONG, **WRONG_OF_ONE[venue.venue], "code": [-1000, -9999, "zz", None, []]}
        for name, value in [(name, value) for name, values in wrong.items() for value in values]:
            body = {**venue.accepted, name: value}
            for route in (venue.place_route, venue.find_route, venue.cancel_route):
                stub.answer(route, Answer(body))
            calls: tuple[Callable[[], Awaitable[object]], ...] = (
                lambda: exchange.place(order(venue), AT_MS),
                lambda: exchange.find(reference(venue)),
                lambda: exchange.cancel(reference(venue), AT_MS),
            )
            for call in calls:
                with pytest.raises(ExchangeFailure) as caught:
                    await call()
                assert caught.value.outcome is Outcome.UNKNOWN, (name, value)


async def test_the_fills_of_a_new_spot_order_are_all_of_them() -> None:
    whole = {**BINANCE.accepted, **PARTLY, "fills": FILLS}
    async with opened("binance") as (exchange, stub):
        stub.answer(BINANCE.place_route, Answer(whole))
        assert (await exchange.place(order(), AT_MS)).filled == Decimal("0.3")
        for fills in (FILLS[:1], [], FILLS * 2):
            stub.answer(BINANCE.place_route, Answer({**whole, "fills": fills}))
            with pytest.raises(ExchangeFailure) as caught:
                await exchange.place(order(), AT_MS)
            assert caught.value.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("venue", [BINANCE, USDM], ids=lambda venue: venue.venue)
@pytest.mark.parametrize(
    "missing", ["symbol", "orderId", "clientOrderId", "status", "origQty", "executedQty", "price"]
)
async def test_a_reply_without_a_field_it_must_have_is_no_answer(venue: VenueUnderTest, missing: str) -> None:
    async with opened(venue.venue) as (exchange, stub):
        stub.answer(
            venue.place_route,
            Answer({name: value for name, value in venue.accepted.items() if name != missing}),
        )
        with pytest.raises(ExchangeFailure) as caught:
            await exchange.place(order(venue), AT_MS)
        assert caught.value.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("venue", [BINANCE, USDM], ids=lambda venue: venue.venue)
async def test_an_order_that_has_another_id_than_the_one_asked_for_is_no_answer(
    venue: VenueUnderTest,
) -> None:
    number = str(venue.accepted["orderId"])
    async with opened(venue.venue) as (exchange, stub):
        stub.answer(venue.find_route, Answer(venue.accepted))
        assert await exchange.find(reference(venue, exchange_order_id=number)) is not None
        for named in (
            reference(venue, exchange_order_id="1"),
            reference(venue, exchange_order_id=number, client_order_id="another"),
        ):
            with pytest.raises(ExchangeFailure) as caught:
                await exchange.find(named)
            assert caught.value.outcome is Outcome.UNKNOWN


async def test_a_list_with_one_row_that_can_not_be_read_is_no_answer() -> None:
    for venue, route in ((BINANCE, "GET /api/v3/openOrders"), (USDM, "GET /fapi/v1/openOrders")):
        async with opened(venue.venue) as (exchange, stub):
            stub.answer("GET /fapi/v1/openAlgoOrders", Answer("[]"))
            stub.answer(route, Answer([venue.accepted, {**venue.accepted, "orderId": 30}]))
            assert len(await exchange.open_orders("main")) == 2
            lists: list[Any] = [
                [venue.accepted, {**venue.accepted, "origQty": "zz"}],
                [venue.accepted, 7],
                {"rows": []},
                {},
                "[",
            ]
            for rows in lists:
                stub.answer(route, Answer(rows))
                with pytest.raises(ExchangeFailure) as caught:
                    await exchange.open_orders("main")
                assert caught.value.outcome is Outcome.UNKNOWN, rows
