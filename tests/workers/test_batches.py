"""Orders of different lanes in one request: each has its own journal, verdict and end, whatever the request met."""

from __future__ import annotations

from typing import Any

import pytest

from orderlane.intents import PlaceOrder
from orderlane.orders import OrderStatus
from tests.workers.pool_fixture import CONFIG, Pool, paper, paper_of_module, pool
from tests.workers.products import USDM

__all__ = ["paper", "paper_of_module", "pool"]

ROUTE = "^POST /fapi/v1/batchOrders$"
BATCHED = CONFIG.replace("    limits_reserve: 0\n", "    limits_reserve: 0\n    batch: {enabled: true}\n", 1)


def rows(**fields: dict[str, Any]) -> list[PlaceOrder]:
    """One order in each of four lanes; `fields` by intent id change some of them."""
    plain: dict[str, dict[str, Any]] = {
        "btc": {},
        "eth": {"symbol": "ETH/USDT:USDT", "price": 2_500, "amount": "0.1"},
        "sol": {"symbol": "SOL/USDT:USDT", "price": 100, "amount": "1"},
        "xrp": {"symbol": "XRP/USDT:USDT", "price": "0.5", "amount": "100"},
    }
    return [USDM.order(name, **{**given, **fields.get(name, {})}) for name, given in plain.items()]


def batches(pool: Pool) -> int:
    """How many batches met the first fault that was set."""
    return int(pool.paper.faults()[0]["struck"])


async def test_lanes_that_are_ready_at_once_share_a_request_and_each_order_is_on_its_own_record(
    pool: Pool,
) -> None:
    pool.config = BATCHED
    intents = rows()
    pool.paper.fault(ROUTE, "delay_reply", delay_ms=1)
    pool.send(*intents)
    async with pool.working():
        await pool.ended()
    for intent in intents:
        pool.assert_once(intent)
    assert batches(pool) >= 1


async def test_one_bad_order_ends_refused_and_the_others_stand(pool: Pool) -> None:
    pool.config = BATCHED
    closing = {"price": None, "type": "market", "side": "sell", "reduce_only": True}
    intents = rows(eth=closing)  # nothing is held that could be reduced
    pool.send(*intents)
    async with pool.working():
        await pool.ended()
    for intent in intents:
        if intent.id == "eth":
            pool.assert_never(intent)
        else:
            pool.assert_once(intent)


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "error_after", "hang", "cut_body"])
async def test_a_batch_whose_reply_is_lost_is_resolved_order_by_order(pool: Pool, fault: str) -> None:
    pool.config = BATCHED
    intents = rows()
    pool.paper.fault(ROUTE, fault, count=1)
    pool.send(*intents)
    async with pool.working():
        await pool.ended()
    for intent in intents:
        pool.assert_once(intent)
    assert batches(pool) == 1


async def test_a_worker_that_dies_with_a_batch_under_way_leaves_nothing_lost_or_doubled(pool: Pool) -> None:
    pool.config = BATCHED
    intents = rows()
    pool.paper.fault(ROUTE, "delay_reply", count=1, delay_ms=400)
    async with pool.dying():
        pool.send(*intents)
        await pool.until(lambda: batches(pool), "a batch at the exchange")
    async with pool.working():
        await pool.ended()
    for intent in intents:
        pool.assert_once(intent)
        record = pool.record(intent)
        assert record is not None
        assert record.status is OrderStatus.ACTIVE
