"""The standings of one exchange as a worker sees them: what holds its accounts now, and how that is changed.

What stands is read with each take and each heartbeat (the scripts return it), so asking costs no call. Between two of
them a worker may not know yet what another has declared: for `worker.heartbeat_ms` at most.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import redis.asyncio

from common import failpoints
from orderlane.keys import Keys
from orderlane.orders import Reason
from orderlane.scripts import script
from orderlane.standing import (
    ANY,
    Cause,
    Standing,
    decode_standings,
    holding,
    lift_arguments,
    put_arguments,
)

_DRAWS: Final = 2**64


class Standings:
    """What holds the accounts of one exchange, by the last look, and the changes this process makes.

    `client` may be any client of the pool's Redis; its calls may raise redis.exceptions.RedisError.
    """

    def __init__(self, client: redis.asyncio.Redis, keys: Keys) -> None:
        self._client: Any = client
        self._keys = keys
        self._named = [keys.standings, keys.events]
        self._fields: dict[bytes, bytes] = {}
        self._standings: list[Standing] = []
        self._ahead_ms = 0
        self._changed = asyncio.Event()

    async def refresh(self) -> None:
        """Look now.

        Raises:
            redis.exceptions.RedisError: no answer; what was known stands.
        """
        now_ms, flat = await script("read_standings").run_async(self._client, [self._keys.standings], [])
        self.heed(dict(zip(flat[::2], flat[1::2], strict=True)), int(now_ms))

    def heed(self, fields: Mapping[bytes, bytes], now_ms: int) -> None:
        """Take in the hash as a script returned it, at `now_ms` by Redis' clock."""
        self._ahead_ms = now_ms - int(time.monotonic() * 1000)
        if fields != self._fields:
            self._fields = dict(fields)
            self._standings = decode_standings(fields)
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    def now_ms(self) -> int:
        """Redis' clock, as this process estimates it since its last look."""
        return int(time.monotonic() * 1000) + self._ahead_ms

    async def changed(self) -> None:
        """Wait until a look finds something else than the last one."""
        await self._changed.wait()

    def all(self) -> list[Standing]:
        """Everything that stands, the widest first."""
        return list(self._standings)

    def find(self, scope: str, cause: Cause) -> Standing | None:
        """One standing, by the last look."""
        return next((one for one in self._standings if one.scope == scope and one.cause is cause), None)

    def holding(self, account: str, intent_id: str = "") -> Standing | None:
        """Why new placements of the account must wait now; None: they may go.

        With an intent's id it speaks for that placement, which may be among the share that a recovery lets through;
        without one for whoever is not.
        """
        if not self._standings:
            return None
        return holding(self._standings, account, self.now_ms(), draw_of(intent_id) if intent_id else 1.0)

    async def put(self, standing: Standing, *, seen: Standing | str | None = ANY) -> bool:
        """Declare a standing, or change it; whether that changed anything. Its event is appended with it.

        `since_ms` of what stands already is kept. `seen`: change it only where this is what stands there now (None:
        nothing does); by default, whatever does.

        Raises:
            redis.exceptions.RedisError: no answer; it may have been written, and putting it again does no harm.
        """
        before = self.find(standing.scope, standing.cause)
        since_ms = before.since_ms if before else standing.since_ms or self.now_ms()
        standing = msgspec.structs.replace(standing, since_ms=since_ms)
        arguments = put_arguments(standing, self._keys.exchange, self.now_ms(), seen)
        failpoints.reach("standing.before")
        written = await script("put_standing").run_async(self._client, self._named, arguments)
        failpoints.reach("standing.written")
        await self.refresh()
        return bool(written)

    async def lift(
        self, scope: str, cause: Cause, *, reason: Reason | None = None, seen: Standing | str | None = ANY
    ) -> bool:
        """End a standing; whether there was one (and, with `seen`, the one that was seen).

        `reason` is told by the event; by default that of the standing itself.

        Raises:
            redis.exceptions.RedisError: no answer; it may be lifted, and lifting it again does no harm.
        """
        before = self.find(scope, cause)
        if before is None:
            await self.refresh()
            before = self.find(scope, cause)
        if before is None:
            return False
        lifted = msgspec.structs.replace(before, reason=reason or before.reason)
        arguments = lift_arguments(lifted, self._keys.exchange, self.now_ms(), seen)
        failpoints.reach("standing.before")
        done = await script("lift_standing").run_async(self._client, self._named, arguments)
        failpoints.reach("standing.written")
        await self.refresh()
        return bool(done)


def draw_of(intent_id: str) -> float:
    """The number in [0, 1) that an intent has in every worker, and for good: who is first in a recovery."""
    digest = hashlib.blake2b(intent_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest) / _DRAWS
