"""Several orders in one request: one verdict for each, in the order given, and none from what is said of another."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from common.exchange.base import ExchangeFailure, OrderReport, Outcome
from common.exchange.venues import VENUES
from orderlane.intents import OrderType
from tests.common.exchange.documented.batches import (
    BYBIT_ROUTE,
    IDS,
    OKX_ROUTE,
    USDM_ROUTE,
    bybit_batch,
    place_batch,
    three,
    usdm_row,
)
from tests.common.exchange.documented.okx import okx, okx_row
from tests.common.exchange.stub_server import Answer
from tests.common.exchange.venues import (
    AT_MS,
    BYBIT,
    BYBIT_ID,
    OKX,
    SPOT,
    USDM,
    VenueUnderTest,
    opened,
    order,
)

ROUTES = {"binanceusdm": USDM_ROUTE, "bybit": BYBIT_ROUTE, "okx": OKX_ROUTE}
EACH = pytest.mark.parametrize("venue", [USDM, BYBIT, OKX], ids=lambda venue: venue.venue)
ANOTHER_BYBIT_ID = "1666800494330512128"


def shown(verdicts: list[OrderReport | ExchangeFailure]) -> list[str]:
    """Each verdict in a word: the exchange's id of an order that was placed, else what its failure means."""
    return [one.exchange_order_id if isinstance(one, OrderReport) else str(one.outcome) for one in verdicts]


@EACH
@pytest.mark.parametrize("fault", ["close", "reset", "cut"])
async def test_a_batch_without_an_answer_leaves_every_order_unknown(
    venue: VenueUnderTest, fault: str
) -> None:
    async with opened(venue.venue) as (exchange, stub):
        stub.answer(ROUTES[venue.venue], Answer(okx(okx_row()), fault=fault))
        assert shown(await place_batch(exchange, three(venue))) == ["unknown"] * 3
        assert len(stub.seen) == 1


@EACH
async def test_what_refuses_the_request_refuses_each_of_its_orders(venue: VenueUnderTest) -> None:
    late, key = {"binanceusdm": ("-1021", "-2015"), "bybit": ("10002", "10003"), "okx": ("50102", "50113")}[
        venue.venue
    ]
    async with opened(venue.venue) as (exchange, stub):
        for code, outcome in ((late, "late"), (key, "refused")):
            body = venue.error(code, query=True)
            stub.answer(ROUTES[venue.venue], Answer(body, venue.errors_status))
            assert shown(await place_batch(exchange, three(venue))) == [outcome] * 3
        for status, outcome in ((429, "throttled"), (503, "unknown")):
            stub.answer(ROUTES[venue.venue], Answer("", status))
            assert shown(await place_batch(exchange, three(venue))) == [outcome] * 3


@EACH
async def test_a_batch_expires_like_an_order(venue: VenueUnderTest) -> None:
    async with opened(venue.venue) as (exchange, stub):
        stub.answer(ROUTES[venue.venue], Answer("", 503))
        await place_batch(exchange, three(venue))
        sent = stub.seen[0]
        if venue is OKX:
            assert sent.headers["exptime"] == str(AT_MS + 10_000)
        elif venue is BYBIT:
            assert (sent.headers["x-bapi-timestamp"], sent.headers["x-bapi-recv-window"]) == (
                str(AT_MS),
                "10000",
            )
        else:
            assert (sent.params["timestamp"], sent.params["recvWindow"]) == (str(AT_MS), "10000")


@EACH
async def test_an_order_that_can_not_be_sent_is_left_out_and_the_others_go(venue: VenueUnderTest) -> None:
    wanted = three(venue)
    wanted[0] = replace(wanted[0], symbol="NO/SUCH")
    wanted.append(wanted[1])
    wanted += [
        order(venue, client_order_id=f"{number:025}")
        for number in range(VENUES[venue.venue].batch_limit or 5)
    ]
    async with opened(venue.venue) as (exchange, stub):
        stub.answer(ROUTES[venue.venue], Answer("", 503))
        outcomes = shown(await place_batch(exchange, wanted))
        assert outcomes[:4] == ["refused", "unknown", "unknown", "not_sent"]
        assert outcomes[-2:] == ["not_sent"] * 2
        text = str(stub.seen[0].params)
        assert [text.count(one.client_order_id) for one in wanted[1:3]] == [1, 1]
        assert "NO/SUCH" not in text


async def test_usdm_rows_without_an_id_count_only_while_the_others_stand_in_their_places() -> None:
    error = {"code": -2019, "msg": "Margin is insufficient."}
    first, second, third = (usdm_row(name, number) for number, name in enumerate(IDS, 31))
    cases: list[tuple[Any, list[str]]] = [
        ([first, error, third], ["31", "refused", "33"]),
        ([error, error, error], ["refused"] * 3),
        ([third, error, first], ["31", "unknown", "33"]),
        ([first, error], ["31", "unknown", "unknown"]),
        ([first, error, error, third], ["31", "unknown", "33"]),
        ([first, first, third], ["unknown", "unknown", "33"]),
        ([first, {"code": -4116, "msg": "ClientOrderId is duplicated."}, third], ["31", "duplicate", "33"]),
        ([first, {**second, "orderId": 31}, third], ["unknown", "unknown", "33"]),
        ([], ["unknown"] * 3),
        ({"code": 200}, ["unknown"] * 3),
    ]
    async with opened("binanceusdm") as (exchange, stub):
        for body, outcomes in cases:
            stub.answer(USDM_ROUTE, Answer(body))
            assert shown(await place_batch(exchange, three(USDM))) == outcomes, body


async def test_usdm_takes_plain_orders_alone_as_text_of_one_parameter() -> None:
    async with opened("binanceusdm") as (exchange, stub):
        stub.answer(USDM_ROUTE, Answer([{**USDM.accepted, "clientOrderId": IDS[0]}]))
        await place_batch(exchange, [order(USDM, client_order_id=IDS[0], reduce_only=True)])
        assert '"reduceOnly":"true"' in stub.seen[0].params["batchOrders"]
        stop = order(
            USDM, client_order_id=IDS[0], type=OrderType.STOP_MARKET, price=None, trigger_price=order().price
        )
        verdicts = await place_batch(exchange, [stop])
        assert shown(verdicts) == ["not_sent"]
        assert len(stub.seen) == 1


async def test_bybit_rows_count_by_their_ids_whatever_their_order() -> None:
    good = [(IDS[0], BYBIT_ID, 0), (IDS[1], "", 110072), (IDS[2], ANOTHER_BYBIT_ID, 0)]
    unnamed = [good[0], ("", "", 110007), good[2]]
    shorter = {**bybit_batch(*good), "retExtInfo": {"list": [{"code": 0, "msg": "OK"}]}}
    cases: list[tuple[Any, list[str]]] = [
        (bybit_batch(*good), [BYBIT_ID, "duplicate", ANOTHER_BYBIT_ID]),
        (bybit_batch(*reversed(good)), [BYBIT_ID, "duplicate", ANOTHER_BYBIT_ID]),
        (bybit_batch(*unnamed), [BYBIT_ID, "unknown", ANOTHER_BYBIT_ID]),
        (bybit_batch(good[0]), [BYBIT_ID, "unknown", "unknown"]),
        (bybit_batch((IDS[0], BYBIT_ID, 110007)), ["unknown"] * 3),
        (bybit_batch((IDS[0], "", 0)), ["unknown"] * 3),
        (shorter, ["unknown"] * 3),
        ({**bybit_batch(*good), "retExtInfo": {}}, ["unknown"] * 3),
    ]
    async with opened("bybit") as (exchange, stub):
        for body, outcomes in cases:
            stub.answer(BYBIT_ROUTE, Answer(body))
            assert shown(await place_batch(exchange, three(BYBIT))) == outcomes, body


async def test_bybit_takes_spot_and_linear_orders_in_a_request_each() -> None:
    wanted = three(BYBIT)
    wanted[1] = replace(wanted[1], symbol=SPOT)
    async with opened("bybit") as (exchange, stub):
        spot, linear = bybit_batch((IDS[1], ANOTHER_BYBIT_ID, 0)), bybit_batch((IDS[0], BYBIT_ID, 0))
        stub.answer(BYBIT_ROUTE, Answer(spot), Answer(linear))
        assert shown(await place_batch(exchange, wanted)) == [BYBIT_ID, ANOTHER_BYBIT_ID, "unknown"]
        assert [seen.params["category"] for seen in stub.seen] == ["spot", "linear"]


async def test_okx_rows_count_by_their_ids_and_must_agree_with_the_reply() -> None:
    first, third = okx_row("0", "312", IDS[0]), okx_row("0", "314", IDS[2])
    refused = okx_row("51008", "", IDS[1])
    cases: list[tuple[Any, list[str]]] = [
        (okx(first, okx_row("0", "313", IDS[1]), third), ["312", "313", "314"]),
        (okx(third, refused, first, code="2"), ["312", "refused", "314"]),
        (okx(first, refused, third, code="0"), ["312", "unknown", "314"]),
        (okx(first, refused, third, code="1"), ["unknown", "refused", "unknown"]),
        (okx(first, refused, code="2"), ["312", "refused", "unknown"]),
        (okx(first, first, third), ["unknown", "unknown", "314"]),
        (okx(first, {**refused, "clOrdId": "x"}, third, code="2"), ["312", "unknown", "314"]),
        (okx(first, {**refused, "ordId": "313"}, third, code="2"), ["312", "unknown", "314"]),
        (okx(), ["unknown"] * 3),
        ({"code": "1", "msg": "All operations failed", "data": []}, ["unknown"] * 3),
    ]
    async with opened("okx") as (exchange, stub):
        for body, outcomes in cases:
            stub.answer(OKX_ROUTE, Answer(body))
            assert shown(await place_batch(exchange, three(OKX))) == outcomes, body


def test_which_venues_take_batches_and_of_how_many() -> None:
    limits = {name: venue.batch_limit for name, venue in VENUES.items()}
    assert limits == {"binance": 0, "binanceusdm": 5, "bybit": 10, "okx": 20, "kraken": 0}


async def test_a_venue_without_batches_refuses_one() -> None:
    async with opened("kraken") as (exchange, stub):
        [verdict] = await place_batch(exchange, [order()])
        assert isinstance(verdict, ExchangeFailure)
        assert (verdict.outcome, stub.seen) == (Outcome.REFUSED, [])
