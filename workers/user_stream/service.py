"""The user streams of one exchange's accounts: each is held by one worker, and soon after its death by another."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import RedisError

from common.config import UserStreamSection
from common.exchange.base import Exchange, ExchangeFailure, Outcome
from common.journal import Journal
from common.redis import ScriptRunner
from orderlane.keys import Keys
from workers.background import together
from workers.desk import Throttle
from workers.external import Strangers
from workers.user_stream.applying import Applier
from workers.user_stream.backfill import Backfill
from workers.user_stream.lease import Held, StreamLease, StreamLost
from workers.user_stream.session import Session

log: Final = logging.getLogger("orderlane.stream")

RENEWALS: Final = 4
"""How often a lease is renewed in its time."""
HELD_BACK_SECONDS: Final = 0.05
"""How much longer a worker waits before it takes a stream, for each that it holds: others may have none."""
FIRST_WAIT_SECONDS: Final = 0.2
LONGEST_WAIT_SECONDS: Final = 15.0
"""Between two connections that failed: growing from the first to the longest, and spread."""
STEADY_SECONDS: Final = 10.0
"""A connection that lasted this long starts the waits anew."""
SILENT_PINGS: Final = 3
"""For how many pings' time a dead connection may go unnoticed: ccxt looks at each whether two went unanswered."""


class UserStreams:
    """What one process does for the streams of an exchange; `run` until cancelled."""

    def __init__(
        self,
        *,
        pool: str,
        keys: Keys,
        accounts: list[str],
        section: UserStreamSection,
        exchange: Exchange,
        throttle: Throttle,
        runner: ScriptRunner,
        strangers: Callable[[str], Strangers],
        retention_ms: int,
        holder: str,
        counts_positions: bool = True,
        on_live: Callable[[], None] = lambda: None,
    ) -> None:
        """`holder`: who this process is. `on_live` is called when a stream that this process holds is without a gap."""
        self._on_live = on_live
        self._pool = pool
        self._keys = keys
        self._accounts = accounts
        self._section = section
        self._exchange = exchange
        self._throttle = throttle
        self._runner = runner
        self._strangers = strangers
        self._retention_ms = retention_ms
        self._counts_positions = counts_positions
        self._journal = Journal(runner, keys, retention_ms=retention_ms)
        self._holder = holder
        self._held = 0

    async def run(self) -> None:
        """Hold what streams nobody else holds, until cancelled; then give them up."""
        if not (self._section.enabled and self._exchange.streams_orders):
            return
        await together(*(self._serve(account) for account in self._accounts))

    async def _serve(self, account: str) -> None:
        while True:
            lease = StreamLease(
                self._runner,
                self._keys,
                account,
                self._holder,
                lease_ms=self._section.lease_ms,
                retention_ms=self._retention_ms,
            )
            try:
                await asyncio.sleep(HELD_BACK_SECONDS * self._held)
                held = await lease.take()
                if not held.ours:
                    await asyncio.sleep(max(held.left_ms, 1) / 1000)
                    continue
                await self._hold(lease, held)
            except StreamLost as lost:
                log.warning(str(lost), extra={"account": account})
            except (RedisError, OSError) as error:
                log.warning("a user stream waits for Redis", extra={"account": account, "reason": str(error)})
                await asyncio.sleep(1)
            except Exception as error:
                log.error(
                    "a user stream failed by a fault of ours", exc_info=error, extra={"account": account}
                )
                await asyncio.sleep(self._section.lease_ms / 1000)

    async def _hold(self, lease: StreamLease, held: Held) -> None:
        """Keep the stream open until the hold on it ends.

        Raises:
            StreamLost: it did.
        """
        account = lease.account
        log.info("this worker holds the user stream", extra={"account": account, "worker": lease.holder})
        self._held += 1
        holding = _Holding(lease, held.complete_until, self._on_live)
        renewing = asyncio.create_task(holding.renew_for_ever())
        connecting = asyncio.create_task(self._connect_for_ever(holding))
        try:
            done, _ = await asyncio.wait((renewing, connecting), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._held -= 1
            for task in (renewing, connecting):
                task.cancel()
            await _quietly(lease.give_up)
            await asyncio.gather(renewing, connecting, return_exceptions=True)

    async def _connect_for_ever(self, holding: _Holding) -> None:
        """Open one connection after the other; each but the first begins with a gap."""
        lease, loop = holding.lease, asyncio.get_running_loop()
        strangers = self._strangers(lease.holder)
        applier = Applier(
            self._runner, self._keys, self._journal, lease,
            retention_ms=self._retention_ms, counts_positions=self._counts_positions,
        )  # fmt: skip
        backfill = Backfill(
            account=lease.account, pool=self._pool, keys=self._keys, exchange=self._exchange,
            journal=self._journal, throttle=self._throttle, redis=self._runner.client, apply=applier.apply,
            redis_now_ms=lease.redis_now_ms, strangers=strangers,
        )  # fmt: skip
        wait = FIRST_WAIT_SECONDS
        while True:
            began_at = loop.time()
            since_ms = await self._begin_of_gap(holding)
            session = Session(
                self._exchange, self._throttle, lease, applier, backfill,
                ping_seconds=self._section.ping_seconds, strangers=strangers, on_live=holding.note_soon,
            )  # fmt: skip
            holding.session = session
            try:
                await holding.until_forgotten(session.run(since_ms))
            except ExchangeFailure as failure:
                await self._after_failure(lease.account, failure)
            holding.end_session()
            wait = FIRST_WAIT_SECONDS if loop.time() - began_at > STEADY_SECONDS else wait
            await asyncio.sleep(wait * random.uniform(0.5, 1))
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    async def _begin_of_gap(self, holding: _Holding) -> int:
        """From when on, by the exchange's clock, it has to be asked: a while before what is known to be told."""
        known = holding.complete_until
        if not known:
            # Nobody ever held it: what is open now was sent at some time, and nothing else is known to need it.
            open_orders = await self._journal.open_orders(holding.lease.account)
            sent = [order.times.sent_at for order in open_orders if order.times.sent_at]
            known = min([*sent, self._exchange.now_ms()])
        unnoticed_seconds = SILENT_PINGS * self._section.ping_seconds
        return max(int(known) - (self._section.overlap_seconds + unnoticed_seconds) * 1000, 0)

    async def _after_failure(self, account: str, failure: ExchangeFailure) -> None:
        log.warning("the user stream has a gap", extra={"account": account, "reason": str(failure)})
        if failure.outcome is Outcome.THROTTLED:
            await self._throttle.pause(account, failure)


class _Holding:
    """A stream while it is held: how far it has come, over all its connections."""

    def __init__(self, lease: StreamLease, complete_until: int, on_live: Callable[[], None]) -> None:
        self.lease = lease
        self._on_live = on_live
        self._whole = asyncio.Event()
        self.complete_until = complete_until
        self.session: Session | None = None
        self._last_message_at = 0
        self._forgotten = asyncio.Event()

    def end_session(self) -> None:
        """Keep what the connection that ended had brought in."""
        if self.session is not None:
            self.complete_until = max(self.complete_until, self.session.complete_until())
            self._last_message_at = max(self._last_message_at, self.session.last_message_at)
            self.session = None

    def note_soon(self) -> None:
        """Renew at once: the stream has no gap any more, which others wait to read."""
        self._whole.set()
        self._on_live()

    async def renew_for_ever(self) -> None:
        """Renew the lease in time.

        Raises:
            StreamLost: it is another's, or could not be renewed in time.
        """
        lease = self.lease
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(
                    min(lease.lease_ms / RENEWALS / 1000, max(lease.seconds_left(), 0))
                ):
                    await self._whole.wait()
            self._whole.clear()
            session = self.session
            if session is not None:
                self.complete_until = max(self.complete_until, session.complete_until())
                self._last_message_at = max(self._last_message_at, session.last_message_at)
            try:
                remembers = await lease.renew(self._last_message_at, self.complete_until)
            except (RedisError, OSError):
                lease.require()
                continue
            if not remembers:
                self._forgotten.set()

    async def until_forgotten(self, running: Any) -> None:
        """Run a session, and end it when Redis turns out to have lost what was noted: then its fills may be, too."""
        self._forgotten.clear()
        session = asyncio.ensure_future(running)
        forgotten = asyncio.create_task(self._forgotten.wait())
        try:
            await asyncio.wait((session, forgotten), return_when=asyncio.FIRST_COMPLETED)
            if session.done():
                session.result()
            else:
                log.warning("Redis forgot how far a user stream had come: it is read again")
        finally:
            for task in (session, forgotten):
                task.cancel()
            await asyncio.gather(session, forgotten, return_exceptions=True)


async def _quietly(step: Callable[[], Awaitable[None]]) -> None:
    """Do what is only a courtesy to others."""
    try:
        await step()
    except (RedisError, OSError) as error:
        log.info(
            "a user stream could not be given up; it moves when its lease ends", extra={"reason": str(error)}
        )
