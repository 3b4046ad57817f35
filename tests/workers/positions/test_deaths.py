"""Whoever counts fills or compares, killed at any step: a fill counts once, a drift is corrected and told once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from common.failpoints import VARIABLE, Arm, Arming
from orderlane.intents import Side
from tests.paper_process import PaperProcess, start
from tests.workers.pool_fixture import Pool
from tests.workers.positions.scene import (
    KEEPING,
    agreement,
    at_sixty_thousand,
    compared,
    corrections,
    disabled,
    hand,
    trade_by_hand,
)
from tests.workers.products import SPOT, USDM
from tests.workers.user_stream.scene import OPTIONS, Trade, live, worker_process


@pytest.fixture
def paper(tmp_path: Path) -> Iterator[PaperProcess]:
    with start(tmp_path, *OPTIONS) as process:
        yield process


@pytest.fixture
def pool(redis_url: str, paper: PaperProcess) -> Iterator[Pool]:
    made = Pool(redis_url, paper, KEEPING)
    yield made
    made.close()


@pytest.mark.parametrize(
    "point", ["stream.noted", "positions.read", "positions.judged", "positions.corrected"]
)
async def test_a_worker_killed_at_any_step_leaves_what_another_brings_to_the_books(
    pool: Pool, tmp_path: Path, point: str
) -> None:
    product = SPOT if point == "stream.noted" else USDM
    at_sixty_thousand(pool.paper, product)
    trade = Trade(pool, product)
    async with pool.working(product):
        await live(pool, product)
        await compared(pool, product)
        await trade.go_on(0.5)
        await agreement(pool, product, "before")
        assert corrections(pool, product) == []
    if point != "stream.noted":
        async with hand(pool, product) as exchange:  # whoever comes next finds a drift
            await trade_by_hand(exchange, product, Side.SELL, "0.5")
    arming = Arming(folder=str(tmp_path), arms=(Arm(point=point, action="kill", token="kill"),))
    armed = {VARIABLE: msgspec.json.encode(arming).decode()}
    with (
        worker_process(pool, product, tmp_path, "one", **armed) as one,
        worker_process(pool, product, tmp_path, "other", **armed) as other,
    ):

        async def trade_until_one_dies() -> None:
            while one.poll() is None and other.poll() is None:
                if point == "stream.noted":
                    trade.step(0)
                await asyncio.sleep(0.2)

        await asyncio.wait_for(trade_until_one_dies(), 30)
        assert (one.poll() or other.poll()) == -signal.SIGKILL
        await agreement(pool, product, f"killed at {point}")
        await compared(pool, product)
        about = [event.numbers.get("asset", event.symbol) for event in corrections(pool, product)]
        assert len(about) == len(set(about)), "each figure is corrected, and told, once"
        if product is USDM and point != "stream.noted":
            assert len(disabled(pool, product)) == 1
