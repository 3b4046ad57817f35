"""The pool's jobs in rq, on a real Redis: what travels, what is dropped, what is left."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Queue

from common.config import Settings, settings_from
from orderlane.keys import KNOWN
from tests.workers.opened import CONFIG, EXCHANGE
from workers.jobs import tasks
from workers.jobs.cron import PoolCron
from workers.jobs.loop_thread import LoopThread
from workers.jobs.open_exchange import OpenExchange
from workers.jobs.plan import JobName, JobPlan, job_plans
from workers.jobs.queue import MOST_WAITING, connect_queue, enqueue, late_ms, open_queue
from workers.jobs.rounds import claim_period, run_round
from workers.jobs.worker import BODIES, JobWorker, rq_worker

PLAN = JobPlan(JobName.SWEEP, 10)


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return settings_from(CONFIG, "test", Path(), {"REDIS_URL": redis_url})


@pytest.fixture
def connection(settings: Settings) -> Iterator[redis.Redis]:
    with connect_queue(settings) as connection:
        yield connection


@pytest.fixture
def queue(settings: Settings, connection: redis.Redis) -> Queue:
    return open_queue(settings, connection)


@pytest.fixture
def ran() -> Iterator[list[tuple[JobName, int]]]:
    """What was run in this process, in order."""
    ran: list[tuple[JobName, int]] = []
    tasks.serve(lambda name, due_at_ms: ran.append((name, due_at_ms)))
    yield ran
    tasks.serve(None)


@pytest.fixture
def worker(settings: Settings, connection: redis.Redis) -> JobWorker:
    return rq_worker(settings, connection, on_stop=lambda: None)


@pytest.fixture
async def one(settings: Settings) -> AsyncIterator[OpenExchange]:
    one = OpenExchange(settings, EXCHANGE)
    yield one
    await one.close()


def test_every_job_has_a_plan_and_a_body(settings: Settings) -> None:
    assert set(job_plans(settings.scheduler)) == set(BODIES) == set(JobName)


def test_a_job_is_json_and_carries_its_name_and_when_it_was_due(
    queue: Queue, connection: redis.Redis
) -> None:
    before = late_ms(connection, 0)
    assert enqueue(queue, PLAN)
    assert queue.jobs[0].ttl == PLAN.period_seconds
    function, instance, arguments, keywords = json.loads(queue.jobs[0].data)
    assert (function, instance, keywords) == ("workers.jobs.tasks.run", None, {})
    name, due_at_ms = arguments
    assert name == "sweep"
    assert before <= due_at_ms <= late_ms(connection, 0)


def test_a_job_runs_in_the_workers_own_process_and_leaves_nothing(
    queue: Queue, worker: JobWorker, ran: list[tuple[JobName, int]], connection: redis.Redis
) -> None:
    enqueue(queue, PLAN)
    worker.work(burst=True)
    assert [name for name, _ in ran] == [JobName.SWEEP]
    left: Any = connection.keys()
    for key in left:
        name = key.decode()
        assert KNOWN.match(name) or name.startswith("rq:")
        assert connection.ttl(name) > 0 or name == "rq:queues", name


def test_a_job_older_than_its_period_is_dropped(
    queue: Queue, worker: JobWorker, ran: list[tuple[JobName, int]], connection: redis.Redis
) -> None:
    enqueue(queue, PLAN)
    key = queue.jobs[0].key
    assert 0 < connection.ttl(key) <= PLAN.period_seconds
    connection.pexpire(key, 1)
    while connection.exists(key):
        time.sleep(0.001)
    worker.work(burst=True)
    assert ran == []
    assert queue.count == 0


def test_jobs_do_not_pile_up_while_nobody_runs_them(queue: Queue) -> None:
    added = [enqueue(queue, PLAN) for _ in range(MOST_WAITING + 2)]
    assert added == [True] * MOST_WAITING + [False] * 2
    assert queue.count == MOST_WAITING


def test_a_job_that_fails_is_kept_for_minutes_only(
    queue: Queue, worker: JobWorker, connection: redis.Redis
) -> None:
    def fail(name: JobName, due_at_ms: int) -> None:
        raise RuntimeError("broken")

    tasks.serve(fail)
    enqueue(queue, PLAN)
    job = queue.jobs[0]
    worker.work(burst=True)
    tasks.serve(None)
    assert 0 < connection.ttl(job.key) <= 300


def test_what_no_job_is_called_is_refused(
    ran: list[tuple[JobName, int]], caplog: pytest.LogCaptureFixture
) -> None:
    tasks.run("format_disk", 0)
    assert ran == []
    assert "can't run the job" in caplog.text


def test_a_pickled_job_is_not_unpickled(
    settings: Settings, queue: Queue, worker: JobWorker, connection: redis.Redis, tmp_path: Path
) -> None:
    touched = tmp_path / "touched"
    pickled = Queue(queue.name, connection=connection)
    pickled.enqueue_call("pathlib.Path.touch", args=(touched,))
    worker.work(burst=True)
    assert not touched.exists()
    assert queue.count == 0


def test_the_cron_enqueues_each_job_once_in_its_period_and_two_pools_have_two_queues(
    settings: Settings, connection: redis.Redis, redis_url: str
) -> None:
    other = settings_from(f"pool: other\n{CONFIG}", "test", Path(), {"REDIS_URL": redis_url})
    cron = PoolCron(settings, connection)
    assert len(cron.enqueue_jobs()) == len(JobName)
    assert cron.enqueue_jobs() == []
    assert 0 < cron.calculate_sleep_interval() <= 10
    assert [json.loads(job.data)[2][0] for job in cron.queue.jobs] == list(JobName)
    assert open_queue(other, connection).count == 0


async def test_of_many_that_claim_a_period_one_gets_it_until_shortly_before_the_next(
    one: OpenExchange,
) -> None:
    assert [await claim_period(one, PLAN) for _ in range(3)] == [True, False, False]
    assert 8_000 < await one.redis.pttl(one.keys.lock("sweep")) <= 9_000
    assert await claim_period(one, JobPlan(JobName.SYNC, 10))


async def test_a_run_that_comes_late_leaves_the_next_period_its_own(one: OpenExchange) -> None:
    assert await claim_period(one, PLAN, late_ms=6_000)
    assert 2_000 < await one.redis.pttl(one.keys.lock("sweep")) <= 3_000
    await one.redis.delete(one.keys.lock("sweep"))
    assert await claim_period(one, PLAN, late_ms=60_000)


async def test_a_failure_stays_with_its_exchange_and_is_not_raised(
    one: OpenExchange, caplog: pytest.LogCaptureFixture
) -> None:
    ran = []

    async def body(one: OpenExchange, plan: JobPlan) -> None:
        ran.append(plan.name)
        raise KeyError("broken")

    await run_round([one], PLAN, body)
    await run_round([one], PLAN, body)  # the lock of the first keeps the second from running
    assert ran == [JobName.SWEEP]
    assert [line.levelno for line in caplog.records] == [logging.ERROR]


async def test_a_run_ends_before_its_lock_does(one: OpenExchange, caplog: pytest.LogCaptureFixture) -> None:
    async def body(one: OpenExchange, plan: JobPlan) -> None:
        while True:
            await one.redis.ping()

    await run_round([one], JobPlan(JobName.SWEEP, 1), body)
    assert "ran out of its time" in caplog.text


def test_a_job_under_way_is_cut_short_when_the_worker_is_told_to_stop(
    settings: Settings, connection: redis.Redis, queue: Queue
) -> None:
    thread = LoopThread()
    begun = threading.Event()

    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    returned: list[None] = []
    tasks.serve(lambda name, due_at_ms: returned.append(thread.run(endless())))
    for _ in range(2):
        enqueue(queue, PLAN)
    worker = rq_worker(settings, connection, on_stop=thread.cut_short)
    main = threading.main_thread().ident
    assert main is not None

    def stop_once_begun() -> None:
        begun.wait()
        signal.pthread_kill(main, signal.SIGTERM)

    stopper = threading.Thread(target=stop_once_begun)
    stopper.start()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    try:
        worker.work()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stopper.join()
        tasks.serve(None)
        thread.close(nothing())
    assert returned == [None], "it was ended by rq's time limit"
    assert queue.count == 1, "the second job was to wait for another worker"


async def nothing() -> None:
    """What is left to close."""
