"""Whatever waits, gives way: a place that has not even its reference price, and the room of a cancel-all that waits."""

from __future__ import annotations

from orderlane.orders import OrderStatus
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import SPOT, USDM
from tests.workers.shut_account import reopen, shut
from tests.workers.thinking_lanes import known, sent, statuses

__all__ = ["paper", "paper_of_module", "pool"]


async def test_a_place_that_waits_for_the_market_s_price_ends_unsent_with_its_cancel(pool: Pool) -> None:
    pool.config = pool.config.replace(
        "    limits_reserve: 0", "    normalizer: {max_distance_percent: 50}\n    limits_reserve: 0", 1
    )
    target, cancel = USDM.order("target"), USDM.cancels("cancel", "target")
    async with pool.working() as worker:
        await pool.until(lambda: len(worker.rules.markets), "the market rules")
        assert worker.rules.needs_reference_price(target)
        shut(pool)
        pool.send(target)
        await pool.until(lambda: worker.throttle.idle.tasks, "a place that waits")
        pool.send(cancel)
        await pool.outcome(cancel)
    assert statuses(pool, target, cancel) == [OrderStatus.CANCELED, OrderStatus.DONE]
    assert sent(pool) == []


async def test_a_cancel_all_that_waits_leaves_its_room_to_the_lanes_of_others(pool: Pool) -> None:
    pool.config = pool.config.replace("{lease_ms", "{lanes: 1, in_flight: 1, lease_ms")
    mine = [
        USDM.order(f"mine-{coin}", price, symbol=f"{coin}/USDT:USDT", amount=amount, strategy="grid")
        for coin, price, amount in (("BTC", "50000", "0.01"), ("ETH", "2500", "0.1"), ("BNB", "500", "1"))
    ]
    everything = USDM.cancels_all("everything", symbol="*", strategy="grid")
    theirs = USDM.order("theirs", account="alt")
    async with pool.working() as worker:
        pool.send(*mine)
        await pool.ended()
        shut(pool)
        pool.send(everything)
        await pool.until(lambda: worker.throttle.idle.tasks, "a cancel-all that waits")
        pool.send(theirs)
        assert (await pool.outcome(theirs)).status is OrderStatus.ACTIVE
        assert pool.record(everything) is None
    reopen(pool)
    async with pool.working():
        await pool.outcome(everything)
    assert known(pool, everything).status is OrderStatus.DONE
    assert set(statuses(pool, *mine)) == {OrderStatus.CANCELED}


async def test_an_order_that_an_amend_without_a_label_placed_anew_is_its_strategy_s(pool: Pool) -> None:
    target = SPOT.order("target", strategy="grid")
    other = SPOT.order("other", strategy="trend", price=49_000)
    amend = SPOT.amends("amend", "target", price=48_000)
    mislabelled = SPOT.amends("mislabelled", "other", price=47_000, strategy="grid")
    everything = SPOT.cancels_all("everything", strategy="grid")
    async with pool.working(SPOT):
        pool.send(target, other)
        await pool.ended(SPOT)
        pool.send(amend, mislabelled)
        await pool.ended(SPOT)
        pool.send(everything)
        assert (await pool.outcome(everything)).status is OrderStatus.DONE
    assert known(pool, amend).status is OrderStatus.CANCELED
    assert known(pool, mislabelled).status is OrderStatus.ACTIVE
    assert [float(one["price"]) for one in pool.open_on_book(SPOT)] == [47_000]
