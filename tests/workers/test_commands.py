"""Cancels, conditional and reduce-only orders: what they do to an order, and what they never do."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from orderlane.intents import Intent
from orderlane.orders import OrderStatus
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import CONDITIONAL, LOST, SPOT, USDM, VENUES, Product
from tests.workers.thinking_lanes import OFF, follow

__all__ = ["paper", "paper_of_module", "pool"]


def reason_code(pool: Pool, intent: Intent) -> str:
    order = pool.record(intent)
    assert order is not None
    assert order.reason is not None
    return order.reason.code


# Cancel


@pytest.mark.parametrize("venue", VENUES)
async def test_a_cancel_of_an_open_order_takes_it_off_the_book(pool: Pool, venue: Product) -> None:
    target, cancel, following = venue.order("target"), venue.cancels("cancel", "target"), venue.order("next")
    async with pool.working(venue):
        pool.send(target)
        await pool.outcome(target)
        pool.send(cancel, following)
        assert (await pool.outcome(cancel)).status is OrderStatus.DONE
        await pool.outcome(following)
    order = pool.record(target)
    assert order is not None
    assert order.status is OrderStatus.CANCELED
    pool.assert_once(target)
    pool.assert_once(following)
    pool.assert_told(cancel)


@pytest.mark.parametrize("venue", VENUES)
async def test_a_cancel_never_passes_the_order_it_names_while_that_waits_in_the_lane(
    pool: Pool, venue: Product
) -> None:
    slow, target, cancel = (
        venue.order("slow"),
        venue.order("target"),
        venue.cancels("cancel", "target", priority=0),
    )
    follow(pool, **OFF)
    pool.paper.fault(venue.place, "delay_reply", count=1, delay_ms=300)
    async with pool.working(venue):
        pool.send(slow, target, cancel)
        assert (await pool.outcome(cancel)).status is OrderStatus.DONE
    kinds = [
        one["kind"] for one in pool.paper.audit() if one["client_order_id"] == pool.client_order_id(target)
    ]
    assert kinds == ["place", "cancel"]
    pool.assert_once(target)


@pytest.mark.parametrize("venue", VENUES)
async def test_a_cancel_of_an_order_that_has_ended_is_refused_and_sends_nothing(
    pool: Pool, venue: Product
) -> None:
    filled, cancelled = venue.order("filled", price=None, type="market"), venue.order("cancelled")
    first, second = venue.cancels("first", "cancelled"), venue.cancels("second", "cancelled")
    of_filled = venue.cancels("of-filled", "filled")
    async with pool.working(venue):
        pool.send(filled, cancelled)
        await pool.outcome(cancelled)
        pool.send(first, second, of_filled)
        await pool.ended(venue)
    assert reason_code(pool, of_filled) == "target_closed"
    assert reason_code(pool, second) == "target_closed"
    pool.assert_never(second)
    assert [one["kind"] for one in pool.paper.audit()] == ["place", "place", "cancel"]
    pool.assert_once(filled)
    pool.assert_once(cancelled)


@pytest.mark.parametrize("venue", VENUES)
async def test_a_cancel_that_comes_after_an_unseen_fill_is_refused_and_brings_the_fill_home(
    pool: Pool, venue: Product
) -> None:
    target, cancel = venue.order("target"), venue.cancels("cancel", "target")
    async with pool.working(venue):
        pool.send(target)
        await pool.outcome(target)
        pool.fill(target, venue)
        pool.send(cancel)
        assert (await pool.outcome(cancel)).status is OrderStatus.REJECTED
    assert reason_code(pool, cancel) == "target_closed"
    pool.assert_once(target)
    pool.assert_told(cancel)


@pytest.mark.parametrize("venue", VENUES)
async def test_a_cancel_of_an_order_cancelled_by_hand_is_done(pool: Pool, venue: Product) -> None:
    target, cancel = venue.order("target"), venue.cancels("cancel", "target")
    async with pool.working(venue) as worker:
        pool.send(target)
        await pool.outcome(target)
        await worker.exchange.cancel_all("main", venue.symbol, worker.exchange.now_ms())
        pool.send(cancel)
        assert (await pool.outcome(cancel)).status is OrderStatus.DONE
    pool.assert_once(target)


@pytest.mark.parametrize("venue", VENUES)
async def test_a_cancel_or_amend_of_an_order_nobody_placed_is_refused_with_what_to_check(
    pool: Pool, venue: Product
) -> None:
    target = venue.order("target")
    elsewhere = venue.cancels("elsewhere", "target", account="alt")
    cancel, amend = venue.cancels("cancel", "no-such"), venue.amends("amend", "no-such", price=1)
    async with pool.working(venue):
        pool.send(target)
        await pool.outcome(target)
        pool.send(cancel, amend, elsewhere)
        await pool.ended(venue)
    for command in (cancel, amend, elsewhere):
        assert reason_code(pool, command) == "target_unknown"
        pool.assert_never(command)
    pool.assert_once(target)
    assert len(pool.open_on_book(venue)) == 1


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize(("fault", "details"), LOST)
async def test_a_cancel_ends_with_the_order_off_the_book_after(
    pool: Pool, venue: Product, fault: str, details: dict[str, Any]
) -> None:
    target, cancel, following = venue.order("target"), venue.cancels("cancel", "target"), venue.order("next")
    async with pool.working(venue):
        pool.send(target)
        await pool.outcome(target)
        pool.paper.fault(venue.cancel, fault, count=1, **details)
        pool.send(cancel, following)
        assert (await pool.outcome(cancel)).status is OrderStatus.DONE
        await pool.outcome(following)
    assert sum(one["executed"] for one in pool.arrived(target, "cancel")) == 1
    pool.assert_once(target)
    pool.assert_once(following)
    pool.assert_told(cancel)
    assert len(pool.open_on_book(venue)) == 1


async def test_a_cancel_reaches_an_exchange_that_was_down(pool: Pool) -> None:
    target, cancel = USDM.order("target"), USDM.cancels("cancel", "target")
    async with pool.working():
        pool.send(target)
        await pool.outcome(target)
        pool.paper.kill()
        pool.send(cancel)
        await pool.status(cancel, OrderStatus.SUBMITTED)
        pool.paper.start()
        assert (await pool.outcome(cancel)).status is OrderStatus.DONE
    pool.assert_once(target)


async def test_a_cancel_that_never_takes_effect_is_given_up_with_proof(pool: Pool) -> None:
    target, cancel, following = USDM.order("target"), USDM.cancels("cancel", "target"), USDM.order("next")
    pool.paper.fault(USDM.cancel, "error_before", status=503)
    async with pool.working():
        pool.send(target)
        await pool.outcome(target)
        pool.send(cancel, following)
        order = await pool.outcome(cancel)
        await pool.outcome(following)
    assert (order.status, order.attempts) == (OrderStatus.FAILED, 3)
    assert reason_code(pool, cancel) == "given_up"
    pool.assert_once(target)
    pool.assert_once(following)


async def test_a_cancel_that_the_exchange_calls_done_without_effect_is_not_sent_for_ever(pool: Pool) -> None:
    """The reply to a conditional order's cancel says nothing of the order, so it has to be looked at."""
    target = USDM.order("target", **CONDITIONAL[0].values[0])  # type: ignore[arg-type]
    cancel = USDM.cancels("cancel", "target")
    done = '{"algoId":1,"clientAlgoId":"x","code":"200","msg":"success"}'
    async with pool.working():
        pool.send(target)
        await pool.outcome(target)
        pool.paper.fault("^DELETE /fapi/v1/algoOrder$", "verbatim", body=done)
        pool.send(cancel)
        order = await pool.outcome(cancel)
    assert order.status is OrderStatus.FAILED
    assert pool.paper.faults()[0]["struck"] == 3
    pool.assert_once(target)


# Conditional orders


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("fields", CONDITIONAL)
async def test_conditional_orders_are_placed_amended_and_cancelled(
    pool: Pool, venue: Product, fields: dict[str, Any]
) -> None:
    target, amend = venue.order("target", **fields), venue.amends("amend", "target", amount="0.02")
    cancel = venue.cancels("cancel", "target")
    async with pool.working(venue):
        pool.send(target)
        assert (await pool.outcome(target)).status is OrderStatus.ACTIVE
        pool.assert_once(target)
        pool.send(amend)
        assert (await pool.outcome(amend)).status is OrderStatus.ACTIVE
        [standing] = pool.open_on_book(venue)
        assert Decimal(standing["quantity"]) == Decimal("0.02")
        assert Decimal(standing["trigger_price"]) == Decimal(fields["trigger_price"])
        pool.assert_once(amend)
        pool.send(cancel)
        assert (await pool.outcome(cancel)).status is OrderStatus.DONE
    assert pool.open_on_book(venue) == []
    pool.assert_once(target)
    pool.assert_once(amend)


@pytest.mark.parametrize("executed", [True, False])
async def test_a_conditional_order_whose_reply_was_lost_is_found_in_its_own_book(
    pool: Pool, executed: bool
) -> None:
    target = USDM.order("target", **CONDITIONAL[0].values[0])  # type: ignore[arg-type]
    pool.paper.fault("^POST /fapi/v1/algoOrder$", "hang", count=1, executed=executed)
    async with pool.working():
        pool.send(target)
        assert (await pool.outcome(target)).status is OrderStatus.ACTIVE
    pool.assert_once(target)


@pytest.mark.parametrize("venue", VENUES)
async def test_a_price_for_an_order_that_has_none_is_refused_and_the_order_stands(
    pool: Pool, venue: Product
) -> None:
    fields: Any = CONDITIONAL[0].values[0]
    target, amend = venue.order("target", **fields), venue.amends("amend", "target", price=64_000)
    async with pool.working(venue):
        pool.send(target)
        await pool.outcome(target)
        pool.send(amend)
        assert (await pool.outcome(amend)).status is OrderStatus.FAILED
    assert len(pool.open_on_book(venue)) == 1
    pool.assert_never(amend)
    pool.assert_once(target)


# Reduce-only


async def test_a_reduce_only_order_reduces_and_never_opens(pool: Pool) -> None:
    opening = USDM.order("opening", price=None, type="market", amount="0.02")
    reducing = USDM.order("reducing", price=None, type="market", side="sell", reduce_only=True)
    wrong_side = USDM.order("wrong-side", price=None, type="market", reduce_only=True)
    async with pool.working():
        pool.send(opening)
        await pool.outcome(opening)
        pool.send(reducing, wrong_side)
        await pool.ended()
    pool.assert_once(reducing)
    pool.assert_never(wrong_side)
    [position] = pool.paper.accounts()["main"]["positions"].values()
    assert Decimal(position["amount"]) == Decimal("0.01")


async def test_a_reduce_only_order_where_there_are_none_is_refused_unsent(pool: Pool) -> None:
    intent = SPOT.order("intent", side="sell", price=70_000, reduce_only=True)
    async with pool.working(SPOT):
        pool.send(intent)
        await pool.outcome(intent)
    pool.assert_never(intent)
    assert pool.arrived(intent, "place") == []
