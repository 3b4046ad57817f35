"""What happens in a storm: one thing after the other, each done to its end before the next."""

from __future__ import annotations

import os
import random
import shutil
import signal
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from scripts.harness.chaos.full_disk import fill_disk, free_disk
from scripts.harness.chaos.network import BAD_NETWORK, Authority
from scripts.harness.chaos.proxy import CALM, Mood, Proxy
from scripts.harness.chaos.redis_faults import (
    BAD_LINK,
    append_only_file,
    command,
    cut_off,
    known_to,
    server_on,
)
from scripts.harness.chaos.stage import Stage
from scripts.harness.chaos.standby import Standby, cut
from scripts.harness.processes import Process

SCHEDULERS: Final = 2
MOST_WORKERS: Final = 6
TAIL_BYTES: Final = (2_000, 100_000)
REBUILT: Final = ("bell", "hungry", "load", "grants")
"""Keys that the pool rebuilds by itself once a foreign value is gone."""
CLOCKS_OFF_SECONDS: Final = (30, -30)
BAD_NETWORKS: Final = (BAD_NETWORK, Mood(deaf=True), Mood(refuse=True))
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


class Weather:
    """The pool of a storm and all that may befall it. Which comes next, and for how long, is drawn from the seed: each
    comes once before any comes again.

    Workers reach the exchange by TLS and by name, through a proxy; schedulers by another one, plainly.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._chance: random.Random = stage.random
        self._redis = Standby(stage)
        self._good, self._foreign = Authority(stage.folder / "good"), Authority(stage.folder / "foreign")
        self._certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._certificate.load_cert_chain(self._good.chain)
        self._plain = stage.exchange_proxy()
        self._net = stage.exchange_proxy(tls=self._certificate)
        stage.worker_environment["ORDERLANE_PAPER_URL"] = f"https://localhost:{self._net.port}"
        self._no_names = stage.folder / "resolver-gone"
        self.world = f"resolver_gone={self._no_names};trust={self._good.bundle}"
        self.schedulers: list[Process] = []
        self.failovers = 0
        self._deck: list[str] = []
        self.actions: Mapping[str, Callable[[], None]] = {
            "kill a worker": self._kill_worker,
            "stop a worker": self._stop_worker,
            "a worker stands still": self._stand_still,
            "a worker joins": self._join,
            "a worker joins whose clock is wrong": self._join_with_a_wrong_clock,
            "a scheduler dies": self._kill_scheduler,
            "kill Redis": self._kill_redis,
            "Redis stands still": self._stall_redis,
            "Redis loses its tail": self._lose_tail,
            "the master is lost": self._fail_over,
            "scripts flushed": self._flush,
            "Redis out of memory": self._fill_memory,
            "Redis' disk is full": self._fill_disk,
            "a foreign password": self._change_password,
            "a foreign value": self._overwrite,
            "bad link to Redis": lambda: self._spoil(self._redis.links, BAD_LINK),
            "the exchange misbehaves": self._break_exchange,
            "bad network": lambda: self._spoil((self._net,), self._chance.choice(BAD_NETWORKS)),
            "connections cut": lambda: cut(self._chance.choice(((self._net,), self._redis.links))),
            "no name resolves": self._forget_names,
            "a foreign certificate": self._show_foreign_certificate,
            "the market moves": stage.move_market,
        }

    def act(self) -> None:
        """Do one thing."""
        if not self._deck:
            self._deck = sorted(self.actions)
            self._chance.shuffle(self._deck)
        name = self._deck.pop()
        self._stage.fault(name)
        self.actions[name]()

    def seconds(self, least: float, most: float) -> float:
        """How long, drawn from the seed."""
        return self._chance.uniform(least, most)

    def start_scheduler(self, number: int) -> Process:
        """Start a scheduler; it reaches the exchange plainly."""
        url = f"http://127.0.0.1:{self._plain.port}"
        return self._stage.start_scheduler(number, ORDERLANE_PAPER_URL=url)

    # Workers and schedulers

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
            self._stage.fleet.start("binance", world=self.world)

    def _join_with_a_wrong_clock(self) -> None:
        off_seconds = self._chance.choice(CLOCKS_OFF_SECONDS)
        if len(self._stage.fleet.alive("binance")) < MOST_WORKERS:
            self._stage.fleet.start("binance", world=f"{self.world};clock_off={off_seconds}")

    def _kill_scheduler(self) -> None:
        number = self._chance.randrange(SCHEDULERS)
        self.schedulers[number].kill()
        self.schedulers[number] = self.start_scheduler(number + 1)

    # Redis

    def _kill_redis(self) -> None:
        self._redis.master.kill()
        time.sleep(self.seconds(0.1, 1.5))
        self._redis.restart_master()

    def _lose_tail(self) -> None:
        """What producers had been answered and Redis forgot, they submit again."""
        stage = self._stage
        server = self._redis.master
        server.kill()
        time.sleep(0.3)  # what was answered is on the producer's list by then
        lost_bytes = cut_off(append_only_file(server.data_dir), self._chance.randint(*TAIL_BYTES))
        stage.fault(f"the last {lost_bytes} bytes of the append-only file are gone")
        before = list(stage.submitter.appended)
        copy = stage.folder / f"redis-copy-{len(stage.faults)}"
        shutil.copytree(server.data_dir, copy)
        self._redis.restart_master()
        with server_on(copy) as survivor:
            survived = known_to(survivor, before)
        shutil.rmtree(copy)
        stage.resend([one for one in before if (one.exchange, one.entry) not in survived])

    def _fail_over(self) -> None:
        loss = self._redis.fail_over()
        if loss is None:
            self._stage.fault("no replica was in step: the master stays")
            return
        self.failovers += 1
        self._stage.notes.append(f"Sentinel had promoted the replica {loss}")

    def _stall_redis(self) -> None:
        pid = self._redis.master.pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(self.seconds(0.3, 8))
        os.kill(pid, signal.SIGCONT)

    def _flush(self) -> None:
        self._stage.client.script_flush()

    def _fill_memory(self) -> None:
        self._stage.client.config_set("maxmemory", 1)
        time.sleep(self.seconds(0.2, 1.5))
        self._stage.client.config_set("maxmemory", 0)

    def _fill_disk(self) -> None:
        server = self._redis.master
        fill_disk(self._stage, server)
        time.sleep(self.seconds(0.2, 2))
        free_disk(server)

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

    # The exchange and the way there

    def _break_exchange(self) -> None:
        rule = self._chance.choice(EXCHANGE_FAULTS)
        self._stage.exchange_fault(
            route="/(order|algoOrder|allOpenOrders)$", count=self._chance.randint(1, 4), **rule
        )

    def _spoil(self, proxies: Sequence[Proxy], mood: Mood) -> None:
        for one in proxies:
            one.mood = mood
        time.sleep(self.seconds(1, 4))
        for one in proxies:
            one.mood = CALM

    def _forget_names(self) -> None:
        self._no_names.touch()
        self._net.cut_all()
        time.sleep(self.seconds(0.3, 3))
        self._no_names.unlink()

    def _show_foreign_certificate(self) -> None:
        self._certificate.load_cert_chain(self._foreign.chain)
        self._net.cut_all()
        time.sleep(self.seconds(0.3, 3))
        self._certificate.load_cert_chain(self._good.chain)
