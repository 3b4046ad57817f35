"""A Redis that comes back without its last writes: nothing is sent twice, nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from common.exchange.base import OrderReference
from common.journal import Journal
from common.redis_server import EmbeddedRedis
from orderlane.intents import PlaceOrder
from orderlane.orders import Order, OrderStatus
from tests.paper_process import PaperProcess
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import SPOT, USDM, VENUES, Product
from workers.exchange import ExchangeWorker
from workers.jobs.open_exchange import OpenExchange
from workers.jobs.sync import Synced, sync_account

__all__ = ["paper", "paper_of_module", "pool"]


def reason_code(order: Order | None) -> str:
    assert order is not None
    assert order.reason is not None
    return order.reason.code


@pytest.fixture
def forgetful(fresh_redis: EmbeddedRedis, paper: PaperProcess) -> Iterator[Forgetful]:
    made = Forgetful(fresh_redis, paper)
    yield made
    made.close()


class Forgetful(Pool):
    """A pool whose Redis can be brought back to what it was, as after a crash that lost its last writes."""

    def __init__(self, server: EmbeddedRedis, paper: PaperProcess) -> None:
        super().__init__(server.url, paper)
        self._server = server
        self._file = server.data_dir / "appendonly.aof"
        self._kept = server.data_dir / "kept.aof"

    def remember(self) -> None:
        """What follows will be forgotten."""
        shutil.copyfile(self._file, self._kept)

    def forget(self) -> None:
        """Crash, and come back as `remember` saw it."""
        self.client.close()
        self._server.kill()
        shutil.copyfile(self._kept, self._file)
        self._server.restart()

    @asynccontextmanager
    async def met(self, venue: Product) -> AsyncIterator[None]:
        """A worker has noted which server this is."""
        async with self.working(venue):
            yield


async def sync(pool: Pool, venue: Product) -> None:
    """What the scheduler's sync does about an account's open orders, once."""
    one = OpenExchange(pool.settings(), venue.exchange)
    try:
        await one.ready()
        await sync_account(one, "main", Synced())
    finally:
        await one.close()


async def cancel_behind(pool: Pool, worker: ExchangeWorker, intent: PlaceOrder) -> None:
    """Cancel an order without telling the journal."""
    reference = OrderReference(
        account=intent.account, symbol=intent.symbol, client_order_id=pool.client_order_id(intent)
    )
    await worker.exchange.cancel(reference, worker.exchange.now_ms())


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("kind", ["limit", "market"])
async def test_an_order_that_redis_forgot_is_adopted_not_sent_again(
    forgetful: Forgetful, venue: Product, kind: str
) -> None:
    """A market order has filled, which makes its id free again on the exchange."""
    intent = venue.order("intent") if kind == "limit" else venue.order("intent", price=None, type="market")
    following = venue.order("following")
    async with forgetful.met(venue):
        pass
    forgetful.send(intent, following)
    forgetful.remember()
    async with forgetful.working(venue):
        await forgetful.outcome(intent)
        await forgetful.outcome(following)
    forgetful.forget()
    assert forgetful.record(intent) is None
    async with forgetful.working(venue):
        await forgetful.outcome(intent)
        await forgetful.outcome(following)
    assert len(forgetful.arrived(intent, "place")) == 1
    forgetful.assert_once(intent)
    forgetful.assert_once(following)


@pytest.mark.parametrize("venue", VENUES)
async def test_an_order_that_was_never_sent_before_redis_came_back_is_asked_for_then_sent_once(
    forgetful: Forgetful, venue: Product
) -> None:
    intent = venue.order("intent")
    async with forgetful.met(venue):
        pass
    forgetful.send(intent)
    forgetful.remember()
    forgetful.forget()
    forgetful.paper.fault(venue.query, "delay_reply")
    async with forgetful.working(venue):
        assert (await forgetful.outcome(intent)).attempts == 1
    assert forgetful.paper.faults()[0]["struck"] >= 2
    forgetful.assert_once(intent)


async def test_a_request_forgotten_while_under_way_is_waited_for(forgetful: Forgetful) -> None:
    """Redis forgets the begin, its worker dies, and the request arrives only after the restart."""
    intent = USDM.order("intent", price=None, type="market")
    forgetful.config = forgetful.config.replace("receive_window_ms: 500", "receive_window_ms: 1500")
    async with forgetful.met(USDM):
        pass
    forgetful.send(intent)
    forgetful.remember()
    forgetful.paper.fault(USDM.place, "delay", count=1, delay_ms=1_000)
    async with forgetful.dying():
        await forgetful.until(lambda: forgetful.paper.faults()[0]["struck"], "the request on its way")
    forgetful.forget()
    async with forgetful.working():
        await forgetful.outcome(intent)
        await forgetful.until(
            lambda: "delay" in [one["fault"] for one in forgetful.placed(intent)], "its arrival"
        )
    assert len(forgetful.placed(intent)) == 1
    forgetful.assert_once(intent)


@pytest.mark.parametrize("fills", [True, False])
async def test_a_replacement_that_redis_forgot_is_adopted_not_placed_again(
    forgetful: Forgetful, fills: bool
) -> None:
    target = SPOT.order("target")
    amend = SPOT.amends("amend", "target", price=61_000 if fills else 49_000)
    async with forgetful.working(SPOT):
        forgetful.send(target)
        await forgetful.outcome(target)
    forgetful.send(amend)
    forgetful.remember()
    async with forgetful.working(SPOT):
        await forgetful.outcome(amend)
    forgetful.forget()
    async with forgetful.working(SPOT):
        await forgetful.outcome(amend)
    assert len(forgetful.arrived(amend, "place")) == 1
    forgetful.assert_once(target)
    forgetful.assert_once(amend)
    order = forgetful.record(target)
    assert order is not None
    assert order.successor == "amend"


async def test_a_replacement_never_made_before_redis_came_back_is_made_once(forgetful: Forgetful) -> None:
    target, closed = SPOT.order("target"), SPOT.order("closed")
    amend, late = SPOT.amends("amend", "target", price=49_000), SPOT.amends("late", "closed", price=49_000)
    cancel = SPOT.cancels("cancel", "closed")
    async with forgetful.working(SPOT):
        forgetful.send(target, closed)
        await forgetful.outcome(closed)
        forgetful.send(cancel)
        await forgetful.outcome(cancel)
    forgetful.send(amend, late)
    forgetful.remember()
    forgetful.forget()
    async with forgetful.working(SPOT):
        assert (await forgetful.outcome(amend)).status is OrderStatus.ACTIVE
        assert (await forgetful.outcome(late)).status is OrderStatus.FAILED
    forgetful.assert_once(target)
    forgetful.assert_once(amend)
    forgetful.assert_once(closed)
    assert forgetful.placed(late) == []


@pytest.mark.parametrize("venue", VENUES)
async def test_cancels_and_amends_that_redis_forgot_come_to_the_same_end(
    forgetful: Forgetful, venue: Product
) -> None:
    first, second = venue.order("first"), venue.order("second")
    cancel, amend = venue.cancels("cancel", "first"), venue.amends("amend", "second", price=51_000)
    async with forgetful.working(venue):
        forgetful.send(first, second)
        await forgetful.outcome(second)
    forgetful.send(cancel, amend)
    forgetful.remember()
    async with forgetful.working(venue):
        await forgetful.ended(venue)
    forgetful.forget()
    async with forgetful.working(venue):
        assert (await forgetful.outcome(cancel)).status is OrderStatus.DONE
        await forgetful.outcome(amend)
    [standing] = forgetful.open_on_book(venue)
    assert float(standing["price"]) == 51_000
    forgetful.assert_once(first)
    forgetful.assert_once(second)


@pytest.mark.parametrize("venue", VENUES)
async def test_a_cancel_all_that_redis_may_have_forgotten_is_not_done_again(
    forgetful: Forgetful, venue: Product
) -> None:
    before, everything, after = venue.order("before"), venue.cancels_all("everything"), venue.order("after")
    async with forgetful.working(venue):
        forgetful.send(before)
        await forgetful.outcome(before)
    forgetful.send(everything, after)
    forgetful.remember()
    async with forgetful.working(venue):
        await forgetful.ended(venue)
    forgetful.forget()
    async with forgetful.working(venue):
        order = await forgetful.outcome(everything)
        await forgetful.outcome(after)
    assert reason_code(order) == "redis_restarted"
    assert len(forgetful.open_on_book(venue)) == 1
    forgetful.assert_once(after)


async def test_an_order_begun_only_to_be_asked_for_and_found_by_the_sync_can_be_amended(
    forgetful: Forgetful,
) -> None:
    """Nothing was sent for such a record: it has no price until somebody learns it from the exchange."""
    target, amend = USDM.order("target"), USDM.amends("amend", "target", price=51_000)
    async with forgetful.working() as worker:
        await forgetful.place_behind(worker, target)
        journal = Journal(worker.runner, forgetful.keys(), retention_ms=60_000)
        name = forgetful.client_order_id(target)
        begun = Order(client_order_id=name, intent=target, entry="1-0", status=OrderStatus.SUBMITTED)
        await journal.write(begun, None)
        await sync(forgetful, USDM)
        assert (await forgetful.outcome(target)).status is OrderStatus.ACTIVE
        forgetful.send(amend)
        assert (await forgetful.outcome(amend)).status is OrderStatus.DONE
    assert len(forgetful.arrived(target, "amend")) == 1
    forgetful.assert_agrees(target)


@pytest.mark.parametrize("seen_by", ["nobody", "the sync"])
@pytest.mark.parametrize("then", ["it stands", "it is filled", "it is cancelled"])
async def test_an_amend_that_redis_forgot_is_done_whatever_became_of_its_target(
    forgetful: Forgetful, seen_by: str, then: str
) -> None:
    """Redis forgets the amend before it began; its target's record is as old, or was brought up to date since."""
    target, amend = USDM.order("target"), USDM.amends("amend", "target", price=51_000, amount="0.02")
    async with forgetful.working():
        forgetful.send(target)
        await forgetful.outcome(target)
    forgetful.send(amend)
    forgetful.remember()
    async with forgetful.working() as worker:
        assert (await forgetful.outcome(amend)).status is OrderStatus.DONE
        if then == "it is filled":
            forgetful.fill(target, USDM)
        if then == "it is cancelled":
            await cancel_behind(forgetful, worker, target)
    forgetful.forget()
    if seen_by == "the sync":
        await sync(forgetful, USDM)
    async with forgetful.working():
        assert (await forgetful.outcome(amend)).status is OrderStatus.DONE
    assert sum(one["executed"] for one in forgetful.arrived(target, "amend")) == 1
    forgetful.assert_once(target)
    forgetful.assert_told(amend)


async def test_an_amend_that_redis_forgot_is_not_done_where_its_target_ended_as_it_was(
    forgetful: Forgetful,
) -> None:
    target, amend = USDM.order("target"), USDM.amends("amend", "target", price=51_000)
    async with forgetful.working():
        forgetful.send(target)
        await forgetful.outcome(target)
    forgetful.send(amend)
    forgetful.remember()
    forgetful.fill(target, USDM)
    forgetful.forget()
    async with forgetful.working():
        order = await forgetful.outcome(amend)
    assert (order.status, reason_code(order)) == (OrderStatus.FAILED, "target_closed")
    assert forgetful.arrived(target, "amend") == []
    forgetful.assert_once(target)


async def test_an_amend_forgotten_while_under_way_is_waited_for_before_the_next_one(
    forgetful: Forgetful,
) -> None:
    """Redis forgets the begin, its worker dies, and the request arrives after the restart."""
    forgetful.config = forgetful.config.replace("receive_window_ms: 500", "receive_window_ms: 1500")
    target = USDM.order("target")
    first, second = (
        USDM.amends("first", "target", price=51_000),
        USDM.amends("second", "target", price=52_000),
    )
    async with forgetful.working():
        forgetful.send(target)
        await forgetful.outcome(target)
    forgetful.send(first)
    forgetful.remember()
    forgetful.paper.fault(USDM.amend, "delay", count=1, delay_ms=1_000)
    async with forgetful.dying():
        await forgetful.until(lambda: forgetful.paper.faults()[0]["struck"], "the request on its way")
    forgetful.forget()
    forgetful.send(second)
    async with forgetful.working():
        assert (await forgetful.outcome(first)).status is OrderStatus.DONE
        assert (await forgetful.outcome(second)).status is OrderStatus.DONE
    prices = [float(one["price"]) for one in forgetful.arrived(target, "amend") if one["executed"]]
    assert prices == [51_000, 52_000]
    forgetful.assert_once(target)


@pytest.mark.parametrize("venue", VENUES)
async def test_a_cancel_that_redis_forgot_is_done_where_the_sync_saw_its_effect(
    forgetful: Forgetful, venue: Product
) -> None:
    target, cancel = venue.order("target"), venue.cancels("cancel", "target")
    async with forgetful.working(venue):
        forgetful.send(target)
        await forgetful.outcome(target)
    forgetful.send(cancel)
    forgetful.remember()
    async with forgetful.working(venue):
        await forgetful.outcome(cancel)
    forgetful.forget()
    await sync(forgetful, venue)
    assert forgetful.record(target).status is OrderStatus.CANCELED  # type: ignore[union-attr]
    async with forgetful.working(venue):
        assert (await forgetful.outcome(cancel)).status is OrderStatus.DONE
    forgetful.assert_once(target)
