"""What must hold between settings, beyond each one's own bounds. Each check yields (field, message)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from common.config.decoding import Checks, Flaw
from common.config.settings import ExchangeSection, Settings, WorkerSection
from common.health import policy_flaws
from common.venue_limits import venue_limits
from orderlane.cluster import is_cluster

_BATCH_LIMITS: Final = {"binanceusdm": 5, "bybit": 10, "okx": 20}
"""The most orders one request may hold: Binance USDⓈ-M `POST /fapi/v1/batchOrders`, Bybit v5 `/v5/order/create-batch`,
OKX v5 `/api/v5/trade/batch-orders`."""
_DSN: Final = re.compile(r"https?://[^\s/@:]+(:[^\s/@]+)?@[^\s/@]+/(\S*/)?[0-9]+\Z")


def worker_flaws(worker: WorkerSection) -> Iterator[Flaw]:
    """A worker that could not keep its lease, or whose numbers contradict each other."""
    if worker.heartbeat_ms * 2 >= worker.lease_ms:
        yield (
            ("heartbeat_ms",),
            f"{worker.heartbeat_ms} is too slow for lease_ms {worker.lease_ms}: expected less than half of it, "
            "so that one late heartbeat doesn't end the lease",
        )
    if worker.in_flight > worker.lanes:
        yield (
            ("in_flight",),
            f"{worker.in_flight} can't be reached with lanes {worker.lanes}: expected at most as many, since a "
            "lane has one request at a time",
        )
    delays = list(worker.resolve_delays_ms)
    if delays != sorted(delays):
        yield (
            ("resolve_delays_ms",),
            f"{delays} is wrong: expected each wait to be as long as the one before, or longer",
        )
    if worker.resolve_cap_ms < max(delays):
        yield (
            ("resolve_cap_ms",),
            f"{worker.resolve_cap_ms} is less than the longest of resolve_delays_ms: expected {max(delays)} or more",
        )


def exchange_flaws(exchange: ExchangeSection) -> Iterator[Flaw]:
    """Limits the venue doesn't have, an account that can't work, a shutdown that would cut off requests."""
    yield from _limit_flaws(exchange)
    yield from _batch_flaws(exchange)
    for setting, message in policy_flaws(exchange.degraded):
        yield ("degraded", setting), message
    grace_seconds = exchange.worker.grace_seconds
    if grace_seconds * 1000 < exchange.request_timeout_ms:
        yield (
            ("worker", "grace_seconds"),
            f"{grace_seconds:g} s is less than request_timeout_ms {exchange.request_timeout_ms}: expected at least "
            "that, or a worker that is stopped cuts off requests and leaves their outcome unknown",
        )
    if "ip" in exchange.accounts:
        yield (
            ("accounts", "ip"),
            'an account can\'t be named "ip": limits of the address are kept under that name',
        )


def _limit_flaws(exchange: ExchangeSection) -> Iterator[Flaw]:
    for name, notation in exchange.limits.items():
        try:
            venue_limits(exchange.venue, {name: notation})
        except ValueError as error:
            yield ("limits", name), str(error)


def _batch_flaws(exchange: ExchangeSection) -> Iterator[Flaw]:
    batch, most = exchange.batch, _BATCH_LIMITS.get(exchange.venue)
    if not batch.enabled:
        return
    if most is None:
        yield (
            ("batch", "enabled"),
            f"true is wrong: {exchange.venue} takes one order in a request; expected false, or one of "
            f"{', '.join(_BATCH_LIMITS)} as the venue",
        )
    elif batch.max_orders > most:
        yield (
            ("batch", "max_orders"),
            f"{batch.max_orders} is more than {exchange.venue} takes in one request: expected at most {most}",
        )


def settings_flaws(settings: Settings) -> Iterator[Flaw]:
    """A DSN that Sentry would not take, a queue where rq can't run, events that go before anybody could read them."""
    if is_cluster(settings.queue_redis_url.reveal()):
        name = "redis_url" if settings.rq_redis_url is None else "rq_redis_url"
        yield (
            ("rq_redis_url",),
            f"the scheduler's jobs would be in the cluster of {name}, where rq does not run: expected a plain Redis "
            "for them (rq_redis_url, or the environment variable RQ_REDIS_URL)",
        )
    dsn = settings.sentry.dsn
    if dsn is not None and not _DSN.match(dsn.reveal()):
        yield ("sentry", "dsn"), "is no DSN of Sentry: expected the form https://KEY@HOST/PROJECT"
    scheduler = settings.scheduler
    if scheduler.event_retention_seconds < 2 * scheduler.sync_period_seconds:
        yield (
            ("scheduler", "event_retention_seconds"),
            f"{scheduler.event_retention_seconds} is less than two sync periods of {scheduler.sync_period_seconds} s: "
            "expected more, or a consumer misses changes between two looks",
        )


CHECKS: Final[Checks] = {
    WorkerSection: worker_flaws,
    ExchangeSection: exchange_flaws,
    Settings: settings_flaws,
}
