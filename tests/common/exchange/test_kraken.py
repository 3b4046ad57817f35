"""Kraken: the client order id as a UUID, and orders found, cancelled and listed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.exchange.base import ExchangeFailure, Outcome
from common.exchange.kraken import client_order_text, client_order_uuid
from orderlane.identity import as_text
from orderlane.orders import OrderStatus
from tests.common.exchange.stub_server import Answer
from tests.common.exchange.venues import AT_MS, ID, KRAKEN, SPOT, opened, order, reference

TXID = "OAAAAA-BBBBB-CCCCCC"
ORDER = {
    "status": "open",
    "cl_ord_id": client_order_uuid(ID),
    "opentm": 1759999999.5,
    "vol": "0.50000000",
    "vol_exec": "0.20000000",
    "cost": "12800.00",
    "fee": "20.48",
    "price": "64000.0",
    "oflags": "fciq",
    "descr": {"pair": "XBTUSDT", "type": "buy", "ordertype": "limit", "price": "64000.0", "price2": "0"},
}
OPEN, CLOSED, QUERY = (
    "POST /0/private/OpenOrders",
    "POST /0/private/ClosedOrders",
    "POST /0/private/QueryOrders",
)


OTHER_TXID = "OCCCCC-BBBBB-AAAAAA"


def closed(**rows: Any) -> Answer:
    return result(closed=rows, count=len(rows))


def result(**fields: Any) -> Answer:
    return Answer({"error": [], "result": fields})


@given(st.binary(min_size=16, max_size=16))
def test_a_client_order_id_and_its_uuid_name_each_other(identifier: bytes) -> None:
    text = as_text(identifier)
    uuid = client_order_uuid(text)
    assert str(UUID(uuid)) == uuid
    assert client_order_text(uuid) == text


@given(st.lists(st.binary(min_size=16, max_size=16), min_size=2, max_size=2))
def test_two_ids_never_share_a_uuid(identifiers: list[bytes]) -> None:
    one, other = map(as_text, identifiers)
    assert (one == other) == (client_order_uuid(one) == client_order_uuid(other))


def test_an_id_made_by_somebody_else_stays_as_it_is() -> None:
    assert client_order_text("my-own-order") == "my-own-order"
    with pytest.raises(ExchangeFailure):
        client_order_uuid("too-short")


async def test_an_order_is_found_by_client_id_open_or_closed_or_nowhere() -> None:
    async with opened("kraken") as (exchange, stub):
        stub.answer(OPEN, result(open={TXID: ORDER}))
        report = await exchange.find(reference(KRAKEN))
        assert report is not None
        assert (report.client_order_id, report.exchange_order_id, report.symbol) == (ID, TXID, SPOT)
        assert (report.status, report.filled, report.average) == (
            OrderStatus.PARTIAL,
            Decimal("0.2"),
            Decimal(64000),
        )
        assert (report.fees, report.exchange_at) == ({"USDT": Decimal("20.48")}, 1_759_999_999_500)
        assert stub.seen[-1].params["cl_ord_id"] == client_order_uuid(ID)
        stub.answer(OPEN, result(open={}))
        stub.answer(CLOSED, closed(**{TXID: {**ORDER, "status": "canceled", "closetm": 1760000000.25}}))
        found = await exchange.find(reference(KRAKEN))
        assert found is not None
        assert (found.status, found.exchange_at) == (OrderStatus.CANCELED, 1_760_000_000_250)
        stub.answer(CLOSED, closed())
        assert await exchange.find(reference(KRAKEN)) is None


async def test_a_list_of_other_orders_is_no_absence() -> None:
    async with opened("kraken") as (exchange, stub):
        stub.answer(OPEN, result(open={}))
        other = {**ORDER, "cl_ord_id": client_order_uuid("a" * 25)}
        for answer in (closed(**{TXID: other}), result(closed={}, count=1), result(closed={})):
            stub.answer(CLOSED, answer)
            with pytest.raises(ExchangeFailure) as caught:
                await exchange.find(reference(KRAKEN))
            assert caught.value.outcome is Outcome.UNKNOWN


async def test_an_order_is_found_by_its_own_id() -> None:
    async with opened("kraken") as (exchange, stub):
        named = reference(KRAKEN, exchange_order_id=TXID)
        stub.answer(QUERY, result(**{TXID: ORDER}))
        found = await exchange.find(named)
        assert found is not None
        assert found.client_order_id == ID
        stub.answer(QUERY, Answer({"error": ["EOrder:Unknown order"]}), result())
        assert await exchange.find(named) is None
        with pytest.raises(ExchangeFailure) as caught:
            await exchange.find(named)
        assert caught.value.outcome is Outcome.UNKNOWN


async def test_a_list_that_fails_is_no_absence() -> None:
    async with opened("kraken") as (exchange, stub):
        stub.answer(OPEN, result(open={}))
        for answer in (Answer({"error": ["EService:Unavailable"]}), Answer({"error": []}), result()):
            stub.answer(CLOSED, answer)
            with pytest.raises(ExchangeFailure):
                await exchange.find(reference(KRAKEN))


async def test_a_cancel_that_cancels_nothing_finds_no_order() -> None:
    async with opened("kraken") as (exchange, stub):
        stub.answer(KRAKEN.cancel_route, result(count=1), result(count=0, pending=True), result(count=0))
        await exchange.cancel(reference(KRAKEN), AT_MS)
        assert stub.seen[-1].params["cl_ord_id"] == client_order_uuid(ID)
        await exchange.cancel(reference(KRAKEN, exchange_order_id=TXID), AT_MS)
        assert stub.seen[-1].params["txid"] == TXID
        with pytest.raises(ExchangeFailure) as caught:
            await exchange.cancel(reference(KRAKEN), AT_MS)
        assert caught.value.outcome is Outcome.NOT_FOUND


async def test_cancel_all_leaves_other_pairs_alone() -> None:
    async with opened("kraken") as (exchange, stub):
        foreign = {**ORDER, "descr": {**ORDER["descr"], "pair": "ETHUSDT"}}  # type: ignore[dict-item]
        stub.answer(OPEN, result(open={TXID: ORDER, OTHER_TXID: foreign}))
        stub.answer(KRAKEN.cancel_route, Answer({"error": ["EOrder:Unknown order"]}))
        await exchange.cancel_all("main", SPOT, AT_MS)
        assert [seen.params.get("txid") for seen in stub.seen if "Cancel" in seen.path] == [TXID]
        assert [report.symbol for report in await exchange.open_orders("main")] == [SPOT, "ETHUSDT"]


async def test_markets_from_another_process_serve_as_well_as_loaded_ones() -> None:
    async with opened("kraken") as (exchange, stub):
        markets = await exchange.fetch_ccxt_markets()
        exchange.use_ccxt_markets(list(markets.values()))
        stub.answer(OPEN, result(open={TXID: ORDER}))
        assert [report.symbol for report in await exchange.open_orders("main", SPOT)] == [SPOT]


async def test_whole_seconds_are_read_as_their_middle() -> None:
    async with opened("kraken") as (exchange, stub):
        stub.answer("GET /0/public/Time", result(unixtime=1_760_000_000))
        assert await exchange.server_time_ms() == 1_760_000_000_500


async def test_there_is_no_amendment_in_place() -> None:
    async with opened("kraken") as (exchange, stub):
        assert not exchange.amends_in_place
        with pytest.raises(ExchangeFailure) as caught:
            await exchange.amend(reference(KRAKEN), order(KRAKEN), AT_MS)
        assert (caught.value.outcome, stub.seen) == (Outcome.REFUSED, [])
