"""The shared token buckets, from asyncio: wait for tokens, shut a scope after a 429, heed the venue's counts.

Every worker of an exchange uses the same buckets in Redis, so all together keep a limit. A claim over
several buckets is granted as a whole or not at all, and by Redis' clock alone. While Redis can't be reached
nothing is granted.

Not promised: fairness between processes, and between requests for different sets of buckets. A dear request
(all open orders: weight 80) can wait long while many cheap ones keep an address' bucket low.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Protocol

from common.buckets import SLOW_START_MS
from common.claims import Ceiling, Claim, Claims
from common.exchange.base import Usage
from common.gate import Gate, Patience


class RunScript(Protocol):
    """Runs `common/lua/<name>.lua` and returns its reply: `ScriptRunner.run`."""

    async def __call__(self, name: str, keys: Sequence[str], arguments: Sequence[int], /) -> Any: ...


class Limiter:
    """The buckets of one exchange, for all lanes of one process. Every method may raise what `run` raises.

    `gate` is shared with whoever acquires in a script of its own: `gate.run(claim.gate, urgency, attempt)`,
    where `attempt` returns what that script's `buckets_acquire` returned.
    """

    def __init__(self, run: RunScript, claims: Claims, gate: Gate | None = None) -> None:
        self.claims = claims
        self.gate = gate or Gate()
        self._run = run

    async def acquire(self, claim: Claim, urgency: int, patience: Patience | None = None) -> None:
        """Wait until the claim's tokens are taken. Among those that wait, a smaller `urgency` goes first.

        Send at once after it: the limit is kept by when requests leave. If the reply of Redis is lost the
        tokens may be gone; asking again takes others, which errs to the safe side.

        Raises:
            Overtaken: the wait was ended by its `patience`; no token is taken.
        """
        await self.gate.run(claim.gate, urgency, partial(self.ask, claim), patience)

    async def ask(self, claim: Claim) -> int:
        """Take the tokens now and return 0, or take none and return the ms to wait."""
        wait_ms, _ = await self._run("acquire", claim.keys, claim.arguments)
        return int(wait_ms)

    async def close(self, scope: str, for_ms: int) -> int:
        """Let no worker send anything in a scope (`ip` or an account) for a while: the venue's 429 or 418.

        Requests of an account wait for its own scope and for `ip`. Afterwards buckets restart empty. A
        shorter time than one already set changes nothing. Returns until when, ms by Redis TIME.
        """
        return int(
            await self._run("penalty", [self.claims.penalty_key(scope)], [max(0, for_ms), SLOW_START_MS])
        )

    async def note(self, usages: Iterable[Usage], account: str, venue_ms: int) -> int:
        """Heed what a reply's headers say is used (`ceilings`, then `lower`); how many buckets were lowered."""
        return await self.lower(self.ceilings(usages, account, venue_ms))

    def ceilings(self, usages: Iterable[Usage], account: str, venue_ms: int) -> list[Ceiling]:
        """How far a reply's headers lower the buckets of this address and of the account that asked: mostly not at all.

        `account` may be empty: then the account's counts are passed over. `venue_ms`: the venue's clock when
        the reply came.
        """
        return [ceiling for usage in usages if (ceiling := self.claims.ceiling(usage, account, venue_ms))]

    async def lower(self, ceilings: Sequence[Ceiling]) -> int:
        """Bring the buckets down to these; how many held more. Without any, Redis is not asked."""
        if not ceilings:
            return 0
        keys = [key for ceiling in ceilings for key in ceiling.keys]
        arguments = [argument for ceiling in ceilings for argument in ceiling.arguments]
        return int(await self._run("bucket_sync", keys, arguments))
