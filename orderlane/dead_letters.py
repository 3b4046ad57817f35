"""Dead letters: entries that could not be run, each with its reason; looking at them and trying them again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from orderlane.admission import prepare
from orderlane.errors import OrderlaneError
from orderlane.intents import Intent, IntentInvalid, decode_intent, intent_digest
from orderlane.keys import Keys
from orderlane.orders import Order, OrderStatus, Reason, decode_order
from orderlane.pool_link import PoolLink
from orderlane.scripts import Argument, script

_ENTRY_ID = re.compile(r"\d{1,20}-\d{1,20}\Z", re.ASCII)


class DeadLetter(Struct, frozen=True, kw_only=True):
    """One entry of `dead`: `entry` was its id in the stream of intents, `at` (ms) when it was set aside.

    `payload` is what a retry sends again: the field `intent` as it was, or a JSON list of all the fields of an
    entry that had others.
    """

    id: str
    exchange: str
    entry: str
    at: int
    reason: Reason
    payload: bytes

    def intent(self) -> Intent:
        """The payload as an intent of this exchange.

        Raises:
            IntentInvalid: it is none.
        """
        intent = decode_intent(self.payload)
        if intent.exchange != self.exchange:
            raise IntentInvalid(
                "other_exchange",
                f"exchange is {intent.exchange!r}, in the stream of {self.exchange!r}: no worker there can run it",
            )
        return intent


class DeadLetterMissing(OrderlaneError, LookupError):
    """There is no such dead letter (any more)."""

    def __init__(self, exchange: str, letter_id: str) -> None:
        super().__init__(
            f"{exchange} has no dead letter {letter_id!r}: it was retried, it is older than the pool keeps them, or "
            "the id is wrong (`orderlane dead list` shows them)"
        )


class RetryRefused(OrderlaneError):
    """Trying this dead letter again makes no sense; the message says why. Nothing was changed."""


class Retry(Struct, frozen=True):
    """What a retry does to the order's record: the arguments of `retry_dead.lua` after the id, and its key."""

    order_key: str | None
    arguments: tuple[Argument, ...]


def plan_retry(
    letter: DeadLetter, intent: Intent | None, record: Order | None, *, keys: Keys, force: bool
) -> Retry:
    """Whether and how a dead letter may be sent again; `intent` is None when its payload is none. Pure.

    Raises:
        RetryRefused: it would only die again, or an order of this id exists.
    """
    if intent is None:
        if not force:
            raise RetryRefused(
                f"dead letter {letter.id} is no intent ({letter.reason.message}): it would only die again; "
                "append a corrected one, or use --force"
            )
        return Retry(None, ("", "", ""))
    fresh = prepare(intent, pool=keys.pool, backlog_limit=None, receipt="")
    if record is None:
        return Retry(fresh.keys[1], ("", fresh.digest, ""))
    if intent_digest(record.intent) != fresh.digest:
        raise RetryRefused(
            f"intent id {intent.id!r} belongs to another intent, whose order is {record.status}: append this one "
            "under an id of its own"
        )
    if (
        record.attempts
        or record.times.sent_at
        or record.status not in (OrderStatus.QUEUED, OrderStatus.FAILED)
    ):
        raise RetryRefused(
            f"the order of intent {intent.id!r} is {record.status} and may have been sent: it is not retried; "
            "see `orderlane get`"
        )
    return Retry(fresh.keys[1], (str(record.version), fresh.digest, fresh.arguments[3]))


def list_dead(link: PoolLink, exchange: str, limit: int) -> list[DeadLetter]:
    """The newest dead letters of an exchange, newest first."""
    stream = link.settings.keys(exchange).dead
    entries: Any = link.ask(lambda: link.redis.xrevrange(stream, count=limit))
    return [_read(exchange, *entry) for entry in entries]


def read_dead(link: PoolLink, exchange: str, letter_id: str) -> DeadLetter:
    """One dead letter.

    Raises:
        DeadLetterMissing: there is none of this id.
    """
    stream = link.settings.keys(exchange).dead
    found: Any = None
    if _ENTRY_ID.match(letter_id):
        found = link.ask(lambda: link.redis.xrange(stream, letter_id, letter_id))
    if not found:
        raise DeadLetterMissing(exchange, letter_id)
    return _read(exchange, *found[0])


def retry_dead(link: PoolLink, exchange: str, letter_id: str, *, force: bool = False) -> str:
    """Put a dead letter back into the stream, as a new entry; the id of that entry.

    Raises:
        DeadLetterMissing: there is none of this id, perhaps because this very call retried it and lost the reply.
        RetryRefused: it would only die again (unless `force`), or an order of this id exists.
    """
    keys = link.settings.keys(exchange)
    while True:
        letter = read_dead(link, exchange, letter_id)
        try:
            intent = letter.intent()
        except IntentInvalid:
            intent = None
        plan = plan_retry(letter, intent, _record(link, keys, intent), keys=keys, force=force)
        reply = link.ask(lambda: _run(link, keys, letter_id, plan))  # noqa: B023 (called before the next round)
        if reply[0] == b"retried":
            return str(reply[1].decode())
        if reply[0] == b"gone":
            raise DeadLetterMissing(exchange, letter_id)


def _run(link: PoolLink, keys: Keys, letter_id: str, plan: Retry) -> Any:
    script_keys = [keys.dead, keys.intents, *([plan.order_key] if plan.order_key else [])]
    return script("retry_dead").run(link.redis, script_keys, [letter_id, *plan.arguments])


def _record(link: PoolLink, keys: Keys, intent: Intent | None) -> Order | None:
    if intent is None:
        return None
    key = link.settings.order_key(keys.exchange, intent.account, intent.id)
    fields: Any = link.ask(lambda: link.redis.hgetall(key))
    return decode_order(fields) if fields else None


def _read(exchange: str, letter_id: bytes, fields: Mapping[bytes, bytes]) -> DeadLetter:
    try:
        reason = msgspec.json.decode(fields.get(b"reason", b""), type=Reason)
    except msgspec.DecodeError:
        reason = Reason("unreadable_reason", fields.get(b"reason", b"").decode(errors="backslashreplace"))
    return DeadLetter(
        id=letter_id.decode(),
        exchange=exchange,
        entry=fields.get(b"entry", b"").decode(),
        at=int(fields.get(b"at") or letter_id.partition(b"-")[0]),
        reason=reason,
        payload=fields.get(b"payload", b""),
    )
