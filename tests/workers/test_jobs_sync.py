"""The REST sync against a real paper exchange: what happened behind our back reaches the journal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from common.exchange.base import ExchangeFailure, OrderReport, Outcome
from common.journal import Then
from common.venue_limits import Operation
from orderlane.intents import PlaceOrder
from orderlane.orders import OrderStatus, Times
from tests.common.pool_bench import Bench, intent_json
from tests.paper_process import PaperProcess, start
from tests.workers.opened import EXCHANGE, MID, SYMBOL, VENUE_ID, Opened, opened
from workers.jobs import stuck, sync
from workers.jobs.plan import JobName, JobPlan
from workers.jobs.sync import sync_open_orders
from workers.life import cancel_all

PLAN = JobPlan(JobName.SYNC, 30)
LISTS = "GET /fapi/v1/openOrders$"


@pytest.fixture(scope="module")
def paper_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaperProcess]:
    folder = tmp_path_factory.mktemp("paper")
    with start(folder, "--step-ms", "0", "--partial-fill-probability", "0") as process:
        yield process


@pytest.fixture
def paper(paper_process: PaperProcess) -> PaperProcess:
    paper_process.reset()
    paper_process.set_price("usdm", VENUE_ID, MID, hold=True)
    return paper_process


@pytest.fixture
async def one(redis_url: str, paper: PaperProcess) -> AsyncIterator[Opened]:
    async with opened(redis_url, paper.url) as one:
        yield one


async def test_an_order_cancelled_behind_our_back_is_cancelled_in_the_journal(one: Opened) -> None:
    gone, stays = await one.place("a"), await one.place("b")
    await one.exchange.cancel(one.reference(gone), one.exchange.now_ms())
    synced = await one.sync()
    assert (synced.asked, synced.changed, synced.not_found, synced.failed) == (2, 1, 0, 0)
    assert await one.status(gone) is OrderStatus.CANCELED
    assert await one.status(stays) is OrderStatus.ACTIVE
    again = await one.sync()
    assert (again.asked, again.changed) == (1, 0)


async def test_an_order_filled_behind_our_back_is_filled_in_the_journal_with_its_event(
    one: Opened, paper: PaperProcess
) -> None:
    order = await one.place("a")
    paper.set_price("usdm", VENUE_ID, 49_000, hold=True)
    assert (await one.sync()).changed == 1
    record = await one.journal.read(order.client_order_id)
    assert record is not None
    assert (record.status, record.filled) == (OrderStatus.FILLED, order.amount)
    assert record.average is not None
    last: Any = await one.redis.xrevrange(one.keys.events, count=1)
    assert b"order.filled" in last[0][1][b"event"]


@pytest.mark.parametrize("status", [OrderStatus.SUBMITTED, OrderStatus.UNKNOWN])
async def test_an_order_of_unknown_outcome_that_the_exchange_shows_becomes_active(
    one: Opened, status: OrderStatus
) -> None:
    order = await one.place("a", status=status, exchange_order_id="")
    assert (await one.sync()).changed == 1
    record = await one.journal.read(order.client_order_id)
    assert record is not None
    assert record.status is OrderStatus.ACTIVE
    assert record.exchange_order_id


async def test_evidence_lets_a_parked_lane_go_on(one: Opened, redis_url: str) -> None:
    bench = Bench(redis_url, one.settings.pool, EXCHANGE)
    placed = one.order("n1")
    intent = placed.intent
    assert isinstance(intent, PlaceOrder)
    bench.append({"intent": intent_json(intent.lane, id="n1", type="limit", amount="0.01", price="50000")})
    dispatcher, journal = bench.worker()
    hold = (await dispatcher.take(1)).runs[0]
    begun = await bench.begin(journal, hold)
    assert begun.client_order_id == placed.client_order_id
    unknown = msgspec.structs.replace(
        begun, status=OrderStatus.UNKNOWN, amount=intent.amount, price=intent.price, times=Times(updated_at=1)
    )
    await journal.write(unknown, begun, hold=hold, then=Then.PARK)
    await one.exchange.place(one.request(intent, begun.client_order_id), one.exchange.now_ms())
    assert await one.redis.zcard(one.keys.parked) == 1
    await one.sync()
    assert await one.status(begun) is OrderStatus.ACTIVE
    assert await one.redis.zcard(one.keys.parked) == 0
    assert await one.redis.zscore(one.keys.ready, intent.lane) is not None
    await bench.close()


async def test_an_unknown_order_that_ended_at_once_is_asked_for_by_itself(
    one: Opened, paper: PaperProcess
) -> None:
    order = await one.place("a", status=OrderStatus.UNKNOWN, exchange_order_id="")
    paper.set_price("usdm", VENUE_ID, 49_000, hold=True)
    await one.sync()
    assert await one.status(order) is OrderStatus.FILLED


async def test_an_order_the_exchange_does_not_know_stays_as_it_is(one: Opened) -> None:
    order = await one.record(one.order("never-sent"))
    synced = await one.sync()
    assert (synced.asked, synced.changed, synced.not_found) == (2, 0, 1)
    assert await one.status(order) is OrderStatus.ACTIVE


async def test_a_long_list_of_missing_orders_is_asked_for_in_turns(
    one: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stuck, "MOST_ASKED", 2)
    orders = [await one.record(one.order(f"never-sent-{number}")) for number in range(3)]
    assert (await one.sync()).not_found == 2
    ended = await one.place("ended")
    await one.exchange.cancel(one.reference(ended), one.exchange.now_ms())
    await one.sync()
    assert await one.status(ended) is OrderStatus.CANCELED
    watches = await one.watches()
    assert {watches[order.client_order_id].asked for order in orders} == {1}


async def test_a_record_that_moved_on_while_the_list_was_asked_for_is_left_alone(
    one: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await one.place("a", status=OrderStatus.UNKNOWN)
    ask = one.exchange.open_orders

    async def ask_and_cancel(account: str, symbol: str | None = None) -> object:
        reports = await ask(account, symbol)
        final = msgspec.structs.replace(reports[0], status=OrderStatus.CANCELED)
        await one.journal.advance(order.client_order_id, final, 2)
        return reports

    monkeypatch.setattr(one.exchange, "open_orders", ask_and_cancel)
    await one.sync()
    assert await one.status(order) is OrderStatus.CANCELED


async def test_one_account_with_a_wrong_key_does_not_stop_the_others(
    one: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    order = await one.place("a")
    await one.exchange.cancel(one.reference(order), one.exchange.now_ms())
    with caplog.at_level(logging.INFO):
        await sync_open_orders(one, PLAN)
    assert await one.status(order) is OrderStatus.CANCELED
    synced: Any = [line for line in caplog.records if line.message == "open orders synced"]
    assert {line.account: (line.changed, line.failed) for line in synced} == {"main": (1, 0), "wrong": (0, 1)}
    refused: Any = next(line for line in caplog.records if "could not be synced" in line.message)
    assert refused.account == "wrong"
    assert "-2015" in refused.reason


async def test_one_account_that_never_answers_does_not_hold_up_the_others(
    one: Opened, paper: PaperProcess, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await one.place("a")
    await one.exchange.cancel(one.reference(order), one.exchange.now_ms())
    paper.fault(LISTS, "hang", account="alt")
    monkeypatch.setattr(sync, "longest_run_seconds", lambda one, due: 1.0)
    with caplog.at_level(logging.WARNING):
        await sync_open_orders(one, JobPlan(JobName.SYNC, 2))
    assert await one.status(order) is OrderStatus.CANCELED
    assert [line.account for line in caplog.records if "ran out of its time" in line.message] == ["alt"]  # type: ignore[attr-defined]
    assert (await one.sync_state("alt")).error == "out of its time, 1 s"


async def test_where_the_limits_do_not_allow_for_all_accounts_they_take_turns(
    one: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted: list[list[str]] = []

    async def acquire(operation: Operation, account: str, *rest: object, **options: object) -> None:
        """Grant one request in each run."""
        granted[-1].append(account)
        if len(granted[-1]) > 1:
            await asyncio.Event().wait()

    async def no_orders(account: str, symbol: str | None = None) -> list[OrderReport]:
        return []

    monkeypatch.setattr(one.throttle, "acquire", acquire)
    monkeypatch.setattr(one.exchange, "open_orders", no_orders)
    monkeypatch.setattr(sync, "longest_run_seconds", lambda one, due: 0.3)
    for _ in range(4):
        granted.append([])
        await sync_open_orders(one, JobPlan(JobName.SYNC, 1))
        await one.a_period_later()
    first = [run[0] for run in granted]
    assert set(first[:3]) == {"main", "alt", "wrong"}
    assert first[3] == first[0]


async def test_an_account_is_compared_once_in_its_period_however_many_schedulers_tick(
    redis_url: str, paper: PaperProcess
) -> None:
    config = "exchanges: {binance: {venue: binanceusdm, accounts: {main: {}}}}"
    async with opened(redis_url, paper.url, config) as one, opened(redis_url, paper.url, config) as other:
        counter = paper.fault(LISTS, "delay", account="main")["number"]
        await asyncio.gather(sync_open_orders(one, PLAN), sync_open_orders(other, PLAN))
        await sync_open_orders(other, PLAN)
        assert matched(paper, counter) == 1
        await one.a_period_later()
        await asyncio.gather(sync_open_orders(one, PLAN), sync_open_orders(other, PLAN))
        assert matched(paper, counter) == 2
        state = await one.sync_state("main")
    assert (state.open, state.asked, state.error, state.period_seconds) == (0, 1, "", 5)


async def test_a_scheduler_that_stood_still_leaves_an_account_to_the_one_that_claimed_it_meanwhile(
    one: Opened, paper: PaperProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "LOCK_SECONDS", 1)
    paper.fault(LISTS, "hang", account="main")
    running = asyncio.create_task(sync_open_orders(one, PLAN))
    lock = one.keys.lock("sync:main")
    while not await one.redis.get(lock):  # noqa: ASYNC110 - Redis tells nobody
        await asyncio.sleep(0.01)
    await one.redis.set(lock, "another's")
    await asyncio.wait_for(one.syncing["main"], 20)
    assert await one.redis.get(lock) == b"another's"
    await running


async def test_a_claim_is_renewed_no_longer_than_its_work_lasts_though_its_cancellation_gets_lost(
    one: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does in redis-py, before Python 3.12, when an answer comes at that very moment."""
    monkeypatch.setattr(sync, "LOCK_SECONDS", 1)
    working = asyncio.create_task(asyncio.sleep(3600))
    asked = asyncio.Event()

    async def answer(key: str) -> bytes:
        asked.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        return b"mine"

    monkeypatch.setattr(one.redis, "get", answer)
    keeping = asyncio.create_task(sync._keep_claim(one, "main", "mine", working))
    await asked.wait()
    await cancel_all([working])
    keeping.cancel()
    await asyncio.wait_for(keeping, 20)


async def test_a_429_pauses_every_worker_of_the_pool(one: Opened, paper: PaperProcess) -> None:
    paper.fault(LISTS, "429", headers={"Retry-After": "7"})
    with pytest.raises(ExchangeFailure) as raised:
        await one.sync()
    assert raised.value.outcome is Outcome.THROTTLED
    assert await one.redis.pttl(one.keys.bucket("ip", "penalty")) > 1000


async def test_an_order_of_the_pool_without_a_record_is_rebuilt(one: Opened) -> None:
    order = await one.place("a")
    await one.redis.delete(one.keys.order(order.client_order_id))
    await one.sync()
    record = await one.journal.read(order.client_order_id)
    assert record is not None
    assert (record.rebuilt, record.status, record.exchange_order_id) == (
        True, OrderStatus.ACTIVE, order.exchange_order_id
    )  # fmt: skip


async def test_market_rules_are_loaded_once_and_shared_through_redis(
    one: Opened, redis_url: str, paper: PaperProcess
) -> None:
    loads = paper.fault("GET /fapi/v1/exchangeInfo", "delay")["number"]
    assert await one.refresh_markets(older_than_seconds=3600) is None
    async with opened(redis_url, paper.url) as other:
        assert matched(paper, loads) == 0
        symbols = await other.refresh_markets(older_than_seconds=-1)
        assert symbols
        assert matched(paper, loads) > 0
        assert SYMBOL in other.exchange._public.markets


def matched(paper: PaperProcess, number: int) -> int:
    return int(next(one["matched"] for one in paper.faults() if one["number"] == number))
