"""A lane's queue as its owner sees it: looking at what waits, reshaping it, and letting the more urgent go first.

What is decided about waiting intents is decided elsewhere, by pure rules (`common.lane_rules`); here a decision is
carried out, behind the fence and as one script.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from msgspec import MsgspecError, Struct

from common.lanes import Dispatcher, Hold, LeaseLost, ask_until_answered, lane_keys, read_run
from common.redis import Argument, ScriptRunner
from common.telemetry import log_transition
from orderlane.events import Event, decode_event, encode_event
from orderlane.intents import PlaceOrder, intent_digest
from orderlane.keys import EVENT_FIELD, Keys
from orderlane.orders import Order, OrderStatus, encode_record

PAGE: Final = 200
"""Entries of an account shown by one call: bounds how long it holds Redis."""
BEGUN: Final = "!"
"""The rank of an entry that has begun: it sorts before every urgency."""
RANKS: Final = f"{BEGUN}0123456789"


def place_in(lane: str, rank: str, entry: str) -> str:
    """The member of `waiting` for an entry, as `queue.lua` writes it."""
    numbers = (f"{chr(64 + len(number))}{number}" for number in entry.split("-"))
    return f"{lane}\0{rank}{''.join(numbers)}"


EVENTS_READ_TOGETHER: Final = 1_000


class Seen(Struct, frozen=True):
    """One entry of a lane, as it stands in Redis; no `fields`: someone deleted it."""

    rank: str
    entry: str
    fields: tuple[bytes, ...]

    @property
    def begun(self) -> bool:
        return self.rank == BEGUN


class Change(Struct, frozen=True):
    """What becomes of one waiting entry: it ends in `order`'s status, or goes on (QUEUED) as `order` says. Without a
    `rank`: of one that had been merged into another, and is no part of that any more."""

    rank: str
    order: Order
    event: Event


class Reshaped(Struct, frozen=True):
    """The decision stands. `held_ended`: the entry in hand has ended, and `next` is the lane's next run."""

    held_ended: bool
    next: Hold | None


class Moved(Struct, frozen=True):
    """Nothing was changed: this entry has begun or ended, or its intent id is another entry's."""

    entry: str


class LaneQueue:
    """The queues of the lanes that one worker id runs."""

    def __init__(
        self,
        runner: ScriptRunner,
        keys: Keys,
        dispatcher: Dispatcher,
        *,
        retention_ms: int,
        heeds_news: Callable[[Hold], bool] = lambda hold: True,
    ) -> None:
        self._heeds_news = heeds_news
        self._runner = runner
        self._keys = keys
        self._dispatcher = dispatcher
        self._retention_ms = retention_ms
        self._lane_keys = (*lane_keys(keys), keys.unseen, keys.notes)
        self._count = itertools.count(1)

    async def look(self, hold: Hold, most: int) -> list[Seen]:
        """The lane's entries in the order in which they would be run, at most so many.

        Raises:
            LeaseLost: the lane is no longer this worker's.
        """
        keys = (self._keys.intents, self._keys.waiting, self._keys.unseen)
        found = await ask_until_answered(self._runner, self._dispatcher, "look", keys, (hold.lane, most))
        return [Seen(rank.decode(), entry.decode(), tuple(fields)) for rank, entry, fields in found]

    async def rank_of(self, lane: str, entry: str) -> str | None:
        """The rank under which an entry waits in a lane; `!` where it has begun, None where it does not wait.

        Raises:
            redis.exceptions.RedisError: no answer.
        """
        members = [place_in(lane, rank, entry) for rank in RANKS]
        scores: list[float | None] = await self._runner.client.zmscore(self._keys.waiting, members)
        return next((rank for rank, score in zip(RANKS, scores, strict=True) if score is not None), None)

    async def reshape(self, hold: Hold, changes: Sequence[Change]) -> Reshaped | Moved:
        """Carry out one decision: all of its changes, or none.

        Raises:
            LeaseLost: the lane is no longer this worker's; nothing was written (or its answer came too late).
        """
        token = f"{self._dispatcher.worker_id}/shape/{next(self._count)}"
        arguments: list[Argument] = [
            hold.lane, hold.owner, self._dispatcher.worker_id, hold.entry, token, self._retention_ms, len(changes),
        ]  # fmt: skip
        for change in changes:
            order = change.order
            arguments += [
                order.entry, change.rank, intent_digest(order.intent), order.status.value, encode_record(order),
                encode_event(change.event), int(_is_part(order)),
            ]  # fmt: skip
        orders = [self._keys.order(change.order.client_order_id) for change in changes]
        reply = await self._ask("reshape", (*self._lane_keys, self._keys.events, *orders), arguments)
        if reply[0] == b"moved":
            return Moved(reply[1].decode())
        for change in changes:
            log_transition(change.event)
        ended = any(
            change.order.entry == hold.entry and change.order.status is not OrderStatus.QUEUED
            for change in changes
        )
        return Reshaped(ended, read_run(reply[1], hold.owner) if ended else None)

    async def waiting_of(self, account: str) -> AsyncIterator[tuple[str, Seen]]:
        """What waits in the lanes of an account, each with its lane: lane after lane, and each in its order.

        It is read page by page: what comes or goes meanwhile may be among it or not.

        Raises:
            LeaseLost: no answer came while the lease certainly lived.
        """
        cursor: bytes | str = ""
        while True:
            cursor, *page = await ask_until_answered(
                self._runner, self._dispatcher, "account_page", (self._keys.intents, self._keys.waiting),
                (account, cursor, PAGE),
            )  # fmt: skip
            for lane, rank, entry, fields in page:
                yield lane.decode(), Seen(rank.decode(), entry.decode(), tuple(fields))
            if not cursor:
                return

    async def annul(self, hold: Hold, lane: str, changes: Sequence[Change]) -> int:
        """End entries that wait in another lane, whoever runs that one, at the word of the entry in hand; how many have
        ended. One that has begun, or whose record has changed since it was read, is left alone.

        Raises:
            LeaseLost: the lane in hand is no longer this worker's; nothing was written (or its answer came too late).
        """
        arguments: list[Argument] = [
            hold.lane, hold.owner, self._dispatcher.worker_id, lane, self._retention_ms, len(changes),
        ]  # fmt: skip
        for change in changes:
            order = change.order
            arguments += [
                order.entry, change.rank, str(order.version or ""), intent_digest(order.intent), order.status.value,
                encode_record(order), encode_event(change.event), len(order.absorbed),
            ]  # fmt: skip
        names = [change.order.client_order_id for change in changes]
        names += [part.client_order_id for change in changes for part in change.order.absorbed]
        orders = [self._keys.order(name) for name in names]
        reply = await self._ask("annul", (*self._lane_keys, self._keys.events, *orders), arguments)
        return int(reply[1])

    async def give_way(self, hold: Hold) -> Hold | None:
        """Put the entry in hand back unless it has begun, and get the lane's head: it may be the same one.

        Raises:
            LeaseLost: the lane is no longer this worker's.
        """
        arguments = (hold.lane, hold.owner, self._dispatcher.worker_id)
        following = read_run((await self._ask("give_way", self._lane_keys, arguments))[1], hold.owner)
        if following is not None and following.entry == hold.entry:
            return msgspec.structs.replace(following, again=hold.again)
        return following

    async def remembered_until(self) -> int:
        """Up to when Redis certainly remembers after its restart, ms by its clock: its last event. 0: it had none."""
        noted: Any = await self._runner.client.hget(self._keys.control, "remembered_until")
        return int(noted or 0)

    async def names_told(self, since_ms: int) -> dict[str, str]:
        """The client order ids of the orders that events since then tell of, by the exchange's id. (A command that is
        DONE names its target's.)"""
        names: dict[str, str] = {}
        after = f"{max(since_ms, 0)}-0"
        while True:
            entries: Any = await self._runner.client.xrange(
                self._keys.events, after, "+", count=EVENTS_READ_TOGETHER
            )
            for entry, fields in entries:
                with suppress(MsgspecError):
                    event = decode_event(entry.decode(), fields.get(EVENT_FIELD.encode(), b""))
                    if event.exchange_order_id and event.to_status is not OrderStatus.DONE:
                        names[event.exchange_order_id] = event.client_order_id
            if len(entries) < EVENTS_READ_TOGETHER:
                return names
            after = f"({entries[-1][0].decode()}"

    async def overtaken(self, holds: Sequence[Hold]) -> set[str]:
        """Of these lanes those in which something has arrived that should be looked at before the entry in hand: a more
        urgent one, or (where `heeds_news` says so) one that rules may act on.

        Raises:
            redis.exceptions.RedisError: no answer.
        """
        arguments = [part for hold in holds for part in (hold.lane, hold.entry, int(self._heeds_news(hold)))]
        keys = (self._keys.waiting, self._keys.unseen)
        return {lane.decode() for lane in await self._runner.run("overtaken", keys, arguments)}

    async def _ask(self, script: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        reply = await ask_until_answered(self._runner, self._dispatcher, script, keys, arguments)
        if reply[0] == b"fenced":
            raise LeaseLost(self._dispatcher.worker_id)
        return reply


def _is_part(order: Order) -> bool:
    """Whether its amount is part of an order that has not ended yet."""
    return order.status is OrderStatus.MERGED and isinstance(order.intent, PlaceOrder)
