"""The exchange worker: takes intents of one exchange from its stream and brings each to exactly one outcome.

    python -m workers.exchange --exchange binance

Any number of them share the work of one exchange; start one, and it takes its part; kill one, and the others take over
within the lease time. SIGTERM or SIGINT: take nothing more, finish what is under way within the grace time, give the
lanes back, exit 0. A second signal exits at once (code 130).
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
import redis.asyncio
from redis.exceptions import RedisError

from common import failpoints
from common.bell import Bell
from common.claims import Claims, published
from common.config import ConfigInvalid, ExchangeSection, Settings, exchange_settings, load_settings
from common.disabled import DisabledStrategies
from common.exchange import forbidden_params, open_exchange
from common.exchange.base import ExchangeFailure
from common.exchange.coalescing import Coalescing, Placing
from common.journal import Journal
from common.lane_queue import LaneQueue
from common.lanes import RETRY_SECONDS, Dispatcher, LeaseLost, RedisForgot
from common.limiter import Limiter
from common.market_rules import markets_from_ccxt
from common.markets import Markets, load, loaded_at, publish
from common.redis import ScriptRunner, connect_pool
from common.scripts import load_script
from common.standings import Standings
from common.telemetry import identify_process, start_telemetry
from common.venue_limits import Operation, VenueLimits, venue_limits
from orderlane.connection import connect_async
from orderlane.intents import DEFAULT_PRIORITY
from orderlane.keys import Keys, exchanges_key
from orderlane.published_limits import LIMITS_FIELD
from workers.background import kept_going, together
from workers.desk import Desk, LanePolicy, log
from workers.health import Health
from workers.life import LONGEST_SLEEP_MS, Life, cancel_all
from workers.overtaking import Overtaking
from workers.positions.at_start import reconcile_positions_at_start
from workers.positions.books import Books
from workers.positions.watch import PositionsWatch
from workers.reconcile.starting import Starting
from workers.rules import MarketRules
from workers.thinking import heeds_news
from workers.throttle import SharedThrottle
from workers.user_stream.service import UserStreams

BELL_TIMEOUT_SECONDS = 5.0
"""Added to the length of a blocking read: how late its reply may come before the connection counts as lost."""
WARM_CONNECTIONS = 2
"""Connections opened for each account (of the first ones) ahead of its first order."""
LEASE_SCRIPTS = ("take", "heartbeat", "release")
"""Loaded ahead: when they are first needed, a lease runs."""
CLOCK_SYNC_SECONDS = 30.0
MARKETS_CHECK_SECONDS = 60.0
SHORT_LIFE_SECONDS = 1.0
"""A life that ended sooner is followed by a pause, a longer one each time."""


class ExchangeWorker:
    """One process's work for one exchange: opens what it needs, then lives one life after the other."""

    def __init__(self, settings: Settings, name: str, *, on_start: Callable[[], None] = lambda: None) -> None:
        """`on_start` is called once, when everything is loaded that the work needs."""
        self._on_start = on_start
        self.settings = settings
        self.name = name
        self.section: ExchangeSection = settings.exchanges[name]
        self.keys = Keys(name, settings.pool)
        self.stopping = asyncio.Event()
        url, worker = settings.redis_url.reveal(), self.section.worker
        self.redis = connect_pool(url, self.keys, grace_ms=worker.restart_doubt_seconds * 1000)
        sleep_seconds = LONGEST_SLEEP_MS / 1000 + BELL_TIMEOUT_SECONDS
        self.bell = Bell(connect_async(url, socket_timeout_seconds=sleep_seconds, home=self.keys.control))
        self.runner = ScriptRunner(self.redis)
        self.exchange = open_exchange(exchange_settings(settings, name))
        limits = venue_limits(self.section.venue, self.section.limits)
        self.standings = Standings(self.redis, self.keys)
        self.disabled = DisabledStrategies(self.redis, self.keys)
        self.throttle = SharedThrottle(
            Limiter(self.runner.run, self._claims(limits)),
            self.exchange.now_ms,
            self.standings,
        )
        self.exchange.on_usage = self.throttle.heed
        self.books = Books(self.keys, self.section, self.exchange, self.runner, self.redis, self.throttle)
        self.rules = MarketRules(Markets([]), self.section.normalizer)
        self._loaded_at_ms = 0
        self.starting = Starting(
            self.section,
            self.keys,
            self.runner,
            redis=self.redis,
            exchange=self.exchange,
            throttle=self.throttle,
            standings=self.standings,
            retention_ms=settings.scheduler.order_retention_seconds * 1000,
            compare_positions=partial(reconcile_positions_at_start, self.books),
        )

    async def run(self) -> None:
        """Work until `stopping` is set."""
        try:
            if await self._start():
                positions = PositionsWatch(self.books)
                background = [
                    asyncio.create_task(
                        kept_going("user streams", self._user_streams(positions.look_soon).run)
                    ),
                    asyncio.create_task(kept_going("health", self._health().run)),
                    asyncio.create_task(kept_going("agreement", self.starting.run)),
                    asyncio.create_task(self.exchange.warm(WARM_CONNECTIONS)),
                    asyncio.create_task(kept_going("positions", positions.run)),
                    asyncio.create_task(self._every(CLOCK_SYNC_SECONDS, self.exchange.sync_clock)),
                    asyncio.create_task(self._every(MARKETS_CHECK_SECONDS, self._take_shared_markets)),
                ]
                try:
                    await self._live()
                finally:
                    await cancel_all(background)
        finally:
            await self._close()

    async def _start(self) -> bool:
        """Reach Redis and the exchange, both at once, and have the market rules; False when stopped meanwhile."""
        reached = await together(
            self._until_done("Redis", self._register),
            self._until_done("the exchange", self.exchange.sync_clock),
        )
        if not all(reached):
            return False
        if not self._loaded_at_ms and not await self._until_done("the exchange", self._load_markets):
            return False
        self._on_start()
        return True

    async def _live(self) -> None:
        pauses = 0
        while not self.stopping.is_set():
            began_at = time.monotonic()
            desk = self._desk()
            life = Life(
                desk,
                self.bell,
                lanes=self.section.worker.lanes,
                heartbeat_ms=self.section.worker.heartbeat_ms,
            )
            identify_process(worker=desk.dispatcher.worker_id, exchange=self.name)
            log.info("joining the pool")
            try:
                await self.starting.open_pool(self.stopping)
                await life.run()
            except RedisForgot as error:
                log.warning(str(error), extra={"worker": desk.dispatcher.worker_id})
                await life.leave()
            except LeaseLost as error:
                log.warning(str(error), extra={"worker": desk.dispatcher.worker_id})
            except Exception as error:  # noqa: BLE001 - whatever it was, the next life starts clean
                log.error(
                    "the worker starts over", exc_info=error, extra={"worker": desk.dispatcher.worker_id}
                )
                await life.leave()
            else:
                await life.shut_down(self.section.worker.grace_seconds)
                return
            # What ends one life at once (a foreign value under a key, say) would end the next one, too.
            pauses = pauses + 1 if time.monotonic() - began_at < SHORT_LIFE_SECONDS else 0
            await self._pause(RETRY_SECONDS[min(pauses, len(RETRY_SECONDS)) - 1] if pauses else 0)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)

    def _desk(self) -> Desk:
        worker = self.section.worker
        dispatcher = Dispatcher(self.runner, self.keys, lease_ms=worker.lease_ms, heed=self._heed)
        retention_ms = self.settings.scheduler.order_retention_seconds * 1000
        queue = LaneQueue(
            self.runner,
            self.keys,
            dispatcher,
            retention_ms=retention_ms,
            heeds_news=partial(heeds_news, self.section.lane_rules, dispatcher),
        )
        return Desk(
            name=self.name,
            pool=self.settings.pool,
            exchange=self.exchange,
            places=self._places(dispatcher),
            dispatcher=dispatcher,
            journal=Journal(self.runner, self.keys, retention_ms=retention_ms, dispatcher=dispatcher),
            queue=queue,
            overtaking=Overtaking(queue.overtaken),
            throttle=self.throttle,
            rules=self.rules,
            standings=self.standings,
            policy=lane_policy(self.section),
            disabled=self.disabled.reason,
            requests=asyncio.Semaphore(worker.in_flight),
            idle=self.throttle.idle,
            stopping=self.stopping,
        )

    def _heed(self, standings: Mapping[bytes, bytes], disabled: Mapping[bytes, bytes], now_ms: int) -> None:
        self.standings.heed(standings, now_ms)
        self.disabled.heed(disabled)

    def _user_streams(self, on_live: Callable[[], None]) -> UserStreams:
        return UserStreams(
            pool=self.settings.pool,
            keys=self.keys,
            accounts=list(self.section.accounts),
            section=self.section.user_stream,
            exchange=self.exchange,
            throttle=self.throttle,
            runner=self.runner,
            strangers=self.starting.strangers,
            holder=self.starting.holder,
            retention_ms=self.settings.scheduler.order_retention_seconds * 1000,
            counts_positions=self.section.positions.enabled,
            on_live=on_live,
        )

    def _health(self) -> Health:
        health = Health(
            self.standings,
            self.section.degraded,
            pool=self.settings.pool,
            accounts=list(self.section.accounts),
            exchange=self.exchange,
            throttle=self.throttle,
            symbols=lambda: self.rules.markets,
            request_seconds=self.section.request_timeout_ms / 1000,
        )
        self.exchange.on_outcome = health.note
        return health

    def _places(self, dispatcher: Dispatcher) -> Placing:
        batch = self.section.batch
        if not batch.enabled:
            return self.exchange

        def pay(account: str, symbol: str) -> Awaitable[bool]:
            return self.throttle.take_now(Operation.PLACE_TOGETHER, account, symbol, DEFAULT_PRIORITY)

        return Coalescing(
            self.exchange, batch.max_orders, pay, dispatcher.require_lease, dispatcher.redis_now_ms
        )

    def _claims(self, limits: VenueLimits) -> Claims:
        claims = Claims(self.keys, limits, self.section.margins)
        self._published = published(claims)
        return claims

    async def _register(self) -> None:
        await self.redis.sadd(self.keys.accounts, *self.section.accounts)
        plain: redis.asyncio.Redis = self.redis
        # What `submit.lua` goes by, whoever submits.
        await plain.hset(self.keys.control, "backlog_limit", str(self.section.backlog_limit))
        await plain.hset(self.keys.control, "account_backlog_limit", str(self.section.account_backlog_limit))
        await plain.hset(self.keys.limits, LIMITS_FIELD, msgspec.json.encode(self._published))
        await plain.sadd(exchanges_key(self.settings.pool), self.name)
        for name in LEASE_SCRIPTS:
            await plain.script_load(load_script(name).source)
        await self.standings.refresh()
        await self.disabled.refresh()
        await self._take_shared_markets()

    async def _take_shared_markets(self) -> None:
        """Use the market rules another process loaded, if there are any, and newer than ours."""
        if await loaded_at(self.redis, self.keys) <= self._loaded_at_ms:
            return
        shared = await load(self.redis, self.keys)
        if shared is not None and shared.loaded_at_ms > self._loaded_at_ms:
            self.exchange.use_ccxt_markets(shared.ccxt_markets)
            self.rules.markets, self._loaded_at_ms = shared.markets, shared.loaded_at_ms

    async def _load_markets(self) -> None:
        ccxt_markets = await self.exchange.fetch_ccxt_markets()
        markets = markets_from_ccxt(self.section.venue, ccxt_markets, self.exchange.precision_mode)
        now_ms = self.exchange.now_ms()
        await publish(self.redis, self.keys, markets, ccxt_markets, now_ms)
        self.rules.markets, self._loaded_at_ms = markets, now_ms
        log.info("market rules loaded", extra={"exchange": self.name, "symbols": len(markets)})

    async def _until_done(self, what: str, step: Callable[[], Awaitable[Any]]) -> bool:
        """Do a step of the start, with growing waits while it can't be done; False when stopped meanwhile."""
        delay = 0.2
        while not self.stopping.is_set():
            try:
                await step()
                return True
            except (RedisError, OSError, ExchangeFailure) as error:
                log.warning(f"{what} can't be reached yet; trying again", extra={"reason": str(error)})
            try:
                await asyncio.wait_for(self.stopping.wait(), delay)
            except TimeoutError:
                delay = min(delay * 2, 10.0)
        return False

    async def _every(self, seconds: float, step: Callable[[], Awaitable[Any]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await step()
            except (RedisError, OSError, ExchangeFailure) as error:
                log.warning("a periodic step failed", extra={"reason": str(error)})

    async def _close(self) -> None:
        await self.throttle.close()
        await self.exchange.close()
        await self.bell.aclose()
        await self.runner.aclose()
        await self.redis.aclose()


def lane_policy(section: ExchangeSection) -> LanePolicy:
    """What the settings of one exchange say about running lanes."""
    worker = section.worker
    return LanePolicy(
        accounts=frozenset(section.accounts),
        disabled_strategies=frozenset(section.disabled_strategies),
        resolve_delays_ms=worker.resolve_delays_ms,
        resolve_delay_cap_ms=worker.resolve_cap_ms,
        clock_margin_ms=worker.clock_margin_ms,
        lease_ms=worker.lease_ms,
        restart_doubt_ms=worker.restart_doubt_seconds * 1000,
        max_attempts=worker.attempts,
        max_deaths=worker.max_deaths,
        unprovable_after_ms=worker.unprovable_after_ms,
        lane_rules=section.lane_rules,
        forbidden_params=partial(forbidden_params, section.venue),
    )


async def _main(settings: Settings, name: str) -> None:
    # What was loaded at the start stays: looking it through for garbage now and then would stop every lane for 50 ms.
    worker = ExchangeWorker(settings, name, on_start=gc.freeze)
    gc.freeze()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, worker)
    log.info(
        "exchange worker starts",
        extra={"exchange": name, "venue": worker.section.venue, "redis": str(settings.redis_url)},
    )
    await worker.run()


def _stop(worker: ExchangeWorker) -> None:
    if worker.stopping.is_set():
        os._exit(130)
    log.info("stopping: taking nothing more, finishing what is under way", extra={"exchange": worker.name})
    worker.stopping.set()


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option("--exchange", "name", required=True, help="Which exchange of the configuration to work for.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=None,
    help="orderlane.yaml; default: built-in paper pool.",
)
def main(name: str, config: Path | None) -> None:
    """Run one exchange worker until a signal stops it."""
    try:
        settings = load_settings(config, os.environ)
    except ConfigInvalid as error:
        raise click.ClickException(str(error)) from None
    if name not in settings.exchanges:
        known = ", ".join(settings.exchanges)
        raise click.UsageError(f"--exchange {name!r} is not in the configuration; it has: {known}")
    failpoints.require_paper(settings.exchanges[name].endpoint)
    start_telemetry(settings, process=f"exchange:{name}")
    import uvloop

    uvloop.run(_main(settings, name))


if __name__ == "__main__":
    sys.exit(main())
