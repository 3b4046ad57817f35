"""Exit codes: what a script may rely on, and which error means which."""

from __future__ import annotations

from enum import IntEnum

from redis.exceptions import RedisError

from orderlane.errors import (
    Backlogged,
    ExchangeUnclear,
    ExchangeUnknown,
    OrderlaneError,
    OrderNotFound,
    Unreachable,
    WaitTimeout,
)
from orderlane.intents import IntentInvalid
from orderlane.orders import Order, OrderStatus


class Exit(IntEnum):
    """What the command ended with. Of several intents in one call the largest code counts."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    NOT_FOUND = 3
    BACKLOG = 4
    NO_REDIS = 5
    TIMED_OUT = 6
    INTERRUPTED = 130


MEANINGS = {
    Exit.OK: "done, or the answer is shown",
    Exit.REFUSED: "refused, or the order ended REJECTED, FAILED or EXPIRED",
    Exit.USAGE: "wrong options, or an intent that breaks the rules",
    Exit.NOT_FOUND: "no such order, dead letter, parked lane or hold",
    Exit.BACKLOG: "the backlog is full, nothing was added",
    Exit.NO_REDIS: "Redis did not answer or refused the command; whether a submit was added is then not known",
    Exit.TIMED_OUT: "the order did not get there within --timeout",
    Exit.INTERRUPTED: "stopped by Ctrl-C before it was done (watching ends with 0)",
}

FAILED_STATUSES = frozenset({OrderStatus.REJECTED, OrderStatus.FAILED, OrderStatus.EXPIRED})


def exit_of_error(error: Exception) -> Exit:
    """The exit code that an error stands for."""
    if isinstance(error, Backlogged):
        return Exit.BACKLOG
    if isinstance(error, (Unreachable, RedisError)):
        return Exit.NO_REDIS
    if isinstance(error, WaitTimeout):
        return Exit.TIMED_OUT
    if isinstance(error, (IntentInvalid, ExchangeUnclear, ExchangeUnknown)):
        return Exit.USAGE
    if isinstance(error, (OrderNotFound, LookupError)):
        return Exit.NOT_FOUND
    return Exit.REFUSED if isinstance(error, OrderlaneError) else Exit.USAGE


def exit_of_order(order: Order) -> Exit:
    """The exit code for an order that was waited for."""
    return Exit.REFUSED if order.status in FAILED_STATUSES else Exit.OK


def error_code(error: Exception) -> str:
    """A stable word for an error, for `--json`: its class' name in lower case, or the code it carries."""
    if isinstance(error, IntentInvalid):
        return error.code
    name = type(error).__name__
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
