"""Lanes that think: what waits is merged, edited and annulled before a request is made for it."""

from __future__ import annotations

from decimal import Decimal

from orderlane.orders import OrderStatus
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import USDM

__all__ = ["paper", "paper_of_module", "pool"]


async def test_a_cancel_of_a_place_that_waits_ends_both_without_a_request(pool: Pool) -> None:
    first, target, cancel = USDM.order("first"), USDM.order("target"), USDM.cancels("cancel", "target")
    pool.send(first, target, cancel)
    async with pool.working():
        await pool.ended()
    statuses = [order.status for order in map(pool.record, (first, target, cancel)) if order]
    assert statuses == [OrderStatus.ACTIVE, OrderStatus.CANCELED, OrderStatus.DONE]
    assert pool.arrived(target, "place") == []
    assert pool.arrived(cancel, "cancel") == []


async def test_successive_closes_become_one_order_with_their_sum(pool: Pool) -> None:
    opening = USDM.order("opening", price=None, type="market", amount="0.06")
    closes = [
        USDM.order(
            f"close-{number}", price=None, type="market", side="sell", reduce_only=True, amount="0.02"
        )
        for number in range(3)
    ]
    async with pool.working():
        pool.send(opening)
        await pool.outcome(opening)
    pool.send(*closes)
    async with pool.working():
        await pool.ended()
    assert [len(pool.arrived(close, "place")) for close in closes] == [1, 0, 0]
    records = [order for order in map(pool.record, closes) if order]
    assert [order.status for order in records] == [OrderStatus.FILLED, OrderStatus.MERGED, OrderStatus.MERGED]
    assert records[0].filled == Decimal("0.06")


async def test_an_amend_of_a_place_that_waits_edits_it(pool: Pool) -> None:
    first, target = USDM.order("first"), USDM.order("target")
    amend = USDM.amends("amend", "target", price=59_000)
    pool.send(first, target, amend)
    async with pool.working():
        await pool.ended()
    record = pool.record(target)
    assert record is not None
    assert (record.status, record.price) == (OrderStatus.ACTIVE, Decimal(59_000))
    assert pool.arrived(amend, "amend") == []
