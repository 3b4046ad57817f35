"""Dispatch: how a worker gets lanes to run, keeps its lease, and gives them back.

A worker id is new at each start (`host:pid:random`) and never returns once its lease has ended: equality of
`worker id#grant` with the lane's owner is the whole fence. What is decided here is decided inside Redis, by the
scripts; this module keeps the worker's own side of it: its lease by the monotonic clock, its count of grants,
and what to do when a reply is lost.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from redis.exceptions import RedisError

from common import failpoints
from common.redis import REPLY_LOST, Argument, ScriptRunner
from orderlane.keys import Keys

READ_COUNT: Final = 64
"""New stream entries sorted into lanes by one call of take: bounds how long it holds Redis."""
LEASE_USE: Final = 0.95
"""The part of the lease a worker relies on: its clock and Redis' need not run at the same speed."""
IDLE_LEASES: Final = 4
"""How many times as long as usual the lease of a worker without lanes is: nobody waits for what it holds."""
RETRY_SECONDS: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

LEASE_LOST_MESSAGE: Final = (
    "the lease ended before it was renewed (Redis was away, or this process stood still): other workers run its "
    "lanes now, so it writes nothing more and starts over under a new id"
)


Heed = Callable[[Mapping[bytes, bytes], Mapping[bytes, bytes], int], None]
"""Takes in the hashes of standings and of disabled strategies, and Redis TIME in ms."""


class LeaseLost(Exception):
    """This worker id is over. Nothing it still holds may be sent or written."""

    def __init__(self, worker_id: str) -> None:
        super().__init__(f"worker {worker_id}: {LEASE_LOST_MESSAGE}")


class RedisForgot(LeaseLost):
    """Redis may have rolled back what this worker gave up, and hold it the owner of a lane that it no longer runs: the
    id must leave the pool, so that every lane it owns there becomes free."""

    def __str__(self) -> str:
        return "Redis was restarted or failed over: this worker gives back what it owns there and starts over"


class Hold(Struct, frozen=True, kw_only=True):
    """One lane's head entry, in the hands of this worker: nobody else may send for this lane.

    `rank` is `!` when the entry has begun before (a replay), else its urgency, `0` to `9`. `deaths` counts
    the workers that died with this entry in hand. `fields` are the stream entry's, empty when someone deleted it.
    """

    lane: str
    owner: str
    rank: str
    entry: str
    deaths: int
    fields: tuple[bytes, ...]
    again: bool = False
    """This worker has tried it before in this life, so its record must be read first."""
    news: bool = False
    """Something has arrived in the lane that is worth a look before anything is sent for it."""

    @property
    def begun(self) -> bool:
        """Whether a request may have been sent for it already."""
        return self.rank == "!" or self.again

    @property
    def entry_ms(self) -> int:
        """When Redis accepted the entry: the first part of its stream id."""
        return int(self.entry.partition("-")[0])


class Doubt(Struct, frozen=True):
    """Since when, and for entries up to which time, the journal may have been rolled back; zeros when never."""

    since_ms: int = 0
    before_ms: int = 0

    def covers(self, hold: Hold) -> bool:
        return hold.entry_ms <= self.before_ms


class Taken(Struct, frozen=True, kw_only=True):
    """The answer of one take: the runs given, where the streams end, how many dead workers it buried, whether the
    stream may hold more entries that no lane has yet, and when the first lease of another worker that has lanes ends
    (ms by Redis' clock; 0: no other has any): whoever has nothing to do looks again then."""

    runs: tuple[Hold, ...]
    last_intent: str
    last_bell: str
    reaped: int
    more: bool
    next_end_ms: int


def lane_keys(keys: Keys) -> list[str]:
    """The keys every script that moves lanes declares, in its order."""
    return [
        keys.intents, keys.waiting, keys.owners, keys.ready, keys.workers, keys.load, keys.hungry, keys.grants,
        keys.bell, keys.parked, keys.drained,
    ]  # fmt: skip


def _as_hash(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def new_worker_id() -> str:
    """`host:pid:random`, never drawn twice; without `#`, which parts it from the grant."""
    host = "".join(c if c.isalnum() or c in "-_." else "-" for c in socket.gethostname())[:40]
    return f"{host}:{os.getpid()}:{secrets.token_hex(6)}"


def read_run(run: Sequence[Any], owner: str) -> Hold | None:
    """A script's run `{lane, rank, entry, deaths, fields, news}` as a Hold; None for `{}`, a lane that was freed."""
    if not run:
        return None
    lane, rank, entry, deaths, fields, news = run
    return Hold(
        lane=lane.decode(), owner=owner, rank=rank.decode(), entry=entry.decode(), deaths=int(deaths),
        fields=tuple(fields), news=bool(news),
    )  # fmt: skip


class Dispatcher:
    """One worker id's side of dispatch. After `LeaseLost` it is of no more use: make a new one."""

    def __init__(
        self,
        runner: ScriptRunner,
        keys: Keys,
        *,
        lease_ms: int,
        heed: Heed = lambda standings, disabled, now_ms: None,
    ) -> None:
        """`heed` is told, with each take and each heartbeat, what holds new placements back."""
        self._heed = heed
        self.worker_id = new_worker_id()
        self.keys = keys
        self.doubt = Doubt()
        self._runner = runner
        self._lease_ms = lease_ms
        self._renewed(time.monotonic(), lease_ms)
        self._server_changes = runner.server_changes
        self._grant = 0
        self._joined = False
        self._join_until_ms = 0
        self._clock_offset_ms = 0

    def owner(self, grant: int | None = None) -> str:
        return f"{self.worker_id}#{self._grant if grant is None else grant}"

    def lease_lives(self) -> bool:
        """Whether the lease certainly lives, by the monotonic clock (it runs on while a process is stopped)."""
        return time.monotonic() < self._lease_until

    def require_lease(self) -> None:
        """Raise LeaseLost unless the lease certainly lives: to be called right before anything leaves this process."""
        self.require_server()
        if not self.lease_lives():
            raise LeaseLost(self.worker_id)

    def require_server(self) -> None:
        """Raise RedisForgot when another Redis server answers than the one at which this worker joined the pool."""
        if self._joined and self._runner.server_changes != self._server_changes:
            raise RedisForgot(self.worker_id)

    def seconds_since_renewal(self) -> float:
        """How long ago the last renewal that succeeded was asked for."""
        return time.monotonic() - self._renewed_at

    def leases_given(self) -> float:
        """How long it renewed the lease for, in ordinary leases: 1, or `IDLE_LEASES` for a worker without lanes."""
        return self._given_ms / self._lease_ms

    def redis_now_ms(self) -> int:
        """Redis' clock as last seen plus what has passed since: the clock of deadlines, the same for all workers."""
        return int(time.monotonic() * 1000) + self._clock_offset_ms

    async def take(self, want: int) -> Taken:
        """Renew the lease, and get up to `want` lanes.

        Raises:
            LeaseLost: the lease has ended; nothing was given.
            RedisForgot: Redis was restarted or failed over since this worker joined.
            redis.exceptions.RedisError: no answer; what it may have given has been released again.
        """
        self.require_server()
        self._grant += 1
        if not self._joined:
            self._join_until_ms = await self._redis_time_ms() + self._lease_ms
        asked_at = time.monotonic()
        failpoints.reach("take.before")
        try:
            answer = await self._runner.run(
                "take",
                [
                    *lane_keys(self.keys),
                    self.keys.control,
                    self.keys.unseen,
                    self.keys.unread,
                    self.keys.standings,
                    self.keys.notes,
                    self.keys.disabled,
                ],
                [
                    self.worker_id,
                    self._grant,
                    want,
                    self._lease_ms,
                    "" if self._joined else self._join_until_ms,
                    READ_COUNT,
                    self._lease_ms * IDLE_LEASES,
                ],
            )
        except (RedisError, OSError):
            # A script that failed halfway (a foreign value under one of our keys) has given lanes all the same.
            await self._release_grant(self._grant)
            raise
        if answer[0] != b"ok":
            raise LeaseLost(self.worker_id)
        failpoints.reach("take.answered")
        (
            _,
            now,
            last_intent,
            last_bell,
            doubt_from,
            doubt_before,
            reaped,
            read,
            lease,
            next_end,
            standings,
            disabled,
            *runs,
        ) = answer
        self._heed(_as_hash(standings), _as_hash(disabled), int(now))
        self._renewed(asked_at, int(lease))
        self._clock_offset_ms = int(now) - int(asked_at * 1000)
        doubt = Doubt(int(doubt_from), int(doubt_before))
        if self._joined and doubt != self.doubt:
            raise RedisForgot(self.worker_id)
        self._joined, self.doubt = True, doubt
        holds = [read_run(run, self.owner()) for run in runs]
        return Taken(
            runs=tuple(hold for hold in holds if hold is not None),
            last_intent=last_intent.decode(),
            last_bell=last_bell.decode(),
            reaped=int(reaped),
            more=int(read) >= READ_COUNT,
            next_end_ms=int(next_end),
        )

    async def heartbeat(self, *, idle: bool = False) -> bool:
        """Renew the lease; for longer than usual when the worker runs no lane (`idle`), and Redis agrees.

        Returns False when there is none to renew yet.

        Raises:
            LeaseLost: it had ended.
            redis.exceptions.RedisError: no answer; the lease may have been renewed, but must not be relied on.
        """
        asked_at, grant = time.monotonic(), self._grant
        failpoints.reach("heartbeat.before")
        given, now, standings, disabled = await self._runner.run(
            "heartbeat",
            [self.keys.workers, self.keys.load, self.keys.standings, self.keys.disabled],
            [self.worker_id, self._lease_ms, self._lease_ms * (IDLE_LEASES if idle else 1)],
        )
        failpoints.reach("heartbeat.answered")
        self._heed(_as_hash(standings), _as_hash(disabled), int(now))
        if not given and self._joined:
            raise LeaseLost(self.worker_id)
        if given:
            # A take asked for in the meantime may have given lanes, and the shorter lease that goes with them.
            self._renewed(asked_at, int(given) if grant == self._grant else self._lease_ms)
        return bool(given)

    async def release_all(self) -> int:
        """Give every lane back and leave the pool; how many lanes that were. Nothing may be sent afterwards."""
        self._lease_until = 0.0
        return int(await self._runner.run("release", lane_keys(self.keys), [self.worker_id, "all", 0]))

    async def _redis_time_ms(self) -> int:
        seconds, microseconds = await self._runner.client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def _renewed(self, asked_at: float, lease_ms: int) -> None:
        self._renewed_at, self._given_ms = asked_at, lease_ms
        self._lease_until = asked_at + lease_ms / 1000 * LEASE_USE

    async def _release_grant(self, grant: int) -> None:
        """Undo a take whose answer was lost, and refuse it should it arrive late; repeated until answered."""
        for attempt in range(1_000_000):
            self.require_lease()
            try:
                await self._runner.run(
                    "release",
                    lane_keys(self.keys),
                    [self.worker_id, grant, 0 if self._joined else self._join_until_ms],
                )
                return
            except REPLY_LOST:
                await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            except RedisError as error:
                # It will not come to pass, and the lanes would wait for as long as this worker id lives.
                raise LeaseLost(self.worker_id) from error


async def ask_until_answered(
    runner: ScriptRunner,
    dispatcher: Dispatcher,
    script: str,
    keys: Sequence[str],
    arguments: Sequence[Argument],
) -> Any:
    """Run a script that is safe to repeat until it answers.

    Raises:
        LeaseLost: no answer came while the lease certainly lived.
    """
    for attempt in itertools.count():
        dispatcher.require_server()
        try:
            return await runner.run(script, keys, arguments)
        except REPLY_LOST:
            dispatcher.require_lease()
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
    raise AssertionError("unreachable")
