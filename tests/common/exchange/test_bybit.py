"""Bybit: orders found, amended, cancelled and listed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from common.exchange.base import ExchangeFailure, Outcome
from orderlane.orders import OrderStatus
from tests.common.exchange.stub_server import Answer
from tests.common.exchange.venues import AT_MS, BYBIT, BYBIT_ID, ID, LINEAR, SPOT, opened, order, reference

ORDER = {
    "orderId": BYBIT_ID,
    "orderLinkId": ID,
    "symbol": "BTCUSDT",
    "orderStatus": "PartiallyFilled",
    "orderType": "Limit",
    "qty": "0.5",
    "price": "64000",
    "cumExecQty": "0.2",
    "avgPrice": "63999.5",
    "cumExecFee": "7.04",
    "updatedTime": str(AT_MS),
}
REALTIME, HISTORY = "GET /v5/order/realtime", "GET /v5/order/history"


def listing(*rows: Any, cursor: str = "", category: str = "linear") -> Answer:
    result = {"list": list(rows), "nextPageCursor": cursor, "category": category}
    return Answer({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": AT_MS})


async def test_an_order_is_found_open_or_in_the_history_or_nowhere() -> None:
    async with opened("bybit") as (exchange, stub):
        stub.answer(REALTIME, listing(ORDER))
        report = await exchange.find(reference(BYBIT))
        assert report is not None
        assert (report.status, report.filled, report.average) == (
            OrderStatus.PARTIAL,
            Decimal("0.2"),
            Decimal("63999.5"),
        )
        assert (report.fees, report.exchange_at) == ({"USDT": Decimal("7.04")}, AT_MS)
        assert stub.seen[-1].params == {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": ID}
        stub.answer(REALTIME, listing())
        stub.answer(HISTORY, listing({**ORDER, "orderStatus": "Cancelled"}))
        found = await exchange.find(reference(BYBIT))
        assert found is not None
        assert found.status is OrderStatus.CANCELED
        stub.answer(HISTORY, listing())
        assert await exchange.find(reference(BYBIT)) is None


async def test_a_history_that_fails_is_no_absence() -> None:
    async with opened("bybit") as (exchange, stub):
        stub.answer(REALTIME, listing())
        stub.answer(HISTORY, Answer({"retCode": 10016, "retMsg": "System error"}))
        with pytest.raises(ExchangeFailure):
            await exchange.find(reference(BYBIT))


async def test_an_order_is_named_by_its_exchange_id_where_that_is_known() -> None:
    async with opened("bybit") as (exchange, stub):
        stub.answer("POST /v5/order/cancel", Answer(BYBIT.accepted))
        await exchange.cancel(reference(BYBIT, exchange_order_id=BYBIT_ID), AT_MS)
        assert stub.seen[-1].params == {"category": "linear", "symbol": "BTCUSDT", "orderId": BYBIT_ID}
        await exchange.cancel(reference(BYBIT, symbol=SPOT, conditional=True), AT_MS)
        assert stub.seen[-1].params["orderFilter"] == "StopOrder"


async def test_a_report_of_another_order_is_no_answer() -> None:
    async with opened("bybit") as (exchange, stub):
        stub.answer(REALTIME, listing({**ORDER, "orderLinkId": "another"}))
        with pytest.raises(ExchangeFailure) as caught:
            await exchange.find(reference(BYBIT))
        assert caught.value.outcome is Outcome.UNKNOWN


async def test_an_amendment_is_answered_with_the_order_as_it_is_then() -> None:
    async with opened("bybit") as (exchange, stub):
        stub.answer("POST /v5/order/amend", Answer(BYBIT.accepted))
        stub.answer(REALTIME, listing({**ORDER, "price": "65000"}))
        report = await exchange.amend(reference(BYBIT), order(BYBIT, price=Decimal(65000)), AT_MS)
        assert (report.price, report.status) == (Decimal(65000), OrderStatus.PARTIAL)
        amended = stub.seen[0].params
        assert (amended["qty"], amended["price"], amended["orderLinkId"]) == ("0.5", "65000", ID)
        unchanged = {
            "retCode": 10001,
            "retMsg": "The order remains unchanged as the parameters entered match the existing ones.",
        }
        stub.answer("POST /v5/order/amend", Answer(unchanged))
        assert (await exchange.amend(reference(BYBIT), order(BYBIT), AT_MS)).exchange_order_id == BYBIT_ID


@pytest.mark.parametrize(
    "answer", [Answer({"retCode": 10003, "retMsg": "key"}), Answer({"retCode": 10006}), listing()]
)
async def test_an_amendment_that_can_not_be_read_back_is_unknown(answer: Answer) -> None:
    async with opened("bybit") as (exchange, stub):
        stub.answer("POST /v5/order/amend", Answer(BYBIT.accepted))
        stub.answer(REALTIME, answer)
        stub.answer(HISTORY, listing())
        with pytest.raises(ExchangeFailure) as caught:
            await exchange.amend(reference(BYBIT), order(BYBIT), AT_MS)
        assert caught.value.outcome is Outcome.UNKNOWN


async def test_open_orders_are_listed_to_the_last_page_of_every_market() -> None:
    async with opened("bybit") as (exchange, stub):
        page = [{**ORDER, "orderId": f"16668004943305121{number:02}"} for number in range(50)]
        stub.answer(
            f"{REALTIME}?category=spot", listing({**ORDER, "orderId": "1666800494330512200"}, category="spot")
        )
        stub.answer(f"{REALTIME}?settleCoin=USDC", listing())
        stub.answer(f"{REALTIME}?cursor=next", listing({**ORDER, "orderId": "1666800494330512150"}))
        stub.answer(f"{REALTIME}?settleCoin=USDT", listing(*page, cursor="next"))
        reports = await exchange.open_orders("main")
        by_symbol = [sum(report.symbol == symbol for report in reports) for symbol in (SPOT, LINEAR)]
        assert by_symbol == [1, 51]
        assert len({report.exchange_order_id for report in reports}) == 52


async def test_a_list_that_never_ends_is_no_answer() -> None:
    async with opened("bybit") as (exchange, stub):
        stub.answer(REALTIME, listing(*[ORDER] * 50, cursor="same"))
        with pytest.raises(ExchangeFailure, match="doesn't end"):
            await exchange.open_orders("main", LINEAR)


async def test_cancel_all_takes_each_kind_of_spot_order() -> None:
    async with opened("bybit") as (exchange, stub):
        stub.answer(
            "POST /v5/order/cancel-all", Answer({"retCode": 0, "result": {"list": [], "success": "1"}})
        )
        await exchange.cancel_all("main", SPOT, AT_MS)
        await exchange.cancel_all("main", LINEAR, AT_MS)
        assert [seen.params.get("orderFilter") for seen in stub.seen] == ["Order", "StopOrder", None]


async def test_the_reference_price_is_the_middle_of_the_book() -> None:
    async with opened("bybit") as (exchange, stub):
        ticker = {"symbol": "BTCUSDT", "bid1Price": "63999", "ask1Price": "64001", "lastPrice": "64010"}
        stub.answer(
            "GET /v5/market/tickers",
            Answer({"retCode": 0, "result": {"category": "linear", "list": [ticker]}}),
        )
        assert await exchange.reference_price(LINEAR) == 64000
