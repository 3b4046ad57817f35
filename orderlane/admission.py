"""How an intent is admitted: what is asked of `submit.lua`, and what its answer means. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from itertools import islice
from typing import Any, Final

import msgspec
from msgspec import Struct

from orderlane.errors import BacklogBound, Backlogged, IdReused, OrderlaneError, OutcomeUnknown, Unreachable
from orderlane.identity import client_order_id
from orderlane.intents import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    Intent,
    IntentInvalid,
    PlaceOrder,
    decode_intent,
    encode_intent,
    intent_digest,
)
from orderlane.keys import Keys
from orderlane.lookup import Target
from orderlane.orders import Order, OrderStatus, decode_order, encode_record
from orderlane.scripts import Argument

BACKLOG_LIMIT: Final = 100_000
"""Unfinished intents of one exchange at which no more are admitted as long as no worker has published the pool's own
limit. An entry and its record were measured at 1.3 kB in Redis 6.2, so this many take some 130 MB."""
NO_LIMIT: Final = 0
"""A client's own limit where it has none."""

BATCH_SIZE: Final = 500
"""Intents in one pipeline: bounds how long it occupies Redis' only thread."""

CANCEL_AGAIN_AFTER: Final = frozenset({OrderStatus.REJECTED, OrderStatus.FAILED, OrderStatus.EXPIRED})
"""A cancel that ended so has cancelled nothing: the next call makes a new one."""


class Submitted(Struct, frozen=True, kw_only=True):
    """What became of a submit. `duplicate`: the intent was there before this call, and `order` is how it stands."""

    order: Order
    duplicate: bool


class Submission(Struct, frozen=True, kw_only=True):
    """One intent on its way in: the KEYS and ARGV of `submit.lua`, and how its reply is read."""

    intent: Intent
    order: Order
    keys: tuple[str, str, str, str, str]
    arguments: tuple[Argument, ...]
    digest: str
    receipt: str

    def outcome(self, reply: Sequence[Any]) -> Submitted:
        """The reply's meaning.

        Raises:
            IdReused: the id is taken by another intent.
            Backlogged: a limit is reached.
        """
        word = reply[0]
        if word == b"added":
            entry = reply[1].decode()
            times = msgspec.structs.replace(self.order.times, queued_at=int(entry.partition("-")[0]))
            order = msgspec.structs.replace(self.order, version=1, entry=entry, times=times)
            return Submitted(order=order, duplicate=False)
        if word == b"backlogged":
            raise Backlogged(
                self.intent.exchange,
                self.intent.account,
                int(reply[2]),
                int(reply[3]),
                bound=BacklogBound(reply[1].decode()),
            )
        fields = dict(zip(reply[1][::2], reply[1][1::2], strict=True))
        existing = decode_order(fields)
        if fields.get(b"receipt", b"").decode() == self.receipt:
            return Submitted(order=existing, duplicate=False)
        digest = fields.get(b"digest", b"").decode() or intent_digest(existing.intent)
        if digest != self.digest and not existing.may_be_of(self.intent):
            raise IdReused(self.intent, existing)
        return Submitted(order=existing, duplicate=True)

    def result(self, reply: Any) -> Submitted | Exception:
        """As `outcome`, with what went wrong as a value; an error of Redis stands for itself."""
        if isinstance(reply, Exception):
            return reply
        try:
            return self.outcome(reply)
        except OrderlaneError as error:
            return error


class Batch(Struct, frozen=True):
    """Intents that travel together, in order; one that can't be sent has its error in its place."""

    members: Sequence[Submission | Exception]

    @property
    def submissions(self) -> list[Submission]:
        return [one for one in self.members if isinstance(one, Submission)]

    @property
    def exchanges(self) -> set[str]:
        return {one.intent.exchange for one in self.submissions}

    def without(self, refused: Mapping[str, Exception]) -> Batch:
        """The batch with the error of its exchange in the place of each intent for one of these."""
        if not refused:
            return self
        return Batch(
            [
                one if isinstance(one, Exception) else refused.get(one.intent.exchange, one)
                for one in self.members
            ]
        )

    def results(self, replies: Sequence[Any]) -> list[Submitted | Exception]:
        """What became of each member; `replies` are those to the submissions, in order."""
        rest = iter(replies)
        return [one if isinstance(one, Exception) else one.result(next(rest)) for one in self.members]

    def unanswered(self, failure: Unreachable) -> list[Submitted | Exception]:
        """What to say of each member when no reply came."""
        unknown = OutcomeUnknown(failure, [one.intent.id for one in self.submissions])
        return [one if isinstance(one, Exception) else unknown for one in self.members]

    def unsent(self, failure: Unreachable) -> list[Submitted | Exception]:
        """What to say of each member when nothing was sent, as a batch before it found no answer."""
        return [one if isinstance(one, Exception) else failure for one in self.members]


def batches(
    intents: Iterable[Intent], *, pool: str, backlog_limit: int | None, receipts: Iterator[str]
) -> Iterator[Batch]:
    """The intents, prepared, in batches of `BATCH_SIZE`."""
    for chunk in _chunks(intents):
        members: list[Submission | Exception] = []
        for intent in chunk:
            try:
                members.append(
                    prepare(intent, pool=pool, backlog_limit=backlog_limit, receipt=next(receipts))
                )
            except IntentInvalid as error:
                members.append(error)
        yield Batch(members)


def _chunks(intents: Iterable[Intent]) -> Iterator[list[Intent]]:
    rest = iter(intents)
    while chunk := list(islice(rest, BATCH_SIZE)):
        yield chunk


def passes_limits(intent: Intent) -> bool:
    """Whether no backlog holds the intent back: it only takes orders or risk away."""
    return isinstance(intent, CancelOrder | CancelAll) or (
        isinstance(intent, PlaceOrder) and intent.reduce_only
    )


def prepare(intent: Intent, *, pool: str, backlog_limit: int | None, receipt: str) -> Submission:
    """Check an intent as a worker would, and make of it what `submit.lua` takes. `receipt` is unique for each call.

    `backlog_limit` is the client's own, beside the pool's; None: it has none.

    Raises:
        IntentInvalid: it breaks the rules of its fields, which Python does not enforce when it is built.
    """
    try:
        payload = encode_intent(intent)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise IntentInvalid(
            "invalid_intent", f"a {type(intent).__name__} cannot be written as JSON: {error}"
        ) from None
    checked = decode_intent(payload)
    keys = Keys(checked.exchange, pool)
    identifier = client_order_id(pool, checked.exchange, checked.account, checked.id)
    order = Order(client_order_id=identifier, intent=checked)
    digest = intent_digest(checked)
    return Submission(
        intent=checked,
        order=order,
        keys=(keys.intents, keys.order(identifier), keys.control, keys.waiting, keys.unread),
        arguments=(
            NO_LIMIT if backlog_limit is None else backlog_limit,
            payload,
            digest,
            encode_record(order),
            receipt,
            checked.account,
            int(passes_limits(checked)),
            BACKLOG_LIMIT,
        ),
        digest=digest,
        receipt=receipt,
    )


def cancel_id(target: str, number: int) -> str:
    """The intent id of the `number`th cancel (from 1) of the intent `target`: the same for whoever cancels it.

    >>> cancel_id("grid-1", 1)
    'cancel:grid-1:1'
    """
    readable = f"cancel:{target}:{number}"
    return readable if len(readable) <= 64 else f"cancel:{sha256(target.encode()).hexdigest()[:40]}:{number}"


def cancel_of(target: Target, number: int) -> CancelOrder:
    """The `number`th cancel (from 1) of an order."""
    return CancelOrder(
        id=cancel_id(target.id, number),
        exchange=target.exchange,
        account=target.account,
        symbol=target.symbol,
        strategy=target.strategy,
        target=target.id,
    )


def amend_of(target: Target, intent_id: str, amount: Decimal | None, price: Decimal | None) -> AmendOrder:
    """An amend of an order, under the id `intent_id`.

    Raises:
        IntentInvalid: it changes nothing, or a number is none that can be sent.
    """
    try:
        return AmendOrder(
            id=intent_id,
            exchange=target.exchange,
            account=target.account,
            symbol=target.symbol,
            strategy=target.strategy,
            target=target.id,
            amount=amount,
            price=price,
        )
    except ValueError as error:
        raise IntentInvalid("invalid_intent", str(error)) from None


def same_cancel(wanted: CancelOrder, reused: IdReused) -> Submitted:
    """The cancel that is there already under this id, even if it was worded otherwise; else the error itself."""
    existing = reused.existing
    if isinstance(existing.intent, CancelOrder) and existing.intent.target == wanted.target:
        return Submitted(order=existing, duplicate=True)
    raise reused


def settles(cancel: Submitted) -> bool:
    """Whether this cancel stands, so that no further one is needed."""
    return not (cancel.duplicate and cancel.order.status in CANCEL_AGAIN_AFTER)
