"""Orders of others in a pool that runs: told by the user stream, tracked, amended and cancelled under their names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from common.exchange.base import OrderReport, OrderRequest
from orderlane.events import Event, EventName
from orderlane.identity import external_intent_id
from orderlane.intents import OrderType, Side
from orderlane.orders import OrderStatus
from tests.paper_process import PaperProcess, start
from tests.workers.pool_fixture import Pool
from tests.workers.products import VENUES, Product
from tests.workers.user_stream.scene import OPTIONS, STREAMING, live, market_at_sixty_thousand
from workers.exchange import ExchangeWorker


@pytest.fixture
def paper(tmp_path: Path) -> Iterator[PaperProcess]:
    """A paper exchange of this test alone."""
    with start(tmp_path, *OPTIONS) as process:
        yield process


def pool_that(action: str, redis_url: str, paper: PaperProcess) -> Pool:
    return Pool(
        redis_url,
        paper,
        STREAMING.replace("limits_reserve: 0", f"limits_reserve: 0\n    external_orders: {action}"),
    )


async def by_hand(worker: ExchangeWorker, product: Product, name: str, **fields: Any) -> OrderReport:
    """Place an order as a person would, past the pool."""
    values: dict[str, Any] = {
        "account": "main", "symbol": product.symbol, "side": Side.BUY, "type": OrderType.LIMIT,
        "amount": Decimal("0.01"), "price": Decimal(50_000), "client_order_id": name,
    }  # fmt: skip
    return await worker.exchange.place(OrderRequest(**{**values, **fields}), worker.exchange.now_ms())


def told(pool: Pool, product: Product) -> list[Event]:
    return [event for event in pool.events(product) if event.name is EventName.EXTERNAL]


def name_of(product: Product, report: OrderReport) -> str:
    return external_intent_id(product.symbol, report.exchange_order_id)


@pytest.mark.parametrize("product", VENUES)
async def test_an_order_by_hand_is_tracked_with_its_fills_and_answers_to_its_name(
    redis_url: str, paper: PaperProcess, product: Product
) -> None:
    pool = pool_that("adopt", redis_url, paper)
    market_at_sixty_thousand(paper, product)
    async with pool.working(product) as worker:
        await live(pool, product)
        bought = await by_hand(worker, product, "web_1", type=OrderType.MARKET, price=None)
        rests = await by_hand(worker, product, "web_2")
        filled, target = product.order(name_of(product, bought)), product.order(name_of(product, rests))
        record = await pool.status(filled, OrderStatus.FILLED)
        await pool.until(lambda: (found := pool.record(filled)) and found.fees, "its fees")
        await pool.status(target, OrderStatus.ACTIVE)
        amend, cancel = product.amends("change", target.id, price="49000"), product.cancels("end", "change")
        pool.send(amend)
        assert (await pool.outcome(amend)).reason is None
        pool.send(cancel if product.product == "spot" else product.cancels("end", target.id))
        assert (await pool.outcome(cancel)).status is OrderStatus.DONE
        await pool.status(target, OrderStatus.CANCELED)
    assert record.external
    assert record.filled == Decimal("0.01")
    trades = [event for event in pool.events(product, of=filled) if event.name is EventName.TRADE]
    assert sum(Decimal(event.numbers["amount"]) for event in trades) == Decimal("0.01")
    assert sorted(event.intent_id for event in told(pool, product)) == sorted([filled.id, target.id])
    pool.close()


@pytest.mark.parametrize("product", VENUES)
async def test_an_order_by_hand_is_cancelled_on_evidence_and_one_of_another_pool_is_not(
    redis_url: str, paper: PaperProcess, product: Product
) -> None:
    pool = pool_that("cancel", redis_url, paper)
    market_at_sixty_thousand(paper, product)
    async with pool.working(product) as worker:
        await live(pool, product)
        mine = product.order("mine")
        pool.send(mine)
        reports = await asyncio.gather(
            by_hand(worker, product, "web_1"), by_hand(worker, product, "t" + "a2" * 12)
        )
        stranger = product.order(name_of(product, reports[0]))
        await pool.status(stranger, OrderStatus.CANCELED)
        await pool.until(lambda: len(told(pool, product)) == 2, "both")
        await pool.ended(product)
    cancel = product.cancels(f"cancel:{stranger.id}", stranger.id)
    assert (await pool.outcome(cancel)).status is OrderStatus.DONE
    assert [event.name for event in pool.events(product, of=stranger)][-1] is EventName.CANCELLED
    left = {one["client_order_id"] for one in pool.open_on_book(product)}
    assert left == {pool.client_order_id(mine), "t" + "a2" * 12}
    pool.close()
