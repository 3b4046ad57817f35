"""What is told of each request: how it ended, once, and only if something was sent."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from common.exchange.base import ExchangeFailure, Outcome
from common.exchange.binance_codes import SPOT_ERRORS, USDM_ERRORS
from common.exchange.bybit_codes import BYBIT_ERRORS
from common.exchange.classify import ErrorTable, Operation, Reply, VenueError, classify
from common.exchange.kraken_codes import KRAKEN_ERRORS
from common.exchange.okx_codes import OKX_ERRORS
from common.exchange.transport import Call

Told = list[tuple[str, Operation, str | None]]


def end(error: BaseException | None, *, sent: bool = True) -> Told:
    """What is told of a call that ends so."""
    told: Told = []

    def on_outcome(account: str, operation: Operation, failure: ExchangeFailure | None) -> None:
        told.append((account, operation, f"{failure.outcome}: {failure.code}" if failure else None))

    with (
        suppress(ExchangeFailure, asyncio.CancelledError),
        Call(Operation.PLACE, 1, "main", on_outcome) as call,
    ):
        call.sent = sent
        if error is not None:
            raise error
    return told


def test_an_answer_and_a_failure_are_told_with_whose_they_were() -> None:
    assert end(None) == [("main", Operation.PLACE, None)]
    failure = ExchangeFailure(Outcome.NOT_SENT, "refused", "no connection")
    assert end(failure) == [("main", Operation.PLACE, "not_sent: refused")]
    assert end(KeyError("x")) == [("main", Operation.PLACE, "unknown: KeyError")], (
        "a reply that can't be read"
    )


def test_what_says_nothing_of_the_exchange_is_not_told() -> None:
    assert end(KeyError("x"), sent=False) == []
    assert end(asyncio.CancelledError()) == []


@pytest.mark.parametrize(
    ("table", "code", "status"),
    [
        (SPOT_ERRORS, "-2015", 401),
        (USDM_ERRORS, "-2014", 401),
        (BYBIT_ERRORS, "10003", 200),
        (OKX_ERRORS, "50111", 401),
        (KRAKEN_ERRORS, "EAPI:Invalid key", 200),
    ],
)
def test_what_a_venue_says_of_a_key_is_about_the_account(table: ErrorTable, code: str, status: int) -> None:
    reply = Reply(status, {}, b"{}")
    failure = classify(reply, VenueError(code, "refused"), table, Operation.PLACE, 0)
    assert failure is not None
    assert (failure.outcome, failure.per_account) == (Outcome.REFUSED, True)


@pytest.mark.parametrize(
    ("table", "code"), [(SPOT_ERRORS, "-2010"), (USDM_ERRORS, "-2019"), (OKX_ERRORS, "51008")]
)
def test_a_verdict_on_an_order_is_not(table: ErrorTable, code: str) -> None:
    failure = classify(Reply(400, {}, b"{}"), VenueError(code, "refused"), table, Operation.PLACE, 0)
    assert failure is not None
    assert (failure.outcome, failure.per_account) == (Outcome.REFUSED, False)
