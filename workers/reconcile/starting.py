"""A worker's part in a pool's start, put together: the question before each of its lives, and the work behind them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import RedisError

from common.config import ExchangeSection
from common.exchange.base import Exchange
from common.journal import Journal
from common.lanes import RETRY_SECONDS, new_worker_id
from common.redis import ScriptRunner
from common.standings import Standings
from orderlane.keys import Keys
from workers.desk import Throttle
from workers.external import Strangers
from workers.reconcile.account import Parts
from workers.reconcile.opening import open_pool, reopen
from workers.reconcile.service import Reconciling

log: Final = logging.getLogger("orderlane.reconcile")


class Starting:
    """What one process does about the start of the pool, and about orders without a record."""

    def __init__(
        self,
        section: ExchangeSection,
        keys: Keys,
        runner: ScriptRunner,
        *,
        redis: Any,
        exchange: Exchange,
        throttle: Throttle,
        standings: Standings,
        retention_ms: int,
        compare_positions: Callable[[str], Awaitable[object]],
    ) -> None:
        self._section = section
        self._keys = keys
        self._runner = runner
        self._redis = redis
        self._exchange = exchange
        self._throttle = throttle
        self._standings = standings
        self._retention_ms = retention_ms
        self._compare_positions = compare_positions
        self._accounts = list(section.accounts)
        self._has_asked = asyncio.Event()
        self.holder = new_worker_id()
        """Who this process is where it holds work for longer than one of its lives: accounts, and user streams."""

    async def open_pool(self, stopping: asyncio.Event) -> None:
        """Close the accounts that have to agree with the exchange first; returns once it is done, or when `stopping`.

        To be called before each of a worker's lives, so before it can be given anything.
        """
        attempts = 0
        while not stopping.is_set():
            try:
                if self._section.reconcile.enabled:
                    closed = await open_pool(
                        self._runner,
                        self._keys,
                        self._accounts,
                        self._standings.now_ms(),
                        holder=self.holder,
                    )
                    await self._standings.refresh()
                    if closed:
                        log.info("accounts are closed until they agree", extra={"accounts": closed})
                else:
                    await reopen(self._standings, self._accounts)
            except (RedisError, OSError) as error:
                log.warning("Redis did not answer; nothing is taken meanwhile", extra={"reason": str(error)})
                with suppress(TimeoutError):
                    wait = RETRY_SECONDS[min(attempts, len(RETRY_SECONDS) - 1)]
                    await asyncio.wait_for(stopping.wait(), wait)
                attempts += 1
            else:
                self._has_asked.set()
                return

    async def run(self) -> None:
        """Bring accounts to agreement as they are closed for it, until cancelled.

        Not before this worker has asked whether the pool starts: what an earlier start left would be done twice.
        """
        await self._has_asked.wait()
        if not self._section.reconcile.enabled:
            return
        stream = self._section.user_stream
        has_stream = stream.enabled and self._exchange.streams_orders
        parts = Parts(
            exchange=self._exchange,
            journal=Journal(self._runner, self._keys, retention_ms=self._retention_ms),
            throttle=self._throttle,
            strangers=self.strangers(self.holder),
            redis=self._redis,
            keys=self._keys,
            now_ms=self._standings.now_ms,
            fills_seconds=self._section.reconcile.fills_seconds if has_stream else 0,
            compare_positions=self._compare_positions,
        )
        reconciling = Reconciling(
            parts,
            self._standings,
            self._runner,
            self._section.reconcile,
            accounts=self._accounts,
            holder=self.holder,
            lease_ms=self._section.worker.lease_ms,
        )
        await reconciling.run()

    def strangers(self, writer: str) -> Strangers:
        """What deals with orders without a record; events name `writer`."""
        return Strangers(
            self._runner,
            self._keys,
            Journal(self._runner, self._keys, retention_ms=self._retention_ms),
            action=self._section.external_orders,
            pools_too=self._section.external_pools,
            retention_ms=self._retention_ms,
            writer=writer,
        )
