"""The holder of a stream, killed or stopped at every step of it: nothing is lost, and nothing counts twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from common.failpoints import POINTS, VARIABLE, Arm, Arming
from tests.paper_process import PaperProcess, start
from tests.workers.pool_fixture import Pool
from tests.workers.products import SPOT, USDM, VENUES, Product
from tests.workers.user_stream.scene import (
    OPTIONS,
    STREAMING,
    Trade,
    live,
    market_at_sixty_thousand,
    worker_process,
)

STREAM_POINTS = [name for name, point in POINTS.items() if "stream" in point.drives]


@pytest.fixture
def paper(tmp_path: Path) -> Iterator[PaperProcess]:
    with start(tmp_path, *OPTIONS) as process:
        yield process


@pytest.fixture
def pool(redis_url: str, paper: PaperProcess) -> Iterator[Pool]:
    made = Pool(redis_url, paper, STREAMING)
    yield made
    made.close()


@pytest.mark.parametrize("point", STREAM_POINTS)
async def test_a_holder_killed_at_any_step_is_followed_by_one_that_makes_up_for_it(
    pool: Pool, tmp_path: Path, point: str
) -> None:
    product = SPOT if STREAM_POINTS.index(point) % 2 else USDM
    market_at_sixty_thousand(pool.paper, product)
    trade = Trade(pool, product)
    async with pool.dying(product):  # what it leaves behind is for those that follow to find
        await live(pool, product)
        await trade.go_on(0.5)
    for _ in range(3):
        trade.step(0)
    arming = Arming(folder=str(tmp_path), arms=(Arm(point=point, action="kill", token="kill"),))
    armed = {VARIABLE: msgspec.json.encode(arming).decode()}
    with (
        worker_process(pool, product, tmp_path, "one", **armed) as one,
        worker_process(pool, product, tmp_path, "other", **armed) as other,
    ):

        async def trade_until_one_dies() -> None:
            while one.poll() is None and other.poll() is None:
                trade.step(0)
                await asyncio.sleep(0.2)

        await asyncio.wait_for(trade_until_one_dies(), 30)
        assert (one.poll() or other.poll()) == -signal.SIGKILL
        trade.step(0)
        await trade.agreement(f"killed at {point}")


@pytest.mark.parametrize("product", VENUES)
async def test_a_holder_that_stood_still_past_its_lease_counts_nothing_again(
    pool: Pool, tmp_path: Path, product: Product
) -> None:
    market_at_sixty_thousand(pool.paper, product)
    with (
        worker_process(pool, product, tmp_path, "one"),
        worker_process(pool, product, tmp_path, "other"),
    ):
        first = await live(pool, product)
        trade = Trade(pool, product)
        await trade.go_on(0.5)
        stopped = int(first.split(":")[1])
        os.kill(stopped, signal.SIGSTOP)
        await trade.go_on(1)
        await live(pool, product, but=first)
        os.kill(stopped, signal.SIGCONT)
        await trade.go_on(1)
        await trade.agreement("holder stopped for a while")
