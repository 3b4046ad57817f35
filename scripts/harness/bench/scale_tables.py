"""The model of scale as tables of `docs/performance.md`, and what its test found; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from common.buckets import Margins
from common.venue_limits import VENUES, Scope
from scripts.harness.bench.scale import ACCOUNTS, HOT, HOT_RATE, SYMBOLS, Checked, Scaled
from scripts.harness.bench.scale_model import (
    SECONDS_OF_DAY,
    Costs,
    Site,
    accounts_of_an_address,
    capacity,
    orders_allowed,
)
from scripts.harness.bench.tables import shown

MODEL_BEGIN: Final = "<!-- scale modelled: begin -->"
MODEL_END: Final = "<!-- scale modelled: end -->"
CHECK_BEGIN: Final = "<!-- scale checked: begin -->"
CHECK_END: Final = "<!-- scale checked: end -->"
MEMORY_BYTES: Final = 16e9
SYNC_SECONDS: Final = (15.0, 300.0)
MASTERS: Final = (1, 3, 10)
KEPT: Final = (("3 days, the default", 3 * SECONDS_OF_DAY), ("1 day", SECONDS_OF_DAY), ("1 hour", 3_600))


def model_tables(costs: Costs) -> str:
    """What each part of a pool carries, and what the venues allow."""
    return "\n".join([*_parts(costs), "", *_venues(costs), "", *_sites(costs)])


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    head = [f"| {' | '.join(columns)} |", f"|---|{'--:|' * (len(columns) - 1)}"]
    return head + [f"| {' | '.join(row)} |" for row in rows]


def _parts(costs: Costs) -> list[str]:
    def of(masters: int = 1, kept_seconds: float = SECONDS_OF_DAY) -> tuple[float, float, float]:
        site = Site(
            venue="binanceusdm",
            accounts=1,
            masters=masters,
            memory_bytes=MEMORY_BYTES,
            retention_seconds=kept_seconds,
        )
        found = capacity(costs, site)
        return found.workers, found.redis, found.memory

    worker, _, _ = of()
    rows = [["one worker, on a core of its own", shown(worker), "1"]]
    for masters in MASTERS:
        redis = of(masters)[1]
        name = "one master of Redis" if masters == 1 else f"{masters} masters, with as many exchanges or more"
        rows.append([name, shown(redis), shown(redis / worker)])
    rows += [
        [
            f"{MEMORY_BYTES / 1e9:g} GB of Redis, orders and events kept for {text}",
            f"{shown(of(1, kept)[2])} on average",
            "",
        ]
        for text, kept in KEPT
    ]
    return _table(("part", "intents a second", "cores of workers that takes"), rows)


def _venues(costs: Costs) -> list[str]:
    margins = Margins()
    worker = capacity(costs, Site(venue="binanceusdm", accounts=1)).workers
    rows = []
    for name, limits in VENUES.items():
        account = min(orders_allowed(limits, scope, margins) for scope in (Scope.ACCOUNT, Scope.SYMBOL))
        address = orders_allowed(limits, Scope.IP, margins)
        synced = [accounts_of_an_address(limits, seconds, margins) for seconds in SYNC_SECONDS]
        rows.append(
            [
                name,
                _rate(account),
                _rate(address),
                *(_count(one) for one in synced),
                _count(worker / account),
                _count(worker / address) if address < float("inf") else "-",
            ]
        )
    return _table(
        (
            "venue",
            "orders/s of an account (in one symbol)",
            "orders/s of an address",
            *(f"accounts an address can sync every {seconds:g} s" for seconds in SYNC_SECONDS),
            "accounts, each at its limit, that fill a worker",
            "addresses, each at its limit, that fill a worker",
        ),
        rows,
    )


def _sites(costs: Costs) -> list[str]:
    rows = []
    for venue in VENUES:
        for addresses in (1, 200):
            site = Site(
                venue=venue,
                accounts=ACCOUNTS,
                symbols=SYMBOLS,
                addresses=addresses,
                sync_period_seconds=300,
                worker_cores=2,
            )
            found = capacity(costs, site)
            name, rate = found.peak
            rows.append([venue, str(addresses), _rate(rate), name, _rate(found.workers), _rate(found.redis)])
    return _table(
        (
            f"{ACCOUNTS} accounts, sync every 300 s",
            "addresses",
            "orders/s",
            "what ends first",
            "two workers",
            "one master",
        ),
        rows,
    )


def check_tables(found: Scaled, taken: str) -> str:
    """What the test of the model found."""
    costs, started = found.costs, found.started
    lanes = f"{ACCOUNTS * SYMBOLS:,}".replace(",", " ")
    text = (
        f"{ACCOUNTS} accounts over {SYMBOLS} symbols, {lanes} lanes. {HOT} of the accounts are sent {HOT_RATE:g} a "
        "second each, more than the exchange allows; all but the windows is of the others. "
        f"At the beginning an intent cost {shown(costs.worker_us)} us of a worker, {shown(costs.redis_us)} us of Redis "
        f"and {shown(found.exchange_us)} us of the endpoint, and one worker did {shown(costs.worker_rate)} a second. "
        f"The last worker with {ACCOUNTS} accounts made its first take after {started.seconds:.1f} s; the first "
        f"of them had used {started.cpu_seconds:.1f} s of CPU and {started.memory_bytes / 1e6:.0f} MB then. {taken}"
    )
    columns = (
        "workers, and the part of what they carry",
        "intents/s: sent / arrived",
        "workers' CPU %: predicted / measured",
        "Redis' CPU %: predicted / measured",
        "workers without a core, %",
        "XADD to the exchange, ms: p50 / p90 / p99",
        f"most of an account in a window ({', '.join(found.runs[0].worst_windows) if found.runs else ''})",
        "not arrived",
    )
    return "\n".join([text, "", *_table(columns, [_checked_row(run) for run in found.runs])])


def _checked_row(run: Checked) -> list[str]:
    return [
        f"{run.workers}, {run.share:.0%} of {shown(run.carries)}/s",
        f"{shown(run.offered)} / {shown(run.arrived)}",
        f"{run.worker_predicted:.0f} / {run.worker_measured:.0f}",
        f"{run.redis_predicted:.0f} / {run.redis_measured:.0f}",
        f"{run.waited:.0f}",
        " / ".join(shown(one) for one in run.latencies_ms),
        ", ".join(f"{worst} of {allowed}" for worst, allowed in run.worst_windows.values()),
        str(run.left),
    ]


def _rate(value: float) -> str:
    return "no limit" if value == float("inf") else shown(value)


def _count(value: float) -> str:
    return (
        "any"
        if value == float("inf")
        else f"{value:,.0f}".replace(",", " ")
        if value >= 10
        else f"{value:.1f}"
    )
