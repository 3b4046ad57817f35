"""Whether an intent costs more when Redis holds many finished orders, or when many lanes have work."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.harness.bench.filling import FinishedOrder, fill_with_finished, finished_order
from scripts.harness.bench.measures import Figure, Result
from scripts.harness.bench.stage import Shape, Stage
from scripts.harness.bench.statistics import growth, spread_of
from scripts.harness.bench.throughput import LANES, Run, run_on, run_pool

SYMBOLS = 1000
LANE_COUNTS = (10, 1_000, 20_000)


def grown(repeats: int, orders: int, finished: Sequence[int]) -> Result:
    """Measure 11."""
    by_finished: dict[int, list[Run]] = {size: [] for size in finished}
    by_lanes: dict[int, list[Run]] = {size: [] for size in LANE_COUNTS}
    shape = Shape(symbols=SYMBOLS, accounts=LANE_COUNTS[-1] // SYMBOLS)
    with Stage(shape) as stage:
        model = _model(stage)
        for _ in range(repeats):
            for size in finished:
                stage.clear()
                fill_with_finished(stage, model, size)
                by_finished[size].append(run_on(stage, orders, LANES))
            for lanes in LANE_COUNTS:
                by_lanes[lanes].append(run_pool(stage, orders, lanes, appended=lanes))
    return Result(
        number=11,
        counted=[
            _growth(f"{finished[-1]:,} finished orders beside {finished[0]:,}", by_finished),
            _growth(f"{LANE_COUNTS[-1]:,} lanes beside {LANE_COUNTS[0]:,}", by_lanes),
        ],
        explaining=[
            *(_cost(f"{size:,} finished orders", runs) for size, runs in by_finished.items()),
            *(_cost(f"{lanes:,} lanes", runs) for lanes, runs in by_lanes.items()),
        ],
    )


def _model(stage: Stage) -> FinishedOrder:
    """An order that the pool has finished here, to be copied."""
    run_pool(stage, LANES, LANES)
    return finished_order(stage)


def _cpu_us(run: Run) -> float:
    return run.worker_us + run.redis_us


def _growth(name: str, runs: dict[int, list[Run]]) -> Figure:
    """The CPU of an intent, worker and Redis: the dearest of the greater sizes over that of the smallest."""
    sizes = list(runs.values())
    each = [growth([_cpu_us(one[number]) for one in sizes]) for number in range(len(sizes[0]))]
    found = spread_of(each)
    return Figure(
        name=name,
        ratio=found.median,
        ours=max(spread_of([_cpu_us(run) for run in one]).median for one in sizes[1:]),
        theirs=spread_of([_cpu_us(run) for run in sizes[0]]).median,
        unit="us of CPU, worker and Redis",
        spread=(found.low, found.high),
    )


def _cost(name: str, runs: Sequence[Run]) -> Figure:
    worker, redis = (spread_of([run.worker_us for run in runs]), spread_of([run.redis_us for run in runs]))
    rate = spread_of([run.rate for run in runs])
    return Figure(
        name=name,
        ratio=None,
        ours=spread_of([_cpu_us(run) for run in runs]).median,
        theirs=None,
        unit="us of CPU",
        note=f"worker {worker.median:.0f}, Redis {redis.median:.0f}; {rate.median:.0f} orders/s",
    )
