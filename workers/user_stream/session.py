"""One connection of an account's user stream, from its opening to its end.

The stream is opened first, then what happened before is asked for: whatever lies between is told twice rather than
never. Until the backfill is through, nothing is noted as complete.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from common import failpoints
from common.exchange.base import Exchange, StreamUpdate, UserStream
from common.telemetry.fields import log_context
from common.venue_limits import Operation
from workers.desk import Throttle
from workers.external import Strangers
from workers.user_stream.applying import AGAIN_SECONDS, Applied, Applier, News
from workers.user_stream.backfill import LEAST_URGENT, Backfill
from workers.user_stream.lease import BACKFILLING, CONNECTING, LIVE, StreamLease

log: Final = logging.getLogger("orderlane.stream")

GATHER_SECONDS: Final = 0.03
"""How long to let messages gather: an order's fills come in one go, and its worker has recorded its answer by then."""

MOST_LEFT_ALONE: Final = 10_000


class Session:
    """One connection. `run` is called once."""

    def __init__(
        self,
        exchange: Exchange,
        throttle: Throttle,
        lease: StreamLease,
        applier: Applier,
        backfill: Backfill,
        *,
        ping_seconds: float,
        strangers: Strangers,
        on_live: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_live = on_live
        self._exchange = exchange
        self._throttle = throttle
        self._lease = lease
        self._applier = applier
        self._backfill = backfill
        self._strangers = strangers
        self._left_alone: set[str] = set()
        """Orders of others that were told, and get no record."""
        self._stream: UserStream = exchange.user_stream(lease.account, ping_seconds)
        self._pending: dict[str, News] = {}
        self._oldest_pending = 0
        self._became: dict[tuple[str, str], str] = {}
        """Client order ids of conditional orders, by symbol and id of the ordinary orders they became."""
        self._is_complete = False
        self.last_message_at = 0

    async def run(self, since_ms: int) -> None:
        """Bring in what happened since `since_ms` and what happens from now on, until the stream ends.

        Raises:
            ExchangeFailure: the stream, or a question of the backfill, failed: there is a gap.
            StreamLost: the account's stream is another worker's by now.
            redis.exceptions.RedisError: Redis did not answer.
        """
        account = self._lease.account
        tasks: list[asyncio.Task[None]] = []
        try:
            self._lease.enter(CONNECTING)
            await self._throttle.acquire(Operation.USER_STREAM, account, "", LEAST_URGENT)
            await self._stream.open()
            failpoints.reach("stream.opened", account)
            self._lease.enter(BACKFILLING)
            tasks = [
                asyncio.create_task(self._pump()),
                asyncio.create_task(self._fill_gap(since_ms)),
            ]
            while tasks:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                    tasks.remove(task)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._stream.close()

    def complete_until(self) -> int:
        """Until when everything the exchange did is in the journal, ms by its clock; 0 while a gap is being filled."""
        if not self._is_complete:
            return 0
        moments = (self._stream.oldest_unread(), self._oldest_pending, self._exchange.now_ms())
        return min(moment for moment in moments if moment)

    async def _fill_gap(self, since_ms: int) -> None:
        done = await self._backfill.run(since_ms)
        self._is_complete = True
        self._lease.enter(LIVE)
        self._on_live()
        log.info(
            "the user stream is complete",
            extra={
                "account": self._lease.account, "since_ms": since_ms, "asked": done.asked,
                "orders": done.orders, "fills": done.fills,
            },
        )  # fmt: skip

    async def _pump(self) -> None:
        """Bring in what the stream tells, for ever."""
        while True:
            await self._receive()
            failpoints.reach("stream.received", self._lease.account)
            waiting, self._pending = self._pending, {}
            results = await asyncio.gather(*(self._apply(name, news) for name, news in waiting.items()))
            for (name, news), applied in zip(waiting.items(), results, strict=True):
                if applied is Applied.LATER:
                    self._pending[name] = news
            self._oldest_pending = min(
                (update.received_at for news in self._pending.values() for update in news.updates), default=0
            )

    async def _apply(self, client_order_id: str, news: News) -> Applied:
        with log_context(account=self._lease.account):
            applied = await self._applier.apply(client_order_id, news)
            if applied is Applied.NO_RECORD and await self._meet(client_order_id, news):
                applied = await self._applier.apply(client_order_id, news)
        return applied

    async def _meet(self, client_order_id: str, news: News) -> bool:
        """Deal with an order that has no record; whether it has one now."""
        told = [
            update.report
            for update in news.updates
            if self._strangers.record_name(self._lease.account, update.report) == client_order_id
        ]
        if not told:
            return False
        met = await self._strangers.meet(self._lease.account, told[-1:], self._lease.redis_now_ms())
        if not met.recorded and not told[-1].status.terminal:
            if len(self._left_alone) >= MOST_LEFT_ALONE:
                self._left_alone.clear()
            self._left_alone.add(client_order_id)
        return bool(met.recorded)

    async def _receive(self) -> None:
        """Wait for messages, at most as long as news that wait may wait, and put them with those."""
        try:
            async with asyncio.timeout(AGAIN_SECONDS if self._pending else None):
                told = await self._stream.updates()
        except TimeoutError:
            return
        self._take(told)
        await asyncio.sleep(GATHER_SECONDS)
        if self._stream.oldest_unread() is not None:
            self._take(await self._stream.updates())

    def _take(self, told: Sequence[StreamUpdate]) -> None:
        for update in told:
            self.last_message_at = max(self.last_message_at, update.received_at)
            name = self._client_order_id(update)
            if name:
                self._pending.setdefault(name, News([], [])).updates.append(update)
        if told and not self._oldest_pending:
            self._oldest_pending = told[0].received_at

    def _client_order_id(self, update: StreamUpdate) -> str:
        """The name of the record that an update is about; empty for an order of others that is left alone."""
        report = update.report
        name = self._became.get((report.symbol, report.exchange_order_id), "")
        name = name or self._strangers.record_name(self._lease.account, report)
        if update.became:
            self._became[report.symbol, update.became] = name
        return "" if name in self._left_alone and not report.status.terminal else name
