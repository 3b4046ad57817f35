"""Merged intents whose order trades: each record shows its share, and says whose order it is part of."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from orderlane import Client
from orderlane.intents import Intent
from orderlane.orders import OrderStatus
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import SPOT, VENUES, Product
from tests.workers.test_redis_forgot import reason_code
from tests.workers.thinking_lanes import close, follow, known, market, statuses

__all__ = ["paper", "paper_of_module", "pool"]

FILLED, MERGED, FAILED = OrderStatus.FILLED, OrderStatus.MERGED, OrderStatus.FAILED


async def test_merged_closes_end_with_their_shares_at_the_price_of_the_order(pool: Pool) -> None:
    async with pool.working():
        pool.send(market("opening", "0.05"))
        await pool.ended()
    closes = [close("first"), close("second"), close("third")]  # 0.06 in all: the last can close 0.01 of it
    pool.send(*closes)
    async with pool.working():
        await pool.ended()
    records = [known(pool, one) for one in closes]
    assert [one.status for one in records] == [OrderStatus.EXPIRED, MERGED, MERGED]
    [booked] = pool.on_book(closes[0])
    assert [Decimal(booked["executed_quantity"]), Decimal("0.05")] == [records[0].filled] * 2
    assert [one.filled for one in records[1:]] == [Decimal("0.02"), Decimal("0.01")]
    assert {one.average for one in records} == {records[0].average}
    assert all(one.filled == known(pool, intent).filled for one, intent in zip(records, closes, strict=True))


@pytest.mark.parametrize("venue", VENUES)
async def test_shares_follow_fills_that_are_seen_later_through_an_amend_of_the_order(
    pool: Pool, venue: Product
) -> None:
    """Only a later look shows the fills; on spot the amend is a new order, which fills the rest."""
    follow(pool, merge_small_limits="true", small_notional='"100000"')
    orders = [venue.order(name) for name in ("first", "second", "third")]
    amend = venue.amends("amend", "first", price=49_950)
    pool.send(*orders)
    async with pool.working(venue):
        await pool.ended(venue)
        assert statuses(pool, *orders[1:]) == [MERGED, MERGED]
        pool.fill_partly(venue)
        pool.send(amend)
        await pool.outcome(amend)
        booked = [one for intent in (orders[0], amend) for one in pool.on_book(intent)]
        executed = sum((Decimal(one["executed_quantity"]) for one in booked), Decimal(0))
        assert shares(pool, orders) == first_come(executed)
        standing = amend if venue is SPOT else orders[0]
        pool.fill(standing, venue)  # type: ignore[arg-type]
        pool.send(venue.cancels("look", "first"))
        await pool.ended(venue)
    assert known(pool, standing).status is FILLED
    assert shares(pool, orders) == [Decimal("0.01")] * 2


def shares(pool: Pool, orders: Sequence[Intent]) -> list[Decimal]:
    return [known(pool, one).filled for one in orders[1:]]


def first_come(executed: Decimal) -> list[Decimal]:
    own = Decimal("0.01")
    return [min(max(executed - number * own, Decimal(0)), own) for number in (1, 2)]


@pytest.mark.parametrize("venue", VENUES)
async def test_a_command_for_a_merged_intent_is_told_whose_order_it_is_part_of(
    pool: Pool, venue: Product
) -> None:
    follow(pool, merge_small_limits="true", small_notional='"100000"')
    orders = [venue.order("first"), venue.order("second")]
    commands: list[Intent] = [
        venue.cancels("cancel", "second"),
        venue.amends("amend", "second", price=49_000),
        venue.order("instead", replaces="second"),
    ]
    pool.send(*orders)
    async with pool.working(venue):
        await pool.ended(venue)
        pool.send(*commands)
        await pool.ended(venue)
    for command in commands:
        order = known(pool, command)
        assert order.status is FAILED
        assert reason_code(order) == "target_merged"
        assert order.reason is not None
        assert "'first'" in order.reason.message
        pool.assert_never(command)
    assert len(pool.open_on_book(venue)) == 1
    with Client(pool.redis_url, exchange=venue.exchange, account="main") as client:
        merged = client.wait("second", "terminal", 1)
        assert merged.merged_into is not None
        assert merged.merged_into.intent_id == "first"
        assert client.cancel("second").order.intent.id == "cancel:second:1", (
            "whether it can be taken out again is the pool's to say"
        )
