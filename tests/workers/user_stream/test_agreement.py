"""Whatever happens to the stream, the exchange or the holder: in the end the journal is what the exchange's books are.

Real workers, a real Redis, a real paper exchange over real sockets. How long agreement took is printed (`pytest -s`).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.paper_process import PaperProcess, start
from tests.workers.pool_fixture import Pool
from tests.workers.products import USDM, VENUES, Product
from tests.workers.user_stream.meddling import meddling
from tests.workers.user_stream.scene import (
    OPTIONS,
    STREAMING,
    Trade,
    live,
    market_at_sixty_thousand,
    stream_of,
    worker_process,
)
from workers.user_stream import service

TROUBLE_SECONDS: Final = 4.0
ORDERS: Final = "^STREAM (executionReport|ORDER_TRADE_UPDATE)$"


@pytest.fixture
def paper(tmp_path: Path) -> Iterator[PaperProcess]:
    """A paper exchange of this test alone."""
    with start(tmp_path, *OPTIONS) as process:
        yield process


@pytest.fixture
def pool(redis_url: str, paper: PaperProcess) -> Iterator[Pool]:
    made = Pool(redis_url, paper, STREAMING)
    yield made
    made.close()


def cut(paper: PaperProcess) -> Callable[[int], object]:
    """The stream is cut every second."""
    return lambda step: paper.control("POST", "cut_streams", {"account": "main"}) if step % 5 == 4 else None


def expire(paper: PaperProcess) -> Callable[[int], object]:
    """The listen key (spot: the subscription) ends every second or so."""
    return lambda step: (
        paper.control("POST", "expire_listen_key", {"account": "main"}) if step % 7 == 3 else None
    )


def disturb(paper: PaperProcess) -> Callable[[int], object]:
    """Messages are late, come twice, and in another order; now and then one is lost with its connection."""
    paper.fault(ORDERS, "reorder_message", probability=0.3, delay_ms=700)
    paper.fault(ORDERS, "repeat_message", probability=0.3, delay_ms=400)
    paper.fault(ORDERS, "delay_message", probability=0.1, delay_ms=500)
    paper.fault(ORDERS, "cut_stream", probability=0.03)
    return lambda step: None


def restart(paper: PaperProcess) -> Callable[[int], object]:
    """The exchange is killed and started again."""
    return lambda step: paper.restart() if step in (6, 14) else None


@pytest.mark.parametrize("product", VENUES)
@pytest.mark.parametrize("trouble", [cut, expire, disturb, restart])
async def test_the_journal_ends_as_the_books(
    pool: Pool, product: Product, trouble: Callable[[PaperProcess], Callable[[int], object]]
) -> None:
    market_at_sixty_thousand(pool.paper, product)
    async with pool.working(product):
        await live(pool, product)
        trade = Trade(pool, product)
        await trade.go_on(TROUBLE_SECONDS, trouble(pool.paper))
        pool.paper.clear_faults()
        pool.paper.control("POST", "cut_streams", {"account": "main"})
        trade.step(0)
        await trade.agreement(trouble.__name__)


@pytest.mark.parametrize("product", VENUES)
async def test_orders_placed_and_cancelled_behind_our_back_end_in_the_journal_as_in_the_books(
    pool: Pool, product: Product
) -> None:
    """Some of it is told by the stream, some found in the list after it was cut."""
    pool.config = STREAMING.replace("limits_reserve: 0", "limits_reserve: 0\n    external_orders: adopt")
    market_at_sixty_thousand(pool.paper, product)
    loop = asyncio.get_running_loop()
    async with pool.working(product) as worker:
        await live(pool, product)
        trade, exchange = Trade(pool, product), worker.exchange

        async def meddle(step: int) -> None:
            if step % 4 == 3:
                await exchange.cancel_all("main", product.symbol, exchange.now_ms())
            else:
                await trade.place_by_hand(exchange, rests=step % 2 == 0)

        def trouble(step: int) -> None:
            asyncio.run_coroutine_threadsafe(meddle(step), loop).result(TROUBLE_SECONDS * 5)
            cut(pool.paper)(step)

        await trade.go_on(TROUBLE_SECONDS, trouble)
        trade.step(0)
        await trade.agreement("behind our back")
        assert trade.by_hand


@pytest.mark.parametrize("product", VENUES)
async def test_what_a_proxy_delays_repeats_and_reorders_ends_in_the_journal_as_in_the_books(
    pool: Pool, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    market_at_sixty_thousand(pool.paper, product)
    async with meddling(pool.paper.url, seed=6) as proxy:
        monkeypatch.setattr(pool, "exchange_url", proxy.url)
        async with pool.working(product):
            await live(pool, product)
            trade = Trade(pool, product)
            await trade.go_on(TROUBLE_SECONDS / 2)
            await trade.agreement(f"by a proxy ({dict(proxy.meddled)})")
    assert min(proxy.meddled["delayed"], proxy.meddled["repeated"]) > 0


@pytest.mark.parametrize("product", VENUES)
async def test_without_trouble_every_fill_is_in_the_journal_with_its_fee(
    pool: Pool, product: Product
) -> None:
    market_at_sixty_thousand(pool.paper, product)
    async with pool.working(product):
        await live(pool, product)
        trade = Trade(pool, product)
        await trade.go_on(2)
        await trade.agreement("no trouble")


@pytest.mark.parametrize("product", VENUES)
async def test_a_killed_holder_is_followed_by_another_that_finds_what_was_missed(
    pool: Pool, product: Product, tmp_path: Path
) -> None:
    market_at_sixty_thousand(pool.paper, product)
    with ExitStack() as workers:
        for name in ("one", "other"):
            workers.enter_context(worker_process(pool, product, tmp_path, name))
        first = await live(pool, product)
        trade = Trade(pool, product)

        await trade.go_on(1)
        os.kill(int(first.split(":")[1]), signal.SIGKILL)
        await trade.go_on(0.5)
        await trade.agreement("holder killed")
        assert await live(pool, product, but=first) != first


async def test_that_a_stream_has_no_gap_any_more_is_noted_at_once(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with the next renewal: accounts that are closed wait for it."""
    monkeypatch.setattr(service, "RENEWALS", 1)
    pool.config = pool.config.replace("user_stream: {lease_ms: 1000", "user_stream: {lease_ms: 60000")
    async with pool.working(USDM):
        await live(pool, USDM)


@pytest.mark.parametrize("product", VENUES)
async def test_a_holder_that_stops_gives_the_stream_up_at_once(pool: Pool, product: Product) -> None:
    async with pool.working(product):
        await live(pool, product)
    assert stream_of(pool, product)["holder"] == ""


@pytest.mark.parametrize("product", VENUES)
async def test_what_happened_while_no_worker_ran_is_found_by_the_next(pool: Pool, product: Product) -> None:
    market_at_sixty_thousand(pool.paper, product)
    trade = Trade(pool, product)
    async with pool.dying(product):
        await live(pool, product)
        await trade.go_on(1)
    for _ in range(4):
        pool.paper.set_price(product.product, product.venue_symbol, 58_900, hold=True)
    async with pool.working(product):
        await trade.agreement("no worker for a while")
