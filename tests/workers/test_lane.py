"""Running lanes: duplicates, leases that are lost, signals, a Redis that is away, entries that kill."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from common.redis_server import EmbeddedRedis
from orderlane.intents import Intent
from orderlane.orders import OrderStatus
from tests.paper_process import ROOT, PaperProcess
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import USDM

__all__ = ["paper", "paper_of_module", "pool"]

QUICK = "lease_ms: 500, heartbeat_ms: 100"
"""A lease that ends soon, where a test waits for its end."""


@pytest.fixture
def lasting(fresh_redis: EmbeddedRedis, paper: PaperProcess) -> Iterator[Pool]:
    """A pool on a Redis of its own, which may be killed and paused."""
    made = Pool(fresh_redis.url, paper)
    yield made
    made.close()


def make_leases_short(pool: Pool) -> None:
    pool.config = pool.config.replace("lease_ms: 1500, heartbeat_ms: 200", QUICK)


@asynccontextmanager
async def process(pool: Pool, folder: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A worker in a process of its own, which has joined the pool."""
    config = folder / "orderlane.yaml"
    config.write_text(pool.config)
    environment = {
        **{
            name: value for name, value in os.environ.items() if not name.startswith(("ORDERLANE_", "REDIS_"))
        },
        "REDIS_URL": pool.redis_url,
        "ORDERLANE_PAPER_URL": pool.paper.url,
        "ORDERLANE_LOG_FORMAT": "json",
        **{name: value for name, value in os.environ.items() if name == "ORDERLANE_TEST_PROCESS"},
    }
    known = pool.workers()
    command = [sys.executable, "-m", "workers.exchange", "--exchange", "binance", "--config", str(config)]
    child = start_process(command, environment, folder / "worker.log")
    try:
        await pool.until(lambda: child.poll() is not None or pool.workers() - known, "a worker process")
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()


def start_process(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)


async def exit_code(pool: Pool, child: subprocess.Popen[bytes]) -> int:
    await pool.until(lambda: child.poll() is not None, "the end of a worker process")
    return child.wait()


def writers(pool: Pool, intent: Intent) -> list[str]:
    """Who wrote the events of an intent, one after the other."""
    return [event.worker for event in pool.events(of=intent)]


# Leases


async def test_a_worker_that_stood_still_past_its_lease_writes_nothing_more_and_starts_over(
    pool: Pool, tmp_path: Path
) -> None:
    intent, following = USDM.order("intent"), USDM.order("following")
    make_leases_short(pool)
    async with process(pool, tmp_path) as child:
        [stopped] = pool.workers()
        pool.paper.fault(USDM.place, "delay_reply", count=1, delay_ms=300)
        pool.send(intent, following)
        await pool.until(lambda: pool.placed(intent), "the order at the exchange")
        os.kill(child.pid, signal.SIGSTOP)
        async with pool.working():
            await pool.outcome(intent)
            await pool.outcome(following)
            os.kill(child.pid, signal.SIGCONT)
            joined = await pool.until(lambda: len(pool.workers()) == 2, "the stopped worker, under a new id")
            assert joined
            assert stopped not in pool.workers()
    wrote = writers(pool, intent)
    assert wrote[0] == stopped.decode()
    assert stopped.decode() not in wrote[wrote.index(next(one for one in wrote if one != stopped.decode())) :]
    pool.assert_once(intent)
    pool.assert_once(following)


async def test_a_worker_that_stood_still_before_its_request_does_not_send_it(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun, then blocked past the lease: nothing leaves the process, and the next life finds out."""
    intent = USDM.order("intent")
    make_leases_short(pool)
    async with pool.working() as worker:
        [first_id] = pool.workers()
        blocks_after_begin(worker, 0.8)
        pool.send(intent)
        order = await pool.outcome(intent)
        assert first_id not in pool.workers()
    assert order.attempts == 2
    assert len(pool.arrived(intent, "place")) == 1
    pool.assert_once(intent)


def blocks_after_begin(worker: Any, seconds: float) -> None:
    """Block the event loop once, when a begin has been written."""
    run = worker.runner.run
    blocked: list[bool] = []

    async def running(name: str, keys: Any, arguments: Any) -> Any:
        answer = await run(name, keys, arguments)
        if name == "begin" and not blocked:
            blocked.append(True)
            time.sleep(seconds)  # noqa: ASYNC251 - the whole process stands still
        return answer

    worker.runner.run = running


# Signals


async def test_sigterm_lets_requests_under_way_finish_gives_the_lanes_back_and_ends_with_0(
    pool: Pool, tmp_path: Path
) -> None:
    intent, following = USDM.order("intent"), USDM.order("following")
    pool.config = pool.config.replace("request_timeout_ms: 500", "request_timeout_ms: 5000")
    async with process(pool, tmp_path) as child:
        pool.paper.fault(USDM.place, "delay_reply", count=1, delay_ms=400)
        pool.send(intent, following)
        await pool.until(lambda: pool.placed(intent), "the order at the exchange")
        child.terminate()
        assert await exit_code(pool, child) == 0
    assert pool.backlog() == 1
    assert pool.record(following) is None
    assert pool.workers() == set()
    assert pool.client.hlen(pool.keys().owners) == 0
    pool.assert_once(intent)


async def test_a_request_slower_than_the_lease_is_waited_for_on_sigterm(pool: Pool, tmp_path: Path) -> None:
    intent = USDM.order("intent")
    make_leases_short(pool)
    pool.config = pool.config.replace("request_timeout_ms: 500", "request_timeout_ms: 5000")
    async with process(pool, tmp_path) as child, pool.working():
        pool.paper.fault(USDM.place, "delay_reply", count=1, delay_ms=1_200)
        pool.send(intent)
        await pool.until(lambda: pool.placed(intent), "the order at the exchange")
        child.terminate()
        assert await exit_code(pool, child) == 0
        assert (await pool.outcome(intent)).status is OrderStatus.ACTIVE
    assert OrderStatus.UNKNOWN not in [event.to_status for event in pool.events(of=intent)]
    pool.assert_once(intent)


async def test_a_second_signal_ends_the_worker_at_once_and_another_finds_out(
    pool: Pool, tmp_path: Path
) -> None:
    intent = USDM.order("intent")
    make_leases_short(pool)
    pool.config = pool.config.replace("request_timeout_ms: 500", "request_timeout_ms: 9000")
    async with process(pool, tmp_path) as child:
        pool.paper.fault(USDM.place, "hang", count=1, executed=True)
        pool.send(intent)
        await pool.until(lambda: pool.placed(intent), "the order at the exchange")
        child.terminate()
        await pool.until(
            lambda: b"stopping" in (tmp_path / "worker.log").read_bytes(), "the first signal heard"
        )
        child.send_signal(signal.SIGINT)
        assert await exit_code(pool, child) == 130
    async with pool.working():
        await pool.outcome(intent)
    pool.assert_once(intent)


async def test_what_a_killed_worker_left_is_finished_by_the_next_one(pool: Pool, tmp_path: Path) -> None:
    intent, following = USDM.order("intent"), USDM.order("following")
    make_leases_short(pool)
    async with process(pool, tmp_path) as child:
        pool.paper.fault(USDM.place, "hang", count=1, executed=True)
        pool.send(intent, following)
        await pool.until(lambda: pool.placed(intent), "the order at the exchange")
        child.kill()
    async with pool.working():
        await pool.outcome(intent)
        await pool.outcome(following)
    assert len(pool.arrived(intent, "place")) == 1
    pool.assert_once(intent)
    pool.assert_once(following)


# A Redis that is away


async def test_while_redis_is_away_nothing_is_sent_and_the_work_goes_on_by_itself(
    lasting: Pool, fresh_redis: EmbeddedRedis
) -> None:
    intents = [USDM.order(f"intent-{number}") for number in range(20)]
    make_leases_short(lasting)
    async with lasting.working():
        lasting.send(*intents)
        await lasting.outcome(intents[2])
        lasting.client.close()
        fresh_redis.kill()
        await asyncio.sleep(0.2)  # what was begun before may arrive still
        sent = len(lasting.paper.audit())
        await asyncio.sleep(1.0)  # longer than the lease
        assert len(lasting.paper.audit()) == sent
        assert sent < len(intents)
        fresh_redis.restart()
        await lasting.ended()
    for intent in intents:
        assert len(lasting.placed(intent)) == 1
        lasting.assert_told(intent)


async def test_a_redis_that_stands_still_stops_the_sending_and_loses_nothing(
    lasting: Pool, fresh_redis: EmbeddedRedis
) -> None:
    intents = [USDM.order(f"intent-{number}") for number in range(20)]
    make_leases_short(lasting)
    async with lasting.working():
        lasting.send(*intents)
        await lasting.outcome(intents[2])
        os.kill(fresh_redis.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(0.2)
            sent = len(lasting.paper.audit())
            await asyncio.sleep(1.0)
            assert len(lasting.paper.audit()) == sent
        finally:
            os.kill(fresh_redis.pid, signal.SIGCONT)
        assert sent < len(intents)
        await lasting.ended()
    for intent in intents:
        assert len(lasting.placed(intent)) == 1
        lasting.assert_told(intent)


# Entries that kill, and faults of our own


async def new_owners(pool: Pool, known: set[bytes]) -> set[bytes]:
    """Wait until the lane is in other hands than these."""

    def others() -> set[bytes]:
        found: Any = pool.client.hvals(pool.keys().owners)
        return set(found) - known

    owners: set[bytes] = await pool.until(others, "the entry in the hands of another worker")
    return owners


async def die_three_times(pool: Pool, intent: Intent, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """Let three workers die with the intent in hand, at the stage of the pipeline that is named."""

    async def never(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    pool.send(intent)
    owners: set[bytes] = set()
    for _ in range(3):
        with monkeypatch.context() as patched:
            patched.setattr(stage, never)
            async with pool.dying():
                owners |= await new_owners(pool, owners)
                if stage.endswith("settle"):
                    await pool.status(intent, OrderStatus.SUBMITTED)


async def test_an_entry_that_killed_three_workers_before_it_began_is_refused(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison, following = USDM.order("poison"), USDM.order("following")
    make_leases_short(pool)
    await die_three_times(pool, poison, monkeypatch, "workers.lane.run_place")
    async with pool.working():
        pool.send(following)
        order = await pool.outcome(poison)
        await pool.outcome(following)
    assert order.status is OrderStatus.FAILED
    assert order.reason is not None
    assert order.reason.code == "killed_workers"
    assert "3 workers died" in order.reason.message
    pool.assert_never(poison)
    pool.assert_once(following)


async def test_an_entry_that_killed_three_workers_after_it_began_is_parked_as_unknown(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison, following, other = (
        USDM.order("poison"),
        USDM.order("following"),
        USDM.order("other", account="alt"),
    )
    make_leases_short(pool)
    pool.paper.fault(USDM.place, "drop_after", count=1)
    await die_three_times(pool, poison, monkeypatch, "workers.place.settle")
    async with pool.working():
        pool.send(following, other)
        order = await pool.status(poison, OrderStatus.UNKNOWN)
        await pool.outcome(other)
        await pool.until(lambda: pool.client.zcard(pool.keys().parked), "a parked lane")
        assert pool.record(following) is None
    assert order.reason is not None
    assert order.reason.code == "killed_workers"
    assert len(pool.arrived(poison, "place")) == 1


async def test_a_fault_of_our_own_ends_its_entry_and_stops_no_other_lane(pool: Pool) -> None:
    broken, behind = USDM.order("broken"), USDM.order("behind")
    other = USDM.order("other", symbol="ETH/USDT:USDT", price=2_000, amount="0.1")
    async with pool.working() as worker:
        normalize = worker.rules.normalize

        def failing(intent: Any, reference_price: Any) -> Any:
            if intent.id == "broken":
                raise ZeroDivisionError("a bug")
            return normalize(intent, reference_price)

        worker.rules.normalize = failing  # type: ignore[method-assign]
        pool.send(broken, behind, other)
        await pool.outcome(other)
        order = await pool.outcome(broken)
        await pool.outcome(behind)
    assert order.status is OrderStatus.FAILED
    assert order.reason is not None
    assert order.reason.code == "internal_error"
    assert "ZeroDivisionError" in order.reason.message
    pool.assert_never(broken)
    pool.assert_once(behind)
    pool.assert_once(other)


async def test_a_fault_of_our_own_after_the_request_left_parks_the_lane_with_the_order_unknown(
    pool: Pool,
) -> None:
    broken, other = USDM.order("broken"), USDM.order("other", account="alt")
    async with pool.working() as worker:
        place, find = worker.exchange.place, worker.exchange.find

        async def failing(request: Any, at_ms: int) -> Any:
            report = await place(request, at_ms)
            if request.account == "main":
                raise ZeroDivisionError("a bug")
            return report

        async def not_finding(reference: Any) -> Any:
            if reference.account == "main":
                raise ZeroDivisionError("a bug")
            return await find(reference)

        worker.exchange.place = failing  # type: ignore[method-assign]
        worker.exchange.find = not_finding  # type: ignore[method-assign]
        pool.send(broken, other)
        await pool.until(lambda: pool.client.zcard(pool.keys().parked), "a parked lane")
        await pool.outcome(other)
        order = pool.record(broken)
    assert order is not None
    assert order.status is OrderStatus.UNKNOWN
    assert order.reason is not None
    assert order.reason.code == "internal_error"
    assert len(pool.placed(broken)) == 1
