"""What a reply says about the request: pure decisions, from the HTTP status and the venue's own code.

Only what a venue's table lists is certain. Everything else may or may not have happened: UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from common.exchange.base import ExchangeFailure, Outcome

SHOWN_LENGTH: Final = 300
"""How much of a venue's words goes into a failure's message, in characters."""


class Operation(StrEnum):
    """What a request is for. A query changes nothing."""

    PLACE = "place"
    CANCEL = "cancel"
    AMEND = "amend"
    QUERY = "query"


class Reply(Struct, frozen=True):
    """One HTTP reply as it came: status, headers by lower-case name, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class VenueError(Struct, frozen=True):
    """The error a venue's reply names, in the venue's own code and words."""

    code: str
    message: str


class MessageRule(Struct, frozen=True):
    """A code that means different things: `outcome` where the message contains `fragment` (any case)."""

    code: str
    fragment: str
    outcome: Outcome


class ErrorTable(Struct, frozen=True, kw_only=True):
    """What a venue's codes mean for the order. A code that is not here is UNKNOWN.

    `certain_on_5xx` are codes documented as "certainly not executed" although they come with a status of 5xx,
    which otherwise makes any reply UNKNOWN. `retry_after_ms` is how long to wait after a code (or a status, as
    text) that says THROTTLED where the reply itself doesn't say; `default_retry_after_ms` for the rest. `per_account`
    are those that speak of the account, not of the address or of one order: its limits, its key, its rights.
    """

    outcomes: Mapping[str, Outcome]
    messages: tuple[MessageRule, ...] = ()
    certain_on_5xx: frozenset[str] = frozenset()
    per_account: frozenset[str] = frozenset()
    retry_after_ms: Mapping[str, int] = {}
    default_retry_after_ms: int = 1_000


_decoder: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(float_hook=str)


def decode(reply: Reply) -> Any:
    """The body as JSON, numbers with a fraction as their exact text; None: no JSON object or array."""
    try:
        decoded = _decoder.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict | list) else None


def classify(
    reply: Reply, error: VenueError | None, table: ErrorTable, operation: Operation, now_ms: int
) -> ExchangeFailure | None:
    """The failure that a reply reports, or None for a reply that reports success.

    Args:
        reply: the reply, whose body is JSON.
        error: the error found in its body.
        table: the venue's codes.
        operation: what was asked.
        now_ms: the exchange's clock, for replies that say until when to wait.
    """
    if error is None and 200 <= reply.status < 300:
        return None
    outcome = _outcome(reply.status, error, table, operation)
    code = error.code if error else f"http_{reply.status}"
    message = error.message if error else reply.body[:SHOWN_LENGTH].decode(errors="replace")
    wait_ms = retry_after_ms(reply, code, message, table, now_ms) if outcome is Outcome.THROTTLED else 0
    return ExchangeFailure(
        outcome,
        code,
        message[:SHOWN_LENGTH],
        status=reply.status,
        retry_after_ms=wait_ms,
        per_account=outcome in (Outcome.THROTTLED, Outcome.REFUSED) and code in table.per_account,
    )


def foreign_reply(reply: Reply, table: ErrorTable, now_ms: int) -> ExchangeFailure:
    """The failure behind a body that is no JSON object: cut, empty, or written by somebody in between."""
    shown = reply.body[:SHOWN_LENGTH].decode(errors="replace")
    by_status = VenueError(f"http_{reply.status}", shown)
    if reply.status in (418, 429) or _listed(by_status, table) is Outcome.THROTTLED:
        wait_ms = retry_after_ms(reply, by_status.code, shown, table, now_ms)
        return ExchangeFailure(
            Outcome.THROTTLED, by_status.code, shown, status=reply.status, retry_after_ms=wait_ms
        )
    code = "foreign_body" if reply.body.strip() else "empty_body"
    message = f"status {reply.status} with a body that is no JSON object: {shown[:80]!r}"
    return ExchangeFailure(Outcome.UNKNOWN, code, message, status=reply.status)


def retry_after_ms(reply: Reply, code: str, message: str, table: ErrorTable, now_ms: int) -> int:
    """How long a throttled request has to wait: Retry-After, a moment named in the message, or the table's."""
    named = reply.headers.get("retry-after", "")
    if named.isascii() and named.isdigit():
        return int(named) * 1000
    until = _UNTIL_MS.search(message)
    if until and int(until[1]) > now_ms:
        return int(until[1]) - now_ms
    by_status = table.retry_after_ms.get(str(reply.status), table.default_retry_after_ms)
    return table.retry_after_ms.get(code, by_status)


_UNTIL_MS = re.compile(r"(?:until|Throttled:)\s*(\d{13})\b")


def _outcome(status: int, error: VenueError | None, table: ErrorTable, operation: Operation) -> Outcome:
    if error is None:
        return Outcome.THROTTLED if status in (418, 429) else Outcome.UNKNOWN
    if status >= 500 and error.code not in table.certain_on_5xx:
        return Outcome.UNKNOWN
    listed = _listed(error, table)
    if listed is None:
        return Outcome.THROTTLED if status in (418, 429) else Outcome.UNKNOWN
    # "No such order" can't answer "place", and "duplicate id" can't answer anything else: then the reply is odd.
    if (listed is Outcome.NOT_FOUND and operation is Operation.PLACE) or (
        listed is Outcome.DUPLICATE and operation is not Operation.PLACE
    ):
        return Outcome.UNKNOWN
    return listed


def _listed(error: VenueError, table: ErrorTable) -> Outcome | None:
    for rule in table.messages:
        if rule.code == error.code and rule.fragment.lower() in error.message.lower():
            return rule.outcome
    return table.outcomes.get(error.code)
