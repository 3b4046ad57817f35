"""Who of one process asks next: lanes told to wait do so here, not by asking Redis again and again.

Requests for the same set of buckets share a queue, ordered by urgency and then arrival. As long as nobody
waits, everybody asks at once. Of those told to wait only the first asks again, when its time has come; it
passes the turn on when it is through. So 64 waiting lanes cost Redis as much as one.
"""

from __future__ import annotations

import asyncio
import random
from bisect import insort
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any, Final

MOST_EXTRA_MS: Final = 25
"""Processes that were told the same wait come back spread over up to this long (a tenth of a shorter
wait)."""
MOST_SLEEP_MS: Final = 5_000
"""Whoever is first asks at least this often: an operator may have opened what was shut."""


class _Waiter:
    __slots__ = ("rank", "turn")

    def __init__(self, rank: tuple[int, int]) -> None:
        """`rank`: its urgency and its arrival."""
        self.rank = rank
        self.turn = asyncio.Event()

    def __lt__(self, other: _Waiter) -> bool:
        return self.rank < other.rank


class Overtaken(Exception):
    """Something has come up that should be looked at before this request; it has neither passed nor paid."""


class Patience:
    """A request's readiness to wait, which somebody else may end: between its attempts, never during one."""

    __slots__ = ("_ended", "_limit", "_on_wait", "arrival")

    def __init__(self, on_wait: Callable[[], None], arrival: int | None = None) -> None:
        """`on_wait` is called when the request has to wait. `arrival`: its place among others, from an earlier wait."""
        self.arrival = arrival
        self._on_wait = on_wait
        self._limit: asyncio.Timeout | None = None
        self._ended = False

    def end(self) -> None:
        """Raise Overtaken in the request, at once if it waits, or before it waits again."""
        self._ended = True
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())

    def check(self) -> None:
        """Raise Overtaken if the wait was ended."""
        if self._ended:
            raise Overtaken

    def waits(self) -> None:
        """Say that the request has to wait."""
        self._on_wait()

    async def bear(self, wait: Callable[[], Awaitable[object]]) -> None:
        """Wait for it.

        Raises:
            Overtaken: `end` was called.
        """
        self.check()
        try:
            async with asyncio.timeout(None) as self._limit:
                await wait()
        except TimeoutError:
            self.check()
            raise
        finally:
            self._limit = None


class Idle:
    """The tasks of one process that only wait, for tokens or for time: they need nothing that others could use."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()
        self.on_wait: Callable[[], None] = lambda: None
        """Called when one begins to wait."""
        self._wholes: dict[asyncio.Task[Any], asyncio.Task[Any]] = {}
        """Task -> the one that it does a part for."""
        self._busy: Counter[asyncio.Task[Any]] = Counter()
        """How many of a task's parts do more than wait."""

    def here(self) -> _Idling:
        """The current task only waits within this block."""
        task = asyncio.current_task()
        assert task is not None, "only a task can wait"
        return _Idling(self, task)

    def begin(self, task: asyncio.Task[Any]) -> asyncio.Task[Any] | None:
        """The task only waits from now on; whose part it does, to be told to `end`."""
        whole = self._wholes.get(task)
        self.tasks.add(task)
        self._count(whole, -1)
        self.on_wait()
        return whole

    def end(self, task: asyncio.Task[Any], whole: asyncio.Task[Any] | None) -> None:
        """The task does more than wait again."""
        self.tasks.discard(task)
        self._count(whole, 1)

    @contextmanager
    def part_of(self, whole: asyncio.Task[Any]) -> Iterator[None]:
        """Within this block the current task does a part of what `whole` awaits: that one only waits while all of its
        parts do."""
        part = asyncio.current_task()
        assert part is not None, "only a task can do a part"
        self._wholes[part] = whole
        self._count(whole, 1)
        try:
            yield
        finally:
            del self._wholes[part]
            self._count(whole, -1)

    def _count(self, whole: asyncio.Task[Any] | None, change: int) -> None:
        if whole is None:
            return
        self._busy[whole] += change
        if self._busy[whole]:
            self.tasks.discard(whole)
            return
        del self._busy[whole]
        if whole in self._wholes.values():
            self.tasks.add(whole)
            self.on_wait()


class _Idling:
    """A block within which a task only waits. One is alive for each lane that waits, ten thousand of them perhaps: a
    generator would take ten times the memory."""

    __slots__ = ("_idle", "_task", "_whole")

    def __init__(self, idle: Idle, task: asyncio.Task[Any]) -> None:
        self._idle, self._task = idle, task

    def __enter__(self) -> None:
        self._whole = self._idle.begin(self._task)

    def __exit__(self, *error: object) -> None:
        self._idle.end(self._task, self._whole)


class Gate:
    """The queues of one process.

    `sleep` and `chance` (a number in [0, 1) at each call) can be replaced for tests.
    """

    def __init__(
        self,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        idle: Idle | None = None,
    ) -> None:
        self._sleep = sleep
        self._chance = chance
        self._queues: dict[str, list[_Waiter]] = {}
        self._arrivals = count()
        self.idle = idle or Idle()

    def waiting(self) -> int:
        """How many requests wait now, over all queues."""
        return sum(map(len, self._queues.values()))

    async def run(
        self,
        key: str,
        urgency: int,
        attempt: Callable[[], Awaitable[int]],
        patience: Patience | None = None,
    ) -> None:
        """Call `attempt` until it returns 0, in this request's turn among those with the same `key`.

        `attempt` returns 0 when it has passed, or the ms to wait before it is worth another try. A smaller
        `urgency` goes first. What `attempt` raises is raised here, and cancelling is safe at any moment:
        the next in the queue gets the turn. An attempt cancelled on its way may have taken its tokens; they
        are lost, not owed. With `patience` the wait can be ended (Overtaken).
        """
        arrival = patience.arrival if patience is not None else None
        rank = urgency, next(self._arrivals) if arrival is None else arrival
        queue = self._queues.get(key)
        if not queue or rank < queue[0].rank:
            wait_ms = await attempt()
            if wait_ms <= 0:
                return
        else:
            wait_ms = 0
        queue, me = self._queues.setdefault(key, []), _Waiter(rank)
        insort(queue, me)
        try:
            if patience is not None:
                patience.arrival = rank[1]
                patience.waits()
            with self.idle.here():
                await self._wait_in(queue, me, wait_ms, attempt, patience)
        finally:
            queue.remove(me)
            if queue:
                queue[0].turn.set()
            elif self._queues.get(key) is queue:
                del self._queues[key]

    async def _wait_in(
        self,
        queue: list[_Waiter],
        me: _Waiter,
        wait_ms: int,
        attempt: Callable[[], Awaitable[int]],
        patience: Patience | None,
    ) -> None:
        while True:
            while queue[0] is not me:
                me.turn.clear()
                await _bear(me.turn.wait, patience)
                wait_ms = 0  # whoever was first has just been through, or given up: ask what holds now
            if wait_ms > 0:
                extra_ms = self._chance() * min(MOST_EXTRA_MS, wait_ms / 10)
                seconds = min(wait_ms + extra_ms, MOST_SLEEP_MS) / 1_000
                await _bear(partial(self._sleep, seconds), patience)
                if queue[0] is not me:
                    continue
            wait_ms = await attempt()
            if wait_ms <= 0:
                return


async def _bear(wait: Callable[[], Awaitable[object]], patience: Patience | None) -> None:
    if patience is None:
        await wait()
    else:
        await patience.bear(wait)
