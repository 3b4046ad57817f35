"""The journal: every state change of an order, written once, with its events, behind the fence.

A write names the version it stands on and carries a token of its own. A reply that is lost is asked for again
with the same token, so the write happens once and its answer is not lost. Merging what the exchange says into
a record is pure (`apply_report`); only `Journal` touches Redis.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import Struct
from redis.exceptions import RedisError

from common.absorbed import NOBODY, Followers, follow
from common.claims import Claim
from common.exchange.base import OrderReport
from common.lanes import Dispatcher, Hold, LeaseLost, ask_until_answered, lane_keys, read_run
from common.redis import Argument, ScriptRunner
from common.telemetry import log_transition
from orderlane.events import Event, encode_event, order_event
from orderlane.intents import intent_digest
from orderlane.keys import Keys
from orderlane.orders import TRANSITIONS, Order, OrderStatus, Reason, decode_order, encode_record
from orderlane.tries import Try, add_try


class Then(StrEnum):
    """What becomes of the lane with the write: `begin` marks the entry as begun, `finish` ends it."""

    KEEP = "keep"
    BEGIN = "begin"
    FINISH = "finish"
    PARK = "park"


class Written(Struct, frozen=True):
    """The write stands. `order` has its new version; `next` is the lane's next run, after `finish`."""

    order: Order
    next: Hold | None


class Conflict(Struct, frozen=True):
    """Nothing was written: the record is not what the writer thought; this is how it stands (None: there is none)."""

    current: Order | None
    digest: str


class MustWait(Struct, frozen=True):
    """Nothing was begun: the request's tokens are not there, or its scope is shut; worth another try in `wait_ms`."""

    wait_ms: int


READ_TOGETHER: Final = 250
"""Records read by one call: bounds how long it holds Redis (some 0.5 ms)."""
_RECORD_FIELDS: Final = (b"status", b"version", b"entry", b"record")

NO_TOKENS: Final = Claim(gate="", urgent=True, keys=(), arguments=(0, 0))
"""The claim of what is begun without being sent, or whose tokens have been taken before."""


def apply_report(order: Order, report: OrderReport, now_ms: int) -> Order | None:
    """The record after what the exchange said; None when that is nothing new.

    Records only move forward: fills only grow, a terminal status stays (a later report may only raise its
    fills), and a report older than what is known changes nothing but fills.
    """
    more_filled = report.filled > order.filled
    status = report.status if _is_progress(order.status, report.status) else order.status
    first_id = bool(report.exchange_order_id) and not order.exchange_order_id
    resized = _is_resized(order, report)
    if status == order.status and not (more_filled or first_id or resized):
        return None
    if status is OrderStatus.QUEUED:
        # Sent, but the journal forgot it (a Redis that lost its last second): its lane asks before it sends.
        return None
    return msgspec.structs.replace(
        order,
        status=status,
        exchange_order_id=report.exchange_order_id or order.exchange_order_id,
        amount=report.amount if resized and report.amount else order.amount or report.amount,
        price=report.price if resized and report.price else order.price or report.price,
        filled=max(report.filled, order.filled),
        average=(report.average or order.average) if more_filled or order.average is None else order.average,
        fees=report.fees if more_filled and report.fees else order.fees or report.fees,
        reason=None if order.status is OrderStatus.UNKNOWN else order.reason,
        times=msgspec.structs.replace(
            order.times, exchange_at=max(report.exchange_at, order.times.exchange_at), updated_at=now_ms
        ),
    )


def _is_progress(before: OrderStatus, after: OrderStatus) -> bool:
    return before != after and not before.terminal and after in TRANSITIONS[before]


def _is_resized(order: Order, report: OrderReport) -> bool:
    """An amend that the exchange reports: not older than what is known, and another amount or price."""
    if order.status.terminal or report.exchange_at < order.times.exchange_at:
        return False
    if report.amount is not None and order.amount is not None and report.amount != order.amount:
        return True
    return bool(report.price and order.price and report.price != order.price)


class Journal:
    """Order records of one exchange. With a dispatcher its writes are fenced; without one (sync, user streams)
    they rely on the version alone and hold no lane."""

    def __init__(
        self, runner: ScriptRunner, keys: Keys, *, retention_ms: int, dispatcher: Dispatcher | None = None
    ) -> None:
        self._runner = runner
        self._keys = keys
        self._retention_ms = retention_ms
        self._dispatcher = dispatcher
        self._writer = dispatcher.worker_id if dispatcher else f"outside:{secrets.token_hex(6)}"
        self._count = itertools.count(1)
        self._lane_keys = tuple(lane_keys(keys))
        self._begin_keys = (keys.waiting, keys.owners, keys.workers)

    async def read(self, client_order_id: str) -> Order | None:
        """The record as it stands, or None."""
        return (await self.read_many([client_order_id]))[0]

    async def open_orders(self, account: str) -> list[Order]:
        """The records of the account that have not ended, least recently changed first."""
        ids: list[Any] = await self._runner.client.zrange(self._keys.open(account), 0, -1)
        return [order for order in await self.read_many([name.decode() for name in ids]) if order is not None]

    async def read_many(self, client_order_ids: Sequence[str]) -> list[Order | None]:
        """Records by client order id, in one round trip; None where there is none."""
        keys = [self._keys.order(client_order_id) for client_order_id in client_order_ids]
        parts = [keys[start : start + READ_TOGETHER] for start in range(0, len(keys), READ_TOGETHER)]
        answers = await asyncio.gather(*(self._runner.run("read_records", part, []) for part in parts))
        return [
            decode_order(dict(zip(_RECORD_FIELDS, values, strict=True))) if values else None
            for answer in answers
            for values in answer
        ]

    async def write(
        self,
        order: Order,
        before: Order | None,
        *,
        hold: Hold | None = None,
        then: Then = Then.KEEP,
        extra_events: Sequence[Event] = (),
    ) -> Written | Conflict:
        """Bring the record from `before` (None: new, or QUEUED by this entry) to `order`, with its event.

        What the order has filled is shared with the intents that were merged into it, in the same step.

        Raises:
            LeaseLost: the lane is no longer this worker's; nothing was written (or its answer came too late).
            redis.exceptions.RedisError: without a hold, no answer came: the write may stand.
        """
        if then is Then.BEGIN and hold is not None:
            result = await self.begin(order, before, hold)
            assert not isinstance(result, MustWait), "no tokens were asked for"
            return result
        event = self._event(order, before)
        followers = await self.followers(order)
        arguments = self._write_arguments(order, before, hold)
        arguments += [
            self._retention_ms if order.status.terminal else 0, then.value, *followers.arguments,
            encode_event(event), *(encode_event(extra) for extra in (*extra_events, *followers.events)),
        ]  # fmt: skip
        keys = (
            *self._lane_keys, *self._order_keys(order), self._keys.unseen, self._keys.notes, *followers.keys,
        )  # fmt: skip
        return self._read_result(order, hold, event, await self._ask("transition", keys, arguments, hold))

    async def begin(
        self, order: Order, before: Order | None, hold: Hold, claim: Claim = NO_TOKENS
    ) -> Written | Conflict | MustWait:
        """Bring the record of the entry in hand from `before` to `order`, right before its request is sent, and take
        the request's tokens: both or neither. From here on the entry stays its lane's first.

        Raises:
            LeaseLost: the lane is no longer this worker's; nothing was written (or its answer came too late).
        """
        event = self._event(order, before)
        arguments = self._write_arguments(order, before, hold)
        arguments += [encode_event(event), *claim.arguments]
        keys = (*self._begin_keys, *self._order_keys(order), *claim.keys)
        reply = await self._ask("begin", keys, arguments, hold)
        if reply[0] == b"wait":
            return MustWait(int(reply[1]))
        return self._read_result(order, hold, event, reply)

    async def close_entry(
        self, hold: Hold, *, dead: Reason | None = None, events: Sequence[Event] = ()
    ) -> Hold | None:
        """End the entry in hand without touching a record, burying it in `dead` when a reason is given.

        Raises:
            LeaseLost: the lane is no longer this worker's.
        """
        assert self._dispatcher is not None, "only a worker that holds a lane can end an entry"
        reply = await self._ask(
            "close_entry",
            [*self._lane_keys, self._keys.events, self._keys.dead, self._keys.unseen, self._keys.notes],
            [
                hold.lane, hold.owner, self._dispatcher.worker_id, hold.entry, hold.rank,
                msgspec.json.encode(dead) if dead else "", *(encode_event(event) for event in events),
            ],
            hold,
        )  # fmt: skip
        if reply[0] == b"fenced":
            raise LeaseLost(self._writer)
        return read_run(reply[1], hold.owner)

    async def advance(self, client_order_id: str, report: OrderReport, now_ms: int) -> Order | None:
        """Merge what the exchange says into a record this process holds no lane for; the record, None if there is none.

        Raises:
            redis.exceptions.RedisError: no answer; the next report says it again.
        """
        current = await self.read(client_order_id)
        while current is not None:
            merged = apply_report(current, report, now_ms)
            if merged is None:
                return current
            result = await self.write(merged, current)
            if isinstance(result, Written):
                return result.order
            current = result.current
        return None

    async def note_try(self, client_order_id: str, one: Try) -> None:
        """Note a question about an order for people to read (`orderlane why`); what can't be noted is not."""
        with suppress(RedisError, OSError):
            async with self._runner.client.pipeline(transaction=False) as pipeline:
                add_try(pipeline, self._keys.tries(client_order_id), one, self._retention_ms)
                await pipeline.execute()

    async def followers(self, order: Order) -> Followers:
        """The intents merged into this order, as its new fills leave them.

        Read after the record that this write stands on: whoever shares out other fills meanwhile changes that one.
        """
        if not order.absorbed:
            return NOBODY
        records = await self.read_many([one.client_order_id for one in order.absorbed])
        return follow(order, records, self._keys, self._writer)

    def _token(self) -> str:
        return f"{self._writer}/{next(self._count)}"

    def _event(self, order: Order, before: Order | None) -> Event:
        left = before.status if before else OrderStatus.QUEUED
        return order_event(order, left, at=order.times.updated_at, worker=self._writer)

    def _order_keys(self, order: Order) -> tuple[str, str, str, str]:
        keys = self._keys
        return keys.order(order.client_order_id), keys.open(order.intent.account), keys.unknown, keys.events

    def _write_arguments(self, order: Order, before: Order | None, hold: Hold | None) -> list[Argument]:
        """The first twelve arguments of `begin.lua` and `transition.lua`."""
        repeats = before is not None and before.status == order.status
        return [
            order.client_order_id, self._token(), order.intent.lane, hold.owner if hold else "",
            self._dispatcher.worker_id if self._dispatcher and hold else "",
            str(before.version) if before else "new",
            _may_leave(order.status, repeats), order.status.value,
            hold.entry if hold else order.entry, hold.rank if hold else "",
            "" if before and _same_intent(before, order) else intent_digest(order.intent), encode_record(order),
        ]  # fmt: skip

    def _read_result(
        self, order: Order, hold: Hold | None, event: Event, reply: Sequence[Any]
    ) -> Written | Conflict:
        if reply[0] == b"fenced":
            raise LeaseLost(self._writer)
        if reply[0] == b"conflict":
            return _read_conflict(reply[1:])
        log_transition(event)
        entry = hold.entry if hold else order.entry
        return Written(
            msgspec.structs.replace(order, version=int(reply[1]), entry=entry),
            read_run(reply[3], hold.owner) if hold and len(reply) > 3 else None,
        )

    async def _ask(
        self, script: str, keys: Sequence[str], arguments: Sequence[Argument], hold: Hold | None
    ) -> Any:
        """Run a script that is safe to repeat; for a lane's owner until it answers or its lease no longer covers it."""
        if hold is None or self._dispatcher is None:
            return await self._runner.run(script, keys, arguments)
        return await ask_until_answered(self._runner, self._dispatcher, script, keys, arguments)


def _same_intent(before: Order, order: Order) -> bool:
    """Whether the record keeps its intent: all do but one that was rebuilt without it, once it comes."""
    return before.intent is order.intent or before.intent == order.intent


@cache
def _may_leave(status: OrderStatus, repeats: bool) -> str:
    """The statuses a write may leave, for the scripts; a terminal one only for itself (fills corrected upwards)."""
    allowed = {known.value for known, following in TRANSITIONS.items() if status in following}
    if repeats:
        allowed.add(status.value)
    return " ".join(sorted(allowed))


def _read_conflict(reply: Sequence[bytes]) -> Conflict:
    fields = dict(zip(reply[::2], reply[1::2], strict=True))
    if not fields:
        return Conflict(None, "")
    return Conflict(decode_order(fields), fields.get(b"digest", b"").decode())
