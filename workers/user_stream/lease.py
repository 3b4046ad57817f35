"""Who holds an account's user stream: a lease in Redis, renewed while it is held, over at the latest when it ends."""

from __future__ import annotations

import time
from typing import Final

from msgspec import Struct

from common.redis import ScriptRunner
from orderlane.keys import Keys

CONNECTING: Final = "connecting"
BACKFILLING: Final = "backfilling"
LIVE: Final = "live"


class StreamLost(Exception):
    """The account's stream is another worker's, or may be: nothing more is noted for it."""

    def __init__(self, account: str) -> None:
        super().__init__(f"the hold on the user stream of account {account!r} is over")


class Held(Struct, frozen=True):
    """An answer about the lease: whether it is ours, else how much longer it is another's, ms.

    `complete_until`: until when everything was known to be in the journal, ms by the exchange's clock; 0: nobody ever
    held it.
    """

    ours: bool
    left_ms: int
    complete_until: int


class StreamLease:
    """One account's lease, for one holder. `redis_now_ms` is known after the first answer."""

    def __init__(
        self,
        runner: ScriptRunner,
        keys: Keys,
        account: str,
        holder: str,
        *,
        lease_ms: int,
        retention_ms: int,
    ) -> None:
        self.account = account
        self.holder = holder
        self.key = keys.stream(account)
        self.lease_ms = lease_ms
        self._runner = runner
        self._retention_ms = retention_ms
        self._ends_at = float("-inf")
        self._redis_ahead_ms = 0.0
        self._state, self._since_ms, self._reported = CONNECTING, 0, 0

    async def take(self) -> Held:
        """Take the lease if nobody else has it.

        Raises:
            redis.exceptions.RedisError: no answer; if it was taken, it ends by itself.
        """
        self._state, self._since_ms, self._reported = CONNECTING, 0, 0
        return await self._hold(0, 0)

    async def renew(self, last_message_at: int, complete_until: int) -> bool:
        """Keep the lease and note how far the stream has come; False when Redis knows less than it was told before.

        Raises:
            StreamLost: it is another's by now.
            redis.exceptions.RedisError: no answer.
        """
        held = await self._hold(last_message_at, complete_until)
        if not held.ours:
            self._ends_at = float("-inf")
            raise StreamLost(self.account)
        remembers = held.complete_until >= self._reported
        self._reported = max(complete_until, held.complete_until)
        return remembers

    def enter(self, state: str) -> None:
        """Say what is being done; the next renewal notes it."""
        self._state, self._since_ms = state, self.redis_now_ms()

    def require(self) -> None:
        """Raise StreamLost unless the lease still runs, by the monotonic clock."""
        if time.monotonic() >= self._ends_at:
            raise StreamLost(self.account)

    def seconds_left(self) -> float:
        """How much of the lease is left."""
        return self._ends_at - time.monotonic()

    def redis_now_ms(self) -> int:
        """Redis' clock, as this process estimates it."""
        return int(time.monotonic() * 1000 + self._redis_ahead_ms)

    async def give_up(self) -> None:
        """Let others have it at once.

        Raises:
            redis.exceptions.RedisError: no answer; it ends by itself.
        """
        self._ends_at = float("-inf")
        await self._ask(0, 0, 0)

    async def _hold(self, last_message_at: int, complete_until: int) -> Held:
        asked_at = time.monotonic()
        held = await self._ask(self.lease_ms, last_message_at, complete_until)
        if held.ours:
            self._ends_at = asked_at + self.lease_ms / 1000
        return held

    async def _ask(self, lease_ms: int, last_message_at: int, complete_until: int) -> Held:
        ours, _, left_ms, complete, now_ms = await self._runner.run(
            "hold_stream",
            [self.key],
            [
                self.holder, lease_ms, self._retention_ms, self._state, self._since_ms, last_message_at,
                complete_until,
            ],
        )  # fmt: skip
        self._redis_ahead_ms = int(now_ms) - time.monotonic() * 1000
        return Held(bool(ours), int(left_ms), int(complete))
