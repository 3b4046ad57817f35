"""OKX: orders found, amended, cancelled and listed; contracts counted in base."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from common.exchange.base import ExchangeFailure, Outcome
from orderlane.intents import OrderType
from orderlane.orders import OrderStatus
from tests.common.exchange.stub_server import Answer
from tests.common.exchange.venues import AT_MS, ID, LINEAR, OKX, SPOT, opened, order, reference

ORDER = {
    "instType": "SWAP",
    "instId": "BTC-USDT-SWAP",
    "ordId": "312",
    "clOrdId": ID,
    "ordType": "limit",
    "state": "partially_filled",
    "sz": "50",
    "accFillSz": "20",
    "px": "64000",
    "avgPx": "63999.5",
    "fee": "-7.04",
    "feeCcy": "USDT",
    "uTime": str(AT_MS),
}
FIND, PENDING = "GET /api/v5/trade/order", "GET /api/v5/trade/orders-pending"


CANCEL_BATCH = "POST /api/v5/trade/cancel-batch-orders"


def data(*rows: Any, code: str = "0") -> Answer:
    return Answer({"code": code, "msg": "", "data": list(rows)})


def cancelled(number: int, code: str = "0") -> dict[str, str]:
    return {"ordId": str(number), "clOrdId": "", "sCode": code, "sMsg": "", "ts": str(AT_MS)}


async def test_an_order_that_could_not_be_cancelled_is_not_hidden_by_one_that_had_ended() -> None:
    async with opened("okx") as (exchange, stub):
        stub.answer(PENDING, data({**ORDER, "ordId": "1"}, {**ORDER, "ordId": "2"}))
        for rows in ([cancelled(1, "51400"), cancelled(2, "50026")], [cancelled(1)]):
            stub.answer(CANCEL_BATCH, data(*rows, code="1" if len(rows) > 1 else "0"))
            with pytest.raises(ExchangeFailure) as caught:
                await exchange.cancel_all("main", LINEAR, AT_MS)
            assert caught.value.outcome is Outcome.UNKNOWN


async def test_contracts_are_sent_and_reported_as_amounts_in_base() -> None:
    async with opened("okx") as (exchange, stub):
        stub.answer(OKX.place_route, Answer(OKX.accepted))
        stub.answer(FIND, data(ORDER))
        placed = await exchange.place(order(OKX), AT_MS)
        assert stub.seen[-1].params["sz"] == "50"  # of 0.01 BTC each
        assert placed.amount == Decimal("0.5")
        found = await exchange.find(reference(OKX))
        assert found is not None
        assert (found.amount, found.filled, found.average) == (
            Decimal("0.5"),
            Decimal("0.2"),
            Decimal("63999.5"),
        )
        assert (found.fees, found.status) == ({"USDT": Decimal("7.04")}, OrderStatus.PARTIAL)


async def test_no_such_order_is_an_absence_and_another_code_is_none() -> None:
    async with opened("okx") as (exchange, stub):
        stub.answer(FIND, Answer({"code": "51603", "msg": "Order does not exist", "data": []}))
        assert await exchange.find(reference(OKX)) is None
        stub.answer(FIND, Answer({"code": "50026", "msg": "System error", "data": []}))
        with pytest.raises(ExchangeFailure):
            await exchange.find(reference(OKX))


@pytest.mark.parametrize("kind", [kind for kind in OrderType if kind.has_trigger])
async def test_a_conditional_order_is_refused_because_nothing_bounds_its_arrival(kind: OrderType) -> None:
    async with opened("okx") as (exchange, stub):
        with pytest.raises(ExchangeFailure) as caught:
            await exchange.place(order(OKX, type=kind, trigger_price=Decimal(63000)), AT_MS)
        assert (caught.value.outcome, stub.seen) == (Outcome.REFUSED, [])


async def test_an_amendment_expires_like_an_order_and_is_read_back() -> None:
    async with opened("okx") as (exchange, stub):
        stub.answer("POST /api/v5/trade/amend-order", Answer(OKX.accepted))
        stub.answer(FIND, data({**ORDER, "px": "65000"}))
        report = await exchange.amend(reference(OKX), order(OKX, price=Decimal(65000)), AT_MS)
        assert report.price == Decimal(65000)
        sent = stub.seen[0]
        assert (sent.params["newSz"], sent.params["newPx"], sent.params["clOrdId"]) == ("50", "65000", ID)
        assert sent.headers["exptime"] == str(AT_MS + 10_000)


async def test_cancel_all_cancels_what_is_open_in_batches() -> None:
    async with opened("okx") as (exchange, stub):
        stub.answer(PENDING, data(*({**ORDER, "ordId": str(number)} for number in range(25))))
        rows = [cancelled(number) for number in range(25)]
        rows[20] = cancelled(20, "51400")
        stub.answer(CANCEL_BATCH, data(*rows[:20]), data(*rows[20:], code="2"))
        await exchange.cancel_all("main", LINEAR, AT_MS)
        batches = [seen.params["[]"] for seen in stub.seen if seen.method == "POST"]
        assert [batch.count("ordId") for batch in batches] == [20, 5]


async def test_open_orders_are_listed_to_the_last_page() -> None:
    async with opened("okx") as (exchange, stub):
        page = [{**ORDER, "ordId": str(number)} for number in range(100)]
        last = {**ORDER, "instType": "SPOT", "instId": "BTC-USDT", "ordId": "100"}
        stub.answer(f"{PENDING}?after=99", data(last))
        stub.answer(PENDING, data(*page))
        reports = await exchange.open_orders("main")
        assert len({report.exchange_order_id for report in reports}) == 101
        assert reports[-1].symbol == SPOT
        assert reports[-1].amount == 50


async def test_cancelling_an_ended_order_finds_none() -> None:
    async with opened("okx") as (exchange, stub):
        row = {"ordId": "", "clOrdId": ID, "sCode": "51402", "sMsg": "already completed"}
        stub.answer("POST /api/v5/trade/cancel-order", Answer({"code": "1", "msg": "", "data": [row]}))
        with pytest.raises(ExchangeFailure) as caught:
            await exchange.cancel(reference(OKX), AT_MS)
        assert caught.value.outcome is Outcome.NOT_FOUND
