"""A Redis that comes back without its last writes: nothing is sent twice, nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from common.redis_server import EmbeddedRedis
from orderlane.orders import Order, OrderStatus
from tests.paper_process import PaperProcess
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import SPOT, USDM, VENUES, Product

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
