"""Finding out what became of a request: evidence alone decides, whatever was lost on the way."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from common.exchange.base import OrderReference, OrderReport
from common.journal import Journal
from common.redis import ScriptRunner
from orderlane.connection import connect_async
from orderlane.events import EventName
from orderlane.intents import Intent
from orderlane.orders import Order, OrderStatus
from tests.workers.pool_fixture import MARGIN_MS, Pool, paper, paper_of_module, pool
from tests.workers.products import USDM, VENUES, Product
from workers.exchange import ExchangeWorker

__all__ = ["paper", "paper_of_module", "pool"]

NO_SUCH_ORDER = '{"code":-2013,"msg":"Order does not exist."}'
DUPLICATE = {
    "usdm": '{"code":-4116,"msg":"ClientOrderId is duplicated."}',
    "spot": '{"code":-2010,"msg":"Duplicate order sent."}',
}


def reason_code(order: Order | None) -> str:
    assert order is not None
    assert order.reason is not None
    return order.reason.code


# Refused questions


async def test_an_order_the_exchange_refuses_to_be_asked_about_says_so_on_its_record_until_it_can_be(
    pool: Pool,
) -> None:
    intent = USDM.order("intent")
    refusal = '{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}'
    pool.paper.fault(USDM.place, "drop_after", count=1)
    pool.paper.fault(USDM.query, "verbatim", count=5, status=401, body=refusal)
    async with pool.working():
        pool.send(intent)
        order = await pool.status(intent, OrderStatus.UNKNOWN)
        for _ in range(400):
            if reason_code(order) == "query_refused":
                break
            await asyncio.sleep(0.01)
            order = pool.record(intent) or order
        assert (order.status, reason_code(order)) == (OrderStatus.UNKNOWN, "query_refused")
        ended = await pool.outcome(intent)
    assert (ended.status, ended.reason) == (OrderStatus.ACTIVE, None)
    pool.assert_once(intent)


# Not found


@pytest.mark.parametrize("venue", VENUES)
async def test_nothing_is_sent_again_before_the_exchange_can_no_longer_execute_the_first_request(
    pool: Pool, venue: Product
) -> None:
    intent = venue.order("intent")
    pool.paper.fault(venue.place, "drop_before", count=1)
    pool.paper.fault(venue.query, "delay_reply")
    async with pool.working(venue):
        pool.send(intent)
        bound_ms = (await pool.status(intent, OrderStatus.UNKNOWN)).executable_until
        await pool.outcome(intent)
    assert pool.placed(intent)[0]["at_ms"] > bound_ms + MARGIN_MS
    assert pool.paper.faults()[1]["struck"] >= 4, "asked before the bound, and twice after it"
    pool.assert_once(intent)


async def test_one_answer_of_not_found_after_the_bound_is_no_proof(pool: Pool) -> None:
    """A replica that lags says once more that there is no such order, after the order can't come any more."""
    intent = USDM.order("intent")
    pool.paper.fault(USDM.place, "drop_after", count=1)
    async with pool.working() as worker:
        lags_behind(pool, worker, intent)
        pool.send(intent)
        assert (await pool.outcome(intent)).attempts == 1
    assert len(pool.arrived(intent, "place")) == 1
    pool.assert_once(intent)


def lags_behind(pool: Pool, worker: ExchangeWorker, intent: Intent) -> None:
    """Let the exchange know of no order until it has said so once after the bound."""
    find = worker.exchange.find
    said_after_bound: list[bool] = []

    async def finding(reference: OrderReference) -> OrderReport | None:
        order = pool.record(intent)
        assert order is not None
        if said_after_bound:
            return await find(reference)
        if worker.exchange.now_ms() > order.executable_until + MARGIN_MS:
            said_after_bound.append(True)
        return None

    worker.exchange.find = finding  # type: ignore[method-assign]


@pytest.mark.parametrize("venue", VENUES)
async def test_a_question_that_fails_is_no_answer(pool: Pool, venue: Product) -> None:
    intent = venue.order("intent")
    pool.paper.fault(venue.place, "drop_before", count=1)
    pool.paper.fault(venue.query, "error_before", status=503)
    async with pool.working(venue) as worker:
        pool.send(intent)
        bound_ms = (await pool.status(intent, OrderStatus.UNKNOWN)).executable_until
        await pool.until(lambda: worker.exchange.now_ms() > bound_ms + MARGIN_MS, "the bound")
        asked = pool.paper.faults()[1]["struck"]
        await pool.until(lambda: pool.paper.faults()[1]["struck"] > asked + 4, "more questions")
        assert pool.arrived(intent, "place") == []
        assert (await pool.status(intent, OrderStatus.UNKNOWN)).attempts == 1
        pool.paper.clear_faults()
        assert (await pool.outcome(intent)).attempts == 2
    pool.assert_once(intent)


@pytest.mark.parametrize("venue", VENUES)
async def test_an_order_that_never_arrives_fails_with_proof_after_its_last_attempt(
    pool: Pool, venue: Product
) -> None:
    intent, following = venue.order("intent"), venue.order("following")
    pool.paper.fault(venue.place, "drop_before", count=3)
    async with pool.working(venue):
        pool.send(intent, following)
        order = await pool.outcome(intent)
        await pool.outcome(following)
    assert (order.status, order.attempts) == (OrderStatus.FAILED, 3)
    assert reason_code(order) == "given_up"
    assert pool.events(venue, of=intent)[-1].name is EventName.ERROR
    pool.assert_never(intent)
    pool.assert_once(following)


async def test_an_order_proven_absent_after_its_deadline_expires_and_is_not_sent_again(pool: Pool) -> None:
    intent, following = (
        USDM.order("intent", expires_at=int(time.time() * 1000) + 400),
        USDM.order("following"),
    )
    pool.paper.fault(USDM.place, "drop_before", count=1)
    async with pool.working():
        pool.send(intent, following)
        order = await pool.outcome(intent)
        await pool.outcome(following)
    assert order.status is OrderStatus.EXPIRED
    assert reason_code(order) == "deadline_passed"
    assert order.reason is not None
    pool.assert_never(intent)
    pool.assert_once(following)


async def test_an_intent_past_its_deadline_is_never_sent(pool: Pool) -> None:
    placing, cancelling = (
        USDM.order("placing", expires_at=1),
        USDM.cancels("cancelling", "target", expires_at=1),
    )
    target = USDM.order("target")
    async with pool.working():
        pool.send(target)
        await pool.outcome(target)
        pool.send(placing, cancelling)
        assert (await pool.outcome(placing)).status is OrderStatus.EXPIRED
        assert (await pool.outcome(cancelling)).status is OrderStatus.EXPIRED
    assert len(pool.paper.audit()) == 1
    pool.assert_never(placing)
    pool.assert_once(target)


async def test_an_id_called_a_duplicate_but_not_found_is_parked_and_never_sent_again(pool: Pool) -> None:
    intent = USDM.order("intent")
    pool.paper.fault(USDM.place, "verbatim", status=400, body=DUPLICATE["usdm"])
    async with pool.working():
        pool.send(intent)
        await pool.until(lambda: pool.client.zcard(pool.keys().parked), "a parked lane")
    order = pool.record(intent)
    assert order is not None
    assert (order.status, order.attempts) == (OrderStatus.UNKNOWN, 1)
    assert pool.paper.faults()[0]["struck"] == 1


# The clock


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_worker_whose_wall_clock_is_wrong_sends_and_resolves_as_any_other(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    accepted, lost, found = USDM.order("accepted"), USDM.order("lost"), USDM.order("found")
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + hours * 3_600_000_000_000)
    async with pool.working():
        pool.send(accepted)
        await pool.outcome(accepted)
        pool.paper.fault(USDM.place, "drop_before", count=1)
        pool.paper.fault(USDM.place, "drop_after", count=1)
        pool.send(lost, found)
        await pool.outcome(lost)
        await pool.outcome(found)
    for intent in (accepted, lost, found):
        pool.assert_once(intent)


# A venue that never proves absence


async def test_where_absence_can_not_be_proven_the_lane_is_parked_until_there_is_evidence(pool: Pool) -> None:
    intent, following, other = (
        USDM.order("intent"),
        USDM.order("following"),
        USDM.order("other", account="alt"),
    )
    pool.paper.fault(USDM.place, "drop_before", count=1, account="main")
    async with pool.working() as worker:
        worker.exchange.receive_window_ms = None
        pool.send(intent, following, other)
        await pool.until(lambda: pool.client.zcard(pool.keys().parked), "a parked lane")
        parked = pool.record(intent)
        assert reason_code(parked) == "outcome_unprovable"
        assert parked is not None
        assert parked.status is OrderStatus.UNKNOWN
        assert pool.record(following) is None
        await pool.outcome(other)
        await appears(pool, worker, intent)
        await pool.outcome(intent)
        await pool.outcome(following)
    assert pool.client.zcard(pool.keys().parked) == 0
    assert pool.client.zcard(pool.keys().unknown) == 0
    for placed in (intent, following, other):
        pool.assert_once(placed)


async def appears(pool: Pool, worker: ExchangeWorker, intent: Any) -> None:
    """The order turns up after all, and somebody who holds no lane (sync, user stream) records it."""
    await pool.place_behind(worker, intent)
    client_order_id = pool.client_order_id(intent)
    report = await worker.exchange.find(
        OrderReference(account=intent.account, symbol=intent.symbol, client_order_id=client_order_id)
    )
    assert report is not None
    client = connect_async(pool.redis_url)
    outside = Journal(ScriptRunner(client), pool.keys(), retention_ms=60_000)
    await outside.advance(client_order_id, report, worker.exchange.now_ms())
    await client.aclose()


# Workers that die


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("sends", [True, False])
async def test_the_next_worker_finds_out_what_a_dead_one_left(
    pool: Pool, venue: Product, sends: bool
) -> None:
    intent, following = venue.order("intent"), venue.order("following")
    async with pool.dying(venue) as worker:
        dies_at_the_request(worker, sends)
        pool.send(intent, following)
        begun = await pool.status(intent, OrderStatus.SUBMITTED)
        if sends:
            await pool.until(lambda: pool.placed(intent), "the order at the exchange")
    async with pool.working(venue):
        order = await pool.outcome(intent)
        await pool.outcome(following)
    assert order.attempts == (1 if sends else 2)
    if not sends:
        assert pool.placed(intent)[0]["at_ms"] > begun.executable_until + MARGIN_MS
    assert len(pool.arrived(intent, "place")) == 1
    pool.assert_once(intent)
    pool.assert_once(following)


def dies_at_the_request(worker: ExchangeWorker, sends: bool) -> None:
    """Let the worker get no further than its request, sent or not."""
    place = worker.exchange.place

    async def placing(*arguments: Any) -> OrderReport:
        if sends:
            await place(*arguments)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    worker.exchange.place = placing  # type: ignore[method-assign, assignment]
