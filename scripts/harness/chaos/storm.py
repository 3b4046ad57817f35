"""Everything at random for as long as is asked, while workers join and leave; a checkpoint line every 30 s."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from common.failpoints import POINTS, Arm
from orderlane.intents import Intent
from scripts.harness.chaos.judging import EXCHANGES, Fault
from scripts.harness.chaos.network import BAD_NETWORK
from scripts.harness.chaos.proxy import CALM, Mood
from scripts.harness.chaos.redis_faults import (
    BAD_LINK,
    append_only_file,
    command,
    cut_off,
    known_to,
    server_on,
)
from scripts.harness.chaos.stage import Stage
from scripts.harness.processes import Process
from scripts.harness.producer import Plan

SCHEDULERS: Final = 2
CHECKPOINT_SECONDS: Final = 30.0
PAUSE_SECONDS: Final = (0.3, 2.5)
MOST_WORKERS: Final = 6
TAIL_BYTES: Final = (2_000, 100_000)
REBUILT: Final = ("bell", "hungry", "load", "grants")
"""Keys that the pool rebuilds by itself once a foreign value is gone."""
DEATHS: Final = 8
BLOCKS: Final = 6
BLOCKED_SECONDS: Final = 1.5
EXCHANGE_FAULTS: Final[tuple[dict[str, object], ...]] = (
    {"fault": "drop_after"},
    {"fault": "error_after"},
    {"fault": "error_before"},
    {"fault": "reset_before_read"},
    {"fault": "cut_body"},
    {"fault": "empty_body"},
    {"fault": "foreign_body"},
    {"fault": "429"},
    {"fault": "hang", "executed": True},
    {"fault": "hang", "executed": False},
    {"fault": "delay", "delay_ms": 1_000},
)


class Storm:
    """The actions, each drawn from the seed and done to its end before the next."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._chance: random.Random = stage.random
        self._net = stage.exchange_proxy()
        self._link = stage.redis_proxy()
        self.schedulers: list[Process] = []
        self.actions: Mapping[str, Callable[[], None]] = {
            "kill a worker": self._kill_worker,
            "stop a worker": self._stop_worker,
            "a worker stands still": self._stand_still,
            "a worker joins": self._join,
            "kill Redis": self._kill_redis,
            "Redis stands still": self._stall_redis,
            "scripts flushed": self._flush,
            "Redis out of memory": self._fill_redis,
            "the exchange misbehaves": self._break_exchange,
            "bad network": lambda: self._spoil(BAD_NETWORK, network=True),
            "bad link to Redis": lambda: self._spoil(BAD_LINK, network=False),
            "connections cut": self._cut,
            "Redis loses its tail": self._lose_tail,
            "a foreign password": self._change_password,
            "a foreign value": self._overwrite,
            "a scheduler dies": self._kill_scheduler,
            "the market moves": stage.move_market,
        }

    def act(self) -> None:
        """Do one thing."""
        name = self._chance.choice(sorted(self.actions))
        self._stage.fault(name)
        self.actions[name]()

    def seconds(self, least: float, most: float) -> float:
        """How long, drawn from the seed."""
        return self._chance.uniform(least, most)

    def _kill_worker(self) -> None:
        living = self._stage.fleet.alive()
        if living:
            self._stage.fleet.signal(self._chance.choice(living), signal.SIGKILL)

    def _stop_worker(self) -> None:
        living = self._stage.fleet.alive("binance")
        if len(living) > 1:
            self._stage.fleet.signal(self._chance.choice(living), signal.SIGTERM)

    def _stand_still(self) -> None:
        living = self._stage.fleet.alive()
        if living:
            worker = self._chance.choice(living)
            self._stage.fleet.signal(worker, signal.SIGSTOP)
            time.sleep(self.seconds(0.5, 4))
            self._stage.fleet.signal(worker, signal.SIGCONT)

    def _join(self) -> None:
        if len(self._stage.fleet.alive("binance")) < MOST_WORKERS:
            self._stage.fleet.start("binance")

    def _kill_redis(self) -> None:
        self._stage.pool.redis.kill()
        time.sleep(self.seconds(0.1, 1.5))
        self._stage.pool.redis.restart()

    def _lose_tail(self) -> None:
        """What producers had been answered and Redis forgot, they submit again."""
        stage = self._stage
        server = stage.pool.redis
        server.kill()
        time.sleep(0.3)  # what was answered is on the producer's list by then
        lost_bytes = cut_off(append_only_file(server.data_dir), self._chance.randint(*TAIL_BYTES))
        stage.fault(f"the last {lost_bytes} bytes of the append-only file are gone")
        before = list(stage.submitter.appended)
        copy = stage.folder / f"redis-copy-{len(stage.faults)}"
        shutil.copytree(server.data_dir, copy)
        server.restart()
        with server_on(copy) as survivor:
            survived = known_to(survivor, before)
        shutil.rmtree(copy)
        stage.resend([one for one in before if (one.exchange, one.entry) not in survived])

    def _change_password(self) -> None:
        client = self._stage.client
        client.config_set("requirepass", "changed")
        command(client, "AUTH", "changed")
        command(client, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        time.sleep(self.seconds(0.3, 2))
        client.config_set("requirepass", "")

    def _overwrite(self) -> None:
        key = getattr(self._stage.keys(), self._chance.choice(REBUILT))
        self._stage.client.set(key, "not ours")
        time.sleep(self.seconds(0.2, 1))
        kind: Any = self._stage.client.type(key)
        if kind == b"string":
            self._stage.client.delete(key)

    def _kill_scheduler(self) -> None:
        number = self._chance.randrange(SCHEDULERS)
        self.schedulers[number].kill()
        self.schedulers[number] = self._stage.start_scheduler(number + 1)

    def _stall_redis(self) -> None:
        os.kill(self._stage.pool.redis.pid, signal.SIGSTOP)
        time.sleep(self.seconds(0.3, 4))
        os.kill(self._stage.pool.redis.pid, signal.SIGCONT)

    def _flush(self) -> None:
        self._stage.client.script_flush()

    def _fill_redis(self) -> None:
        self._stage.client.config_set("maxmemory", 1)
        time.sleep(self.seconds(0.2, 1.5))
        self._stage.client.config_set("maxmemory", 0)

    def _break_exchange(self) -> None:
        rule = self._chance.choice(EXCHANGE_FAULTS)
        self._stage.exchange_fault(
            route="/(order|algoOrder|allOpenOrders)$", count=self._chance.randint(1, 4), **rule
        )

    def _spoil(self, mood: Mood, *, network: bool) -> None:
        proxy = self._net if network else self._link
        proxy.mood = mood
        time.sleep(self.seconds(1, 4))
        proxy.mood = CALM

    def _cut(self) -> None:
        self._chance.choice((self._net, self._link)).cut_all()


def play(stage: Stage) -> None:
    """The storm."""
    options = stage.options
    storm = Storm(stage)
    stage.arms += _arms(stage.random)
    stage.open_house()
    storm.schedulers += [stage.start_scheduler(number + 1) for number in range(SCHEDULERS)]
    ends_at = time.monotonic() + options.minutes * 60
    stage.submitter.begin(_endless(stage))
    checkpoint_at = time.monotonic() + CHECKPOINT_SECONDS
    while time.monotonic() < ends_at:
        storm.act()
        time.sleep(storm.seconds(*PAUSE_SECONDS))
        if time.monotonic() >= checkpoint_at:
            checkpoint_at += CHECKPOINT_SECONDS
            stage.say(_checkpoint(stage))
        while len(stage.fleet.alive("binance")) < 1 or not stage.fleet.alive("binance-spot"):
            stage.fleet.start("binance-spot" if stage.fleet.alive("binance") else "binance")
    stage.submitter.stop()
    stage.drain()
    stage.settle()
    stage.findings += [
        f"{one.name} ended with code {one.popen.returncode}; log: {one.log}"
        for one in storm.schedulers
        if not one.alive
    ]
    stage.faults += [
        Fault(one.at_ms, f"{one.action} of {one.pid} at {one.point}")
        for one in stage.tokens_struck().values()
    ]
    for one in storm.schedulers:
        one.stop()
        stage.pool.processes.pop(one.name, None)


def _arms(chance: random.Random) -> list[Arm]:
    """Deaths and blocked loops, each at a point of its own and once some worker has passed it often enough."""
    points = [name for name, point in POINTS.items() if {"place", "any", "process"} & set(point.drives)]
    chosen = chance.sample(points, DEATHS + BLOCKS)
    return [
        Arm(
            point=name,
            action="kill" if number < DEATHS else "block",
            token=f"storm-{number}",
            times=2,
            at=chance.randint(3, 40),
            seconds=BLOCKED_SECONDS,
        )
        for number, name in enumerate(chosen)
    ]


def _endless(stage: Stage) -> Iterator[Intent | tuple[bytes, bytes]]:
    return Plan(stage.options.seed, stage.prices()).intents(1_000_000)


def _checkpoint(stage: Stage) -> str:
    backlog = sum(int(stage.client.xlen(stage.keys(name).intents)) for name in EXCHANGES)
    return (
        f"{len(stage.submitter.appended)} submitted, {backlog} waiting or under way, {len(stage.faults)} faults, "
        f"{len(stage.fleet.alive())} workers live of {len(stage.fleet.workers)}"
    )
