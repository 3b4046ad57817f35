"""What the doubt after a restart of Redis costs intents that have nothing to do with what was forgotten."""

from __future__ import annotations

import asyncio

import pytest

from common.exchange.base import OrderReference, OrderReport
from orderlane.orders import OrderStatus
from tests.workers.pool_fixture import paper, paper_of_module
from tests.workers.products import USDM
from tests.workers.test_redis_forgot import Forgetful
from tests.workers.test_rules_forgotten import (
    DOUBT_SECONDS,
    carried_out,
    forgetful,
    opened,
    rebuild,
)
from tests.workers.thinking_lanes import close, known, market, statuses

__all__ = ["forgetful", "paper", "paper_of_module"]

ACTIVE, DONE, FILLED = OrderStatus.ACTIVE, OrderStatus.DONE, OrderStatus.FILLED
LISTING = r"^GET /fapi/v1/userTrades$"


def asks_seldom(pool: Forgetful) -> None:
    """Longer than a test waits for anything."""
    pool.config = pool.config.replace("resolve_cap_ms: 100", "resolve_cap_ms: 60000")


async def test_a_cancel_passes_a_place_that_waits_for_a_forgotten_intent_to_come_again(
    forgetful: Forgetful,
) -> None:
    asks_seldom(forgetful)
    resting, stray = USDM.order("resting", price=40_000), USDM.order("stray", price=41_000)
    new, cancel = USDM.order("new"), USDM.cancels("cancel", "resting")
    async with forgetful.met(USDM):
        pass
    await carried_out(forgetful, resting)
    forgetful.remember()
    await carried_out(forgetful, stray)
    forgetful.forget()
    async with forgetful.working() as worker:
        forgetful.paper.fault(LISTING, "delay_reply")
        forgetful.send(new)
        await forgetful.until(lambda: forgetful.paper.faults()[0]["struck"], "the listing")
        await forgetful.until(lambda: worker.throttle.idle.tasks, "a place that waits")
        forgetful.send(cancel)
        await forgetful.outcome(cancel)
        assert forgetful.record(new) is None
        forgetful.send(stray)
        await forgetful.ended()
    assert statuses(forgetful, cancel, stray, new) == [DONE, ACTIVE, ACTIVE]
    forgetful.assert_once(new)


async def test_a_listing_that_fails_once_is_asked_for_again_soon(forgetful: Forgetful) -> None:
    asks_seldom(forgetful)
    closing = close("closing", "0.01")
    await opened(forgetful)
    forgetful.send(closing)
    forgetful.remember()
    forgetful.forget()
    forgetful.paper.fault(LISTING, "error_before", status=503, count=1)
    async with forgetful.working():
        await forgetful.ended()
    assert forgetful.paper.faults()[0]["struck"] == 1
    assert statuses(forgetful, closing) == [FILLED]


async def test_an_order_whose_intent_was_forgotten_long_ago_is_not_waited_for(forgetful: Forgetful) -> None:
    """It was rebuilt from the exchange after an earlier restart, and its intent never came again."""
    old, other, waiting = (USDM.order(name, price=40_000) for name in ("old", "other", "waiting"))
    async with forgetful.met(USDM):
        pass
    forgetful.remember()
    await carried_out(forgetful, old)
    forgetful.forget()
    await rebuild(forgetful, old)
    async with forgetful.working():
        await asyncio.sleep(DOUBT_SECONDS)
    await carried_out(forgetful, other)
    forgetful.send(waiting)
    forgetful.remember()
    forgetful.forget()
    await carried_out(forgetful)
    assert statuses(forgetful, waiting) == [ACTIVE]


async def test_orders_that_redis_knows_as_filled_are_not_asked_for_again(
    forgetful: Forgetful, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = [market(f"filled-{number}", "0.01") for number in range(10)]
    waiting = USDM.order("waiting")
    async with forgetful.met(USDM):
        pass
    await carried_out(forgetful, *filled)
    forgetful.send(waiting)
    forgetful.remember()
    forgetful.forget()
    asked: list[OrderReference] = []
    async with forgetful.working() as worker:
        find = worker.exchange.find

        async def count(reference: OrderReference) -> OrderReport | None:
            asked.append(reference)
            return await find(reference)

        monkeypatch.setattr(worker.exchange, "find", count)
        await forgetful.ended()
    assert {one.client_order_id for one in asked} == {forgetful.client_order_id(waiting)}
    forgetful.assert_once(waiting)


async def test_an_order_that_was_amended_in_place_is_found_by_its_own_name(forgetful: Forgetful) -> None:
    place, amend, later = (
        USDM.order("place"),
        USDM.amends("amend", "place", price=51_000),
        USDM.order("later"),
    )
    async with forgetful.met(USDM):
        pass
    await carried_out(forgetful, place)
    await carried_out(forgetful, amend)
    forgetful.fill(place, USDM)
    forgetful.send(later)
    forgetful.remember()
    forgetful.forget()
    await carried_out(forgetful)
    assert statuses(forgetful, later) == [ACTIVE]
    assert known(forgetful, amend).status is DONE
