"""Letting what is more urgent go first: places that wait for tokens are told when something arrives in their lane.

Lanes that wait are asked about together, by one script now and then, and only while any of them waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from redis.exceptions import RedisError

from common.gate import Overtaken, Patience
from common.lanes import Hold
from orderlane.orders import Order, OrderStatus

ASK_EVERY_SECONDS: Final = 0.1
"""How long a more urgent intent may stand behind a place that waits, at most."""

MOST_REMEMBERED: Final = 4096
"""Places that gave way, of whom it is known when they first came: some end meanwhile, and never come back for it."""

Ask = Callable[[Sequence[Hold]], Awaitable[set[str]]]
"""Of these lanes those in which something has arrived; see `LaneQueue.overtaken`."""


def unless_begun(hold: Hold, record: Order | None) -> Hold | None:
    """The entry in hand; None once a request may have been sent for it, by its record so far: it gives no way then."""
    has_begun = hold.rank == "!" or (record is not None and record.status is not OrderStatus.QUEUED)
    return None if has_begun else hold


class _GivingWay:
    """A block within which an entry may be overtaken. One is alive for each lane that waits: slots, for memory."""

    __slots__ = ("_hold", "_overtaking", "_patience")

    def __init__(self, overtaking: Overtaking, hold: Hold | None) -> None:
        self._overtaking, self._hold = overtaking, hold
        self._patience = None if hold is None else overtaking.patience(hold)

    def __enter__(self) -> Patience | None:
        return self._patience

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._hold is not None and self._patience is not None:
            self._overtaking.leave(self._hold, self._patience, overtaken=isinstance(error, Overtaken))


class Overtaking:
    """The places of one worker that wait for tokens and have not begun."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._waiting: dict[str, tuple[Hold, Patience]] = {}
        self._arrivals: dict[str, int] = {}
        self._asking: asyncio.Task[None] | None = None

    def patience(self, hold: Hold) -> Patience:
        """The patience of a place that may have to wait; one that gave way before keeps its place among others."""
        patience = Patience(lambda: self._add(hold, patience), self._arrivals.pop(hold.entry, None))
        return patience

    def giving_way(self, hold: Hold | None) -> _GivingWay:
        """The patience of whoever waits, within the block, for an entry of which nothing has begun; None for no entry:
        it gives way to nothing."""
        return _GivingWay(self, hold)

    def leave(self, hold: Hold, patience: Patience, *, overtaken: bool) -> None:
        """The place has passed, or given way (`overtaken`)."""
        self._waiting.pop(hold.lane, None)
        if overtaken and patience.arrival is not None:
            self._arrivals[hold.entry] = patience.arrival
            if len(self._arrivals) > MOST_REMEMBERED:
                del self._arrivals[next(iter(self._arrivals))]

    def _add(self, hold: Hold, patience: Patience) -> None:
        self._waiting[hold.lane] = hold, patience
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_while_any_waits())

    async def _ask_while_any_waits(self) -> None:
        while True:
            await asyncio.sleep(ASK_EVERY_SECONDS)
            if not self._waiting:
                return
            asked = dict(self._waiting)
            try:
                lanes = await self._ask([hold for hold, _ in asked.values()])
            except RedisError:
                continue  # the wait itself will meet the same, and deals with it
            for lane in lanes:
                if self._waiting.get(lane) is asked[lane]:
                    asked[lane][1].end()
