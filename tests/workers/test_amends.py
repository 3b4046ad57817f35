"""Amends, in place and by replacement: the order changes once, or stands as it was."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from orderlane.intents import Intent
from orderlane.orders import OrderStatus
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import LOST, SPOT, USDM, VENUES, Product
from tests.workers.thinking_lanes import OFF, follow

__all__ = ["paper", "paper_of_module", "pool"]


# In place


@pytest.mark.parametrize(("fault", "details"), [pytest.param("", {}, id="nothing wrong"), *LOST])
async def test_an_amend_in_place_changes_the_order_once_after(
    pool: Pool, fault: str, details: dict[str, Any]
) -> None:
    target, following = USDM.order("target"), USDM.order("next")
    amend = USDM.amends("amend", "target", price=51_000, amount="0.02")
    async with pool.working():
        pool.send(target)
        await pool.outcome(target)
        if fault:
            pool.paper.fault(USDM.amend, fault, count=1, **details)
        pool.send(amend, following)
        assert (await pool.outcome(amend)).status is OrderStatus.DONE
        await pool.outcome(following)
    [booked] = pool.on_book(target)
    assert Decimal(booked["price"]) == 51_000
    assert Decimal(booked["quantity"]) == Decimal("0.02")
    assert booked["amendments"] == 1
    pool.assert_once(target)
    pool.assert_told(amend)
    pool.assert_once(following)


async def test_an_amend_in_place_whose_effect_is_seen_late_is_still_done(pool: Pool) -> None:
    """Every reply is lost and every look comes after the fact: not given up while it may have happened."""
    target, amend = USDM.order("target"), USDM.amends("amend", "target", price=51_000)
    async with pool.working():
        pool.send(target)
        await pool.outcome(target)
        pool.paper.fault(USDM.amend, "error_before", count=2, status=503)
        pool.paper.fault(USDM.amend, "drop_after", count=1)
        pool.send(amend)
        order = await pool.outcome(amend)
    assert order.status is OrderStatus.DONE
    assert order.attempts == 3
    pool.assert_once(target)


async def test_an_amend_in_place_replayed_after_its_effect_was_noted_is_done(pool: Pool) -> None:
    target, amend = USDM.order("target"), USDM.amends("amend", "target", price=51_000)
    async with pool.dying() as worker:
        pool.send(target)
        await pool.outcome(target)
        cut_off_before_the_end_of(pool, worker, amend)
        pool.send(amend)
        await pool.until(lambda: pool.record(target).price == 51_000, "the target's new price")  # type: ignore[union-attr]
    async with pool.working():
        assert (await pool.outcome(amend)).status is OrderStatus.DONE
    pool.assert_once(target)
    assert pool.on_book(target)[0]["amendments"] == 1


def cut_off_before_the_end_of(pool: Pool, worker: Any, intent: Intent) -> None:
    """Let the worker stand still when it is about to write that this intent has ended."""
    identifier, run = pool.client_order_id(intent), worker.runner.run

    async def running(name: str, keys: Any, arguments: Any) -> Any:
        if name == "transition" and arguments[0] == identifier and "finish" in arguments:
            await asyncio.Event().wait()
        return await run(name, keys, arguments)

    worker.runner.run = running


@pytest.mark.parametrize("venue", VENUES)
async def test_an_amend_of_an_order_that_filled_unseen_is_refused(pool: Pool, venue: Product) -> None:
    target, amend = venue.order("target"), venue.amends("amend", "target", price=51_000)
    async with pool.working(venue):
        pool.send(target)
        await pool.outcome(target)
        pool.fill(target, venue)
        pool.send(amend)
        assert (await pool.outcome(amend)).status is OrderStatus.REJECTED
    assert pool.placed(amend) == []
    pool.assert_once(target)
    pool.assert_told(amend)


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"amount": "0.00001"}, id="below the least amount"),
        pytest.param({"price": "1"}, id="a price the venue never takes"),
        pytest.param({"amount": "100000"}, id="an absurd amount"),
        pytest.param({"price": "50000"}, id="no change at all"),
    ],
)
async def test_an_amend_that_can_not_stand_leaves_the_order_as_it_is(
    pool: Pool, venue: Product, change: dict[str, str]
) -> None:
    target, amend = venue.order("target"), venue.amends("amend", "target", **change)
    async with pool.working(venue):
        pool.send(target)
        await pool.outcome(target)
        pool.send(amend)
        assert (await pool.outcome(amend)).status is OrderStatus.FAILED
    [booked] = pool.on_book(target)
    assert booked["status"] == "NEW"
    pool.assert_once(target)
    pool.assert_never(amend)


# By replacement


async def test_an_amend_by_replacement_cancels_then_places_the_rest(pool: Pool) -> None:
    target = SPOT.order("target")
    amend = SPOT.amends("amend", "target", amount="0.02", price=49_000)
    async with pool.working(SPOT):
        pool.send(target)
        await pool.outcome(target)
        pool.fill_partly(SPOT)
        filled = Decimal(pool.on_book(target)[0]["executed_quantity"])
        assert filled > 0
        pool.send(amend)
        order = await pool.outcome(amend)
    assert order.status is OrderStatus.ACTIVE
    assert order.amount == Decimal("0.02") - filled
    assert order.price == 49_000
    assert [one["kind"] for one in pool.paper.audit()] == ["place", "cancel", "place"]
    pool.assert_once(target)
    pool.assert_once(amend)
    replaced = pool.record(target)
    assert replaced is not None
    assert replaced.successor == "amend"


@pytest.mark.parametrize("step", ["cancel", "place"])
@pytest.mark.parametrize(("fault", "details"), LOST)
async def test_a_replacement_is_placed_once_after(
    pool: Pool, step: str, fault: str, details: dict[str, Any]
) -> None:
    target, amend, following = (
        SPOT.order("target"),
        SPOT.amends("amend", "target", price=49_000),
        SPOT.order("next"),
    )
    async with pool.working(SPOT):
        pool.send(target)
        await pool.outcome(target)
        pool.paper.fault(SPOT.cancel if step == "cancel" else SPOT.place, fault, count=1, **details)
        pool.send(amend, following)
        assert (await pool.outcome(amend)).status is OrderStatus.ACTIVE
        await pool.outcome(following)
    pool.assert_once(target)
    pool.assert_once(amend)
    pool.assert_once(following)
    assert len(pool.open_on_book(SPOT)) == 2


@pytest.mark.parametrize("venue", VENUES)
async def test_an_amend_of_an_amended_order_and_a_cancel_act_on_what_stands_there_now(
    pool: Pool, venue: Product
) -> None:
    target = venue.order("target")
    first, second = (
        venue.amends("first", "target", price=51_000),
        venue.amends("second", "target", price=52_000),
    )
    cancel = venue.cancels("cancel", "target")
    follow(pool, **OFF)
    async with pool.working(venue):
        pool.send(target)
        await pool.outcome(target)
        pool.send(first, second)
        await pool.ended(venue)
        [standing] = pool.open_on_book(venue)
        assert Decimal(standing["price"]) == 52_000
        pool.send(cancel)
        assert (await pool.outcome(cancel)).status is OrderStatus.DONE
    assert pool.open_on_book(venue) == []
    pool.assert_once(target)
    if venue is SPOT:
        pool.assert_once(first)
        pool.assert_once(second)


@pytest.mark.parametrize("venue", VENUES)
async def test_the_total_of_a_second_amend_counts_what_was_filled_before_the_first(
    pool: Pool, venue: Product
) -> None:
    """0.01 of which some filled, amended twice: in the end all fills together are the total last asked for."""
    target = venue.order("target", amount="0.1")
    first, second = (
        venue.amends("first", "target", amount="0.2"),
        venue.amends("second", "target", amount="0.3"),
    )
    async with pool.working(venue):
        pool.send(target)
        await pool.outcome(target)
        pool.fill_partly(venue)
        pool.send(first)
        await pool.outcome(first)
        pool.fill_partly(venue)
        pool.send(second)
        await pool.outcome(second)
    booked = [one for intent in (target, first, second) for one in pool.on_book(intent)]
    filled = sum(Decimal(one["executed_quantity"]) for one in booked)
    [standing] = pool.open_on_book(venue)
    left = Decimal(standing["quantity"]) - Decimal(standing["executed_quantity"])
    assert filled > 0
    assert filled + left == Decimal("0.3")


async def test_an_amend_down_to_what_has_filled_ends_the_order_there(pool: Pool) -> None:
    target, amend = SPOT.order("target", amount="0.1"), SPOT.amends("amend", "target", amount="0.001")
    async with pool.working(SPOT):
        pool.send(target)
        await pool.outcome(target)
        pool.fill_partly(SPOT)
        pool.send(amend)
        assert (await pool.outcome(amend)).status is OrderStatus.DONE
    assert pool.open_on_book(SPOT) == []
    assert pool.placed(amend) == []
    pool.assert_once(target)


async def test_a_fill_seen_by_others_while_it_is_replaced_does_not_stop_the_replacement(pool: Pool) -> None:
    """The sync writes the target's record at the very moment at which the amend wants to."""
    target, amend = SPOT.order("target"), SPOT.amends("amend", "target", price=49_000)
    async with pool.working(SPOT) as worker:
        pool.send(target)
        await pool.outcome(target)
        interfering(pool, worker, target)
        pool.send(amend)
        assert (await pool.outcome(amend)).status is OrderStatus.ACTIVE
    pool.assert_once(amend)


def interfering(pool: Pool, worker: Any, target: Intent) -> None:
    """Raise the version of the target's record behind the back of whoever reads it as CANCELED."""
    key = pool.keys(SPOT).order(pool.client_order_id(target))
    done: list[int] = []
    advance = worker.exchange.cancel

    async def cancel(*arguments: Any) -> Any:
        report = await advance(*arguments)

        def later() -> None:
            record = pool.record(target)
            if record is not None and record.status is OrderStatus.CANCELED and not done:
                done.append(1)
                pool.client.hincrby(key, "version", 1)

        patch_write(worker, later)
        return report

    worker.exchange.cancel = cancel


def patch_write(worker: Any, before_write: Any) -> None:
    run = worker.runner.run

    async def running(name: str, *rest: Any) -> Any:
        if name == "transition":
            before_write()
        return await run(name, *rest)

    worker.runner.run = running


@pytest.mark.parametrize("venue", VENUES)
async def test_a_new_price_is_held_to_the_operators_distance_from_the_market(
    pool: Pool, venue: Product
) -> None:
    target = venue.order("target", price=58_000)
    near, far = venue.amends("near", "target", price=57_000), venue.amends("far", "target", price=40_000)
    policy = 'limits_reserve: 0\n    normalizer: {max_distance_percent: "10"}'
    pool.config = pool.config.replace("limits_reserve: 0", policy)
    async with pool.working(venue):
        pool.send(target)
        await pool.outcome(target)
        pool.send(near)
        await pool.outcome(near)
        pool.send(far)
        await pool.outcome(far)
    [standing] = pool.open_on_book(venue)
    assert Decimal(standing["price"]) == 57_000
    refused = pool.record(far)
    assert refused is not None
    assert refused.reason is not None
    assert refused.reason.code == "limit_too_far"
    pool.assert_once(target)
