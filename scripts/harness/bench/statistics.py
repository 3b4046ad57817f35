"""From repeated runs to figures: medians and the spread around them, ratios of runs made in turn; pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

WARM_SHARE: Final = 0.2
"""The first part of a run, in which connections are made and queues fill: it is not counted."""
TAIL_SHARE: Final = 0.1
"""The last part of a run, in which there is no longer work for every lane: it is not counted."""


class Spread(Struct, frozen=True):
    """Repeated runs of one thing: the median, the lowest and the highest."""

    median: float
    low: float
    high: float


def spread_of(values: Sequence[float]) -> Spread:
    """The median of some runs, and how far they lie apart.

    Raises:
        ValueError: there is none.
    """
    if not values:
        raise ValueError("no run gave a value: expected at least one")
    return Spread(statistics.median(values), min(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours over theirs, run by run: the n-th of each were made in turn, so that what disturbed both cancels out.

    Raises:
        ValueError: a run has no counterpart, or theirs is zero.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} runs of ours against {len(theirs)} of theirs: expected as many")
    if any(value == 0 for value in theirs):
        raise ValueError("a run of theirs measured 0: there is no ratio to it")
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values don't exceed.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("no value to take a percentile of")
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)  # rounded up: the nearest-rank definition
    return ordered[min(max(int(rank) - 1, 0), len(ordered) - 1)]


def steady_rate(arrivals_ns: Sequence[int]) -> float:
    """Arrivals per second in the middle of a run, its start and its end left out.

    Raises:
        ValueError: too few arrivals, or all at one moment.
    """
    ordered = sorted(arrivals_ns)
    first, last = int(len(ordered) * WARM_SHARE), int(len(ordered) * (1 - TAIL_SHARE)) - 1
    if last <= first or ordered[last] == ordered[first]:
        raise ValueError(f"{len(ordered)} arrivals are too few for a rate")
    return (last - first) / ((ordered[last] - ordered[first]) / 1e9)


def growth(costs: Sequence[float]) -> float:
    """The dearest over the cheapest of the sizes after the first: 1 is flat. Takes (cost at each size, smallest first).

    Raises:
        ValueError: fewer than two sizes.
    """
    if len(costs) < 2:
        raise ValueError("growth needs a cost at two sizes at least")
    return max(costs[1:]) / costs[0]
