"""The model of scale put to the test: a thousand accounts, intents at a given part of what it says the pool carries.

A run at the greatest throughput over 64 lanes says what an intent costs on this machine at this moment; the model says
what follows from it for one worker and for two; then as much of that as `SHARES` says arrives, evenly, spread at random
over every lane of a thousand accounts. A few accounts are sent more than the exchange allows them.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import redis.asyncio
import uvloop
from msgspec import Struct

from common.buckets import Margins, parse_notation
from common.venue_limits import Scope, venue_limits
from orderlane.connection import connect_async
from orderlane.identity import client_order_id
from orderlane.keys import INTENT_FIELD
from scripts.harness.bench.instruments import Instrument
from scripts.harness.bench.processes import Child, cpu_seconds, usage_of
from scripts.harness.bench.scale_model import Costs, most_in_window, orders_allowed, shared_cores
from scripts.harness.bench.stage import EXCHANGE, NO_LIMIT, POOL, Shape, Stage
from scripts.harness.bench.statistics import percentile
from scripts.harness.bench.throughput import LANES, run_pool
from scripts.harness.processes import PoolFailed

ACCOUNTS: Final = 1_000
SYMBOLS: Final = 10
HOT: Final = 3
"""Accounts that are sent more than the exchange allows."""
HOT_RATE: Final = 40.0
"""Intents a second for each of them: Binance USDⓈ-M allows an account 30."""
SHARES: Final = (0.5, 0.9)
WORKERS: Final = (1, 2)
SECONDS: Final = 15.0
TICK_SECONDS: Final = 0.005
FIRST: Final = 0.3
"""The part of a run after which is measured: connections of a thousand accounts are being made until then."""
LAST: Final = 0.98
SETTLE_SECONDS: Final = 20.0
VENUE: Final = "binanceusdm"
START_SECONDS: Final = 120.0


class Offered(Struct, frozen=True):
    """One intent to be appended: when, in seconds from the start, for which account, under which client order id."""

    at_seconds: float
    account: str
    name: str
    payload: bytes


class Checked(Struct, frozen=True, kw_only=True):
    """One run beside what was predicted of it. Rates a second, CPU in percent of a core, latencies in ms.

    `carries` is what the model says, of which `share` was appended; `offered` and `arrived` are the intents of accounts
    within their limits among them."""

    workers: int
    share: float
    carries: float
    offered: float
    arrived: float
    worker_predicted: float
    worker_measured: float
    redis_predicted: float
    redis_measured: float
    waited: float
    """For how long the workers were ready to run and had no core, in percent of the time. Where this is not small the
    machine was too small or had other things to do, and rate and latencies say nothing of the pool."""
    latencies_ms: tuple[float, float, float]
    """p50, p90 and p99 from XADD to the exchange, of all accounts within their limits."""
    worst_windows: dict[str, tuple[int, int]]
    """Limit -> the most orders of one account that arrived in any window of it, and how many it allows."""
    left: int
    """Intents of accounts within their limits that had not arrived some seconds after the last was appended."""


class Mark(Struct, frozen=True, kw_only=True):
    """CPU seconds used up to a moment, and how long the workers had waited for a core."""

    at: float
    workers: float
    waited: float
    redis: float


class Started(Struct, frozen=True):
    """A worker with a thousand accounts: seconds from process start to first take, CPU seconds of it, its memory then
    (bytes)."""

    seconds: float
    cpu_seconds: float
    memory_bytes: int


class Scaled(Struct, frozen=True, kw_only=True):
    """What was found."""

    costs: Costs
    exchange_us: float
    started: Started
    runs: list[Checked]


def scaled(orders: int, seconds: float = SECONDS) -> Scaled:
    """Calibrate, predict, and run."""
    with Stage(Shape(symbols=SYMBOLS, accounts=ACCOUNTS, lanes=4096)) as stage:
        run = run_pool(stage, orders, LANES)
        costs = Costs(worker_us=run.worker_us, redis_us=run.redis_us, worker_rate=run.rate, kept_bytes=0.0)
        limit_accounts(stage)
        runs, started = [], Started(0.0, 0.0, 0)
        for workers in WORKERS:
            for share in SHARES:
                children, started = start(stage, workers)
                try:
                    runs.append(check(stage, costs, run.exchange_us, children, share, seconds))
                finally:
                    for child in children:
                        stage.drop(child)
    return Scaled(costs=costs, exchange_us=run.exchange_us, started=started, runs=runs)


def limit_accounts(stage: Stage) -> None:
    """Let the venue's own limits of an account hold; those of the address stand for as many addresses as it takes."""
    file = stage.folder / "orderlane.yaml"
    document: dict[str, Any] = msgspec.json.decode(file.read_bytes())
    limits = venue_limits(VENUE).limits
    document["exchanges"][EXCHANGE]["limits"] = {
        name: text for name, text in NO_LIMIT.items() if limits[name].scope is Scope.IP
    }
    file.write_bytes(msgspec.json.encode(document))


def start(stage: Stage, workers: int) -> tuple[list[Child], Started]:
    """Start workers on an empty Redis, and wait until each has made its first take."""
    stage.clear()
    began = time.monotonic()
    children = [stage.start_worker(number) for number in range(1, workers + 1)]
    while int(stage.redis.zcard(stage.keys.workers)) < workers:
        for child in children:
            child.check()
        if time.monotonic() - began > START_SECONDS:
            raise PoolFailed(
                f"{workers} workers with {ACCOUNTS} accounts did not start in {START_SECONDS:g} s"
            )
        time.sleep(0.01)
    first = children[0].pid
    return children, Started(time.monotonic() - began, cpu_seconds(first), usage_of(first).memory_bytes)


def check(
    stage: Stage, costs: Costs, exchange_us: float, children: Sequence[Child], share: float, seconds: float
) -> Checked:
    """One run: `share` of what the model says these workers carry on this machine."""
    cores = float(os.cpu_count() or 1)
    together = shared_cores((costs.worker_us, costs.redis_us, exchange_us), cores)
    carries = min(len(children) * costs.worker_rate, together)
    rate = share * carries
    offered = offers(stage, rate, seconds, random.Random(f"{len(children)}/{share}"))

    def used() -> Mark:
        return Mark(
            at=time.monotonic(),
            workers=sum(cpu_seconds(one.pid) for one in children),
            waited=sum(waited_seconds(one.pid) for one in children),
            redis=cpu_seconds(stage.redis_pid),
        )

    sent_ns, marks = uvloop.run(drive(stage, offered, seconds, used))
    before, after = marks
    elapsed = after.at - before.at
    hot = frozenset(stage.accounts[:HOT])
    within = {one.name for one in offered if one.account not in hot}
    arrived = wait_for(stage, within, children)
    latencies = [
        (arrived[one.name] - at_ns) / 1e6
        for one, at_ns in zip(offered, sent_ns, strict=True)
        if one.name in arrived and one.account not in hot and FIRST <= one.at_seconds / seconds <= LAST
    ]
    since, until = (sent_ns[0] + part * seconds * 1e9 for part in (FIRST, LAST))
    through = sum(since <= arrived.get(name, 0) <= until for name in within) / ((LAST - FIRST) * seconds)
    expected = rate - HOT * (HOT_RATE - orders_allowed(venue_limits(VENUE), Scope.ACCOUNT, Margins()))
    return Checked(
        workers=len(children),
        share=share,
        carries=carries,
        offered=rate - HOT * HOT_RATE,
        arrived=through,
        worker_predicted=expected * costs.worker_us / 1e4,
        worker_measured=(after.workers - before.workers) / elapsed * 100,
        redis_predicted=expected * costs.redis_us / 1e4,
        redis_measured=(after.redis - before.redis) / elapsed * 100,
        waited=(after.waited - before.waited) / elapsed * 100,
        latencies_ms=(percentile(latencies, 0.5), percentile(latencies, 0.9), percentile(latencies, 0.99)),
        worst_windows=worst_windows(offered, arrived),
        left=len(within - arrived.keys()),
    )


def offers(stage: Stage, rate: float, seconds: float, dice: random.Random) -> list[Offered]:
    """`rate` intents a second, spread evenly over time and at random over accounts and symbols; beside them those of
    the accounts that ask for too much, which are part of the rate."""
    hot = stage.accounts[:HOT]
    times = [(number / HOT_RATE, account) for account in hot for number in range(int(HOT_RATE * seconds))]
    ordinary = max(rate - HOT * HOT_RATE, 1.0)
    times += [
        (number / ordinary, dice.choice(stage.accounts[HOT:])) for number in range(int(ordinary * seconds))
    ]
    found = []
    for number, (at, account) in enumerate(sorted(times)):
        instrument, name = dice.choice(stage.instruments), f"s-{number}"
        found.append(
            Offered(
                at_seconds=at,
                account=account,
                name=client_order_id(POOL, EXCHANGE, account, name),
                payload=payload(instrument, account, name, buying=dice.random() < 0.5),
            )
        )
    return found


def payload(instrument: Instrument, account: str, name: str, *, buying: bool) -> bytes:
    """A limit order as an application appends it."""
    return msgspec.json.encode(
        {
            "kind": "place", "id": name, "exchange": EXCHANGE, "account": account, "symbol": instrument.symbol,
            "strategy": "bench", "side": "buy" if buying else "sell", "type": "limit", "amount": instrument.amount,
            "price": instrument.buy_price if buying else instrument.sell_price,
        }
    )  # fmt: skip


def waited_seconds(process_id: int) -> float:
    """How long a process was ready to run without a core (Linux' schedstat, second field); 0 where that is not told."""
    total = 0
    with suppress(OSError, ValueError, IndexError):
        for task in (Path("/proc") / str(process_id) / "task").iterdir():
            total += int((task / "schedstat").read_text().split()[1])
    return total / 1e9


async def drive(
    stage: Stage, offered: Sequence[Offered], seconds: float, used: Callable[[], Mark]
) -> tuple[list[int], list[Mark]]:
    """Append each intent when it is due; when each was sent (ns since 1970), and what was used at both marks."""
    client: redis.asyncio.Redis = connect_async(stage.redis_server.url, socket_timeout_seconds=60)
    sent_ns: list[int] = []
    marks: list[Mark] = []
    due_marks = [FIRST * seconds, LAST * seconds]
    started = time.perf_counter()
    try:
        while len(sent_ns) < len(offered) or due_marks:
            now = time.perf_counter() - started
            if due_marks and now >= due_marks[0]:
                due_marks.pop(0)
                marks.append(used())
            pipeline, first = client.pipeline(transaction=False), len(sent_ns)
            at_ns = time.time_ns()
            while len(sent_ns) < len(offered) and offered[len(sent_ns)].at_seconds <= now:
                pipeline.xadd(stage.keys.intents, {INTENT_FIELD: offered[len(sent_ns)].payload})
                sent_ns.append(at_ns)
            if len(sent_ns) > first:
                await pipeline.execute()
            await asyncio.sleep(TICK_SECONDS)
    finally:
        await client.aclose()
    return sent_ns, marks


def wait_for(stage: Stage, wanted: set[str], children: Sequence[Child]) -> dict[str, int]:
    """Arrivals by client order id, once all of these are there, or after a while."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        for child in children:
            child.check()
        arrived = {name: at_ns for at_ns, name in stage.arrivals()}
        if wanted <= arrived.keys() or time.monotonic() > deadline:
            return arrived
        time.sleep(0.5)


def worst_windows(offered: Sequence[Offered], arrived: dict[str, int]) -> dict[str, tuple[int, int]]:
    """For each of the venue's limits of an account: the most that any account reached, and what it allows."""
    by_account: dict[str, list[int]] = defaultdict(list)
    for one in offered:
        if one.name in arrived:
            by_account[one.account].append(arrived[one.name])
    found = {}
    for name, limit in venue_limits(VENUE).limits.items():
        if limit.scope is Scope.ACCOUNT:
            item, _ = parse_notation(limit.notation)
            window_ns = item.get_expiry() * 1_000_000_000
            worst = max(
                (most_in_window(sorted(times), window_ns) for times in by_account.values()), default=0
            )
            found[name] = (worst, item.amount)
    return found
