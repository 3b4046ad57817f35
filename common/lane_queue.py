"""A lane's queue as its owner sees it: looking at what waits, reshaping it, and letting the more urgent go first.

What is decided about waiting intents is decided elsewhere, by pure rules (`common.lane_rules`); here a decision is
carried out, behind the fence and as one script.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from common.lanes import Dispatcher, Hold, LeaseLost, ask_until_answered, lane_keys, read_run
from common.redis import Argument, ScriptRunner
from common.telemetry import log_transition
from orderlane.events import Event, encode_event
from orderlane.intents import intent_digest
from orderlane.keys import Keys
from orderlane.orders import Order, OrderStatus, encode_record


class Seen(Struct, frozen=True):
    """One entry of a lane, as it stands in Redis; no `fields`: someone deleted it."""

    rank: str
    entry: str
    fields: tuple[bytes, ...]

    @property
    def begun(self) -> bool:
        return self.rank == "!"


class Change(Struct, frozen=True):
    """What becomes of one waiting entry: it ends in `order`'s status, or goes on (QUEUED) as `order` says."""

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
        self._lane_keys = (*lane_keys(keys), keys.news)
        self._count = itertools.count(1)

    async def look(self, hold: Hold, most: int) -> list[Seen]:
        """The lane's entries in the order in which they would be run, at most so many.

        Raises:
            LeaseLost: the lane is no longer this worker's.
        """
        keys = (self._keys.intents, self._keys.waiting, self._keys.news)
        found = await ask_until_answered(self._runner, self._dispatcher, "look", keys, (hold.lane, most))
        return [Seen(rank.decode(), entry.decode(), tuple(fields)) for rank, entry, fields in found]

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
                encode_event(change.event),
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

    async def overtaken(self, holds: Sequence[Hold]) -> set[str]:
        """Of these lanes those in which something has arrived that should be looked at before the entry in hand: a more
        urgent one, or (where `heeds_news` says so) one that rules may act on.

        Raises:
            redis.exceptions.RedisError: no answer.
        """
        arguments = [part for hold in holds for part in (hold.lane, hold.entry, int(self._heeds_news(hold)))]
        keys = (self._keys.waiting, self._keys.news)
        return {lane.decode() for lane in await self._runner.run("overtaken", keys, arguments)}

    async def _ask(self, script: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        reply = await ask_until_answered(self._runner, self._dispatcher, script, keys, arguments)
        if reply[0] == b"fenced":
            raise LeaseLost(self._dispatcher.worker_id)
        return reply
