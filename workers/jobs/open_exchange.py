"""What the jobs keep open of one exchange from run to run: ccxt, the shared limits, the journal, Redis.

Opening an exchange costs half a second and its markets, so it is done once for the life of the process.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import redis.asyncio

from common.claims import BACKGROUND, Claims
from common.config import ExchangeSection, Settings, exchange_settings
from common.exchange import open_exchange
from common.exchange.ccxt_exchange import CcxtExchange
from common.journal import Journal
from common.limiter import Limiter
from common.market_rules import markets_from_ccxt
from common.markets import load, loaded_at, publish
from common.redis import ScriptRunner, connect_pool
from common.standings import Standings
from common.venue_limits import Operation, venue_limits
from orderlane.keys import Keys
from workers.life import cancel_all
from workers.throttle import SharedThrottle

CLOCK_SYNC_SECONDS: Final = 60.0
CLOCK_SAMPLES: Final = 1
"""So few that a sync with it makes three requests at most."""
LEAST_URGENT: Final = BACKGROUND
"""The jobs' place in the queue for tokens, and their share of them: whatever an application asked for goes first."""


class OpenExchange:
    """One exchange, as the jobs see it. `redis`, `runner` and `journal` are there at once; the exchange itself
    after `ready`.

    Raises:
        ValueError: ccxt has no such venue, or the venue can't do what the settings ask for.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.name = name
        self.section: ExchangeSection = settings.exchanges[name]
        self.keys = Keys(name, settings.pool)
        self.redis: redis.asyncio.Redis = connect_pool(
            settings.redis_url.reveal(),
            self.keys,
            grace_ms=self.section.worker.restart_doubt_seconds * 1000,
        )
        self.runner = ScriptRunner(self.redis)
        retention_ms = settings.scheduler.order_retention_seconds * 1000
        self.journal = Journal(self.runner, self.keys, retention_ms=retention_ms)
        self.exchange: CcxtExchange = open_exchange(exchange_settings(settings, name))
        claims = Claims(
            self.keys, venue_limits(self.section.venue, self.section.limits), self.section.margins
        )
        self.throttle = SharedThrottle(
            Limiter(self.runner.run, claims), self.exchange.now_ms, Standings(self.redis, self.keys)
        )
        self.exchange.on_usage = self.throttle.heed
        self.syncing: dict[str, asyncio.Task[None]] = {}
        """The last sync of each account, which may still be under way."""
        self.sweep_cursors: dict[str, str] = {}
        """Where the sweep goes on, by phase; a phase that came to its end is not in it."""
        self.held_until = ""
        """The last event whose order's record was kept for the archive; `` before the first."""
        self._markets_at_ms = 0
        self._clock_set_at = float("-inf")
        self._preparing: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Return when the exchange's clock and markets are known and recent.

        What it takes goes on when the caller gives up, so that a slow exchange is ready some runs later.

        Raises:
            ExchangeFailure, redis.exceptions.RedisError: it could not be done; the next call tries again.
        """
        if self._preparing is None or self._preparing.done():
            self._preparing = asyncio.create_task(self._prepare())
            self._preparing.add_done_callback(_take_note_of_its_end)
        await asyncio.shield(self._preparing)

    async def refresh_markets(self, older_than_seconds: int) -> int | None:
        """Load the market rules from the exchange and share them, if those in use are older; how many, or None.

        Raises:
            ExchangeFailure, redis.exceptions.RedisError: it could not be done; those in use stay.
        """
        if self.exchange.now_ms() - self._markets_at_ms <= older_than_seconds * 1000:
            return None
        return await self._load_markets()

    async def close(self) -> None:
        """Close every connection."""
        under_way = [*self.syncing.values(), *filter(None, [self._preparing])]
        await cancel_all(under_way)
        await self.throttle.close()
        await self.exchange.close()
        await self.runner.aclose()
        await self.redis.aclose()

    async def _prepare(self) -> None:
        if time.monotonic() - self._clock_set_at > CLOCK_SYNC_SECONDS:
            for _ in range(CLOCK_SAMPLES):
                await self.throttle.acquire(Operation.TIME, "", "", LEAST_URGENT)
            await self.exchange.sync_clock(CLOCK_SAMPLES)
            self._clock_set_at = time.monotonic()
        published_at_ms = await loaded_at(self.redis, self.keys)
        if not published_at_ms or published_at_ms > self._markets_at_ms:
            shared = await load(self.redis, self.keys)
            if shared is None:
                await self._load_markets()
            else:
                self.exchange.use_ccxt_markets(shared.ccxt_markets)
                self._markets_at_ms = shared.loaded_at_ms

    async def _load_markets(self) -> int:
        await self.throttle.acquire(Operation.MARKETS, "", "", LEAST_URGENT)
        ccxt_markets = await self.exchange.fetch_ccxt_markets()
        markets = markets_from_ccxt(self.section.venue, ccxt_markets, self.exchange.precision_mode)
        loaded_at_ms = self.exchange.now_ms()
        await publish(self.redis, self.keys, markets, ccxt_markets, loaded_at_ms)
        self._markets_at_ms = loaded_at_ms
        return len(markets)


def _take_note_of_its_end(task: asyncio.Task[None]) -> None:
    """Who waited gets its error; when nobody does any more, it is no news for the log."""
    if not task.cancelled():
        task.exception()
