"""Orders a second: one worker beside a bare loop of ccxt, and two workers beside one."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from scripts.harness.bench.load import append, payloads
from scripts.harness.bench.measures import Result, compared, seen
from scripts.harness.bench.processes import Child, cpu_seconds, family_cpu_seconds
from scripts.harness.bench.stage import Shape, Site, Stage, shape_for
from scripts.harness.bench.statistics import TAIL_SHARE, WARM_SHARE, steady_rate

RUN_SECONDS = 120.0
LANES = 64
DELAY_MS = 20.0
DELAYED_IN_FLIGHT = 12


class Run(Struct, frozen=True, kw_only=True):
    """One run: orders a second, and microseconds of CPU for each order: of the workers, Redis and the exchange."""

    rate: float
    worker_us: float
    redis_us: float
    exchange_us: float


def watched(stage: Stage, orders: int, *workers: Child) -> Run:
    """Wait until so many orders have arrived; what the steady part of the run says."""

    def used() -> list[float]:
        return [
            sum(family_cpu_seconds(child.pid) for child in workers),
            cpu_seconds(stage.redis_pid),
            cpu_seconds(stage.exchange.pid),
        ]

    first, last = int(orders * WARM_SHARE), int(orders * (1 - TAIL_SHARE))
    stage.wait_for_arrivals(first, RUN_SECONDS, *workers)
    began, began_at = used(), stage.arrived()
    stage.wait_for_arrivals(last, RUN_SECONDS, *workers)
    ended, ended_at = used(), stage.arrived()
    stage.wait_for_arrivals(orders, RUN_SECONDS)
    rate = steady_rate([at_ns for at_ns, _ in stage.arrivals()][:orders])
    each = [
        (after - before) / max(ended_at - began_at, 1) * 1e6
        for before, after in zip(began, ended, strict=True)
    ]
    return Run(rate=rate, worker_us=each[0], redis_us=each[1], exchange_us=each[2])


def run_pool(stage: Stage, orders: int, lanes: int, workers: int = 1, appended: int = 0) -> Run:
    """Append all intents (`appended`, if that is more), start the workers, and watch the orders arrive."""
    stage.clear()
    return run_on(stage, orders, lanes, workers, appended)


def run_on(stage: Stage, orders: int, lanes: int, workers: int = 1, appended: int = 0) -> Run:
    """The same, with Redis as it is."""
    append(stage, payloads(stage, max(orders, appended), lanes, "t"))
    children = [stage.start_worker(number) for number in range(1, workers + 1)]
    try:
        return watched(stage, orders, *children)
    finally:
        for child in children:
            stage.drop(child)


def run_bare(stage: Stage, orders: int, concurrency: int) -> Run:
    """The bare loop of ccxt, and nothing else."""
    stage.clear()
    child = stage.start(
        "bare", "scripts.harness.bench.bare_ccxt", "--url", stage.exchange_url, "--orders", str(orders),
        "--concurrency", str(concurrency), "--account", stage.accounts[0],
        "--instruments", msgspec.json.encode(stage.instruments).decode(),
    )  # fmt: skip
    try:
        return watched(stage, orders, child)
    finally:
        stage.drop(child)


def beside_ccxt(repeats: int, orders: int, site: Site) -> Result:
    """Measure 1."""
    ours, theirs = [], []
    with Stage(shape_for(site, LANES)) as stage:
        for _ in range(repeats):
            theirs.append(run_bare(stage, orders, LANES))
            ours.append(run_pool(stage, orders, LANES))
    return Result(
        number=1,
        counted=[
            compared("orders a second", [run.rate for run in ours], [run.rate for run in theirs], "1/s")
        ],
        explaining=[
            compared(
                "CPU of the process for each order",
                [run.worker_us for run in ours],
                [run.worker_us for run in theirs],
                "us",
            ),
            seen("Redis' CPU for each intent", [run.redis_us for run in ours], "us"),
            seen("the exchange process' CPU for each order", [run.exchange_us for run in ours], "us"),
        ],
    )


def two_beside_one(repeats: int, orders: int, delay_ms: float) -> Result:
    """Measure 5: each worker may have few requests under way, each of which takes a while, so the worker limits."""
    one, two = [], []
    delay_ms = delay_ms or DELAY_MS
    shape = Shape(in_flight=DELAYED_IN_FLIGHT, lanes=LANES, delay_ms=delay_ms)
    with Stage(shape) as stage:
        for _ in range(repeats):
            one.append(run_pool(stage, orders // 2, LANES, workers=1))
            two.append(run_pool(stage, orders, LANES, workers=2))
    limit = f"{DELAYED_IN_FLIGHT} requests under way in a worker, each answered after {delay_ms:g} ms"
    return Result(
        number=5,
        counted=[
            compared("orders a second", [run.rate for run in two], [run.rate for run in one], "1/s", limit)
        ],
        explaining=[
            compared(
                "CPU of the workers for each order, two beside one",
                [run.worker_us for run in two],
                [run.worker_us for run in one],
                "us",
            ),
            compared(
                "CPU of the workers, all together",
                [run.worker_us * run.rate / 1e4 for run in two],
                [run.worker_us * run.rate / 1e4 for run in one],
                "% of a core",
            ),
        ],
    )
