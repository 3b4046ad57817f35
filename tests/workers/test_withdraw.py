"""A cancel of an intent that was merged into an order which waits still, on a real Redis and a paper exchange."""

from __future__ import annotations

from decimal import Decimal

import pytest

from orderlane.intents import Intent
from orderlane.orders import OrderStatus
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import USDM
from tests.workers.test_redis_forgot import Forgetful
from tests.workers.test_rules_forgotten import forgetful, opened
from tests.workers.thinking_lanes import close, follow, known, market, position, sent, statuses, told

__all__ = ["forgetful", "paper", "paper_of_module", "pool"]

ACTIVE, CANCELED, DONE, FILLED, MERGED = (
    OrderStatus.ACTIVE,
    OrderStatus.CANCELED,
    OrderStatus.DONE,
    OrderStatus.FILLED,
    OrderStatus.MERGED,
)


@pytest.mark.parametrize("where", ["behind its order", "before its order, at the head of the lane"])
async def test_a_cancel_takes_the_amount_out_of_the_order_that_it_was_merged_into(
    pool: Pool, where: str
) -> None:
    follow(pool, merge_small_limits="true", small_notional="600")
    kept, part = USDM.order("kept"), USDM.order("part")
    cancel = USDM.cancels("cancel", "part", priority=5 if where.startswith("behind") else None)
    slow = USDM.order("slow", price=40_000)
    async with pool.working():
        pool.paper.fault(USDM.place, "delay_reply", count=2, delay_ms=400)
        pool.send(USDM.order("first", price=41_000), slow, kept, part)
        await pool.status(part, MERGED)
        assert known(pool, kept).status is OrderStatus.QUEUED
        pool.send(cancel)
        await pool.ended()
    assert statuses(pool, kept, part, cancel) == [ACTIVE, CANCELED, DONE]
    assert known(pool, kept).amount == kept.amount
    assert known(pool, kept).absorbed == ()
    assert [float(one["quantity"]) for one in pool.on_book(kept)] == [float(kept.amount)]
    assert [name for _, name in sent(pool)] == ["first", "slow", "kept"]
    assert told(pool, part)[-1] == ("CANCELED", "cancel")
    assert told(pool, cancel) == [("DONE", "part")]
    for intent in (kept, part, cancel):
        pool.assert_told(intent)


async def test_it_is_taken_out_though_the_lane_between_is_longer_than_a_look(pool: Pool) -> None:
    follow(pool, merge_small_limits="true", small_notional="600", look_ahead="4")
    kept, part = USDM.order("kept"), USDM.order("part")
    others = [USDM.order(f"other-{number}", price=30_000 + number, amount="0.05") for number in range(6)]
    cancel = USDM.cancels("cancel", "part")
    async with pool.working():
        pool.paper.fault(USDM.place, "delay_reply", count=2, delay_ms=400)
        pool.send(USDM.order("first", price=41_000), USDM.order("slow", price=40_000), kept, part)
        await pool.status(part, MERGED)
        urgent = [USDM.order(one.id, one.price, amount="0.05", priority=3) for one in others]
        pool.send(*urgent, cancel)
        await pool.ended()
    assert statuses(pool, kept, part, cancel) == [ACTIVE, CANCELED, DONE]
    assert known(pool, kept).amount == kept.amount


async def test_once_the_order_has_begun_the_cancel_is_refused_and_says_what_to_do(pool: Pool) -> None:
    follow(pool, merge_small_limits="true", small_notional="600")
    kept, part, cancel = USDM.order("kept"), USDM.order("part"), USDM.cancels("cancel", "part")
    async with pool.working():
        pool.send(kept, part)
        await pool.ended()
        pool.send(cancel)
        await pool.ended()
    assert statuses(pool, kept, part, cancel) == [ACTIVE, MERGED, OrderStatus.FAILED]
    reason = known(pool, cancel).reason
    assert reason is not None
    assert reason.code == "target_merged"
    assert "amend the amount of 'kept'" in reason.message
    assert known(pool, kept).amount == Decimal("0.02")


@pytest.mark.parametrize("others", ["stay", "are cancelled too"])
async def test_a_cancel_of_the_intent_whose_order_it_is_leaves_the_others_in_it(
    pool: Pool, others: str
) -> None:
    first, second = close("first", "0.02"), close("second", "0.01")
    cancels: list[Intent] = [USDM.cancels("cancel-first", "first")]
    if others != "stay":
        cancels.append(USDM.cancels("cancel-second", "second"))
    async with pool.working():
        pool.send(market("opening", "0.1"))
        await pool.ended()
        pool.paper.fault(USDM.place, "delay_reply", count=2, delay_ms=400)
        pool.send(USDM.order("slow", price=41_000), USDM.order("slower", price=40_000, priority=1))
        pool.send(first, second)
        await pool.status(second, MERGED)
        pool.send(*cancels)
        await pool.ended()
    assert set(statuses(pool, *cancels)) == {DONE}
    if others == "stay":
        assert position(pool) == Decimal("0.09")
        assert statuses(pool, first, second) == [FILLED, MERGED]
        assert known(pool, second).filled == Decimal("0.01")
    else:
        assert position(pool) == Decimal("0.1")
        assert statuses(pool, first, second) == [CANCELED, CANCELED]
        assert pool.arrived(first, "place") == []
    for intent in [first, second, *cancels]:
        pool.assert_told(intent)


async def test_an_order_sent_for_the_others_alone_is_known_again_when_redis_forgot_that(
    forgetful: Forgetful,
) -> None:
    first, second, third = close("first", "0.05"), close("second", "0.01"), close("third", "0.02")
    cancel = USDM.cancels("cancel", "first")
    await opened(forgetful)
    forgetful.paper.fault(USDM.place, "delay_reply", count=2, delay_ms=400)
    forgetful.send(
        USDM.order("slow", price=41_000, priority=0), USDM.order("slower", price=40_000, priority=1)
    )
    forgetful.send(first, second, third)
    forgetful.remember()
    async with forgetful.working():
        await forgetful.status(third, MERGED)
        forgetful.send(cancel)
        await forgetful.ended()
    assert position(forgetful) == Decimal("0.07")
    forgetful.forget()
    async with forgetful.working():
        await forgetful.ended()
    assert position(forgetful) == Decimal("0.07")
    assert statuses(forgetful, first, second, third) == [FILLED, MERGED, MERGED]
    assert [known(forgetful, one).filled for one in (second, third)] == [second.amount, third.amount]
