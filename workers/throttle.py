"""The shared limits as the pipeline meets them: wait for tokens, pause everybody after a 429, heed reply headers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from redis.exceptions import RedisError

from common.claims import Ceiling, Claim
from common.exchange.base import ExchangeFailure, Usage
from common.gate import Patience
from common.health import ban, is_ban
from common.limiter import Limiter
from common.standings import Standings
from common.venue_limits import Operation, Scope
from orderlane.standing import WHOLE_EXCHANGE, Cause
from workers.desk import log

SAME_BAN_MS: Final = 1_000
"""Requests under way together are told of one ban, each at its own moment: ends so near to each other are one."""
DEFAULT_PAUSE_MS: Final = 1_000
"""How long to pause when the exchange throttles without saying for how long."""


class SharedThrottle:
    """The buckets of one exchange, shared with every other process of the pool through Redis."""

    def __init__(
        self, limiter: Limiter, exchange_now_ms: Callable[[], int], standings: Standings | None = None
    ) -> None:
        """With `standings`, a ban is declared there: for whoever looks, and for places, which wait for its end."""
        self._limiter = limiter
        self._standings = standings
        self.idle = limiter.gate.idle
        self._exchange_now_ms = exchange_now_ms
        self._notes: set[asyncio.Task[Any]] = set()

    async def acquire(
        self,
        operation: Operation,
        account: str,
        symbol: str,
        urgency: int,
        *,
        conditional: bool = False,
        patience: Patience | None = None,
    ) -> None:
        """Wait until the request may be sent within every limit it counts against, and pay for it.

        Raises:
            Overtaken: the `patience` was ended; nothing was paid.
            redis.exceptions.RedisError: Redis gave no answer; nothing may be sent.
        """
        claim = self._limiter.claims.claim(
            operation, account, symbol, urgency=urgency, conditional=conditional
        )
        await self._limiter.acquire(claim, urgency, patience)

    async def take_now(self, operation: Operation, account: str, symbol: str, urgency: int) -> bool:
        """Pay for a request if that can be done without waiting; whether it was.

        Raises:
            redis.exceptions.RedisError: Redis gave no answer; nothing may be sent.
        """
        claim = self._limiter.claims.claim(operation, account, symbol, urgency=urgency)
        return not self._limiter.claims.limits.cost_of(operation) or await self._limiter.ask(claim) == 0

    async def in_turn(
        self,
        operation: Operation,
        account: str,
        symbol: str,
        urgency: int,
        attempt: Callable[[Claim], Awaitable[int]],
        *,
        conditional: bool = False,
        patience: Patience | None = None,
    ) -> None:
        """Call `attempt`, in this request's turn, until it has taken the tokens of the claim it is given.

        It returns 0 when it is through, or how long to wait, ms. What it raises is raised here, and Overtaken when
        the `patience` was ended.
        """
        claim = self._limiter.claims.claim(
            operation, account, symbol, urgency=urgency, conditional=conditional
        )
        await self._limiter.gate.run(claim.gate, urgency, partial(attempt, claim), patience)

    async def pause(self, account: str, failure: ExchangeFailure) -> None:
        """Close the buckets for all workers for as long as the exchange asked, or a second."""
        scope = account if failure.per_account else str(Scope.IP)
        pause_ms = failure.retry_after_ms or DEFAULT_PAUSE_MS
        log.warning(
            "the exchange throttles: every worker pauses",
            extra={"account": account, "scope": scope, "pause_ms": pause_ms, "reason": str(failure)},
        )
        try:
            until_ms = await self._limiter.close(scope, pause_ms)
            if self._standings is not None and is_ban(failure):
                await self._declare_ban(self._standings, account, failure, until_ms)
        except RedisError as error:
            log.warning("the pause could not be shared", extra={"reason": str(error)})

    async def _declare_ban(
        self, standings: Standings, account: str, failure: ExchangeFailure, until_ms: int
    ) -> None:
        scope = account if failure.per_account else WHOLE_EXCHANGE
        await standings.refresh()
        known = standings.find(scope, Cause.BAN)
        if known is None or known.until_ms < until_ms - SAME_BAN_MS:
            await standings.put(ban(scope, failure, until_ms, standings.now_ms()))

    def heed(self, usages: tuple[Usage, ...], account: str) -> None:
        """Take in what the headers of a reply to `account` say is used; returns at once, the buckets follow."""
        ceilings = self._limiter.ceilings(usages, account, self._exchange_now_ms())
        if ceilings:
            self._spawn(self._lower(ceilings))

    async def close(self) -> None:
        """Wait for what `heed` started."""
        await asyncio.gather(*self._notes, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _lower(self, ceilings: Sequence[Ceiling]) -> None:
        try:
            await self._limiter.lower(ceilings)
        except RedisError as error:
            log.debug("usage headers could not be shared", extra={"reason": str(error)})
