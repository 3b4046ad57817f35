"""What lane rules decided, and Redis then forgot: nothing is carried out twice, whoever sends again what is gone.

Redis is brought back to what it was before (`forgetful`), or its intents with it, which their producer sends again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from common.exchange.base import OrderReference
from common.redis_server import EmbeddedRedis
from orderlane.intents import Intent, PlaceOrder
from orderlane.orders import OrderStatus
from tests.paper_process import PaperProcess
from tests.workers.doomed import doomed
from tests.workers.pool_fixture import paper, paper_of_module
from tests.workers.products import SPOT, USDM, Product
from tests.workers.test_redis_forgot import Forgetful, sync
from tests.workers.thinking_lanes import close, known, market, position, statuses
from workers.external_orders import rebuilt
from workers.jobs.open_exchange import OpenExchange

__all__ = ["paper", "paper_of_module"]

ACTIVE, CANCELED, DONE, EXPIRED, FAILED, FILLED, MERGED = (
    OrderStatus.ACTIVE, OrderStatus.CANCELED, OrderStatus.DONE, OrderStatus.EXPIRED, OrderStatus.FAILED,
    OrderStatus.FILLED, OrderStatus.MERGED,
)  # fmt: skip
DOUBT_SECONDS = 8
SHORT = "restart_doubt_seconds: 0"
OPENING = market("opening", "0.1")


class Remembering(Forgetful):
    """One that remembers all that was answered: Redis may put a write off while the disk is busy."""

    def remember(self) -> None:
        info: Any = self.client.info("persistence")
        while info["aof_buffer_length"]:
            time.sleep(0.01)
            info = self.client.info("persistence")
        super().remember()


@pytest.fixture
def forgetful(fresh_redis: EmbeddedRedis, paper: PaperProcess) -> Iterator[Forgetful]:
    """With a doubt that covers what producers send again after the restart."""
    made = Remembering(fresh_redis, paper)
    made.config = made.config.replace(SHORT, f"restart_doubt_seconds: {DOUBT_SECONDS}")
    yield made
    made.close()


async def opened(pool: Forgetful) -> None:
    async with pool.working():
        pool.send(OPENING)
        await pool.ended()


async def carried_out(pool: Forgetful, *intents: Intent, venue: Product = USDM) -> None:
    pool.send(*intents)
    async with pool.working(venue):
        await pool.ended(venue)


def assert_shares(pool: Forgetful, survivor: PlaceOrder, *parts: PlaceOrder) -> None:
    """Each part's record shows its amount filled, at the order's average, with its part of the fees."""
    order = known(pool, survivor)
    assert order.filled == survivor.amount + sum(part.amount for part in parts)
    for part in parts:
        record = known(pool, part)
        assert record.merged_into is not None
        assert record.merged_into.intent_id == survivor.id
        assert (record.filled, record.average) == (part.amount, order.average)
        expected = {name: fee * part.amount / order.filled for name, fee in order.fees.items()}
        assert record.fees == expected
        pool.assert_told(part)


@pytest.mark.parametrize("kept", ["all", "none", "the survivor"])
@pytest.mark.parametrize("order", ["as before", "the other way round"])
async def test_closes_that_were_merged_are_carried_out_once_however_they_come_again(
    forgetful: Forgetful, kept: str, order: str
) -> None:
    closes = [close("first", "0.02"), close("second", "0.01"), close("third", "0.03")]
    await opened(forgetful)
    if kept == "none":
        forgetful.remember()
        await carried_out(forgetful, *closes)
    else:
        again = closes if kept == "all" else closes[:1]
        forgetful.send(*again)
        forgetful.remember()
        await carried_out(forgetful, *closes[len(again) :])
    assert statuses(forgetful, *closes) == [FILLED, MERGED, MERGED]
    forgetful.forget()
    gone = {"all": [], "none": closes, "the survivor": closes[1:]}[kept]
    async with forgetful.working():
        for intent in gone if order == "as before" else reversed(gone):
            forgetful.send(intent)
            await asyncio.sleep(0.1)
        await forgetful.ended()
    assert position(forgetful) == Decimal("0.04")
    assert statuses(forgetful, *closes) == [FILLED, MERGED, MERGED]
    assert_shares(forgetful, *closes)


async def test_a_part_that_comes_again_without_its_survivor_is_never_sent(forgetful: Forgetful) -> None:
    closes = [close("first", "0.02"), close("second", "0.01")]
    forgetful.config = forgetful.config.replace(f"seconds: {DOUBT_SECONDS}", "seconds: 2")
    await opened(forgetful)
    forgetful.remember()
    await carried_out(forgetful, *closes)
    forgetful.forget()
    await carried_out(forgetful, closes[1])
    assert position(forgetful) == Decimal("0.07")
    assert statuses(forgetful, closes[1]) == [FAILED]
    assert known(forgetful, closes[1]).reason.code == "redis_restarted"  # type: ignore[union-attr]


async def test_a_close_that_was_never_part_of_another_is_sent_after_redis_came_back(
    forgetful: Forgetful,
) -> None:
    """Beside a merge whose parts are all known, and beside a single close of its amount."""
    first, second, single, late = (close(name, "0.01") for name in ("first", "second", "single", "late"))
    await opened(forgetful)
    forgetful.send(first, second)
    forgetful.remember()
    async with forgetful.working():
        await forgetful.ended()
        forgetful.send(single)
        await forgetful.outcome(single)
    forgetful.forget()
    await carried_out(forgetful, single, late)
    assert statuses(forgetful, first, second, single, late) == [FILLED, MERGED, FILLED, FILLED]
    assert position(forgetful) == Decimal("0.06")


async def test_an_intent_that_expired_between_merged_ones_stays_expired(forgetful: Forgetful) -> None:
    await opened(forgetful)
    past = int(time.time() * 1000) - 5
    closes = [close("a", "0.01"), close("b", "0.01", expires_at=past), close("c", "0.01")]
    forgetful.send(*closes)
    forgetful.remember()
    await carried_out(forgetful)
    forgetful.forget()
    await carried_out(forgetful)
    assert position(forgetful) == Decimal("0.08")
    assert statuses(forgetful, *closes) == [FILLED, EXPIRED, MERGED]


@pytest.mark.parametrize("times", [1, 2])
async def test_the_record_of_a_merge_may_be_brought_up_to_date_by_the_sync(
    forgetful: Forgetful, times: int
) -> None:
    closes = [close("first", "0.02"), close("second", "0.01")]
    await opened(forgetful)
    forgetful.send(*closes)
    forgetful.remember()
    await carried_out(forgetful)
    for _ in range(times):
        forgetful.forget()
    forgetful.paper.fault(USDM.query, "error_before", status=503)
    async with forgetful.dying():
        await asyncio.sleep(0.7)
        await sync(forgetful, USDM)
        forgetful.paper.clear_faults()
        await forgetful.ended()
    assert position(forgetful) == Decimal("0.07")
    assert_shares(forgetful, *closes)


@pytest.mark.parametrize("point", ["recall.before", "recall.absent", "recall.listed", "recall.claimed"])
async def test_whoever_comes_after_a_death_finds_a_forgotten_merge_out(
    forgetful: Forgetful, tmp_path: Path, point: str
) -> None:
    closes = [close("first", "0.02"), close("second", "0.01"), close("third", "0.01")]
    await opened(forgetful)
    forgetful.send(*closes)
    forgetful.remember()
    await carried_out(forgetful)
    forgetful.forget()
    async with doomed(forgetful, tmp_path, point):
        pass
    await carried_out(forgetful)
    assert position(forgetful) == Decimal("0.06")
    assert_shares(forgetful, *closes)


@pytest.mark.parametrize("gone", [0, 1, 2])
async def test_a_chain_of_replacements_leaves_one_order(forgetful: Forgetful, gone: int) -> None:
    """The last one is on the exchange, and those before it are not sent beside it, whichever of them come again."""
    first = USDM.order("first")
    chain = [
        USDM.order("second", price=49_000, replaces="first"),
        USDM.order("third", price=48_000, replaces="second"),
    ]
    async with forgetful.working():
        forgetful.send(first)
        await forgetful.outcome(first)
    kept, lost = chain[: 2 - gone], chain[2 - gone :]
    forgetful.send(*kept)
    forgetful.remember()
    await carried_out(forgetful, *lost)
    forgetful.forget()
    most = 0
    async with forgetful.working():
        await asyncio.sleep(1)
        for intent in lost:
            forgetful.send(intent)
            await asyncio.sleep(0.1)
        while forgetful.backlog():
            most = max(most, len(forgetful.open_on_book(USDM)))
            await asyncio.sleep(0.01)
    assert most <= 1
    assert statuses(forgetful, first, *chain) == [CANCELED, CANCELED, ACTIVE]
    assert forgetful.placed(chain[0]) == []
    assert len(forgetful.placed(chain[1])) == 1


async def test_a_replacement_of_what_waits_again_cancels_what_that_was_to_replace(
    forgetful: Forgetful,
) -> None:
    """Nothing of it was done before Redis forgot: what the chain replaces first is on the book and must go."""
    first = USDM.order("first")
    chain = [
        USDM.order("second", price=49_000, replaces="first"),
        USDM.order("third", price=48_000, replaces="second"),
    ]
    async with forgetful.working():
        forgetful.send(first)
        await forgetful.outcome(first)
    forgetful.send(*chain)
    forgetful.remember()
    forgetful.forget()
    await carried_out(forgetful)
    assert statuses(forgetful, first, *chain) == [CANCELED, CANCELED, ACTIVE]
    assert len(forgetful.open_on_book(USDM)) == 1


@pytest.mark.parametrize("gone", [0, 1, 2])
async def test_the_last_of_merged_amends_stays_the_last(forgetful: Forgetful, gone: int) -> None:
    target = SPOT.order("target")
    amends = [SPOT.amends("lower", "target", price=49_000), SPOT.amends("lowest", "target", price=48_000)]
    async with forgetful.working(SPOT):
        forgetful.send(target)
        await forgetful.outcome(target)
    kept, lost = amends[: 2 - gone], amends[2 - gone :]
    forgetful.send(*kept)
    forgetful.remember()
    await carried_out(forgetful, *lost, venue=SPOT)
    forgetful.forget()
    async with forgetful.working(SPOT):
        await asyncio.sleep(1)
        for intent in lost:
            forgetful.send(intent)
            await asyncio.sleep(0.1)
        await forgetful.ended(SPOT)
    assert forgetful.placed(target) != []
    assert [len(forgetful.arrived(one, "place")) for one in amends] == [0, 1]
    assert [one["client_order_id"] for one in forgetful.open_on_book(SPOT)] == [
        forgetful.client_order_id(amends[1])
    ]
    assert statuses(forgetful, *amends) == [MERGED, ACTIVE]


@pytest.mark.parametrize("gone", [0, 1, 2])
@pytest.mark.parametrize("kind", ["cancel", "replacement"])
async def test_a_place_that_was_edited_and_then_ended_unsent_is_not_sent(
    forgetful: Forgetful, kind: str, gone: int
) -> None:
    """Sent, it would trade at once. Where its end is forgotten with its entry, it comes again by its producer."""
    edited, amend = USDM.order("edited", price=61_000), USDM.amends("amend", "edited", price=48_000)
    ending: Intent = USDM.cancels("ending", "edited")
    if kind == "replacement":
        ending = USDM.order("ending", price=47_000, replaces="edited")
    elif gone:
        pytest.skip(
            "a cancel that is gone leaves no trace anywhere: what it was for is sent (see the guarantees)"
        )
    async with forgetful.met(USDM):
        pass
    intents: list[Intent] = [edited, amend, ending]
    kept, lost = intents[: 3 - gone], intents[3 - gone :]
    forgetful.send(USDM.order("before"), *kept)
    forgetful.remember()
    await carried_out(forgetful, *lost)
    forgetful.forget()
    async with forgetful.working():
        await asyncio.sleep(1)
        forgetful.send(*lost)
        await forgetful.ended()
    assert forgetful.placed(edited) == []
    assert position(forgetful) == 0
    assert statuses(forgetful, edited) == [CANCELED]


@pytest.mark.parametrize("venue", [USDM, SPOT], ids=["usdm", "spot"])
@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("gone", [0, 1])
async def test_an_amend_that_edited_a_waiting_place_is_done_once(
    forgetful: Forgetful, venue: Product, filled: bool, gone: int
) -> None:
    place, amend = venue.order("place"), venue.amends("amend", "place", price=51_000, amount="0.02")
    async with forgetful.met(venue):
        pass
    forgetful.send(place, *([] if gone else [amend]))
    forgetful.remember()
    await carried_out(forgetful, *([amend] if gone else []), venue=venue)
    if filled:
        forgetful.fill(place, venue)
    forgetful.forget()
    await carried_out(forgetful, *([amend] if gone else []), venue=venue)
    assert statuses(forgetful, amend) == [DONE]
    assert len(forgetful.arrived(place, "amend")) == 0
    assert forgetful.arrived(amend, "place") == []
    forgetful.assert_once(place)


async def test_a_place_and_its_cancel_that_wait_again_end_each_other_again(forgetful: Forgetful) -> None:
    place, cancel = USDM.order("place"), USDM.cancels("cancel", "place")
    async with forgetful.met(USDM):
        pass
    forgetful.send(place, cancel)
    forgetful.remember()
    await carried_out(forgetful)
    forgetful.forget()
    await carried_out(forgetful)
    assert statuses(forgetful, place, cancel) == [CANCELED, DONE]
    assert forgetful.paper.audit() == []


async def rebuild(pool: Forgetful, *intents: PlaceOrder) -> None:
    """Give orders of which Redis has forgotten everything the record that a start makes of what the exchange shows."""
    one = OpenExchange(pool.settings(), USDM.exchange)
    try:
        await one.ready()
        for intent in intents:
            name = pool.client_order_id(intent)
            reference = OrderReference(account="main", symbol=USDM.symbol, client_order_id=name)
            report = await one.exchange.find(reference)
            assert report is not None
            await one.journal.write(rebuilt(USDM.exchange, "main", report, int(time.time() * 1000)), None)
    finally:
        await one.close()


@pytest.mark.parametrize("order", ["as before", "the other way round"])
async def test_parts_of_an_order_whose_record_was_rebuilt_from_the_exchange_are_not_sent(
    forgetful: Forgetful, order: str
) -> None:
    closes = [close("first", "0.02"), close("second", "0.01")]
    await opened(forgetful)
    forgetful.remember()
    await carried_out(forgetful, *closes)
    forgetful.forget()
    await rebuild(forgetful, closes[0])
    async with forgetful.working():
        for intent in closes if order == "as before" else reversed(closes):
            forgetful.send(intent)
            await asyncio.sleep(0.1)
        await forgetful.ended()
    assert position(forgetful) == Decimal("0.07")
    assert statuses(forgetful, *closes) == [FILLED, MERGED]
    assert known(forgetful, closes[1]).filled == Decimal("0.01")


async def test_an_order_is_not_sent_beside_its_replacement_whose_record_was_rebuilt(
    forgetful: Forgetful,
) -> None:
    older, newer = USDM.order("older"), USDM.order("newer", price=49_000, replaces="older")
    async with forgetful.met(USDM):
        pass
    forgetful.remember()
    await carried_out(forgetful, older, newer)
    forgetful.forget()
    await rebuild(forgetful, newer)
    async with forgetful.working():
        forgetful.send(older, newer)
        await forgetful.ended()
    assert statuses(forgetful, older, newer) == [CANCELED, ACTIVE]
    assert forgetful.placed(older) == []
    assert len(forgetful.placed(newer)) == 1
