"""Everything at random for as long as is asked, while workers join and leave; a checkpoint line every 30 s."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import islice
from typing import Final, Literal

from common.failpoints import POINTS, Arm
from orderlane.intents import Intent
from scripts.harness.chaos.crowds import RARE
from scripts.harness.chaos.judging import EXCHANGES, Fault
from scripts.harness.chaos.stage import Stage
from scripts.harness.chaos.wakers import Wakers
from scripts.harness.chaos.weather import SCHEDULERS, Weather
from scripts.harness.producer import Plan

CHECKPOINT_SECONDS: Final = 30.0
PAUSE_SECONDS: Final = (0.3, 2.5)
STRIKES: Final[tuple[tuple[Literal["kill", "block", "stop"], int], ...]] = (
    ("kill", 8),
    ("block", 6),
    ("stop", 6),
)
"""At how many points, each of them another one, processes are killed, blocked, or stopped for a while."""
BLOCKED_SECONDS: Final = 1.5
OFF_THE_WAY: Final = ("account", "archive", "batch", "cancel_all", "withdraw")
"""What does not run in a storm: its points are not armed."""


def play(stage: Stage) -> None:
    """The storm."""
    weather = Weather(stage)
    stage.arms += _arms(stage.random)
    stage.open_house(world=weather.world)
    weather.schedulers += [weather.start_scheduler(number + 1) for number in range(SCHEDULERS)]
    stage.keep(Wakers(stage))  # to the end: some stop while they shut down
    stage.submitter.begin(_endless(stage))
    _rage(stage, weather)
    stage.submitter.stop()
    stage.drain()
    stage.settle()
    _tell(stage, weather)
    for one in weather.schedulers:
        one.stop()
        stage.pool.processes.pop(one.name, None)


def _rage(stage: Stage, weather: Weather) -> None:
    ends_at = time.monotonic() + stage.options.minutes * 60
    checkpoint_at = time.monotonic() + CHECKPOINT_SECONDS
    while time.monotonic() < ends_at:
        weather.act()
        time.sleep(weather.seconds(*PAUSE_SECONDS))
        if time.monotonic() >= checkpoint_at:
            checkpoint_at += CHECKPOINT_SECONDS
            stage.say(_checkpoint(stage))
        for exchange in EXCHANGES:
            if not stage.fleet.alive(exchange):
                stage.fleet.start(exchange, world=weather.world)


def _tell(stage: Stage, weather: Weather) -> None:
    stage.findings += [
        f"{one.name} ended with code {one.popen.returncode}; log: {one.log}"
        for one in weather.schedulers
        if not one.alive
    ]
    struck = stage.tokens_struck().values()
    stage.faults += [
        Fault(one.at_ms, f"{one.action} of {one.pid} at {one.point}")
        for one in struck
        if one.action != "stop"
    ]
    count = {action: sum(one.action == action for one in struck) for action, _ in STRIKES}
    stage.notes.append(
        f"{weather.failovers} failovers; at failpoints {count['kill']} processes were killed, {count['block']} blocked "
        f"and {count['stop']} stopped"
    )


def _arms(chance: random.Random) -> list[Arm]:
    """Deaths, blocked loops and stops, each at a point of its own and once some process has passed it often enough;
    the first time where it is seldom passed."""
    points = [name for name, point in POINTS.items() if set(point.drives) - set(OFF_THE_WAY)]
    chosen = iter(chance.sample(points, sum(number for _, number in STRIKES)))
    return [
        Arm(
            point=point,
            action=action,
            token=f"storm-{action}-{number}",
            times=2,
            at=1 if point.startswith(RARE) else chance.randint(3, 40),
            seconds=BLOCKED_SECONDS if action == "block" else 0.0,
        )
        for action, count in STRIKES
        for number, point in enumerate(islice(chosen, count))
    ]


def _endless(stage: Stage) -> Iterator[Intent | tuple[bytes, bytes]]:
    return Plan(stage.options.seed, stage.prices()).intents(1_000_000)


def _checkpoint(stage: Stage) -> str:
    backlog = sum(int(stage.client.xlen(stage.keys(name).intents)) for name in EXCHANGES)
    return (
        f"{len(stage.submitter.appended)} submitted, {backlog} waiting or under way, {len(stage.faults)} faults, "
        f"{len(stage.fleet.alive())} workers live of {len(stage.fleet.workers)}"
    )
