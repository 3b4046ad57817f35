"""Trade, trouble, trades behind the pool's back: what is kept ends as what the exchange's books say, to the digit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest

from orderlane.intents import Side
from orderlane.orders import OrderStatus
from orderlane.positions import Source
from tests.paper_process import PaperProcess, start
from tests.workers.pool_fixture import CONFIG, Pool
from tests.workers.positions.scene import (
    KEEPING,
    agreement,
    at_sixty_thousand,
    compared,
    corrections,
    disabled,
    disagreements,
    fees_of,
    hand,
    kept,
    trade_by_hand,
)
from tests.workers.products import SPOT, USDM, VENUES, Product
from tests.workers.user_stream.scene import OPTIONS, Trade, live, worker_process

ORDERS: Final = "^STREAM (executionReport|ORDER_TRADE_UPDATE)$"


@pytest.fixture
def paper(tmp_path: Path) -> Iterator[PaperProcess]:
    with start(tmp_path, *OPTIONS) as process:
        yield process


@pytest.fixture
def pool(redis_url: str, paper: PaperProcess) -> Iterator[Pool]:
    made = Pool(redis_url, paper, KEEPING)
    yield made
    made.close()


@pytest.mark.parametrize("product", VENUES)
async def test_whatever_becomes_of_the_stream_fills_add_up_to_the_books_and_nothing_is_corrected(
    pool: Pool, product: Product
) -> None:
    at_sixty_thousand(pool.paper, product)
    paper = pool.paper
    async with pool.working(product):
        await live(pool, product)
        await compared(pool, product)
        trade = Trade(pool, product)
        paper.fault(ORDERS, "reorder_message", probability=0.3, delay_ms=700)
        paper.fault(ORDERS, "repeat_message", probability=0.3, delay_ms=400)
        await trade.go_on(
            3,
            lambda step: paper.control("POST", "cut_streams", {"account": "main"}) if step % 5 == 4 else None,
        )
        paper.clear_faults()
        paper.control("POST", "cut_streams", {"account": "main"})
        trade.step(0)
        await trade.agreement("stream cut every second")
        await agreement(pool, product, "stream cut every second")
        [position] = kept(pool, product).positions
        assert position.fees == fees_of(pool, product)
        assert position.shares == {"": position.size}
        assert corrections(pool, product) == []


@pytest.mark.parametrize("product", VENUES)
async def test_a_small_trade_by_hand_is_corrected_and_told_and_a_large_one_disables_the_strategies_there(
    pool: Pool, product: Product
) -> None:
    at_sixty_thousand(pool.paper, product)
    grid = product.order("grid-1", None, type="market", amount="1", strategy="grid")
    other = product.order("other-1", None, type="market", amount="0.5", strategy="other")
    later = product.order("grid-2", "50000", strategy="grid")
    async with pool.working(product) as worker:
        await live(pool, product)
        await compared(pool, product)
        pool.send(grid, other)
        await pool.ended(product)
        await agreement(pool, product, "own trade")

        await trade_by_hand(worker.exchange, product, Side.BUY, "0.01")
        await agreement(pool, product, "0.01 bought by hand")
        told = corrections(pool, product)
        assert told
        assert disabled(pool, product) == []
        assert all("critical" not in event.numbers for event in told)

        sold = await trade_by_hand(worker.exchange, product, Side.SELL, "30" if product is SPOT else "1.2")
        await agreement(pool, product, "much sold by hand")
        events = disabled(pool, product)
        assert {event.strategy for event in events} == {"grid", "other"}
        assert {event.symbol for event in events} == {product.symbol}
        numbers = events[0].reason.numbers if events[0].reason else {}
        assert numbers["critical"] == "1"
        assert Decimal(numbers["drift"]) == -sold
        await pool.until(lambda: worker.disabled.reason(later), "that the worker knows of it")
        pool.send(later)
        refused = await pool.outcome(later)
        assert refused.status is OrderStatus.FAILED
        assert refused.reason is not None
        assert refused.reason.code == "strategy_disabled"
        assert numbers["drift"] in refused.reason.message


async def test_large_fills_under_way_at_a_reading_raise_no_alarm(pool: Pool) -> None:
    at_sixty_thousand(pool.paper, USDM)
    async with pool.working(USDM):
        await live(pool, USDM)
        first = await compared(pool, USDM)
        assert first.comparison is not None
        pool.paper.fault(ORDERS, "delay_message", delay_ms=1500)
        for number in range(4):
            pool.send(USDM.order(f"large-{number}", None, type="market", amount="1", strategy="grid"))
            await asyncio.sleep(0.7)
        pool.paper.clear_faults()
        await agreement(pool, USDM, "fills 1.5 s late")
        await compared(pool, USDM, after=first.comparison.tried_at)
        assert corrections(pool, USDM) == []
        assert disabled(pool, USDM) == []


@pytest.mark.parametrize("product", VENUES)
async def test_where_no_stream_tells_of_fills_what_the_exchange_says_is_kept(
    redis_url: str, paper: PaperProcess, product: Product
) -> None:
    silent = CONFIG.replace("positions: {enabled: false}", "positions: {compare_period_seconds: 1}")
    pool = Pool(redis_url, paper, silent)
    try:
        at_sixty_thousand(paper, product)
        async with pool.working(product) as worker:
            pool.send(product.order("one", None, type="market", amount="0.5"))
            await pool.ended(product)
            await trade_by_hand(worker.exchange, product, Side.SELL, "0.2")
            await agreement(pool, product, "no stream")
            found = kept(pool, product)
            assert found.comparison is not None
            assert found.comparison.source is Source.EXCHANGE
            assert corrections(pool, product) == []
    finally:
        pool.close()


async def test_what_was_traded_while_no_worker_ran_is_known_before_anything_is_placed(pool: Pool) -> None:
    """Somebody sold what the strategy believes to hold: its next order must not go out on that belief."""
    at_sixty_thousand(pool.paper, USDM)
    async with pool.working(USDM):
        await live(pool, USDM)
        await compared(pool, USDM)
        pool.send(USDM.order("one", None, type="market", amount="0.5", strategy="grid"))
        await agreement(pool, USDM, "before the end")
    async with hand(pool, USDM) as exchange:
        await trade_by_hand(exchange, USDM, Side.SELL, "1.5")
    later = USDM.order("later", "50000", strategy="grid")
    pool.send(later)
    async with pool.working(USDM):
        refused = await pool.outcome(later)
        assert refused.reason is not None
        assert refused.reason.code == "strategy_disabled"
        assert pool.on_book(later) == []


async def test_a_pool_that_was_killed_comes_back_without_waiting_for_the_dead_worker_s_stream(
    pool: Pool, tmp_path: Path
) -> None:
    """Fills that happened meanwhile are read before anything is placed; the dead one's hold lasts a minute."""
    pool.config = KEEPING.replace("user_stream: {lease_ms: 1000", "user_stream: {lease_ms: 60000")
    at_sixty_thousand(pool.paper, USDM)
    rests, later = USDM.order("rests", "59000", amount="0.5"), USDM.order("later", "50000")
    with worker_process(pool, USDM, tmp_path, "killed") as process:
        await live(pool, USDM)
        await compared(pool, USDM)
        pool.send(rests)
        await pool.outcome(rests)
        process.kill()
        process.wait()
    pool.fill(rests, USDM)
    (dead,) = pool.workers()
    pool.client.zadd(pool.keys().workers, {dead: 1})  # its lease has ended
    pool.send(later)
    began_at = time.monotonic()
    with worker_process(pool, USDM, tmp_path, "next"):
        await pool.outcome(later)
        print(f"a killed pool places again {time.monotonic() - began_at:.1f} s after its start")  # noqa: T201
        assert disagreements(pool, USDM) == []
        assert corrections(pool, USDM) == []
