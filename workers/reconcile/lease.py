"""Who brings an account to agreement with the exchange: a lease in Redis, with how far the work is."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from common.redis import Argument, ScriptRunner
from orderlane.events import Event, encode_event
from orderlane.keys import Keys
from orderlane.reconcile_status import ReconcileState
from orderlane.standing import Cause, Standing, encode_standing, standing_field


class WorkLost(Exception):
    """Another worker is at the account by now."""


class Progress(Struct):
    """How far the work on one account is; the counts are as `ReconcileStatus` has them."""

    state: ReconcileState = ReconcileState.LISTING
    asked: int = 0
    to_ask: int = 0
    orders: int = 0
    changed: int = 0
    rebuilt: int = 0
    external: int = 0
    not_found: int = 0
    filled_further: bool = False
    """Whether orders turned out to be filled further than was known."""

    @property
    def fields(self) -> list[Argument]:
        """Field after value, as the hash takes it."""
        counts = {name: getattr(self, name) for name in _COUNTS}
        return ["state", self.state.value, *(part for pair in counts.items() for part in pair)]

    @property
    def numbers(self) -> dict[str, str]:
        """The counts, for events."""
        return {name: str(getattr(self, name)) for name in _COUNTS}


_COUNTS: Final = ("asked", "to_ask", "orders", "changed", "rebuilt", "external", "not_found")


class Offer(Struct, frozen=True):
    """Whether the work is ours; else in how many ms to ask again. `failures`: how often it failed in a row."""

    ours: bool
    wait_ms: int
    failures: int


class WorkLease:
    """One account's work, for one process."""

    def __init__(self, runner: ScriptRunner, keys: Keys, account: str, holder: str, *, lease_ms: int) -> None:
        self.account = account
        self._runner = runner
        self._keys = keys
        self._holder = holder
        self._lease_ms = lease_ms

    async def take(self) -> Offer:
        """Take the work, if nobody is at it and it need not wait.

        Raises:
            redis.exceptions.RedisError: no answer; if it was taken, it is free again when the lease ends.
        """
        ours, left_ms, failures, next_at, now_ms = await self._ask(self._lease_ms, [])
        if not ours:
            return Offer(False, int(left_ms), int(failures))
        if int(next_at) > int(now_ms):
            await self._ask(0, [])
            return Offer(False, int(next_at) - int(now_ms), int(failures))
        return Offer(True, 0, int(failures))

    async def renew(self, progress: Progress) -> None:
        """Keep the work, and note how far it is.

        Raises:
            WorkLost: it is another's.
            redis.exceptions.RedisError: no answer.
        """
        ours, *_ = await self._ask(self._lease_ms, progress.fields)
        if not ours:
            raise WorkLost(self.account)

    async def give_up(self, failures: int, next_at: int, reason: str) -> None:
        """Note that it failed, and leave it to whoever comes first after `next_at` (ms, Redis' clock)."""
        noted: list[Argument] = [
            "state", ReconcileState.FAILED.value, "failures", failures, "next_at", next_at, "reason", reason
        ]  # fmt: skip
        await self._ask(0, noted)

    async def leave(self) -> None:
        """Let others go on at once."""
        await self._ask(0, [])

    async def agreed(
        self, event: Event, seen: dict[Cause, Standing | None], progress: Progress, took_ms: int
    ) -> bool:
        """Open the account, unless it was closed anew since `seen` was; whether it was opened.

        Raises:
            redis.exceptions.RedisError: no answer; it may be open.
        """
        keys = self._keys
        stood = [
            part
            for cause in (Cause.RECONCILING, Cause.UNRECONCILED)
            for part in (standing_field(self.account, cause), _encoded(seen[cause]))
        ]
        progress.state = ReconcileState.DONE
        done = await self._runner.run(
            "end_reconcile",
            [keys.standings, keys.events, keys.reconcile(self.account)],
            [self._holder, *stood, encode_event(event), *progress.fields, "took_ms", took_ms],
        )
        return bool(done)

    async def _ask(self, lease_ms: int, noted: list[Argument]) -> list[int]:
        answer: list[int] = await self._runner.run(
            "hold_reconcile", [self._keys.reconcile(self.account)], [self._holder, lease_ms, *noted]
        )
        return answer


def _encoded(standing: Standing | None) -> bytes:
    return encode_standing(standing) if standing else b""
