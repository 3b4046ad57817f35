"""When each account is compared: at the start, after each gap in its user stream, and every so often."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import RedisError

from common.config import PositionsSection
from orderlane.positions import STATE_FIELD, AccountState, ComparedState, decode_state
from workers.positions.books import Books
from workers.positions.reading import redis_now_ms
from workers.positions.reconcile import reconcile_positions, stream_live_since

log: Final = logging.getLogger("orderlane.positions")

LOOK_SECONDS: Final = 5.0
"""How often it is looked at who is due, at least: what is known to come is looked at in its time, and an idle worker is
to leave Redis in peace."""
SOON_SECONDS: Final = 0.25
"""How soon it is looked, and looked again, where something has just happened, or is due already."""
LOOKS_SOON: Final = 12
"""How often, then: whoever's stream has no gap any more notes that in Redis a moment later."""
ACCOUNTS_A_SECOND: Final = 100
"""Accounts looked at in a second at most, by one process."""
MOST_AT_ONCE: Final = 8
"""Accounts compared at once by one process: most of them wait for the exchange, or to confirm."""
AGAIN_MS: Final = 15_000
"""After a comparison that failed, where the period is longer."""


def due_in_ms(state: AccountState | None, live_since: int, now_ms: int, section: PositionsSection) -> int:
    """After how long an account is to be compared, 0: now; `live_since` 0: its stream has a gap, or it has none."""
    if state is None or (live_since and live_since != state.since):  # a gap has ended
        return 0
    wait_ms = int(section.compare_period_seconds * 1000)
    if state.state is ComparedState.UNSETTLED:
        wait_ms = int(section.confirm_delay_seconds * 1000)
    elif state.state is ComparedState.FAILED:
        wait_ms = min(AGAIN_MS, wait_ms)
    return max(state.tried_at + wait_ms - now_ms, 0)


class PositionsWatch:
    """One process's part in comparing the accounts of an exchange; `run` until cancelled."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._running: dict[str, asyncio.Task[None]] = {}
        self._looks_soon = 0
        self._wake = asyncio.Event()

    def look_soon(self) -> None:
        """Look who is due in the next seconds: a user stream has become whole here."""
        self._looks_soon = LOOKS_SOON
        self._wake.set()

    async def run(self) -> None:
        """Compare whoever is due, until cancelled."""
        if not self._books.section.positions.enabled:
            return
        accounts = list(self._books.section.accounts)
        try:
            while True:
                next_ms = 0
                try:
                    next_ms = await self._start_those_due(accounts)
                except (RedisError, OSError) as error:
                    log.info("positions can't be looked at", extra={"reason": str(error)})
                await self._pause(next_ms, len(accounts))
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _pause(self, next_ms: int, accounts: int) -> None:
        seconds = min(max(next_ms / 1000, SOON_SECONDS), LOOK_SECONDS)
        if self._looks_soon:
            self._looks_soon -= 1
            seconds = SOON_SECONDS
        self._wake.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), max(seconds, accounts / ACCOUNTS_A_SECOND))

    async def _start_those_due(self, accounts: list[str]) -> int:
        """Start comparing those who are due; after how many ms the next one is."""
        books, section = self._books, self._books.section.positions
        async with books.redis.pipeline(transaction=False) as pipeline:
            for account in accounts:
                pipeline.hget(books.keys.compared(account), STATE_FIELD)
                pipeline.hmget(books.keys.stream(account), "holder", "until", "state", "since")
            answers: list[Any] = await pipeline.execute()
        now_ms, next_ms = await redis_now_ms(books), int(LOOK_SECONDS * 1000)
        for account, value, stream in zip(accounts, answers[::2], answers[1::2], strict=True):
            state = decode_state(value)
            since = stream_live_since(stream, now_ms) if books.counts_fills else 0
            if len(self._running) >= MOST_AT_ONCE:
                return 0
            if account in self._running:
                continue
            due_ms = due_in_ms(state, since, now_ms, section)
            next_ms = min(next_ms, due_ms)
            if not due_ms:
                task = asyncio.create_task(self._compare(account, state.tried_at if state else 0))
                self._running[account] = task
        return next_ms

    async def _compare(self, account: str, after: int) -> None:
        try:
            await reconcile_positions(self._books, account, after=after)
        except (RedisError, OSError) as error:
            log.warning("a comparison waits for Redis", extra={"account": account, "reason": str(error)})
        except Exception as error:
            log.error("a comparison failed by a fault of ours", exc_info=error, extra={"account": account})
            await asyncio.sleep(AGAIN_MS / 1000)
        finally:
            del self._running[account]
            self._wake.set()
