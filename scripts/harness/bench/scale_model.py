"""How far a pool goes: what workers, Redis and the exchange's limits each carry, and which of them ends first; pure.

The figures it starts from are those that the bench measured. Nothing in it is fitted: a worker and a Redis server are
each one thread, so each carries one core's worth of its own cost; servers and workers do not share state, so N carry
N times as much as long as there are exchanges to be spread over the servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from common.buckets import Margins, parse_notation, plan_bucket
from common.venue_limits import Operation, Scope, VenueLimits, venue_limits

SECONDS_OF_DAY: Final = 86_400


class Costs(Struct, frozen=True, kw_only=True):
    """What one intent costs, as measured: CPU in microseconds, memory in bytes; `worker_rate` is what one worker did at
    its greatest throughput, intents a second."""

    worker_us: float
    redis_us: float
    worker_rate: float
    kept_bytes: float
    """Of an order's record, its indices and events, for as long as they are kept."""


class Site(Struct, frozen=True, kw_only=True):
    """What there is: cores for workers, Redis masters with their memory, addresses, accounts; how long orders are
    kept and how often each account's open orders are listed (the pool's settings, s)."""

    venue: str
    accounts: int
    symbols: int = 1
    """That each account trades: some venues count by symbol."""
    addresses: int = 1
    worker_cores: int = 1
    masters: int = 1
    memory_bytes: float = 16e9
    retention_seconds: float = 3 * SECONDS_OF_DAY
    sync_period_seconds: float = 15.0
    limits: Mapping[str, str] = {}
    """In place of the published ones."""


class Capacity(Struct, frozen=True, kw_only=True):
    """Intents a second that each part of a site carries; `memory` on average over the retention time, the others at any
    moment."""

    workers: float
    redis: float
    memory: float
    accounts: float
    addresses: float

    @property
    def peak(self) -> tuple[str, float]:
        """What ends first at any moment, and at how many intents a second."""
        parts = {
            "workers": self.workers,
            "redis": self.redis,
            "accounts": self.accounts,
            "addresses": self.addresses,
        }
        name = min(parts, key=parts.__getitem__)
        return name, parts[name]


def costs_in(stored: Mapping[str, Any]) -> Costs:
    """The costs among the bench's stored figures (`docs/performance.json`): measures 1 and 6.

    Raises:
        ValueError: a figure is not among them.
    """

    def figure(number: str, name: str) -> float:
        rows = [
            row
            for kind in ("counted", "explaining")
            for row in stored.get(number, {}).get(kind, ())
            if row["name"] == name
        ]
        if not rows:
            raise ValueError(
                f"measure {number} has no figure {name!r}: take it with scripts/bench --only {number}"
            )
        return float(rows[0]["ours"])

    return Costs(
        worker_us=figure("1", "CPU of the process for each order"),
        redis_us=figure("1", "Redis' CPU for each intent"),
        worker_rate=figure("1", "orders a second"),
        kept_bytes=figure("6", "the same with its events, which are trimmed by age"),
    )


def steady_rate_of(limits: VenueLimits, name: str, margins: Margins) -> float:
    """Tokens a second that the pool's bucket of a limit refills, below what the venue allows by the pool's margins."""
    item, burst = parse_notation(limits.limits[name].notation)
    bucket = plan_bucket(item, burst=burst, greatest_cost=limits.greatest_cost(name), margins=margins)
    return bucket.refill * 1000 / bucket.refill_ms


def orders_allowed(
    limits: VenueLimits, scope: Scope, margins: Margins, spent: Mapping[str, float] | None = None
) -> float:
    """Orders a second that the limits of one scope allow one account, symbol or address, without end; infinite where
    there are none. `spent`: tokens a second that go elsewhere, by limit."""
    charges = [charge for charge in limits.charges[Operation.PLACE] if charge.scope is scope]
    return min(
        (
            max(
                0.0,
                steady_rate_of(limits, charge.limit_name, margins) - (spent or {}).get(charge.limit_name, 0),
            )
            / charge.cost
            for charge in charges
        ),
        default=float("inf"),
    )


def sync_charges(limits: VenueLimits, sync_period_seconds: float) -> dict[str, float]:
    """Tokens a second that the sync of one account's open orders takes from the limits of its address."""
    return {
        charge.limit_name: charge.cost / sync_period_seconds
        for charge in limits.charges[Operation.OPEN_ORDERS_ALL]
        if charge.scope is Scope.IP
    }


def accounts_of_an_address(limits: VenueLimits, sync_period_seconds: float, margins: Margins) -> float:
    """How many accounts the limits of one address let the sync list in each period, if nothing else is sent."""
    return min(
        (
            steady_rate_of(limits, name, margins) / each
            for name, each in sync_charges(limits, sync_period_seconds).items()
        ),
        default=float("inf"),
    )


def capacity(costs: Costs, site: Site, margins: Margins | None = None) -> Capacity:
    """What each part of a site carries."""
    margins = margins or Margins()
    limits = venue_limits(site.venue, dict(site.limits))
    each = site.accounts / site.addresses
    synced = min(each, accounts_of_an_address(limits, site.sync_period_seconds, margins))
    spent = {name: one * synced for name, one in sync_charges(limits, site.sync_period_seconds).items()}
    return Capacity(
        workers=site.worker_cores * min(costs.worker_rate, 1e6 / costs.worker_us),
        redis=site.masters * 1e6 / costs.redis_us,
        memory=site.masters * site.memory_bytes / (costs.kept_bytes * site.retention_seconds),
        accounts=site.accounts
        * min(
            orders_allowed(limits, Scope.ACCOUNT, margins),
            site.symbols * orders_allowed(limits, Scope.SYMBOL, margins),
        ),
        addresses=site.addresses * orders_allowed(limits, Scope.IP, margins, spent),
    )


def shared_cores(costs_us: Iterable[float], cores: float) -> float:
    """Intents a second where all that an intent costs is done on the same cores, by as many processes as fill them."""
    return cores * 1e6 / sum(costs_us)


def most_in_window(times_ns: Sequence[int], window_ns: int) -> int:
    """The most of these moments, in order, that lie in any one window."""
    most = first = 0
    for last, at_ns in enumerate(times_ns):
        while at_ns - times_ns[first] >= window_ns:
            first += 1
        most = max(most, last - first + 1)
    return most
