"""An id is one intent for ever: what comes again is recognised, however it comes."""

from __future__ import annotations

from typing import Any

import pytest

from orderlane import Client
from orderlane.errors import IdReused
from orderlane.events import EventName
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import USDM, VENUES, Product

__all__ = ["paper", "paper_of_module", "pool"]


@pytest.mark.parametrize("venue", VENUES)
async def test_an_intent_appended_twice_is_executed_once(pool: Pool, venue: Product) -> None:
    """Both while the first one waits, and after it has ended."""
    slow, twice, following = venue.order("slow"), venue.order("twice"), venue.order("following")
    pool.paper.fault(venue.place, "delay_reply", count=1, delay_ms=200)
    async with pool.working(venue):
        pool.send(slow, twice, twice, following)
        await pool.outcome(following)
        pool.send(twice)
        await pool.ended(venue)
    assert pool.dead(venue) == []
    duplicates = [event for event in pool.events(venue, of=twice) if event.name is EventName.DUPLICATE]
    assert len(duplicates) == 2
    assert all("already accepted" in event.reason.message for event in duplicates if event.reason)
    for intent in (slow, twice, following):
        pool.assert_once(intent)


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("change", [{"price": 49_000}, {"symbol": "ETH/USDT"}, {"amount": "0.02"}])
async def test_an_id_used_again_for_something_else_is_buried_and_the_first_one_stands(
    pool: Pool, venue: Product, change: dict[str, Any]
) -> None:
    if "symbol" in change:
        change = {"symbol": venue.symbol.replace("BTC", "ETH"), "price": 2_000, "amount": "0.1"}
    slow, first, other = venue.order("slow"), venue.order("same"), venue.order("same", **change)
    pool.paper.fault(venue.place, "delay_reply", count=1, delay_ms=100)
    async with pool.working(venue):
        pool.send(slow, first)
        await pool.outcome(first)
        pool.send(other, other)
        await pool.ended(venue)
    letters = pool.dead(venue)
    assert [letter.reason.code for letter in letters] == ["id_reused", "id_reused"]
    assert "give every intent an id of its own" in letters[0].reason.message
    pool.assert_once(first)


async def test_a_command_under_a_used_id_does_not_reach_the_exchange(pool: Pool) -> None:
    first, cancel = USDM.order("same"), USDM.cancels("same", "same")
    async with pool.working():
        pool.send(first)
        await pool.outcome(first)
        pool.send(cancel)
        await pool.ended()
    assert [letter.reason.code for letter in pool.dead()] == ["id_reused"]
    assert len(pool.open_on_book(USDM)) == 1


async def test_an_intent_submitted_by_a_client_and_appended_raw_is_executed_once(pool: Pool) -> None:
    raw_first, client_first = USDM.order("raw-first"), USDM.order("client-first")
    with Client(pool.redis_url, exchange="binance", account="main") as client:
        async with pool.working():
            pool.send(raw_first)
            await pool.outcome(raw_first)
            assert client.submit(raw_first).duplicate
            client.submit(client_first)
            pool.send(client_first)
            await pool.outcome(client_first)
            await pool.ended()
            assert client.submit(client_first).duplicate
            with pytest.raises(IdReused):
                client.submit(USDM.order("client-first", price=1_000))
    for intent in (raw_first, client_first):
        pool.assert_once(intent)


async def test_a_client_that_submits_what_waits_in_the_stream_places_it_once(pool: Pool) -> None:
    intent = USDM.order("intent")
    pool.send(intent)
    with Client(pool.redis_url, exchange="binance", account="main") as client:
        client.submit(intent)
    async with pool.working():
        await pool.ended()
    pool.assert_once(intent)
