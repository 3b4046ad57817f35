"""One life of an exchange worker: from joining under a new id until the process stops or the lease is lost.

The loop is: renew and take, start a task for each lane given, sleep until the intents stream or the bell moves, or
until the lease of another worker that has lanes may have ended: its lanes are to be taken over then. Sleeping consumes
nothing (XREAD, from the last id seen), so a lost reply or a timeout there is harmless.

After a take that left no lane over, another worker can only get lanes by what moves the stream or the bell. So whoever
sleeps knows of every lease it has to watch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import RedisError

from common import failpoints
from common.bell import Bell
from common.lanes import RETRY_SECONDS, Hold, LeaseLost, Taken
from workers.desk import Desk, Stopping, log
from workers.lane import run_lane

CANCEL_AGAIN_SECONDS: Final = 0.2
RELEASES: Final = 4
"""How often giving lanes back is tried; afterwards the end of the lease frees them."""
LONGEST_SLEEP_MS: Final = 9_000
"""How long one blocking read lasts where nothing is to be watched: the connection for it may be dead for as long."""
LEASE_OVER_MS: Final = 2
"""How long after its end a lease is looked at: by Redis' clock in whole ms, it lives for all of its last one."""


class Life:
    """Takes lanes for `desk` and runs them, at most `lanes` at once. `bell` is what it sleeps by.

    A lane that only waits, for tokens or before it asks again, doesn't count among these: else an account with more
    lanes than tokens would hold what the lanes of others need.
    """

    def __init__(self, desk: Desk, bell: Bell, *, lanes: int, heartbeat_ms: int) -> None:
        self._desk = desk
        self._bell = bell
        self._freed = asyncio.Event()
        """Set when a lane has ended or begun to wait."""
        desk.idle.on_wait = self._freed.set
        self._lanes = lanes
        self._heartbeat_ms = heartbeat_ms
        self._running: set[asyncio.Task[None]] = set()
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._has_lanes = asyncio.Event()
        self._seen = ("0-0", "0-0")
        self._renewing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Live until the desk is stopping.

        Raises:
            LeaseLost: this id is over; every lane task has been cancelled, nothing more is written.
        """
        taking = asyncio.create_task(self._take_loop())
        self._renewing = asyncio.create_task(self._heartbeat_loop())
        loops = [taking, self._renewing]
        stopping = asyncio.create_task(self._desk.stopping.wait())
        try:
            ends: list[asyncio.Future[Any]] = [*loops, stopping, self._lost]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                for loop in loops:
                    if loop.done():
                        loop.result()
                self._lost.result()
        finally:
            stopping.cancel()
            await cancel_all([taking])
            if not self._desk.stopping.is_set():
                await cancel_all([self._renewing, *self._running])

    async def shut_down(self, grace_seconds: float) -> None:
        """Let requests under way finish (up to the grace time), leave the rest as it is, and give every lane back.

        The lease is renewed meanwhile: a request may take longer than it.
        """
        desk = self._desk
        idle = [task for task in self._running if task not in desk.in_request or task in desk.idle.tasks]
        await cancel_all(idle)
        if self._running:
            await asyncio.wait(self._running, timeout=grace_seconds)
        await cancel_all([*self._running, *([self._renewing] if self._renewing else [])])
        await self.leave()

    async def leave(self) -> None:
        """Give every lane back; nothing of this life may run any more."""
        dispatcher = self._desk.dispatcher
        for attempt in range(RELEASES):
            try:
                failpoints.reach("release.before")
                freed = await dispatcher.release_all()
                failpoints.reach("release.answered")
            except RedisError as error:
                if attempt + 1 < RELEASES:
                    await asyncio.sleep(RETRY_SECONDS[attempt])
                    continue
                log.warning(
                    "lanes could not be given back; they move when the lease ends",
                    extra={"reason": str(error)},
                )
            else:
                log.info("left the pool", extra={"worker": dispatcher.worker_id, "lanes_released": freed})
                return

    async def _take_loop(self) -> None:
        attempts = 0
        while True:
            want = self._free_lanes()
            self._freed.clear()
            try:
                taken = await self._desk.dispatcher.take(want)
            except RedisError as error:
                log.warning("Redis did not answer; nothing is sent meanwhile", extra={"reason": str(error)})
                await asyncio.sleep(RETRY_SECONDS[min(attempts, len(RETRY_SECONDS) - 1)])
                attempts += 1
                self._desk.dispatcher.require_lease()
                continue
            attempts = 0
            self._start(taken)
            if taken.more:
                continue  # others' intents may be behind what one account has appended: each is to get to its lane
            if self._free_lanes():
                if len(taken.runs) < want:  # else there may be lanes left over, of which nothing would tell
                    await self._wait_for_work(taken.next_end_ms)
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._freed.wait(), self._heartbeat_ms / 1000)

    def _free_lanes(self) -> int:
        """How many lanes more it may be at work on."""
        return max(self._lanes - len(self._running - self._desk.idle.tasks), 0)

    def _start(self, taken: Taken) -> None:
        if taken.reaped:
            failpoints.reach("reap.done")
            log.warning("took over from workers that are gone", extra={"workers": taken.reaped})
        self._seen = (_later(self._seen[0], taken.last_intent), _later(self._seen[1], taken.last_bell))
        for hold in taken.runs:
            task = asyncio.create_task(self._run(hold))
            self._running.add(task)
            self._has_lanes.set()
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._freed.set()
        if not self._running:
            self._has_lanes.clear()

    async def _run(self, hold: Hold) -> None:
        try:
            await run_lane(self._desk, hold)
        except LeaseLost as error:
            if not self._lost.done():
                self._lost.set_exception(error)
        except Stopping:
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, the next life starts clean
            log.error("a lane could not be run on; starting over", exc_info=error, extra={"lane": hold.lane})
            if not self._lost.done():
                self._lost.set_exception(error)

    async def _wait_for_work(self, next_end_ms: int) -> None:
        dispatcher = self._desk.dispatcher
        keys, block_ms = dispatcher.keys, sleep_ms(next_end_ms, dispatcher.redis_now_ms())
        try:
            await self._bell.wait({keys.intents: self._seen[0], keys.bell: self._seen[1]}, block_ms)
        except (RedisError, OSError):
            await asyncio.sleep(RETRY_SECONDS[0])

    async def _heartbeat_loop(self) -> None:
        """Renew the lease where no take did for a while: often while lanes run, seldom while there are none."""
        while True:
            await self._wait_for_renewal()
            idle = not self._running
            try:
                renewed = await self._desk.dispatcher.heartbeat(idle=idle)
            except RedisError as error:
                self._desk.dispatcher.require_lease()
                log.warning("heartbeat without an answer", extra={"reason": str(error)})
                if idle:
                    # It may sleep on a connection as dead as this one, and has nothing to lose by starting over.
                    raise LeaseLost(self._desk.dispatcher.worker_id) from error
                renewed = False
            if not renewed:
                await asyncio.sleep(self._heartbeat_ms / 1000)

    async def _wait_for_renewal(self) -> None:
        while True:
            dispatcher = self._desk.dispatcher
            # A lane that has just ended leaves the lease that it was given with: one of ordinary length.
            period_ms = self._heartbeat_ms * (1 if self._running else dispatcher.leases_given())
            left = period_ms / 1000 - dispatcher.seconds_since_renewal()
            if left <= 0:
                return
            if self._running:
                await asyncio.sleep(left)
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._has_lanes.wait(), left)


def sleep_ms(next_end_ms: int, now_ms: int) -> int:
    """How long a worker with nothing to do may sleep: until the first lease of others with lanes (0: none) is over."""
    if not next_end_ms:
        return LONGEST_SLEEP_MS
    return max(LEASE_OVER_MS, min(next_end_ms + LEASE_OVER_MS - now_ms, LONGEST_SLEEP_MS))


def _later(one: str, other: str) -> str:
    """The greater of two stream ids."""
    return max(one, other, key=lambda text: tuple(int(part) for part in text.split("-")))


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end, however often it takes.

    Before Python 3.12 `asyncio.wait_for`, in which redis-py sends, returns its result instead of a cancellation that
    comes at that very moment: the task then goes on as if nobody had asked it to stop.
    """
    every = list(tasks)
    pending = set(every)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*every, return_exceptions=True)
