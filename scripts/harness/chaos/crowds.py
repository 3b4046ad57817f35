"""What no single intent belongs to: death at the points of dispatch, shutdown and sync, and schedulers side by side."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from common.failpoints import POINTS, Arm
from scripts.harness.chaos.judging import Fault
from scripts.harness.chaos.matrix import ACCOUNTS
from scripts.harness.chaos.stage import Stage
from scripts.harness.chaos.terms import QUICK
from scripts.harness.chaos.wakers import STAND_STILL_SECONDS, Wakers

EXCHANGE_TROUBLE: Final = ("drop_after", "error_after", "error_before", "cut_body", "reset_before")
TROUBLE_SHARE: Final = 0.03
RELEASES: Final = 3
MARKET_MOVES: Final = 4
RARE: Final = (
    "reap.",
    "release.",
    "sync.",
    "stuck.",
    "reconcile.",
    "external.",
    "positions.",
    "standing.",
    "recall.",
)
"""How the names of points begin that a process reaches seldom: struck the first time."""
TIMING: Final = msgspec.structs.replace(QUICK, stuck_seconds=5, user_streams=False)
"""Without user streams, or the scheduler would find nothing to do: they tell of everything before."""
ALONE: Final = msgspec.structs.replace(QUICK, user_streams=False)
"""While a user stream is down the sync asks more often, and a stream asks itself what it missed."""
STRUCK_BY_TESTS: Final = {
    "archive": "tests/workers/test_archiver.py",
    "stream": "tests/workers/user_stream/test_deaths.py",
    "standing": "tests/workers/test_degraded.py",
    "reconcile": "tests/workers/reconcile/test_start.py",
    "positions": "tests/workers/positions/test_deaths.py",
    "account": "tests/workers/test_cancel_account.py",
    "withdraw": "tests/workers/test_deaths_in_lanes.py",
    "give_way": "tests/workers/test_deaths_in_lanes.py",
    "batch": "tests/workers/test_deaths_in_lanes.py",
    "forgotten": "tests/workers/test_rules_forgotten.py",
}
"""Kinds of work that no scenario does, or not surely, and the tests that kill at each of their points."""


def play_process_points(stage: Stage) -> None:
    """Load from the usual plan, an exchange that misbehaves now and then, and death at the points that belong to no
    single intent, each reached twice by different processes."""
    points = _arm(stage, "kill")
    _live_through(stage)
    _tell(stage, points, "deaths", "SIGKILL")


def play_process_stops(stage: Stage) -> None:
    """The same with SIGSTOP, and SIGCONT once the lease has long ended."""
    points = _arm(stage, "stop")
    with Wakers(stage):
        _live_through(stage)
        time.sleep(STAND_STILL_SECONDS)
    _tell(stage, points, "stops", "SIGSTOP")


def _arm(stage: Stage, action: Literal["kill", "stop"]) -> list[str]:
    for fault in EXCHANGE_TROUBLE:
        stage.exchange_fault(route="/order$", fault=fault, probability=TROUBLE_SHARE / len(EXCHANGE_TROUBLE))
    points = [name for name, point in POINTS.items() if "process" in point.drives]
    stage.arms += [
        Arm(
            point=name,
            action=action,
            token=name,
            times=2,
            at=1 if name.startswith(RARE) else stage.random.randint(1, 4),
        )
        for name in points
    ]
    return points


def _live_through(stage: Stage) -> None:
    """Workers that leave and join, a scheduler that syncs, a market that moves."""
    stage.open_house()
    scheduler = stage.start_scheduler()
    stage.submitter.begin(stage.plan())
    for number in range(RELEASES + 1):
        stage.after((number + 1) / (RELEASES + 2))
        leaving = stage.fleet.alive("binance")[0]
        stage.fault(f"SIGTERM to {leaving.name}")
        stage.fleet.signal(leaving, signal.SIGTERM)
        stage.move_market()
        stage.fleet.wait(leaving)
        if leaving.code == 0:
            stage.fleet.start("binance")
    stage.drain()
    for _ in range(MARKET_MOVES):
        stage.move_market()
        stage.settle()
    scheduler.stop()


def _tell(stage: Stage, points: Sequence[str], what: str, name: str) -> None:
    struck = stage.tokens_struck()
    if name == "SIGKILL":
        stage.faults += [Fault(one.at_ms, f"{name} of {one.pid} at {one.point}") for one in struck.values()]
    reached = {one.point for one in struck.values()}
    missed = ", ".join(sorted(set(points) - reached))
    stage.notes.append(f"{len(struck)} {what} at {len(reached)} points; not reached: {missed or 'none'}")


SCHEDULERS: Final = 3
PERIODS: Final = 4
SYNC_SECONDS: Final = 5
LISTING: Final = "^GET /fapi/v1/openOrders$"


def play_schedulers(stage: Stage) -> None:
    """Several schedulers, one of them killed and another started: each account's open orders are asked for once in each
    period, as the exchange counts."""
    stage.open_house()
    stage.wait_for(lambda: not stage.client.exists(stage.keys().standings), 30, "the accounts did not open")
    stage.exchange_fault(route=LISTING, fault="delay_reply", delay_ms=0)
    schedulers = [stage.start_scheduler(number + 1) for number in range(SCHEDULERS)]
    started_at = time.monotonic()
    stage.submitter.begin(stage.plan())
    time.sleep(PERIODS * SYNC_SECONDS / 2)
    stage.fault(f"SIGKILL of {schedulers[0].name}")
    schedulers[0].kill()
    stage.pool.processes.pop(schedulers[0].name)
    schedulers.append(stage.start_scheduler(SCHEDULERS + 1))
    time.sleep(PERIODS * SYNC_SECONDS / 2)
    asked = stage.struck_at_exchange()
    periods = int((time.monotonic() - started_at) / SYNC_SECONDS) + 1
    stage.clear_exchange_faults(count=False)
    stage.drain()
    for scheduler in schedulers[1:]:
        scheduler.stop()
        stage.pool.processes.pop(scheduler.name)
    most = periods * len(ACCOUNTS)
    stage.notes.append(
        f"{SCHEDULERS} schedulers asked {asked} times for open orders; once each allows {most}"
    )
    if not 0 < asked <= most:
        stage.findings.append(f"the sync ran {asked} times in {periods} periods of {len(ACCOUNTS)} accounts")
