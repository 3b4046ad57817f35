"""Everything at random for as long as is asked, while workers join and leave; a checkpoint line every 30 s."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from orderlane.intents import Intent
from scripts.harness.chaos.judging import EXCHANGES
from scripts.harness.chaos.network import BAD_NETWORK
from scripts.harness.chaos.proxy import CALM, Mood
from scripts.harness.chaos.redis_faults import BAD_LINK
from scripts.harness.chaos.stage import Stage
from scripts.harness.producer import Plan

SCHEDULERS: Final = 2
CHECKPOINT_SECONDS: Final = 30.0
PAUSE_SECONDS: Final = (0.3, 2.5)
MOST_WORKERS: Final = 6
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
    stage.open_house()
    schedulers = [stage.start_scheduler(number + 1) for number in range(SCHEDULERS)]
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
        for one in schedulers
        if not one.alive
    ]
    for one in schedulers:
        one.stop()
        stage.pool.processes.pop(one.name, None)


def _endless(stage: Stage) -> Iterator[Intent | tuple[bytes, bytes]]:
    return Plan(stage.options.seed, stage.prices()).intents(1_000_000)


def _checkpoint(stage: Stage) -> str:
    backlog = sum(int(stage.client.xlen(stage.keys(name).intents)) for name in EXCHANGES)
    return (
        f"{len(stage.submitter.appended)} submitted, {backlog} waiting or under way, {len(stage.faults)} faults, "
        f"{len(stage.fleet.alive())} workers live of {len(stage.fleet.workers)}"
    )
