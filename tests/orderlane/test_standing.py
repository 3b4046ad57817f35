"""What a standing says: whom it holds, what is told of it, and how a person reads it."""

from __future__ import annotations

from typing import Any

import pytest

from orderlane.events import EventName
from orderlane.orders import Reason
from orderlane.standing import (
    WHOLE_EXCHANGE,
    Cause,
    Standing,
    StandingState,
    decode_standings,
    describe,
    encode_standing,
    holding,
    standing_event,
)


def standing(scope: str = "main", cause: Cause = Cause.ERRORS, **fields: Any) -> Standing:
    values: dict[str, Any] = {
        "scope": scope,
        "cause": cause,
        "state": StandingState.CLOSED,
        "reason": Reason(code="failures_in_a_row", message="10 requests failed", numbers={"failures": "10"}),
        "since_ms": 1_000,
        **fields,
    }
    return Standing(**values)


def test_an_account_is_held_by_what_covers_it_the_widest_first() -> None:
    exchange, account = standing(WHOLE_EXCHANGE, Cause.OPERATOR), standing("main")
    hashed = {one.field.encode(): encode_standing(one) for one in (account, exchange)}
    standings = decode_standings({**hashed, b"odd": b"{}", b"broken": b"{"})
    assert standings == [exchange, account]
    assert holding(standings, "main", 2_000) == exchange
    assert holding(standings, "alt", 2_000) == exchange
    assert holding([account], "main", 2_000) == account
    assert holding([account], "alt", 2_000) is None


def test_while_it_recovers_only_its_share_goes_through() -> None:
    recovering = standing(state=StandingState.RECOVERING, step=1, share=0.25)
    assert holding([recovering], "main", 2_000, 0.24) is None
    assert holding([recovering], "main", 2_000, 0.25) == recovering
    assert holding([recovering], "main", 2_000) == recovering


@pytest.mark.parametrize(
    ("made", "lifted", "name"),
    [
        (standing(), False, EventName.DEGRADED),
        (standing(cause=Cause.BAN), False, EventName.DEGRADED),
        (standing(state=StandingState.RECOVERING), False, EventName.RECOVERING),
        (standing(cause=Cause.OPERATOR), True, EventName.RECOVERED),
        (standing(cause=Cause.RECONCILING), False, EventName.RECONCILING),
        (standing(cause=Cause.RECONCILING), True, EventName.RECONCILED),
        (standing(cause=Cause.UNRECONCILED), False, EventName.UNRECONCILED),
    ],
)
def test_each_change_has_its_event(made: Standing, lifted: bool, name: EventName) -> None:
    event = standing_event(made, "binance", 5_000, lifted=lifted)
    assert (event.name, event.account, event.at, event.exchange) == (name, "main", 5_000, "binance")
    assert event.numbers["failures"] == "10"
    assert event.numbers["cause"] == made.cause
    assert event.numbers.get("lasted_ms") == ("4000" if lifted else None)


def test_an_event_about_the_whole_exchange_names_no_account() -> None:
    assert standing_event(standing(WHOLE_EXCHANGE), "binance", 5_000).account == ""


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            standing(WHOLE_EXCHANGE, until_ms=9_000, probes=2),
            "the whole exchange is closed for new placements for 4 s, the next probe in 4 s after 2 that failed: "
            "10 requests failed",
        ),
        (
            standing(state=StandingState.PROBING),
            "account main is closed for new placements for 4 s, a probe is under way",
        ),
        (
            standing(state=StandingState.RECOVERING, step=2, share=0.3, until_ms=6_000),
            "account main is recovering, 30% of new placements go through (step 2), the next step in 1 s",
        ),
        (
            standing(cause=Cause.BAN, until_ms=605_000),
            "account main is banned for another 10 min, nothing is sent",
        ),
        (
            standing(cause=Cause.BAN, until_ms=4_000),
            "account main is banned until a worker notices that it is over",
        ),
        (
            standing(cause=Cause.OPERATOR),
            "account main is held by an operator for 4 s, until `orderlane resume`",
        ),
        (
            standing(cause=Cause.RECONCILING),
            "account main is being brought to agreement with the exchange for 4 s",
        ),
        (
            standing(cause=Cause.UNRECONCILED),
            "account main could not be brought to agreement with the exchange for 4 s",
        ),
    ],
)
def test_a_person_reads_what_waits_and_what_ends_it(made: Standing, words: str) -> None:
    assert describe(made, 5_000).startswith(words)
