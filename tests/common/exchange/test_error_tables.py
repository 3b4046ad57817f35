"""Each venue's table of codes, driven through the real ccxt class over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from common.exchange.base import ExchangeFailure, Outcome
from common.exchange.ccxt_exchange import CcxtExchange
from common.exchange.classify import ErrorTable
from common.exchange.venues import venue_type
from tests.common.exchange.stub_server import Answer, Stub
from tests.common.exchange.venues import (
    AT_MS,
    BINANCE,
    BYBIT,
    EVERY,
    ID,
    KRAKEN,
    OKX,
    USDM,
    VenueUnderTest,
    opened,
    order,
    reference,
)

EACH_VENUE = pytest.mark.parametrize("venue", EVERY, ids=lambda venue: venue.venue)

WHAT_MUST_HOLD = [
    (BINANCE, "-1006", "Execution status unknown.", Outcome.UNKNOWN),
    (BINANCE, "-1007", "Timeout waiting for response from backend server.", Outcome.UNKNOWN),
    (BINANCE, "-1008", "Server is currently overloaded with other requests.", Outcome.UNKNOWN),
    (BINANCE, "-1021", "Timestamp for this request is outside of the recvWindow.", Outcome.LATE),
    (BINANCE, "-1003", "Too much request weight used.", Outcome.THROTTLED),
    (BINANCE, "-1015", "Too many new orders.", Outcome.THROTTLED),
    (BINANCE, "-2010", "Duplicate order sent.", Outcome.DUPLICATE),
    (BINANCE, "-2010", "Account has insufficient balance for requested action.", Outcome.REFUSED),
    (BINANCE, "-2010", "Order would immediately match and take.", Outcome.REFUSED),
    (BINANCE, "-1013", "Filter failure: LOT_SIZE", Outcome.REFUSED),
    (BINANCE, "-2015", "Invalid API-key, IP, or permissions for action.", Outcome.REFUSED),
    (BINANCE, "-9999", "a code nobody listed", Outcome.UNKNOWN),
    (USDM, "-1006", "Execution status unknown.", Outcome.UNKNOWN),
    (USDM, "-1007", "Timeout waiting for response from backend server.", Outcome.UNKNOWN),
    (USDM, "-1008", "Request throttled by system-level protection.", Outcome.THROTTLED),
    (USDM, "-1021", "Timestamp for this request is outside of the recvWindow.", Outcome.LATE),
    (USDM, "-5028", "Timestamp for this request is outside of the ME recvWindow.", Outcome.LATE),
    (USDM, "-4116", "ClientOrderId is duplicated.", Outcome.DUPLICATE),
    (USDM, "-2019", "Margin is insufficient.", Outcome.REFUSED),
    (USDM, "-2022", "ReduceOnly Order is rejected.", Outcome.REFUSED),
    (USDM, "-5022", "the Post Only order will be rejected.", Outcome.REFUSED),
    (USDM, "-4999", "a code nobody listed", Outcome.UNKNOWN),
    (BYBIT, "10000", "Server Timeout", Outcome.UNKNOWN),
    (BYBIT, "10016", "System error. Please try again later.", Outcome.UNKNOWN),
    (BYBIT, "10429", "System level frequency protection", Outcome.THROTTLED),
    (BYBIT, "10006", "Too many visits.", Outcome.THROTTLED),
    (BYBIT, "10002", "The request time exceeds the time window range.", Outcome.LATE),
    (BYBIT, "110072", "OrderLinkedID is duplicate", Outcome.DUPLICATE),
    (BYBIT, "170141", "Duplicate clientOrderId", Outcome.DUPLICATE),
    (BYBIT, "110007", "ab not enough for new order", Outcome.REFUSED),
    (BYBIT, "10014", "Invalid duplicate request.", Outcome.UNKNOWN),
    (BYBIT, "999999", "a code nobody listed", Outcome.UNKNOWN),
    (OKX, "50061", "You've reached the maximum order rate limit for this account.", Outcome.THROTTLED),
    (OKX, "51149", "Order timed out. Please try again later.", Outcome.UNKNOWN),
    (OKX, "50004", "Endpoint request timeout", Outcome.UNKNOWN),
    (OKX, "51016", "Client order ID already exists.", Outcome.DUPLICATE),
    (OKX, "50102", "Timestamp request expired", Outcome.LATE),
    (OKX, "51008", "insufficient balance", Outcome.REFUSED),
    (OKX, "59999", "a code nobody listed", Outcome.UNKNOWN),
    (KRAKEN, "EService:Unavailable", "", Outcome.UNKNOWN),
    (KRAKEN, "EService:Busy", "", Outcome.UNKNOWN),
    (KRAKEN, "EService:Timeout", "", Outcome.UNKNOWN),
    (KRAKEN, "EGeneral:Internal error", "", Outcome.UNKNOWN),
    (KRAKEN, "EAPI:Rate limit exceeded", "", Outcome.THROTTLED),
    (KRAKEN, "EService: Throttled: 1760000005000", "", Outcome.THROTTLED),
    (KRAKEN, "EAPI:Invalid nonce", "", Outcome.LATE),
    (KRAKEN, "EOrder:Invalid order", "", Outcome.UNKNOWN),
    (KRAKEN, "EService:Deadline elapsed", "", Outcome.UNKNOWN),
    (KRAKEN, "EOrder:Insufficient funds", "", Outcome.REFUSED),
    (KRAKEN, "EGeneral:Invalid arguments:volume", "", Outcome.REFUSED),
    (KRAKEN, "EOrder:Something new", "", Outcome.UNKNOWN),
]
"""What the whole pool relies on, written out once more, so that a row that vanishes from a table is missed."""


@asynccontextmanager
async def answering(venue: VenueUnderTest) -> AsyncIterator[tuple[CcxtExchange, Stub]]:
    async with opened(venue.venue) as (exchange, stub):
        yield exchange, stub


async def placed(exchange: CcxtExchange, venue: VenueUnderTest) -> ExchangeFailure:
    with pytest.raises(ExchangeFailure) as caught:
        await exchange.place(order(venue), AT_MS)
    return caught.value


def error_answer(venue: VenueUnderTest, code: str, message: str = "words", **changes: int) -> Answer:
    return Answer(venue.error(code, message), changes.get("status", venue.errors_status))


@pytest.mark.parametrize(
    ("venue", "code", "message", "outcome"),
    WHAT_MUST_HOLD,
    ids=[f"{venue.venue} {code} {outcome}" for venue, code, _, outcome in WHAT_MUST_HOLD],
)
async def test_a_code_says_what_became_of_a_new_order(
    venue: VenueUnderTest, code: str, message: str, outcome: Outcome
) -> None:
    async with answering(venue) as (exchange, stub):
        stub.answer(venue.place_route, error_answer(venue, code, message))
        failure = await placed(exchange, venue)
        assert failure.outcome is outcome, failure
        assert len(stub.seen) == 1
        assert (failure.retry_after_ms > 0) == (outcome is Outcome.THROTTLED)


@EACH_VENUE
async def test_every_row_of_the_table_reaches_the_caller_for_each_operation(venue: VenueUnderTest) -> None:
    table = venue_type(venue.venue).errors
    async with answering(venue) as (exchange, stub):
        for code, listed in table.outcomes.items():
            for route in (venue.place_route, venue.cancel_route):
                stub.answer(route, error_answer(venue, code))
            stub.answer(venue.find_route, Answer(venue.error(code, query=True), venue.errors_status))
            at_place = (await placed(exchange, venue)).outcome
            assert at_place is (Outcome.UNKNOWN if listed is Outcome.NOT_FOUND else listed), code
            with pytest.raises(ExchangeFailure) as cancelled:
                await exchange.cancel(reference(venue), AT_MS)
            expected = Outcome.UNKNOWN if listed is Outcome.DUPLICATE else listed
            assert cancelled.value.outcome is expected, code
            if listed is Outcome.NOT_FOUND and venue is not KRAKEN and venue is not BYBIT:
                assert await exchange.find(reference(venue)) is None, code
            else:
                with pytest.raises(ExchangeFailure) as asked:
                    await exchange.find(reference(venue))
                assert asked.value.outcome is expected, code


@EACH_VENUE
async def test_a_server_error_is_unknown_even_with_a_code_that_is_a_verdict(venue: VenueUnderTest) -> None:
    table: ErrorTable = venue_type(venue.venue).errors
    async with answering(venue) as (exchange, stub):
        for code in table.outcomes:
            stub.answer(venue.place_route, error_answer(venue, code, status=503))
            outcome = (await placed(exchange, venue)).outcome
            certain = code in table.certain_on_5xx
            assert outcome is (table.outcomes[code] if certain else Outcome.UNKNOWN), code
    assert table.certain_on_5xx == (frozenset({"-1008"}) if venue is USDM else frozenset())


@EACH_VENUE
async def test_a_query_that_fails_is_never_an_absence(venue: VenueUnderTest) -> None:
    refused_key = {"bybit": "10003", "okx": "50111", "kraken": "EAPI:Invalid key"}.get(venue.venue, "-2015")
    async with answering(venue) as (exchange, stub):
        stub.answer(venue.find_route, Answer(venue.error(refused_key, query=True), venue.errors_status))
        with pytest.raises(ExchangeFailure) as caught:
            await exchange.find(reference(venue))
        assert caught.value.outcome is Outcome.REFUSED


@EACH_VENUE
@pytest.mark.parametrize("status", [418, 429])
async def test_a_throttling_status_is_heeded_whatever_the_body(venue: VenueUnderTest, status: int) -> None:
    async with answering(venue) as (exchange, stub):
        bodies: tuple[object, ...] = ("<html>slow down</html>", "", {})
        for body in bodies:
            stub.answer(venue.place_route, Answer(body, status, {"Retry-After": "7"}))
            failure = await placed(exchange, venue)
            assert (failure.outcome, failure.retry_after_ms) == (Outcome.THROTTLED, 7000)
        stub.answer(venue.place_route, Answer("", status))
        assert (await placed(exchange, venue)).retry_after_ms > 0


async def test_an_unknown_cancel_is_not_found_and_other_cancel_refusals_are_verdicts() -> None:
    async with answering(BINANCE) as (exchange, stub):
        for message, outcome in (
            ("Unknown order sent.", Outcome.NOT_FOUND),
            ("This account may not place or cancel orders.", Outcome.REFUSED),
        ):
            stub.answer(BINANCE.cancel_route, error_answer(BINANCE, "-2011", message))
            with pytest.raises(ExchangeFailure) as caught:
                await exchange.cancel(reference(), AT_MS)
            assert caught.value.outcome is outcome


async def test_a_limit_of_the_account_is_told_from_one_of_the_address() -> None:
    async with answering(BINANCE) as (exchange, stub):
        stub.answer(BINANCE.place_route, error_answer(BINANCE, "-1015", "Too many new orders."))
        assert (await placed(exchange, BINANCE)).per_account
        stub.answer(BINANCE.place_route, error_answer(BINANCE, "-1003", "Too many requests.", status=429))
        assert not (await placed(exchange, BINANCE)).per_account


async def test_bybit_bans_an_address_with_a_bare_403() -> None:
    async with answering(BYBIT) as (exchange, stub):
        stub.answer(BYBIT.place_route, Answer("access too frequent", 403))
        failure = await placed(exchange, BYBIT)
        assert (failure.outcome, failure.retry_after_ms) == (Outcome.THROTTLED, 600_000)
        stub.answer(BYBIT.place_route, Answer("<html>Forbidden</html>", 403))
        assert (await placed(exchange, BYBIT)).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("code", "s_code", "order_id", "outcome"),
    [
        ("0", "0", "312", None),
        ("1", "51008", "", Outcome.REFUSED),
        ("1", "51016", "", Outcome.DUPLICATE),
        ("1", "59999", "", Outcome.UNKNOWN),
        ("0", "51008", "", Outcome.UNKNOWN),
        ("1", "0", "312", Outcome.UNKNOWN),
        ("1", "51008", "312", Outcome.UNKNOWN),
        ("2", "0", "312", Outcome.UNKNOWN),
        ("2", "51008", "", Outcome.UNKNOWN),
        ("50004", "0", "312", Outcome.UNKNOWN),
        ("51008", "51008", "", Outcome.UNKNOWN),
        ("", "", "", Outcome.UNKNOWN),
    ],
)
async def test_a_reply_and_its_row_must_say_the_same_of_an_order(
    code: str, s_code: str, order_id: str, outcome: Outcome | None
) -> None:
    row = {"ordId": order_id, "clOrdId": ID, "sCode": s_code, "sMsg": "words", "ts": str(AT_MS)}
    async with answering(OKX) as (exchange, stub):
        stub.answer(OKX.place_route, Answer({"code": code, "msg": "", "data": [row]}))
        if outcome is None:
            assert (await exchange.place(order(OKX), AT_MS)).exchange_order_id == order_id
        else:
            failure = await placed(exchange, OKX)
            assert failure.outcome is outcome, failure


@pytest.mark.parametrize(
    "given",
    [["EOrder:Unknown order", "EService:Busy"], ["EGeneral:Invalid arguments", 7], "EOrder:Unknown order"],
)
async def test_reasons_that_differ_are_no_reason(given: object) -> None:
    async with answering(KRAKEN) as (exchange, stub):
        for route in (KRAKEN.place_route, KRAKEN.cancel_route):
            stub.answer(route, Answer({"error": given}))
        assert (await placed(exchange, KRAKEN)).outcome is Outcome.UNKNOWN
        with pytest.raises(ExchangeFailure) as caught:
            await exchange.cancel(reference(KRAKEN), AT_MS)
        assert caught.value.outcome is Outcome.UNKNOWN


async def test_a_reason_beside_a_result_is_no_reason() -> None:
    async with answering(KRAKEN) as (exchange, stub):
        body = {"error": ["EOrder:Insufficient funds"], "result": KRAKEN.accepted["result"]}
        stub.answer(KRAKEN.place_route, Answer(body))
        assert (await placed(exchange, KRAKEN)).outcome is Outcome.UNKNOWN
