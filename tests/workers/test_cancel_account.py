"""A cancel-all for an account: nothing accepted before it, in any of its lanes, is left on the book after it."""

from __future__ import annotations

import pytest

from orderlane.intents import Intent, PlaceOrder, encode_intent
from orderlane.orders import OrderStatus
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import SPOT, USDM, VENUES, Product
from tests.workers.shut_account import reopen, shut
from tests.workers.test_cancel_all import on_every_symbol
from tests.workers.test_thinking_races import Dying, dying
from tests.workers.thinking_lanes import known, sent, statuses

__all__ = ["dying", "paper", "paper_of_module", "pool"]

ACTIVE, CANCELED, DONE, EXPIRED = (
    OrderStatus.ACTIVE,
    OrderStatus.CANCELED,
    OrderStatus.DONE,
    OrderStatus.EXPIRED,
)


def behind(venue: Product, orders: list[PlaceOrder], **fields: object) -> list[PlaceOrder]:
    """One more order for each of these, on its symbol."""
    return [
        venue.order(f"{one.id}-behind", one.price, symbol=one.symbol, amount=one.amount, **fields)
        for one in orders
    ]


async def slow_places(pool: Pool, venue: Product, orders: list[PlaceOrder], fault: str) -> None:
    """These are being sent, and the exchange takes its time."""
    pool.paper.fault(venue.place, fault, count=len(orders), delay_ms=400)
    pool.send(*orders)
    for one in orders:
        await pool.status(one, OrderStatus.SUBMITTED)


def send_together(pool: Pool, *intents: Intent) -> None:
    """In one transaction, so that all of them are in their lanes when the first is run."""
    with pool.client.pipeline() as together:
        for intent in intents:
            together.xadd(pool.keys().intents, {"intent": encode_intent(intent)})
        together.execute()


def assert_annulled(pool: Pool, *intents: Intent, by: str) -> None:
    for intent in intents:
        order = known(pool, intent)
        assert (order.status, order.related) == (CANCELED, by)
        assert order.reason is not None
        assert order.reason.code == "cancelled_while_waiting"
        assert pool.arrived(intent, "place") == []
        pool.assert_told(intent)


@pytest.mark.parametrize("fault", ["delay", "delay_reply"])
@pytest.mark.parametrize("strategy", ["", "grid"])
@pytest.mark.parametrize("venue", VENUES)
async def test_what_waits_ends_unsent_and_what_is_in_work_is_awaited_and_cancelled(
    pool: Pool, venue: Product, strategy: str, fault: str
) -> None:
    orders = on_every_symbol(venue, strategy="grid")[:4]
    waiting = behind(venue, orders, strategy="grid")
    everything = venue.cancels_all("everything", symbol="*", strategy=strategy)
    theirs, later = venue.order("theirs", account="alt"), venue.order("later", strategy="grid")
    async with pool.working(venue):
        pool.send(theirs)
        await pool.outcome(theirs)
        await slow_places(pool, venue, orders, fault)
        pool.send(*waiting, everything)
        await pool.outcome(everything)
        pool.send(later)
        await pool.ended(venue)
    assert statuses(pool, everything, theirs, later) == [DONE, ACTIVE, ACTIVE]
    assert_annulled(pool, *waiting, by="everything")
    assert set(statuses(pool, *orders)) == {CANCELED}
    open_ids = {one.get("client_order_id") for one in pool.open_on_book(venue)}
    assert open_ids == {pool.client_order_id(one) for one in (theirs, later)}


async def test_what_was_accepted_after_it_is_let_be_though_it_waits_as_well(pool: Pool) -> None:
    orders = on_every_symbol(USDM)[:2]
    waiting, later = behind(USDM, orders), [USDM.order("later", priority=0), USDM.order("last")]
    everything = USDM.cancels_all("everything", symbol="*")
    async with pool.working():
        shut(pool)
        pool.send(*orders, *waiting)
        send_together(pool, everything, *later)
        for one in (*orders, *waiting):
            await pool.status(one, CANCELED)
        assert [pool.record(one) for one in later] == [None, None]
    reopen(pool)
    async with pool.working():
        await pool.ended()
    assert_annulled(pool, *orders, *waiting, by="everything")
    assert known(pool, everything).status is DONE
    assert ("place", "last") in sent(pool)


async def test_another_strategy_s_intents_go_on_and_amends_go_with_the_order_they_speak_of(
    pool: Pool,
) -> None:
    grid, trend = SPOT.order("grid", strategy="grid"), SPOT.order("trend", price=49_000, strategy="trend")
    of_grid, of_trend = (
        SPOT.amends("of-grid", "grid", price=48_000),
        SPOT.amends("of-trend", "trend", price=47_000),
    )
    waiting = SPOT.order("waiting", strategy="grid")
    of_waiting = SPOT.amends("of-waiting", "waiting", price=46_000)
    everything = SPOT.cancels_all("everything", symbol="*", strategy="grid")
    async with pool.working(SPOT):
        pool.send(grid, trend)
        await pool.ended(SPOT)
        await slow_places(pool, SPOT, [SPOT.order("slow", price=40_000)], "delay_reply")
        pool.send(of_grid, of_trend, waiting, of_waiting, everything)
        await pool.ended(SPOT)
    assert known(pool, everything).status is DONE
    assert_annulled(pool, of_grid, waiting, of_waiting, by="everything")
    assert known(pool, grid).status is CANCELED
    assert known(pool, of_trend).status is ACTIVE


async def test_cancels_that_wait_are_run_and_one_that_is_too_late_annuls_nothing(pool: Pool) -> None:
    waiting, cancel = USDM.order("waiting"), USDM.cancels("cancel", "elsewhere")
    late = USDM.cancels_all("late", symbol="*", expires_at=1)
    async with pool.working():
        await slow_places(pool, USDM, [USDM.order("slow", price=40_000)], "delay_reply")
        pool.send(waiting, late)
        await pool.ended()
        assert statuses(pool, waiting, late) == [ACTIVE, EXPIRED]
        await slow_places(pool, USDM, [USDM.order("slower", price=40_000)], "delay_reply")
        pool.send(cancel, USDM.cancels_all("everything", symbol="*"))
        await pool.ended()
    assert known(pool, cancel).status is OrderStatus.FAILED


@pytest.mark.parametrize("point", ["sweep.found", "sweep.ended", "command.begun", "sweep.awaited"])
@pytest.mark.parametrize("strategy", ["", "grid"])
async def test_whoever_comes_after_a_death_on_the_way_finishes_it(
    pool: Pool, dying: Dying, strategy: str, point: str
) -> None:
    orders = on_every_symbol(USDM, strategy="grid")[:3]
    waiting = behind(USDM, orders, strategy="grid")
    everything = USDM.cancels_all("everything", symbol="*", strategy=strategy)
    async with pool.dying():
        await slow_places(pool, USDM, orders, "delay")
        dying.arm(point, 1)
        pool.send(*waiting, everything)
        await pool.until(dying.died.is_set, point)
    async with pool.working():
        await pool.ended()
    assert known(pool, everything).status is DONE
    assert_annulled(pool, *waiting, by="everything")
    assert set(statuses(pool, *orders)) == {CANCELED}
    assert pool.open_on_book(USDM) == []


async def test_lanes_of_another_worker_are_swept_as_well(pool: Pool) -> None:
    """The other one has the orders in hand, and waits for tokens: it finds them ended when it goes on."""
    orders = on_every_symbol(USDM)[:3]
    waiting = behind(USDM, orders)
    everything = USDM.cancels_all("everything", symbol="*")
    async with pool.working() as one:
        shut(pool)
        pool.send(*orders, *waiting)
        await pool.until(lambda: len(one.throttle.idle.tasks) == len(orders), "orders that wait for tokens")
        async with pool.working():
            pool.send(everything)
            for order in (*orders, *waiting):
                await pool.status(order, CANCELED)
            await pool.until(
                lambda: not one.throttle.idle.tasks or pool.backlog() == 1, "lanes that are empty"
            )
    reopen(pool)
    async with pool.working():
        await pool.ended()
    assert_annulled(pool, *orders, *waiting, by="everything")
    assert known(pool, everything).status is DONE
    keys = pool.keys()
    assert pool.client.exists(keys.waiting, keys.owners, keys.ready, keys.load) == 0
