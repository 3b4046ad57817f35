"""Every way in which sending an order can end: one order on the exchange's books, or one clear refusal."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orderlane.events import EventName
from orderlane.orders import OrderStatus
from tests.workers.pool_fixture import WINDOW_MS, Pool, paper, paper_of_module, pool
from tests.workers.products import SPOT, USDM, VENUES, Product

__all__ = ["paper", "paper_of_module", "pool"]

EXECUTED = [
    pytest.param("hang", {"executed": True}, id="a timeout"),
    pytest.param("drop_after", {}, id="a dropped connection"),
    pytest.param("reset_after", {}, id="a reset connection"),
    pytest.param("error_after", {"status": 500}, id="a 500"),
    pytest.param("error_after", {"status": 503}, id="a 503"),
    pytest.param("error_after", {"status": 502, "body": "<html>Bad gateway</html>"}, id="a proxy's 502"),
    pytest.param("cut_body", {}, id="a cut body"),
    pytest.param("empty_body", {}, id="an empty body"),
    pytest.param("foreign_body", {}, id="a page of HTML with status 200"),
    pytest.param("verbatim", {"executed": True, "body": "{}"}, id="an order without an id"),
    pytest.param(
        "verbatim",
        {"executed": True, "status": 400, "body": '{"code":-1007,"msg":"Timeout waiting for backend."}'},
        id="a code for an unknown outcome",
    ),
    pytest.param(
        "verbatim",
        {"executed": True, "status": 400, "body": '{"code":-9999,"msg":"Never heard of."}'},
        id="a code that nobody listed",
    ),
]
NOT_EXECUTED = [
    pytest.param("hang", {"executed": False}, id="a timeout"),
    pytest.param("reset_before_read", {}, id="a reset before it was read"),
    pytest.param("drop_before", {}, id="a dropped connection"),
    pytest.param("error_before", {"status": 503}, id="a 503"),
]
LATE = '{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}'


def names(pool: Pool, venue: Product, intent: Any) -> list[EventName]:
    return [event.name for event in pool.events(venue, of=intent)]


@pytest.mark.parametrize("venue", VENUES)
async def test_an_accepted_order_is_on_the_book_once_and_on_record(pool: Pool, venue: Product) -> None:
    resting, trading = venue.order("resting"), venue.order("trading", price=None, type="market")
    async with pool.working(venue):
        pool.send(resting, trading)
        assert (await pool.outcome(resting)).status is OrderStatus.ACTIVE
        assert (await pool.outcome(trading)).status is OrderStatus.FILLED
    pool.assert_once(resting)
    pool.assert_once(trading)
    assert names(pool, venue, resting) == [EventName.SUBMITTED, EventName.ACKNOWLEDGED, EventName.LATENCY]
    assert names(pool, venue, trading) == [EventName.SUBMITTED, EventName.FILLED, EventName.LATENCY]


@pytest.mark.parametrize("venue", VENUES)
async def test_the_exchanges_verdict_ends_the_intent_with_its_words(pool: Pool, venue: Product) -> None:
    refused, following = venue.order("too-much", amount="1000"), venue.order("following")
    async with pool.working(venue):
        pool.send(refused, following)
        await pool.outcome(following)
    pool.assert_never(refused)
    order = pool.record(refused)
    assert order is not None
    assert order.status is OrderStatus.REJECTED
    assert order.reason is not None
    assert order.reason.code in ("-2010", "-2019")
    assert "insufficient" in order.reason.message
    assert len(pool.arrived(refused, "place")) == 1
    assert names(pool, venue, refused) == [EventName.SUBMITTED, EventName.REJECTED]
    pool.assert_once(following)


@pytest.mark.parametrize("venue", VENUES)
async def test_an_exchange_that_is_down_gets_the_order_once_when_it_is_back(
    pool: Pool, venue: Product
) -> None:
    first, following = venue.order("first"), venue.order("following")
    async with pool.working(venue):
        pool.paper.kill()
        await asyncio.sleep(
            0.1
        )  # that its open connections are gone is seen first: what is written to one is UNKNOWN
        pool.send(first, following)
        await pool.status(first, OrderStatus.SUBMITTED)
        pool.paper.start()
        order = await pool.outcome(first)
        await pool.outcome(following)
    assert OrderStatus.UNKNOWN not in [event.to_status for event in pool.events(venue, of=first)]
    assert order.attempts > 1
    pool.assert_once(first)
    pool.assert_once(following)


@pytest.mark.parametrize(("venue", "status"), [(USDM, "429"), (SPOT, "418")], ids=["usdm, 429", "spot, 418"])
async def test_a_throttled_order_is_placed_once_and_every_worker_pauses(
    pool: Pool, venue: Product, status: str
) -> None:
    first, other = venue.order("first"), venue.order("other", account="alt")
    pool.paper.fault(venue.place, status, count=1)
    async with pool.working(venue), pool.working(venue):
        pool.send(first)
        await pool.until(lambda: pool.paper.faults()[0]["struck"], "the refusal")
        paused_at_us = pool.paper.control("GET", "health")["time_us"]
        await pool.until(lambda: pool.client.keys("*:penalty"), "the pause")
        pool.send(other)
        await pool.outcome(first)
        await pool.outcome(other)
    pool.assert_once(first)
    pool.assert_once(other)
    # Retry-After was one second, less what passed until the test saw it.
    assert pool.placed(first)[0]["at_us"] - paused_at_us > 800_000
    assert pool.placed(other)[0]["at_us"] - paused_at_us > 800_000


@pytest.mark.parametrize("venue", VENUES)
async def test_a_duplicate_client_id_is_looked_up_not_sent_again(pool: Pool, venue: Product) -> None:
    """The order is there already, as after a request that was executed and forgotten."""
    intent, following = venue.order("there-already"), venue.order("following")
    async with pool.working(venue) as worker:
        await pool.place_behind(worker, intent)
        pool.send(intent, following)
        assert (await pool.outcome(intent)).status is OrderStatus.ACTIVE
        await pool.outcome(following)
    assert [one["executed"] for one in pool.arrived(intent, "place")] == [True, False]
    pool.assert_once(intent)
    pool.assert_once(following)


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize(("fault", "details"), EXECUTED)
async def test_an_order_whose_reply_was_lost_to(
    pool: Pool, venue: Product, fault: str, details: dict[str, Any]
) -> None:
    """It was executed: it is found, adopted and not sent again."""
    first, following = venue.order("first"), venue.order("following")
    pool.paper.fault(venue.place, fault, count=1, **details)
    async with pool.working(venue):
        pool.send(first, following)
        assert (await pool.outcome(first)).attempts == 1
        await pool.outcome(following)
    assert len(pool.arrived(first, "place")) == 1
    assert OrderStatus.UNKNOWN in [event.to_status for event in pool.events(venue, of=first)]
    pool.assert_once(first)
    pool.assert_once(following)


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize(("fault", "details"), NOT_EXECUTED)
async def test_an_order_that_never_arrived_because_of(
    pool: Pool, venue: Product, fault: str, details: dict[str, Any]
) -> None:
    """It was not executed: once it can't be any more it is sent again, under the same id, and exists once."""
    first, following = venue.order("first"), venue.order("following")
    pool.paper.fault(venue.place, fault, count=1, **details)
    async with pool.working(venue):
        pool.send(first, following)
        order = await pool.outcome(first)
        await pool.outcome(following)
    [submitted, *_] = pool.events(venue, of=first)
    assert submitted.times is not None
    assert order.attempts == 2
    assert pool.placed(first)[0]["at_ms"] > submitted.times.sent_at + WINDOW_MS
    pool.assert_once(first)
    pool.assert_once(following)


@pytest.mark.parametrize("venue", VENUES)
async def test_an_order_that_came_too_late_for_the_exchange_is_sent_anew_at_once(
    pool: Pool, venue: Product
) -> None:
    first, following = venue.order("first"), venue.order("following")
    pool.paper.fault(venue.place, "verbatim", count=2, status=400, body=LATE)
    async with pool.working(venue):
        pool.send(first, following)
        assert (await pool.outcome(first)).attempts >= 3
        await pool.outcome(following)
    assert OrderStatus.UNKNOWN not in [event.to_status for event in pool.events(venue, of=first)]
    pool.assert_once(first)
    pool.assert_once(following)


@pytest.mark.parametrize("venue", VENUES)
async def test_a_request_held_up_past_its_window_is_refused_and_sent_anew(pool: Pool, venue: Product) -> None:
    first = venue.order("first")
    pool.paper.fault(venue.place, "delay", count=1, delay_ms=WINDOW_MS + 300)
    async with pool.working(venue):
        pool.send(first)
        await pool.outcome(first)
    pool.assert_once(first)
