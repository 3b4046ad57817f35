"""Without any user stream: whatever happens, the sync alone brings the journal to what the exchange's books are.

Real workers, a real Redis, a real paper exchange over real sockets. How long agreement took is printed (`pytest -s`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest

from common.exchange.base import ExchangeFailure
from orderlane.orders import OrderStatus
from tests.paper_process import PaperProcess, start
from tests.workers.opened import Opened, opened
from tests.workers.pool_fixture import CONFIG, STATUSES, Pool
from tests.workers.products import VENUES, Product
from tests.workers.user_stream.scene import OPTIONS, Trade, market_at_sixty_thousand

TROUBLE_SECONDS: Final = 1.5
MOST_SECONDS: Final = 30.0
SYNC_SECONDS: Final = 0.3
GENEROUS: Final = CONFIG.replace(
    "limits_reserve: 0", "limits_reserve: 0\n    limits: {weight_1m: 1000000/minute}"
)

Trouble = Callable[[int], object]


@pytest.fixture
def paper(tmp_path: Path) -> Iterator[PaperProcess]:
    with start(tmp_path, *OPTIONS) as process:
        yield process


@pytest.fixture
def pool(redis_url: str, paper: PaperProcess) -> Iterator[Pool]:
    made = Pool(redis_url, paper, GENEROUS)
    yield made
    made.close()


@asynccontextmanager
async def syncing(pool: Pool, product: Product) -> AsyncIterator[Opened]:
    """The sync of the account, again and again, beside the workers."""
    async with opened(pool.redis_url, pool.paper.url, GENEROUS, product.exchange) as one:

        async def sync_on() -> None:
            while True:
                with suppress(ExchangeFailure):
                    await one.sync()
                await asyncio.sleep(SYNC_SECONDS)

        task = asyncio.create_task(sync_on())
        try:
            yield one
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def behind_our_back(pool: Pool, product: Product, one: Opened) -> Trouble:
    """Every second or so all open orders are cancelled by somebody else; others the market fills."""
    loop = asyncio.get_running_loop()

    def cancel(step: int) -> None:
        if step % 3 == 2:
            work = one.exchange.cancel_all("main", product.symbol, one.exchange.now_ms())
            asyncio.run_coroutine_threadsafe(work, loop).result(MOST_SECONDS)

    return cancel


def replies_lost(pool: Pool, product: Product, one: Opened) -> Trouble:
    """Cancels are executed and their replies lost; so are some orders'."""
    pool.paper.fault(product.cancel, "drop_after", probability=0.6)
    pool.paper.fault(product.place, "drop_after", probability=0.2)
    return lambda step: None


def exchange_down(pool: Pool, product: Product, one: Opened) -> Trouble:
    """The exchange is killed and started again."""
    return lambda step: pool.paper.restart() if step in (2, 5) else None


@pytest.mark.parametrize("product", VENUES)
@pytest.mark.parametrize("trouble", [behind_our_back, replies_lost, exchange_down])
async def test_the_journal_ends_as_the_books_order_by_order(
    pool: Pool, product: Product, trouble: Callable[[Pool, Product, Opened], Trouble]
) -> None:
    market_at_sixty_thousand(pool.paper, product)
    async with pool.working(product), syncing(pool, product) as one:
        trade = Trade(pool, product)
        await trade.go_on(TROUBLE_SECONDS, trouble(pool, product, one))
        pool.paper.clear_faults()
        began_at = time.monotonic()
        await pool.ended(product)
        while found := disagreements(pool, product, trade):
            assert time.monotonic() - began_at < MOST_SECONDS, "\n".join(found)
            await asyncio.sleep(0.05)
        print(  # noqa: T201 - a measure that whoever runs the tests asks for
            f"{trouble.__name__}, {product.product}: {len(trade.intents)} orders agree "
            f"{time.monotonic() - began_at:.2f} s after the trouble ended, without a stream"
        )
        assert any(order["fills"] for order in pool.paper.orders(product=product.product))


def disagreements(pool: Pool, product: Product, trade: Trade) -> list[str]:
    """Where the journal says other than the exchange's books; fees are told by fills alone."""
    booked = {order["client_order_id"]: order for order in pool.paper.orders(product=product.product)}
    found = []
    for intent in trade.intents:
        order, record = booked.get(pool.client_order_id(intent)), pool.record(intent)
        if order is None:
            if record is None or record.status not in (OrderStatus.FAILED, OrderStatus.CANCELED):
                found.append(f"{intent.id} is on no book: {record}")
            continue
        its = STATUSES[order["status"]], str(order["order_id"]), Decimal(order["executed_quantity"])
        ours = record and (record.status, record.exchange_order_id, record.filled)
        if ours != its:
            found.append(f"{intent.id}: {ours} != {its}")
    return found
