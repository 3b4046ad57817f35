"""Lanes that think while something else happens: requests under way, workers that die, Redis that forgets."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from common import failpoints
from orderlane.intents import Intent
from orderlane.orders import OrderStatus
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import USDM, VENUES, Product
from tests.workers.test_redis_forgot import Forgetful, forgetful
from tests.workers.thinking_lanes import close, follow, known, market, position, sent, statuses

__all__ = ["forgetful", "paper", "paper_of_module", "pool"]

ACTIVE, FILLED, CANCELED = OrderStatus.ACTIVE, OrderStatus.FILLED, OrderStatus.CANCELED
DONE, MERGED, REJECTED = OrderStatus.DONE, OrderStatus.MERGED, OrderStatus.REJECTED
POINTS = ("think.seen", "think.decided", "think.done")


# Requests under way


@pytest.mark.parametrize("fault", ["delay", "delay_reply"])
@pytest.mark.parametrize("venue", VENUES)
async def test_a_cancel_that_comes_while_its_target_is_being_sent_is_sent_after_it(
    pool: Pool, venue: Product, fault: str
) -> None:
    target, cancel = venue.order("target"), venue.cancels("cancel", "target", priority=0)
    pool.paper.fault(venue.place, fault, count=1, delay_ms=250)
    async with pool.working(venue):
        pool.send(target)
        await pool.status(target, OrderStatus.SUBMITTED)
        pool.send(cancel, venue.order("next"))
        await pool.ended(venue)
    assert sent(pool)[:2] == [("place", "target"), ("cancel", "target")]
    assert statuses(pool, target, cancel) == [CANCELED, DONE]
    pool.assert_once(target)


@pytest.mark.parametrize("fault", ["drop_after", "error_before"])
async def test_a_cancel_of_an_order_whose_outcome_is_not_known_waits_for_that(pool: Pool, fault: str) -> None:
    target, cancel = USDM.order("target"), USDM.cancels("cancel", "target")
    pool.paper.fault(USDM.place, fault, count=1)
    async with pool.working():
        pool.send(target, USDM.order("next"))
        await pool.status(target, OrderStatus.SUBMITTED, OrderStatus.UNKNOWN)
        pool.send(cancel)
        await pool.ended()
    assert statuses(pool, target, cancel) == [CANCELED, DONE]
    assert len(pool.placed(target)) == 1


@pytest.mark.parametrize("venue", VENUES)
async def test_an_amend_whose_target_fills_in_between_is_refused_and_changes_nothing(
    pool: Pool, venue: Product
) -> None:
    """It is on its way while the market comes to its target."""
    target, amend = venue.order("target"), venue.amends("amend", "target", price=49_000)
    route = venue.amend if venue is USDM else venue.cancel
    async with pool.working(venue):
        pool.send(target)
        await pool.outcome(target)
        pool.paper.fault(route, "delay", count=1, delay_ms=250)
        pool.send(amend, venue.amends("second", "target", price=48_000))
        await pool.until(lambda: pool.paper.faults()[0]["struck"], "the amend on its way")
        pool.fill(target, venue)
        await pool.ended(venue)
    assert pool.open_on_book(venue) == []
    assert not pool.placed(amend)
    assert known(pool, amend).status in (MERGED, REJECTED, OrderStatus.FAILED)


@pytest.mark.parametrize("venue", VENUES)
async def test_an_edited_order_is_edited_once_though_its_reply_is_lost(pool: Pool, venue: Product) -> None:
    target, amend = venue.order("target"), venue.amends("amend", "target", price=49_000)
    pool.paper.fault(venue.place, "drop_after", count=1)
    pool.send(target, amend)
    async with pool.working(venue):
        await pool.ended(venue)
    assert statuses(pool, target, amend) == [ACTIVE, DONE]
    assert known(pool, target).price == Decimal(49_000)
    pool.assert_once(target)


async def test_merged_closes_are_resolved_as_one_order_when_the_reply_is_lost(pool: Pool) -> None:
    closes = await closes_of_a_position(pool)
    pool.paper.fault(USDM.place, "drop_after", count=1)
    pool.send(*closes)
    async with pool.working():
        await pool.ended()
    assert statuses(pool, *closes) == [FILLED, MERGED, MERGED]
    assert position(pool) == 0


# Workers that die


class Dying:
    """Cuts a worker off when it reaches a point for the n-th time: what it was about to do never happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.point, self.left = "", 0
        self.died = asyncio.Event()
        monkeypatch.setattr(failpoints, "reach", self.reach)

    def arm(self, point: str, time: int) -> None:
        self.point, self.left = point, time
        self.died.clear()

    def reach(self, point: str, *about: str) -> None:
        if point == self.point and self.left:
            self.left -= 1
            if not self.left:
                self.died.set()
                raise asyncio.CancelledError


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Dying:
    return Dying(monkeypatch)


async def closes_of_a_position(pool: Pool) -> list[Intent]:
    """Three orders that close what is open."""
    async with pool.working():
        pool.send(market("opening", "0.06"))
        await pool.ended()
    return [close(f"close-{number}") for number in range(3)]


@pytest.mark.parametrize("time", [1, 2])
@pytest.mark.parametrize("point", POINTS)
async def test_a_merge_is_made_whole_by_whoever_comes_after_a_death(
    pool: Pool, dying: Dying, point: str, time: int
) -> None:
    closes = await closes_of_a_position(pool)
    dying.arm(point, time if point != "think.seen" else 1)
    pool.send(*closes)
    async with pool.dying():
        await asyncio.wait_for(dying.died.wait(), 20)
    async with pool.working():
        await pool.ended()
    filled = [order for order in map(pool.record, closes) if order and order.status is FILLED]
    assert {order.status for order in map(pool.record, closes) if order} <= {FILLED, MERGED}
    assert sum(order.filled for order in filled) == Decimal("0.06")
    assert position(pool) == 0
    for one in closes:
        pool.assert_told(one)


@pytest.mark.parametrize("point", POINTS)
async def test_an_annihilation_is_made_whole_by_whoever_comes_after_a_death(
    pool: Pool, dying: Dying, point: str
) -> None:
    target, cancel, following = USDM.order("target"), USDM.cancels("cancel", "target"), USDM.order("next")
    dying.arm(point, 1)
    pool.send(target, cancel, following)
    async with pool.dying():
        await asyncio.wait_for(dying.died.wait(), 20)
    async with pool.working():
        await pool.ended()
    assert statuses(pool, target, cancel, following) == [CANCELED, DONE, ACTIVE]
    assert [float(one["price"]) for one in pool.open_on_book(USDM)] == [50_000]


@pytest.mark.parametrize("point", ["place.admitted", "place.begun", "exchange.reply_arrived", "record.done"])
@pytest.mark.parametrize("rule", ["merge", "edit"])
async def test_what_was_merged_or_edited_is_sent_once_whenever_its_worker_dies(
    pool: Pool, dying: Dying, rule: str, point: str
) -> None:
    closes = await closes_of_a_position(pool)
    target, amend = USDM.order("target"), USDM.amends("amend", "target", price=49_000, amount="0.02")
    sent_for = closes[0] if rule == "merge" else target
    dying.arm(point, 1)
    pool.send(*(closes if rule == "merge" else (target, amend)))
    async with pool.dying():
        await asyncio.wait_for(dying.died.wait(), 20)
    async with pool.working():
        await pool.ended()
    assert len(pool.placed(sent_for)) == 1
    if rule == "merge":
        assert (known(pool, sent_for).filled, position(pool)) == (Decimal("0.06"), Decimal(0))
    else:
        assert (known(pool, target).price, known(pool, target).amount) == (Decimal(49_000), Decimal("0.02"))
        pool.assert_once(target)


@pytest.mark.parametrize("point", POINTS)
async def test_a_bug_of_the_pools_own_while_it_thinks_costs_no_intent(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """The lane is tried again, and what was decided is found as it stands."""
    faults = iter([point])

    def reach(at: str, *about: str) -> None:
        if at == point and next(faults, None):
            raise failpoints.FailpointRaised(point)

    monkeypatch.setattr(failpoints, "reach", reach)
    target, cancel = USDM.order("target"), USDM.cancels("cancel", "target")
    pool.send(target, cancel, USDM.order("next"))
    async with pool.working():
        await pool.ended()
    assert statuses(pool, target, cancel) == [CANCELED, DONE]
    assert sent(pool) == [("place", "next")]


# Redis that forgets


async def test_after_redis_came_back_no_rule_touches_what_may_have_been_sent(forgetful: Forgetful) -> None:
    target, cancel = USDM.order("target"), USDM.cancels("cancel", "target")
    async with forgetful.met(USDM):
        pass
    forgetful.send(target)
    forgetful.remember()
    async with forgetful.working():
        await forgetful.outcome(target)
    forgetful.forget()
    forgetful.send(cancel)
    async with forgetful.working():
        await forgetful.ended()
    assert [kind for kind, _ in sent(forgetful)] == ["place", "cancel"]
    assert statuses(forgetful, target, cancel) == [CANCELED, DONE]
    assert forgetful.open_on_book(USDM) == []


async def test_closes_merged_and_forgotten_close_no_more_than_they_asked_for(forgetful: Forgetful) -> None:
    """The merged order is on the exchange and its parts wait again: none of them may close anything once more."""
    async with forgetful.working():
        forgetful.send(market("opening", "0.1"))
        await forgetful.ended()
    closes = [close(f"close-{number}") for number in range(3)]
    forgetful.send(*closes)
    forgetful.remember()
    async with forgetful.working():
        await forgetful.ended()
    assert position(forgetful) == Decimal("0.04")
    forgetful.forget()
    async with forgetful.working():
        await forgetful.ended()
    assert position(forgetful) == Decimal("0.04")
    assert statuses(forgetful, *closes) == [FILLED, MERGED, MERGED]


async def test_an_edit_that_redis_forgot_comes_to_the_same_end(forgetful: Forgetful) -> None:
    target, amend = USDM.order("target"), USDM.amends("amend", "target", price=49_000)
    async with forgetful.met(USDM):
        pass
    forgetful.send(target, amend)
    forgetful.remember()
    async with forgetful.working():
        await forgetful.ended()
    forgetful.forget()
    async with forgetful.working():
        await forgetful.ended()
    assert len(forgetful.placed(target)) == 1
    assert [float(one["price"]) for one in forgetful.open_on_book(USDM)] == [49_000]
    assert statuses(forgetful, target) == [ACTIVE]


async def test_small_limits_merged_and_forgotten_are_adopted_as_one(forgetful: Forgetful) -> None:
    follow(forgetful, merge_small_limits="true", small_notional="600")
    small = [USDM.order(f"small-{number}") for number in range(3)]
    async with forgetful.met(USDM):
        pass
    forgetful.send(*small, USDM.order("small-3", strategy="other"))
    forgetful.remember()
    async with forgetful.working():
        await forgetful.ended()
    forgetful.forget()
    async with forgetful.working():
        await forgetful.ended()
    assert statuses(forgetful, *small) == [ACTIVE, MERGED, MERGED]
    assert [one.intent_id for one in known(forgetful, small[0]).absorbed] == ["small-1", "small-2"]
    assert sorted(Decimal(one["quantity"]) for one in forgetful.open_on_book(USDM)) == [
        Decimal("0.01"),
        Decimal("0.03"),
    ]
    for one in small:
        forgetful.assert_told(one)


@pytest.mark.parametrize("venue", VENUES)
async def test_an_order_cancelled_unsent_and_forgotten_is_not_sent_after_all(
    forgetful: Forgetful, venue: Product
) -> None:
    target = venue.order("target", price=None, type="market")
    cancel, following = venue.cancels("cancel", "target"), venue.order("next")
    async with forgetful.met(venue):
        pass
    forgetful.send(target, cancel, following)
    forgetful.remember()
    async with forgetful.working(venue):
        await forgetful.ended(venue)
    assert statuses(forgetful, target, cancel, following) == [CANCELED, DONE, ACTIVE]
    forgetful.forget()
    async with forgetful.working(venue):
        await forgetful.ended(venue)
    assert statuses(forgetful, target, following) == [CANCELED, ACTIVE]
    assert known(forgetful, target).related == "cancel"
    assert sent(forgetful) == [("place", "next")]


@pytest.mark.parametrize("venue", VENUES)
async def test_an_order_replaced_unsent_and_forgotten_is_not_sent_beside_its_replacement(
    forgetful: Forgetful, venue: Product
) -> None:
    older, newer = venue.order("older"), venue.order("newer", price=49_000, replaces="older")
    async with forgetful.met(venue):
        pass
    forgetful.send(older, newer)
    forgetful.remember()
    async with forgetful.working(venue):
        await forgetful.ended(venue)
    forgetful.forget()
    async with forgetful.working(venue):
        await forgetful.ended(venue)
    assert sent(forgetful) == [("place", "newer")]
    assert statuses(forgetful, older, newer) == [CANCELED, ACTIVE]
    forgetful.assert_once(newer)
