"""How workers share the lanes of a pool with no configuration, on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from common.lanes import Hold
from tests.common.pool_bench import Bench, bench_on

CAPACITY = 64


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    async with bench_on(redis_url) as bench:
        yield bench


class Busy:
    """A worker with more capacity than there are lanes, at work on all it has."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.dispatcher, self.journal = bench.worker()
        self.holds: dict[str, Hold] = {}

    async def take(self) -> None:
        taken = await self.dispatcher.take(CAPACITY - len(self.holds))
        self.holds |= {hold.lane: hold for hold in taken.runs}

    async def finish_one_of_each(self, others: list[Busy]) -> None:
        for lane, hold in list(self.holds.items()):
            del self.holds[lane]
            following = await self.bench.run(self.journal, hold)
            if following is not None:
                self.holds[lane] = following
                continue
            for other in sorted(others, key=lambda one: len(one.holds)):
                await other.take()  # the bell has rung


async def test_a_worker_that_joins_gets_its_share_as_others_finish(bench: Bench) -> None:
    bench.fill(lanes=20, each=20)
    workers: list[Busy] = []
    for count in (1, 2, 3):
        workers.append(Busy(bench))
        for worker in workers:
            await worker.take()
        for _ in range(3):
            for worker in workers:
                await worker.finish_one_of_each([one for one in workers if one is not worker])
                await worker.take()
        shares = [len(worker.holds) for worker in workers]
        assert sum(shares) == 20
        assert max(shares) - min(shares) <= 1, (count, shares)


async def test_lanes_given_up_wait_for_the_hungry_and_are_no_more_than_its_share(bench: Bench) -> None:
    bench.fill(lanes=20, each=5)
    old, new = Busy(bench), Busy(bench)
    await old.take()
    await new.take()
    await old.finish_one_of_each([])
    assert len(old.holds) == 10
    await new.take()
    assert len(new.holds) == 10


async def test_a_small_hungry_worker_gets_lanes_though_a_bigger_one_is_hungrier(bench: Bench) -> None:
    bench.fill(lanes=10, each=5)
    big, small = Busy(bench), bench.worker()[0]
    await big.take()  # wants 64, got 10
    assert (await small.take(2)).runs == ()
    await big.finish_one_of_each([])
    assert len(big.holds) == 8
    assert len((await small.take(2)).runs) == 2


async def test_nothing_is_given_up_when_nobody_is_hungry(bench: Bench) -> None:
    bench.fill(lanes=20, each=3)
    old, full = Busy(bench), bench.worker()[0]
    await old.take()
    await full.take(0)
    await old.finish_one_of_each([])
    assert len(old.holds) == 20
