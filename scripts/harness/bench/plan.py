"""How large and how often each measure is run, whole or quick."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec import Struct

from scripts.harness.bench import footprint, growth, latency, queues, syncing, throughput
from scripts.harness.bench.measures import Result
from scripts.harness.bench.stage import Site

FINISHED_QUICK = (1_000, 100_000)
FINISHED = (1_000, 100_000, 1_000_000)


class Conditions(Struct, frozen=True):
    """What holds for a whole run of the bench. `repeats`: in the place of each measure's own number of repeats."""

    quick: bool = False
    site: Site = Site()
    repeats: int | None = None


def steps(conditions: Conditions) -> dict[int, Callable[[], Result]]:
    """Each measure by its number, ready to be run."""
    quick, site = conditions.quick, conditions.site

    def times(whole: int, when_quick: int) -> int:
        return conditions.repeats or (when_quick if quick else whole)

    orders = 1_500 if quick else 6_000
    return {
        1: partial(throughput.beside_ccxt, times(7, 3), orders, site),
        2: partial(queues.beside_queues, times(3, 1), 1_500 if quick else 4_000, site, share_ours=quick),
        3: partial(latency.idle, times(5, 1), 100 if quick else 300, site),
        4: partial(latency.loaded, times(5, 1), 60 if quick else 200, orders, site),
        5: partial(throughput.two_beside_one, times(5, 1), orders, site.delay_ms),
        6: partial(footprint.open_order_memory, times(3, 1), 1_000 if quick else 5_000),
        7: partial(footprint.waiting_lanes_memory, times(3, 1)),
        8: partial(footprint.idle_cost, times(3, 1), 4.0 if quick else 10.0, site),
        9: partial(footprint.start_time, times(5, 1)),
        10: partial(syncing.synced, times(5, 1), with_changes=not quick),
        11: partial(
            growth.grown, times(2, 1), 1_000 if quick else 4_000, FINISHED_QUICK if quick else FINISHED
        ),
    }
