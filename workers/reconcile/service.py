"""What one worker does about accounts that are closed until they agree with the exchange.

Each is brought to agreement by one worker at a time; when that one dies, by another once its lease has ended. One that
can't be is called unreconciled, loudly: it stays closed, the others trade, and it is tried again with growing waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

import msgspec
from redis.exceptions import RedisError

from common import failpoints
from common.config import ReconcileSection
from common.exchange.base import ExchangeFailure, Outcome
from common.redis import ScriptRunner
from common.standings import Standings
from orderlane.orders import Reason
from orderlane.standing import Cause, Standing, StandingState, standing_event
from workers.life import cancel_all
from workers.reconcile.account import Parts, agree
from workers.reconcile.lease import Progress, WorkLease, WorkLost

log: Final = logging.getLogger("orderlane.reconcile")

CAUSES: Final = (Cause.RECONCILING, Cause.UNRECONCILED)
AT_ONCE: Final = 8
"""Accounts one worker brings to agreement side by side."""
RENEWALS: Final = 4
"""How often the work on an account is renewed in the time of its lease."""
LOOK_AGAIN_SECONDS: Final = 0.1
"""How often it is looked whether an account is open again, while others are at it."""
LATER_SECONDS: Final = 1.0
"""The same where nothing but failed accounts is left."""
WAITS_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Between the tries of one attempt; the last one over and over."""


class Reconciling:
    """One worker's part in bringing accounts to agreement; `run` until cancelled."""

    def __init__(
        self,
        parts: Parts,
        standings: Standings,
        runner: ScriptRunner,
        section: ReconcileSection,
        *,
        accounts: Sequence[str],
        holder: str,
        lease_ms: int,
    ) -> None:
        self._parts = parts
        self._standings = standings
        self._runner = runner
        self._section = section
        self._accounts = accounts
        self._holder = holder
        self._lease_ms = lease_ms
        self._not_before: dict[str, float] = {}
        self._at_work = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Bring to agreement what stands for it, as it comes."""
        working: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                closed = [account for account in self._accounts if self._stood(account)]
                for account in closed:
                    at_it = working.get(account)
                    if (at_it is None or at_it.done()) and self._is_due(account):
                        working[account] = asyncio.create_task(self._serve(account))
                await self._pause(closed, any(not task.done() for task in working.values()))
        finally:
            await cancel_all(working.values())

    def _stood(self, account: str) -> list[Standing]:
        return [one for cause in CAUSES if (one := self._standings.find(account, cause)) is not None]

    def _is_due(self, account: str) -> bool:
        return time.monotonic() >= self._not_before.get(account, 0.0)

    async def _pause(self, closed: Sequence[str], working: bool) -> None:
        """Until there may be something to do: nothing is asked of Redis while every account is open."""
        if not closed:
            await self._standings.changed()
            return
        soon = working or any(self._standings.find(account, Cause.RECONCILING) for account in closed)
        await asyncio.sleep(LOOK_AGAIN_SECONDS if soon else LATER_SECONDS)
        try:
            await self._standings.refresh()
        except (RedisError, OSError) as error:
            log.warning("Redis did not answer; accounts stay as they are", extra={"reason": str(error)})

    async def _serve(self, account: str) -> None:
        lease = WorkLease(self._runner, self._parts.keys, account, self._holder, lease_ms=self._lease_ms)
        async with self._at_work:
            try:
                offer = await lease.take()
                if not offer.ours:
                    self._not_before[account] = time.monotonic() + max(offer.wait_ms, 1) / 1000
                    return
                self._not_before.pop(account, None)
                failpoints.reach("reconcile.held", account)
                await self._work(account, lease, offer.failures)
            except WorkLost:
                log.warning("another worker brings the account to agreement", extra={"account": account})
            except (RedisError, OSError) as error:
                log.warning(
                    "bringing an account to agreement waits for Redis",
                    extra={"account": account, "reason": str(error)},
                )
                self._not_before[account] = time.monotonic() + LATER_SECONDS
            except Exception as error:
                log.error(
                    "bringing an account to agreement failed by a fault of ours",
                    exc_info=error,
                    extra={"account": account},
                )
                self._not_before[account] = time.monotonic() + self._section.retry_seconds

    async def _work(self, account: str, lease: WorkLease, failures: int) -> None:
        await self._standings.refresh()
        seen = {cause: self._standings.find(account, cause) for cause in CAUSES}
        if not any(seen.values()):
            await lease.leave()
            return
        began_at, progress = time.monotonic(), Progress()
        working = asyncio.create_task(self._until_agreed(account, progress))
        renewing = asyncio.create_task(self._renew(account, lease, progress))
        try:
            await asyncio.wait((working, renewing), return_when=asyncio.FIRST_COMPLETED)
            if renewing.done():
                renewing.result()
            failure = working.result()
        finally:
            await cancel_all((working, renewing))
        if failure is not None:
            await self._give_up(account, lease, failure, failures + 1)
            return
        failpoints.reach("reconcile.agreed", account)
        took_ms = int((time.monotonic() - began_at) * 1000)
        since = min(one.since_ms for one in seen.values() if one)
        reason = Reason(
            code="reconciled",
            message=f"journal and exchange agree after {took_ms} ms",
            numbers={**progress.numbers, "took_ms": str(took_ms)},
        )
        was = seen[Cause.RECONCILING] or seen[Cause.UNRECONCILED]
        assert was is not None, "something closed the account"
        lifted = msgspec.structs.replace(was, since_ms=since, reason=reason)
        event = standing_event(lifted, self._parts.keys.exchange, self._standings.now_ms(), lifted=True)
        if await lease.agreed(event, seen, progress, took_ms):
            log.info(
                "journal and exchange agree",
                extra={"account": account, "ms": took_ms, **progress.numbers},
            )
        await self._standings.refresh()

    async def _until_agreed(self, account: str, progress: Progress) -> Reason | None:
        """Try, again after what may pass, until there is agreement (None), or why there is none."""
        said = Reason(
            code="deadline_passed",
            message=f"it took more than {self._section.deadline_seconds} s",
        )
        try:
            async with asyncio.timeout(self._section.deadline_seconds):
                for tries in range(1_000_000):
                    try:
                        await agree(self._parts, account, progress)
                    except ExchangeFailure as failure:
                        said = Reason(code=failure.code, message=failure.message)
                        if failure.outcome is Outcome.REFUSED:
                            return said
                        if failure.outcome is Outcome.THROTTLED:
                            await self._parts.throttle.pause(account, failure)
                        log.warning(
                            "an account can't be brought to agreement yet",
                            extra={"account": account, "reason": str(failure)},
                        )
                    else:
                        return None
                    await asyncio.sleep(WAITS_SECONDS[min(tries, len(WAITS_SECONDS) - 1)])
        except TimeoutError:
            pass
        return said

    async def _renew(self, account: str, lease: WorkLease, progress: Progress) -> None:
        while True:
            await asyncio.sleep(self._lease_ms / 1000 / RENEWALS)
            await lease.renew(progress)
            if progress.to_ask:
                log.info(
                    f"reconciling {account}: {progress.asked} of {progress.to_ask} orders asked",
                    extra={"account": account, "state": progress.state.value},
                )

    async def _give_up(self, account: str, lease: WorkLease, failure: Reason, failures: int) -> None:
        """Call the account unreconciled, and leave it to whoever comes first when it is time to try again."""
        section = self._section
        wait_ms = min(section.retry_seconds * 2 ** min(failures - 1, 30), section.retry_cap_seconds) * 1000
        next_at = self._standings.now_ms() + wait_ms
        reason = Reason(
            code="unreconciled",
            message=f"journal and exchange could not be brought to agreement ({failure.code}: {failure.message}): "
            "nothing new is placed for the account until they are; see to its key and its rights, or to the exchange",
            numbers={"failures": str(failures)},
        )
        await self._standings.put(
            Standing(
                scope=account,
                cause=Cause.UNRECONCILED,
                state=StandingState.CLOSED,
                reason=reason,
                since_ms=self._standings.now_ms(),
                until_ms=next_at,
                probes=failures,
            )
        )
        log.error(
            "an account stays closed: it could not be brought to agreement with the exchange",
            extra={
                "account": account,
                "reason": str(failure.message),
                "code": failure.code,
                "failures": failures,
            },
        )
        await lease.give_up(failures, next_at, f"{failure.code}: {failure.message}")
        # From here on it is the other standing that keeps the account closed.
        await self._parts.redis.hdel(self._parts.keys.standings, f"{account}|{Cause.RECONCILING}")
        await self._standings.refresh()
