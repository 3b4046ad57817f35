"""The health of one exchange as a worker meets it: what its requests come to, probes, and the steps back to trading.

Each worker counts its own requests, in memory, so that no order costs a call; any of them may declare for all. That a
worker whose own network is broken does so is found out by the next probe, which any other worker may make.

Who does something about a standing has put it into that state with what stood there before as the condition: of several
workers one succeeds. A probe has a time; when it is over, its prober counts as dead, and whoever comes next probes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from typing import Any, Final

from redis.exceptions import RedisError

from common import failpoints
from common.exchange.base import Exchange, ExchangeFailure, OrderReference, Outcome
from common.exchange.classify import Operation as Kind
from common.health import (
    DegradedPolicy,
    Tally,
    after_probe,
    after_step,
    closed,
    has_returned,
    is_due,
    is_failure,
    probing,
    returned,
    too_many,
)
from common.standings import Standings
from common.venue_limits import Operation
from orderlane.identity import client_order_id
from orderlane.intents import URGENT_PRIORITY
from orderlane.orders import Reason
from orderlane.standing import WHOLE_EXCHANGE, Cause, Standing, StandingState
from workers.desk import Throttle, log

PROBE_ID: Final = "probe"
"""The intent whose order is asked for: there is none, and that answer is a good one."""
TOKENS_SECONDS: Final = 2.0
"""How long a probe waits for its tokens."""
PROBER_GONE_SECONDS: Final = 1.0
"""How long after its time is over a prober counts as dead."""
JITTER_SECONDS: Final = 0.2
"""Workers that wait for the same moment look up to this much apart."""
RETRY_SECONDS: Final = 1.0


class Health:
    """What the requests of one process say of the exchange, and its part in closing and opening it.

    `symbols` names those that may be asked about, `request_seconds` how long a request may take.
    """

    def __init__(
        self,
        standings: Standings,
        policy: DegradedPolicy,
        *,
        pool: str,
        accounts: Sequence[str],
        exchange: Exchange,
        throttle: Throttle,
        symbols: Callable[[], Mapping[str, Any]],
        request_seconds: float,
    ) -> None:
        self._standings = standings
        self._policy = policy
        self._pool = pool
        self._accounts = accounts
        self._exchange = exchange
        self._throttle = throttle
        self._symbols = symbols
        self._probe_seconds = request_seconds + TOKENS_SECONDS
        self._tallies: dict[str, tuple[Tally, Tally]] = {}
        self._seen: dict[str, Standing] = {}
        self._declaring: dict[str, asyncio.Task[None]] = {}

    def note(self, account: str, kind: Kind, failure: ExchangeFailure | None) -> None:
        """Count one request of this account; nothing is asked of Redis unless that was one failure too many."""
        if not self._policy.enabled:
            return
        now_ms, which = _monotonic_ms(), kind is Kind.QUERY
        failed = failure is not None and is_failure(failure)
        of_account = failure is not None and failure.per_account
        self._of(WHOLE_EXCHANGE)[which].note(failed and not of_account, now_ms)
        self._of(account)[which].note(failed, now_ms)
        if failure is not None and failed:
            if not of_account and self._judge(WHOLE_EXCHANGE, which, failure, now_ms):
                return
            self._judge(account, which, failure, now_ms)

    async def run(self) -> None:
        """Do what is due about standings, until cancelled: probes, steps, the end of a ban. Without any it sleeps."""
        while True:
            self._forget_what_changed()
            try:
                async with asyncio.timeout(self._seconds_until_due()):
                    await self._standings.changed()
                continue
            except TimeoutError:
                pass
            try:
                await self._standings.refresh()
                now_ms = self._standings.now_ms()
                for standing in self._ours():
                    if self._due_at(standing) <= now_ms and is_due(standing, now_ms):
                        await self._move(standing)
            except (RedisError, OSError) as error:
                log.warning("what stands could not be looked at", extra={"reason": str(error)})
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - who stopped looking for it would leave the exchange closed
                log.error("a fault of the pool's own while it looked after what stands", exc_info=error)
                await asyncio.sleep(RETRY_SECONDS)

    def _of(self, scope: str) -> tuple[Tally, Tally]:
        tallies = self._tallies.get(scope)
        if tallies is None:
            seconds = self._policy.window_seconds
            tallies = self._tallies[scope] = Tally(seconds), Tally(seconds)
        return tallies

    def _judge(self, scope: str, which: bool, failure: ExchangeFailure, now_ms: int) -> bool:
        """Declare what the counts of a scope say; whether something stands, or is being declared."""
        if scope in self._declaring:
            return True
        standing = self._standings.find(scope, Cause.ERRORS)
        counts = self._of(scope)[which].counts(now_ms)
        if standing is None:
            reason = too_many(counts, self._policy, failure)
        elif standing.state is StandingState.RECOVERING and has_returned(counts, self._policy):
            reason = returned(counts, failure)
        else:
            return True
        if reason is None:
            return False
        # Of the lane whose request was the last straw it knows nothing.
        task = asyncio.create_task(self._declare(scope, reason, standing), context=Context())
        self._declaring[scope] = task
        task.add_done_callback(lambda _: self._declaring.pop(scope, None))
        return True

    async def _declare(self, scope: str, reason: Reason, before: Standing | None) -> None:
        made = closed(scope, reason, self._standings.now_ms(), self._policy, before)
        try:
            if await self._standings.put(made, seen=before):
                log.warning(
                    "new placements wait: too many requests fail",
                    extra={"scope": scope, "reason": reason.code, "detail": reason.message},
                )
        except (RedisError, OSError) as error:
            log.warning("it could not be declared that requests fail", extra={"reason": str(error)})

    def _forget_what_changed(self) -> None:
        """Counts begin anew where the state has changed: what failed before says nothing of it."""
        stands = {one.scope: one for one in self._standings.all() if one.cause is Cause.ERRORS}
        for scope in stands.keys() | self._seen.keys():
            before, now = self._seen.get(scope), stands.get(scope)
            if (before and before.state) == (now and now.state):
                continue
            if scope == WHOLE_EXCHANGE:
                self._tallies.clear()
            self._tallies.pop(scope, None)
        self._seen = stands

    def _ours(self) -> list[Standing]:
        """The standings that workers look after, and that this one can: without an account's key it can't probe it."""
        scopes = (WHOLE_EXCHANGE, *self._accounts)
        return [
            one
            for one in self._standings.all()
            if one.cause in (Cause.ERRORS, Cause.BAN) and one.scope in scopes
        ]

    def _due_at(self, standing: Standing) -> int:
        """When something is to be done about it, ms by Redis' clock: nothing is asked while a ban holds."""
        bans = (
            one.until_ms
            for one in self._standings.all()
            if one.cause is Cause.BAN and (one.scope in (WHOLE_EXCHANGE, standing.scope))
        )
        return max(standing.until_ms, *bans, 0)

    def _seconds_until_due(self) -> float | None:
        now_ms = self._standings.now_ms()
        due = [self._due_at(one) for one in self._ours()]
        if not due:
            return None
        return max(min(due) - now_ms, 0) / 1000 + random.random() * JITTER_SECONDS

    async def _move(self, standing: Standing) -> None:
        if standing.cause is Cause.BAN:
            await self._lift(standing, "the ban is over")
        elif standing.state is StandingState.RECOVERING:
            await self._follow(standing, after_step(standing, self._standings.now_ms(), self._policy))
        else:
            await self._probe(standing)

    async def _probe(self, standing: Standing) -> None:
        seconds = self._probe_seconds + PROBER_GONE_SECONDS
        mine = probing(standing, self._standings.now_ms(), round(seconds * 1000))
        if not await self._standings.put(mine, seen=standing):
            return
        failpoints.reach("standing.probing")
        failure = await self._ask(standing.scope)
        failpoints.reach("standing.probed")
        await self._follow(mine, after_probe(mine, failure, self._standings.now_ms(), self._policy))

    async def _ask(self, scope: str) -> ExchangeFailure | None:
        """Ask the exchange for an order that is not there, signed by the account in question, or by one that is not;
        what speaks against trading."""
        account = self._any_account() if scope == WHOLE_EXCHANGE else scope
        symbol = next(iter(self._symbols()), "")
        reference = OrderReference(
            account=account,
            symbol=symbol,
            client_order_id=client_order_id(self._pool, self._exchange.name, account, PROBE_ID),
        )
        try:
            async with asyncio.timeout(self._probe_seconds):
                await self._throttle.acquire(Operation.FIND, account, symbol, URGENT_PRIORITY)
                await self._exchange.find(reference)
        except ExchangeFailure as failure:
            if failure.outcome is Outcome.THROTTLED:
                await self._throttle.pause(account, failure)
            speaks = is_failure(failure) and (scope == account or not failure.per_account)
            return failure if speaks else None
        except TimeoutError:
            return ExchangeFailure(
                Outcome.UNKNOWN, "no_tokens", "the probe could not be made: the exchange's limits are used up"
            )
        return None

    def _any_account(self) -> str:
        """One whose own key is not what fails, if there is one."""
        sound = [one for one in self._accounts if self._standings.find(one, Cause.ERRORS) is None]
        return random.choice(sound or list(self._accounts))

    async def _follow(self, seen: Standing, following: Standing | None) -> None:
        if following is None:
            await self._lift(seen, "requests succeed again")
        elif await self._standings.put(following, seen=seen):
            log.info(
                "new placements of a scope that failed",
                extra={"scope": seen.scope, "state": following.state, "share": following.share},
            )

    async def _lift(self, seen: Standing, why: str) -> None:
        reason = Reason(code="over", message=why, numbers={"was": seen.reason.code})
        if await self._standings.lift(seen.scope, seen.cause, reason=reason, seen=seen):
            log.info("new placements go again", extra={"scope": seen.scope, "cause": seen.cause})


def _monotonic_ms() -> int:
    return int(time.monotonic() * 1000)
