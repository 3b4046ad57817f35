"""The scheduler as it really runs: processes, a real Redis, a real paper exchange; killed in every way."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from orderlane.connection import connect
from orderlane.keys import KNOWN
from orderlane.orders import OrderStatus
from scripts.harness.processes import LocalPool, Process
from tests.workers.opened import opened
from workers.scheduler import LONGEST_WAIT_SECONDS, PARTS, SETTLED_SECONDS, next_wait

PERIOD_SECONDS: Final = 5
LOCK_MS: Final = 4_500
PATIENCE_SECONDS: Final = 60.0
LISTS: Final = "GET /fapi/v1/openOrders$"
CONDITIONAL_LISTS: Final = "GET /fapi/v1/openAlgoOrders$"
CONFIG: Final = f"""\
scheduler: {{sync_period_seconds: {PERIOD_SECONDS}}}
exchanges:
  binance: {{venue: binanceusdm, accounts: {{main: {{}}}}}}
"""


class Scene:
    """A pool on this machine, and what its exchange and its Redis saw."""

    def __init__(self, pool: LocalPool) -> None:
        self.pool = pool
        self.redis: Any = connect(pool.redis.url)
        self.counter = self.fault(LISTS, "delay")  # by nothing: it only counts

    def fault(self, route: str, kind: str) -> int:
        """Put a fault on some requests; its number."""
        rule = json.dumps({"route": route, "fault": kind}).encode()
        return int(json.loads(self.pool.ask_paper("/paper/faults", rule))["number"])

    def matched(self, fault: int) -> int:
        counters = json.loads(self.pool.ask_paper("/paper/faults"))
        return int(next(one["matched"] for one in counters if one["number"] == fault))

    def syncs(self) -> int:
        """How often the account was asked for its open orders."""
        return self.matched(self.counter)

    def wait_for_syncs(self, more: int) -> None:
        wanted = self.syncs() + more
        self.wait(lambda: self.syncs() >= wanted, f"{more} more syncs")

    def now_ms(self) -> int:
        seconds, microseconds = self.redis.time()
        return int(seconds * 1000 + microseconds // 1000)

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not ready():
            logs = "\n".join(process.last_words() for process in self.pool.processes.values())
            assert time.monotonic() < deadline, f"{what} did not come about:\n{logs}"
            time.sleep(0.02)

    def children(self, scheduler: Process) -> dict[str, psutil.Process]:
        """The parts that run, by name, once all of them do."""
        found: dict[str, psutil.Process] = {}

        def all_run() -> bool:
            found.clear()
            for child in psutil.Process(scheduler.popen.pid).children():
                with suppress(psutil.Error):  # it may be gone by now
                    command = child.cmdline()
                    found.update({part: child for part in PARTS if part in command[1:3]})
            return len(found) == len(PARTS)

        self.wait(all_run, "a scheduler with all its parts")
        return found


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    config = tmp_path / "orderlane.yaml"
    config.write_text(CONFIG)
    paper = ("--step-ms", "0", "--partial-fill-probability", "0")
    with LocalPool(tmp_path / "pool", config=config, paper_options=paper) as pool:
        scene = Scene(pool)
        yield scene
        scene.redis.close()


async def test_what_happened_at_the_exchange_reaches_the_journal_and_nothing_unknown_is_left(
    scene: Scene,
) -> None:
    pool = scene.pool
    async with opened(pool.redis.url, pool.paper_url) as one:
        order = await one.place("a", 20_000)
        await one.exchange.cancel(one.reference(order), one.exchange.now_ms())
        scheduler = pool.start_scheduler()
        record = one.keys.order(order.client_order_id)
        scene.wait(
            lambda: scene.redis.hget(record, "status") == OrderStatus.CANCELED.value.encode(),
            "the end of the order",
        )
        scene.wait(lambda: not scene.redis.keys("rq:job:*"), "the end of the other jobs")
        assert scheduler.stop() == 0
    names = [key.decode() for key in scene.redis.scan_iter()]
    assert [name for name in names if not KNOWN.match(name) and not name.startswith("rq:")] == []
    lasting = [name for name in names if name.startswith("rq:") and scene.redis.ttl(name) < 0]
    assert lasting == ["rq:queues"]


def test_of_two_schedulers_one_runs_each_job_and_the_other_goes_on_when_it_is_killed(scene: Scene) -> None:
    began_ms = scene.now_ms()
    first, second = scene.pool.start_scheduler(1), scene.pool.start_scheduler(2)
    scene.wait(lambda: scene.syncs() >= 3, "three syncs")
    passed_ms = scene.now_ms() - began_ms
    assert scene.syncs() <= (scene.now_ms() - began_ms) // LOCK_MS + 1, f"too many in {passed_ms} ms"
    orphans = scene.children(first).values()
    first.kill()
    psutil.wait_procs(orphans, PATIENCE_SECONDS)
    assert not any(one.is_running() for one in orphans)
    scene.wait_for_syncs(2)
    assert second.stop() == 0


def test_it_goes_on_after_its_parts_are_killed_and_after_redis_is(scene: Scene) -> None:
    scheduler = scene.pool.start_scheduler()
    scene.wait_for_syncs(1)
    killed = scene.children(scheduler)
    for child in killed.values():
        child.kill()
    scene.wait(lambda: not set(killed.values()) & set(scene.children(scheduler).values()), "new parts")
    scene.wait_for_syncs(1)
    scene.pool.redis.kill()
    scene.pool.redis.restart()
    scene.wait_for_syncs(2)
    assert scheduler.stop() == 0


def test_a_job_under_way_does_not_hold_up_the_end(scene: Scene) -> None:
    hang = scene.fault(CONDITIONAL_LISTS, "hang")
    scheduler = scene.pool.start_scheduler()
    scene.wait(lambda: scene.matched(hang) > 0, "a job that hangs")
    children = scene.children(scheduler)
    assert scheduler.stop() == 0
    assert not any(child.is_running() for child in children.values())


def test_a_second_signal_ends_it_at_once(scene: Scene) -> None:
    scheduler = scene.pool.start_scheduler()
    children = scene.children(scheduler)
    scene.wait_for_syncs(1)
    children["workers.jobs.worker"].suspend()  # so that it can't end by itself
    scheduler.signal(signal.SIGTERM)
    scene.wait(lambda: "stopping" in scheduler.log.read_text(), "the first signal's effect")
    scheduler.signal(signal.SIGINT)
    scheduler.popen.wait(PATIENCE_SECONDS)
    psutil.wait_procs(children.values(), PATIENCE_SECONDS)
    assert scheduler.popen.returncode == 130
    assert not any(child.is_running() for child in children.values())


def test_it_starts_without_redis_and_waits_for_it(scene: Scene) -> None:
    scene.redis.close()
    scene.pool.redis.kill()
    scheduler = scene.pool.start_scheduler()
    scene.wait(lambda: "starting it again" in scheduler.log.read_text(), "a part that fell")
    scene.pool.redis.restart()
    scene.wait_for_syncs(1)
    assert scheduler.stop() == 0


def test_a_wrong_configuration_is_told_before_anything_starts(scene: Scene, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("scheduler: {sync_period_seconds: often}\n")
    process = scene.pool.start("wrong", "workers.scheduler", "--config", str(wrong))
    assert process.popen.wait(PATIENCE_SECONDS) == 1
    assert "sync_period_seconds" in process.last_words()
    process.stop()


def test_waits_between_restarts_grow_and_begin_anew_after_a_long_life() -> None:
    waits = [next_wait(0.0, 0.1)]
    for _ in range(6):
        waits.append(next_wait(waits[-1], 0.1))
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS]
    assert next_wait(LONGEST_WAIT_SECONDS, SETTLED_SECONDS) == 0.5
