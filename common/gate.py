"""Who of one process asks next: lanes told to wait do so here, not by asking Redis again and again.

Requests for the same set of buckets share a queue, ordered by urgency and then arrival. As long as nobody
waits, everybody asks at once. Of those told to wait only the first asks again, when its time has come; it
passes the turn on when it is through. So 64 waiting lanes cost Redis as much as one.
"""

from __future__ import annotations

import asyncio
import random
from bisect import insort
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final

MOST_EXTRA_MS: Final = 25
"""Processes that were told the same wait come back spread over up to this long (a tenth of a shorter
wait)."""
MOST_SLEEP_MS: Final = 5_000
"""Whoever is first asks at least this often: an operator may have opened what was shut."""


class _Waiter:
    def __init__(self, urgency: int, arrival: int) -> None:
        self.rank = (urgency, arrival)
        self.turn = asyncio.Event()

    def __lt__(self, other: _Waiter) -> bool:
        return self.rank < other.rank


class Gate:
    """The queues of one process.

    `sleep` and `chance` (a number in [0, 1) at each call) can be replaced for tests.
    """

    def __init__(
        self,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._sleep = sleep
        self._chance = chance
        self._queues: dict[str, list[_Waiter]] = {}
        self._arrivals = count()

    def waiting(self) -> int:
        """How many requests wait now, over all queues."""
        return sum(map(len, self._queues.values()))

    async def run(self, key: str, urgency: int, attempt: Callable[[], Awaitable[int]]) -> None:
        """Call `attempt` until it returns 0, in this request's turn among those with the same `key`.

        `attempt` returns 0 when it has passed, or the ms to wait before it is worth another try. A smaller
        `urgency` goes first. What `attempt` raises is raised here, and cancelling is safe at any moment:
        the next in the queue gets the turn. An attempt cancelled on its way may have taken its tokens; they
        are lost, not owed.
        """
        me = _Waiter(urgency, next(self._arrivals))
        queue = self._queues.get(key)
        if not queue or me < queue[0]:
            wait_ms = await attempt()
            if wait_ms <= 0:
                return
        else:
            wait_ms = 0
        queue = self._queues.setdefault(key, [])
        insort(queue, me)
        try:
            await self._wait_in(queue, me, wait_ms, attempt)
        finally:
            queue.remove(me)
            if queue:
                queue[0].turn.set()
            elif self._queues.get(key) is queue:
                del self._queues[key]

    async def _wait_in(
        self, queue: list[_Waiter], me: _Waiter, wait_ms: int, attempt: Callable[[], Awaitable[int]]
    ) -> None:
        while True:
            while queue[0] is not me:
                me.turn.clear()
                await me.turn.wait()
                wait_ms = 0  # whoever was first has just been through, or given up: ask what holds now
            if wait_ms > 0:
                extra_ms = self._chance() * min(MOST_EXTRA_MS, wait_ms / 10)
                await self._sleep(min(wait_ms + extra_ms, MOST_SLEEP_MS) / 1_000)
                if queue[0] is not me:
                    continue
            wait_ms = await attempt()
            if wait_ms <= 0:
                return
