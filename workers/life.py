"""One life of an exchange worker: from joining under a new id until the process stops or the lease is lost.

The loop is: renew and take, start a task for each lane given, sleep until the intents stream or the bell moves.
Sleeping consumes nothing (XREAD, from the last id seen), so a lost reply or a timeout there is harmless.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from typing import Any, Final

import redis.asyncio
from redis.exceptions import RedisError

from common import failpoints
from common.lanes import RETRY_SECONDS, Hold, LeaseLost, Taken
from workers.desk import Desk, Stopping, log
from workers.lane import run_lane

CANCEL_AGAIN_SECONDS: Final = 0.2


class Life:
    """Takes lanes for `desk` and runs them, at most `lanes` at once. `bell` is a connection for blocking reads."""

    def __init__(self, desk: Desk, bell: redis.asyncio.Redis, *, lanes: int, heartbeat_ms: int) -> None:
        self._desk = desk
        self._bell = bell
        self._lanes = lanes
        self._heartbeat_ms = heartbeat_ms
        self._running: set[asyncio.Task[None]] = set()
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
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
        idle = [task for task in self._running if task not in self._desk.in_request]
        await cancel_all(idle)
        if self._running:
            await asyncio.wait(self._running, timeout=grace_seconds)
        await cancel_all([*self._running, *([self._renewing] if self._renewing else [])])
        await self.leave()

    async def leave(self) -> None:
        """Give every lane back; nothing of this life may run any more."""
        try:
            failpoints.reach("release.before")
            freed = await self._desk.dispatcher.release_all()
            failpoints.reach("release.answered")
        except RedisError as error:
            log.warning(
                "lanes could not be given back; they move when the lease ends", extra={"reason": str(error)}
            )
        else:
            log.info(
                "left the pool", extra={"worker": self._desk.dispatcher.worker_id, "lanes_released": freed}
            )

    async def _take_loop(self) -> None:
        attempts = 0
        while True:
            want = self._lanes - len(self._running)
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
            if len(self._running) >= self._lanes:
                await asyncio.wait(
                    self._running, timeout=self._heartbeat_ms / 1000, return_when=asyncio.FIRST_COMPLETED
                )
            elif not taken.more:
                await self._wait_for_work()

    def _start(self, taken: Taken) -> None:
        if taken.reaped:
            failpoints.reach("reap.done")
            log.warning("took over from workers that are gone", extra={"workers": taken.reaped})
        self._seen = (_later(self._seen[0], taken.last_intent), _later(self._seen[1], taken.last_bell))
        for hold in taken.runs:
            task = asyncio.create_task(self._run(hold))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

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

    async def _wait_for_work(self) -> None:
        keys = self._desk.dispatcher.keys
        try:
            await self._bell.xread(
                {keys.intents: self._seen[0], keys.bell: self._seen[1]}, count=1, block=self._heartbeat_ms
            )
        except RedisError:
            await asyncio.sleep(RETRY_SECONDS[0])

    async def _heartbeat_loop(self) -> None:
        for turn in itertools.count():
            await asyncio.sleep(self._heartbeat_ms / 1000)
            if self._desk.dispatcher.seconds_since_renewal() < self._heartbeat_ms / 2000:
                continue
            try:
                await self._desk.dispatcher.heartbeat()
            except RedisError as error:
                self._desk.dispatcher.require_lease()
                log.warning("heartbeat without an answer", extra={"turn": turn, "reason": str(error)})


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
