"""The measures: what each compares, and what it must reach; pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from scripts.harness.bench.statistics import Spread, ratios, spread_of


class Measure(Struct, frozen=True, kw_only=True):
    """One line of the table. `must` and `aim` are bounds on the ratio: lower ones where `more_is_better`."""

    number: int
    title: str
    must: float
    aim: float
    more_is_better: bool
    theirs: str
    """What the ratio is taken to."""

    def reached(self, ratio: float, bound: float) -> bool:
        return ratio >= bound if self.more_is_better else ratio <= bound

    def worst(self, found: list[float]) -> float:
        return min(found) if self.more_is_better else max(found)


class Figure(Struct, frozen=True, kw_only=True):
    """One thing measured: ours beside theirs in `unit`, their ratio and how far it lay apart, run by run."""

    name: str
    ratio: float | None
    ours: float | None
    theirs: float | None
    unit: str
    spread: tuple[float, float] | None = None
    note: str = ""


class Result(Struct, frozen=True, kw_only=True):
    """A measure's figures. Its ratio is the worst among those that count; the others explain."""

    number: int
    counted: list[Figure]
    explaining: list[Figure] = []


def compared(name: str, ours: list[float], theirs: list[float], unit: str, note: str = "") -> Figure:
    """Runs made in turn, as one figure: medians, and the ratio of each pair."""
    paired = spread_of(ratios(ours, theirs))
    return Figure(
        name=name,
        ratio=paired.median,
        ours=spread_of(ours).median,
        theirs=spread_of(theirs).median,
        unit=unit,
        spread=(paired.low, paired.high),
        note=note,
    )


def bounded(name: str, values: list[float], bound: float, unit: str, note: str = "") -> Figure:
    """Repeated values beside the most they may be."""
    found = spread_of(values)
    return Figure(
        name=name,
        ratio=found.median / bound,
        ours=found.median,
        theirs=bound,
        unit=unit,
        spread=(found.low / bound, found.high / bound),
        note=note,
    )


def seen(name: str, values: list[float], unit: str, note: str = "") -> Figure:
    """Repeated values that stand for themselves; low and high in their own unit."""
    found: Spread = spread_of(values)
    return Figure(
        name=name,
        ratio=None,
        ours=found.median,
        theirs=None,
        unit=unit,
        spread=(found.low, found.high),
        note=note,
    )


MEASURES: Final = {
    measure.number: measure
    for measure in (
        Measure(
            number=1,
            title="Throughput of one worker, orders over 64 lanes, to a bare loop of ccxt",
            must=0.8,
            aim=1.2,
            more_is_better=True,
            theirs="a bare loop of ccxt's async `create_order`, as many at once, throttler off",
        ),
        Measure(
            number=2,
            title="Throughput to that of job queues doing the same with ccxt",
            must=1.0,
            aim=2.0,
            more_is_better=True,
            theirs="each queue's worker, as its documentation advises",
        ),
        Measure(
            number=3,
            title="Idle latency, XADD to the exchange, p50, in Redis round trips",
            must=6.0,
            aim=4.0,
            more_is_better=False,
            theirs="a round trip to Redis (PING), p50",
        ),
        Measure(
            number=4,
            title="p99 at half the greatest throughput, to p50 idle",
            must=6.0,
            aim=4.0,
            more_is_better=False,
            theirs="p50 idle",
        ),
        Measure(
            number=5,
            title="Two workers to one, where the worker limits",
            must=1.7,
            aim=1.95,
            more_is_better=True,
            theirs="one worker",
        ),
        Measure(
            number=6,
            title="Redis memory of an open order, record and indices, to 2 KB",
            must=1.0,
            aim=0.6,
            more_is_better=False,
            theirs="the bound",
        ),
        Measure(
            number=7,
            title="Worker memory with 10 000 lanes waiting, over idle, to 100 MB",
            must=1.0,
            aim=0.4,
            more_is_better=False,
            theirs="the bound",
        ),
        Measure(
            number=8,
            title="An idle worker's CPU to 1 %, its requests to Redis to 3 a second",
            must=1.0,
            aim=0.3,
            more_is_better=False,
            theirs="the bound",
        ),
        Measure(
            number=9,
            title="From process start to first take, to 1.5 s",
            must=1.0,
            aim=0.534,
            more_is_better=False,
            theirs="the bound",
        ),
        Measure(
            number=10,
            title="Sync of 10 000 open orders: CPU to 1 s, requests to 3",
            must=1.0,
            aim=0.3,
            more_is_better=False,
            theirs="the bound",
        ),
        Measure(
            number=11,
            title="Growth: cost of an intent with many finished orders and many lanes, to few",
            must=1.2,
            aim=1.0,
            more_is_better=False,
            theirs="the smallest size",
        ),
    )
}
