"""What no single intent belongs to: death at the points of dispatch, shutdown and sync, and schedulers side by side."""

from __future__ import annotations

import signal
import time
from typing import Final

from common.failpoints import POINTS, Arm
from scripts.harness.chaos.judging import Fault
from scripts.harness.chaos.matrix import ACCOUNTS
from scripts.harness.chaos.stage import Stage

EXCHANGE_TROUBLE: Final = ("drop_after", "error_after", "error_before", "cut_body", "reset_before")
TROUBLE_SHARE: Final = 0.03
RELEASES: Final = 3
MARKET_MOVES: Final = 8
RARE: Final = ("reap.done", "sync.asked", "sync.noted")
"""Points that a process reaches seldom: struck the first time."""


def play_process_points(stage: Stage) -> None:
    """Load from the usual plan, an exchange that misbehaves now and then, and death at the points that belong to no
    single intent, each reached twice by different processes."""
    for fault in EXCHANGE_TROUBLE:
        stage.exchange_fault(route="/order$", fault=fault, probability=TROUBLE_SHARE / len(EXCHANGE_TROUBLE))
    points = [name for name, point in POINTS.items() if "process" in point.drives]
    stage.arms += [
        Arm(
            point=name,
            action="kill",
            token=name,
            times=2,
            at=1 if name in RARE else stage.random.randint(1, 4),
        )
        for name in points
        if not name.startswith("release")
    ]
    stage.arms += [
        Arm(point=name, action="kill", token=name, times=2) for name in points if name.startswith("release")
    ]
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
    struck = stage.tokens_struck()
    stage.faults += [Fault(one.at_ms, f"SIGKILL of {one.pid} at {one.point}") for one in struck.values()]
    reached = {one.point for one in struck.values()}
    missed = ", ".join(sorted(set(points) - reached))
    stage.notes.append(f"{len(struck)} deaths at {len(reached)} points; not reached: {missed or 'none'}")


SCHEDULERS: Final = 3
PERIODS: Final = 4
SYNC_SECONDS: Final = 5
LISTING: Final = "^GET /fapi/v1/openOrders$"


def play_schedulers(stage: Stage) -> None:
    """Several schedulers, one of them killed and another started: each account's open orders are asked for once in each
    period, as the exchange counts."""
    stage.exchange_fault(route=LISTING, fault="delay_reply", delay_ms=0)
    stage.open_house()
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
