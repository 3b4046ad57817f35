"""The pool that a scenario breaks: Redis, the paper exchange, workers, a producer, and what was broken when."""

from __future__ import annotations

import random
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec
import redis
from redis.exceptions import RedisError
from rich.table import Table

from common import failpoints
from common.lanes import IDLE_LEASES, lane_keys
from common.scripts import load_script
from orderlane.connection import connect
from orderlane.intents import Intent
from orderlane.keys import Keys
from scripts.harness.chaos.books import mismatches, read_books
from scripts.harness.chaos.fleet import Fleet, Worker
from scripts.harness.chaos.judging import EXCHANGES, POOL, Fault, Ruling
from scripts.harness.chaos.proxy import Proxy
from scripts.harness.chaos.submitting import Submitter
from scripts.harness.chaos.terms import QUICK, Options, Timing, configuration, repeat_command
from scripts.harness.evidence import read_journal
from scripts.harness.material import Appended, Refused
from scripts.harness.processes import LocalPool, PoolFailed, Process
from scripts.harness.producer import COINS, Plan

T = TypeVar("T")

STALL_SECONDS: Final = 45.0
"""Without any progress for this long, what is left counts as stuck."""
POLL_SECONDS: Final = 0.05
SETTLE_SECONDS: Final = 120.0
"""Within this the sync has to have caught up. It is killed at up to eight points in a row, and started again with waits
that grow to ten seconds."""


class Stage:
    """One run of one scenario. Entered, it has Redis and the exchange; `open_house` starts the workers."""

    def __init__(
        self,
        name: str,
        options: Options,
        folder: Path,
        timing: Timing = QUICK,
        say: Callable[[str], None] = print,
    ) -> None:
        self.name = name
        self.say = say
        self.options = options
        self.random = random.Random(f"{options.seed}/{name}")
        self.timing = timing
        self.folder = folder
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        self.findings: list[str] = []
        self.recoveries_ms: list[float] = []
        self.resent: set[str] = set()
        """Client order ids of intents that Redis forgot and that were submitted again: their place in the lane is
        not that of their entry."""
        self.refused: list[Refused] = []
        """What the exchange's faults refused in its name."""
        self.tables: list[Table] = []
        self.after_ruling: list[Callable[[Ruling], None]] = []
        self.arms: list[failpoints.Arm] = []
        self.worker_environment: dict[str, str] = {}
        self.tokens = folder / "tokens"
        self._exits = ExitStack()
        self.pool: LocalPool
        self.fleet: Fleet
        self.client: redis.Redis
        self.submitter: Submitter

    def __enter__(self) -> Self:
        self.tokens.mkdir(parents=True)
        config = self.folder / "orderlane.yaml"
        config.write_text(configuration(self.timing))
        unlimited = ("--weight-limit", "6000000", "--orders-10s", "1000000", "--orders-1m", "6000000")
        with ExitStack() as exits:
            paper_options = ("--seed", str(self.options.seed), "--step-ms", "0", *unlimited)
            self.pool = exits.enter_context(
                LocalPool(
                    self.folder, config=config, paper_options=paper_options, masters=self.options.masters,
                    replicas=self.options.replicas,
                )
            )  # fmt: skip
            self.client = connect(self.pool.redis_url)
            exits.callback(lambda: self.client.close())
            self.fleet = Fleet(self.folder, self._environment)
            exits.callback(self.fleet.close)
            self.submitter = Submitter(self.pool.redis_url, rate=self.options.rate)
            exits.callback(lambda: self.submitter.stop())
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    # What is there

    def keys(self, exchange: str = "binance") -> Keys:
        return Keys(exchange, POOL)

    def proxy(self, name: str, port: int, **options: Any) -> Proxy:
        """A proxy that lives as long as the stage."""
        proxy = self.keep(Proxy(name, port, self.options.seed, **options))
        proxy.faults = self.faults
        return proxy

    def keep(self, context: AbstractContextManager[T]) -> T:
        """Enter a context that ends with the stage."""
        return self._exits.enter_context(context)

    def redis_proxy(self) -> Proxy:
        """Put a proxy between the workers and Redis; the harness itself goes round it."""
        proxy = self.proxy("redis proxy", self.pool.redis.port)
        self.worker_environment["REDIS_URL"] = f"redis://127.0.0.1:{proxy.port}/0"
        return proxy

    def exchange_proxy(self, **options: Any) -> Proxy:
        """Put a proxy between the workers and the exchange."""
        proxy = self.proxy("exchange proxy", int(self.pool.paper_url.rpartition(":")[2]), **options)
        self.worker_environment["ORDERLANE_PAPER_URL"] = f"http://127.0.0.1:{proxy.port}"
        return proxy

    def front_door(self) -> Proxy:
        """Put a proxy between the producer and Redis."""
        proxy = self.proxy("front door", self.pool.redis.port)
        self.submitter = Submitter(f"redis://127.0.0.1:{proxy.port}/0", rate=self.options.rate)
        return proxy

    def reach_redis_by(self, url: str) -> None:
        """From now on the pool's processes, the producer and the harness itself find Redis by this URL."""
        self.client.close()
        self.client = connect(url)
        self.worker_environment |= {"REDIS_URL": url, "RQ_REDIS_URL": url}
        self.submitter = Submitter(url, rate=self.options.rate)

    def resend(self, gone: Sequence[Appended]) -> int:
        """Submit again what Redis forgot, as its producer would; how many intents that were."""
        for one in gone:
            self.submitter.forget(one)
        again = [one.intent for one in gone if one.intent is not None]
        self.resent |= {one.client_order_id for one in gone}
        self.submitter.submit_now(again)
        return len(again)

    def open_house(self, *, spot: bool = True, world: str = "") -> None:
        """Start the workers and wait until each has joined."""
        for _ in range(self.options.workers):
            self.fleet.start("binance", world=world)
        if spot:
            self.fleet.start("binance-spot", world=world)
        self.wait_for(
            lambda: len(self.joined()) >= self.options.workers + spot, 30, "the workers did not join"
        )

    def joined(self, exchange: str = "") -> list[str]:
        """The ids of the workers whose lease lives."""
        names = (exchange,) if exchange else EXCHANGES
        rows: list[Any] = []
        with suppress(RedisError):
            now_ms = time.time_ns() // 1_000_000
            rows = [row for name in names for row in self._zrange(self.keys(name).workers, now_ms)]
        return [row.decode() for row in rows]

    def _zrange(self, key: str, from_score: int) -> list[Any]:
        found: Any = self.client.zrangebyscore(key, from_score, "+inf")
        return list(found)

    def start_scheduler(self, number: int = 1, **environment: str) -> Process:
        """Start a scheduler in the workers' own world, failpoints included; killed, it starts again."""
        return self.pool.start(
            f"scheduler.{number}", "scripts.harness.keep_running", "--", sys.executable, "-m", "workers.scheduler",
            environment={**self._environment(), **environment},
        )  # fmt: skip

    def prices(self, coins: Iterable[str] = tuple(COINS)) -> dict[str, Decimal]:
        """The exchange's current prices of these coins in USDT, by unified symbol."""
        found: dict[str, Decimal] = {}
        for path, suffix in (("/api/v3/ticker/price", ""), ("/fapi/v1/ticker/price", ":USDT")):
            rows = msgspec.json.decode(self.pool.ask_paper(path))
            by_id = {row["symbol"]: Decimal(row["price"]) for row in rows}
            found |= {f"{coin}/USDT{suffix}": by_id[f"{coin}USDT"] for coin in coins}
        return found

    def plan(self) -> Iterable[Intent | tuple[bytes, bytes]]:
        """The run's intents, drawn from the seed."""
        return Plan(self.options.seed, self.prices()).intents(self.options.intents)

    # What is done to it

    def fault(self, what: str) -> None:
        """Write down that something was broken just now."""
        self.faults.append(Fault(time.time_ns() // 1_000_000, what))

    def exchange_fault(self, **rule: Any) -> None:
        """Put a fault in force at the exchange (see `workers/paper/faults.py`)."""
        self.pool.ask_paper("/paper/faults", msgspec.json.encode(rule))

    def clear_exchange_faults(self, *, count: bool = True) -> None:
        """Let the exchange behave again; what its faults struck is written down, if it is to count. (An answer that
        came a little late is no fault.)"""
        now_ms = time.time_ns() // 1_000_000
        for counter in self._exchange_faults() if count else ():
            rule, struck = counter["rule"], int(counter["struck"])
            if rule["fault"] != "delay_reply":
                self.faults += [Fault(now_ms, f"the exchange misbehaved: {rule['fault']}")] * struck
            if struck and rule["fault"] == "verbatim" and rule["body"]:
                code = int(msgspec.json.decode(rule["body"])["code"])
                self.refused += [Refused(rule["account"], rule["symbol"], code)]
        request = urllib.request.Request(f"{self.pool.paper_url}/paper/faults", method="DELETE")
        with urllib.request.urlopen(request, timeout=30):
            pass

    def move_market(self) -> None:
        """Walk every price a few steps on; orders on the book may fill, which the scheduler's sync has to see."""
        self.pool.ask_paper("/paper/step", b'{"steps": 5}')

    def settle(self) -> None:
        """Wait, for a while, until the sync has brought the journal up to what the market did."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            journal = read_journal(self.client, POOL, EXCHANGES)
            if not mismatches(journal.orders, read_books(self.pool.ask_paper("/paper/orders"))):
                return
            time.sleep(1)

    def kill(self, worker: Worker) -> None:
        """SIGKILL a worker, and remember which lanes it had."""
        self.fault(f"SIGKILL {worker.name}")
        self.fleet.signal(worker, signal.SIGKILL)
        self.fleet.wait(worker)

    def after(self, share: float) -> None:
        """Wait until this share of the intents was submitted."""
        wanted = int(self.options.intents * share)
        while len(self.submitter.appended) < wanted and not self.submitter.done:
            time.sleep(0.01)

    def wait_for(self, happened: Callable[[], object], seconds: float, otherwise: str) -> None:
        """Wait until something is true.

        Raises:
            PoolFailed: it was not, in time.
        """
        deadline = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > deadline:
                raise PoolFailed(f"{self.name}: {otherwise} within {seconds:g} s; logs: {self.folder}")
            time.sleep(POLL_SECONDS)

    def drain(self, stall_seconds: float = STALL_SECONDS) -> bool:
        """Wait until everything was submitted and has ended; False once nothing has moved for too long."""
        seen, moved_at = (-1, ""), time.monotonic()
        while True:
            with suppress(RedisError):
                now = self._progress()
                if now[0] == 0 and self.submitter.done:
                    return True
                if now != seen:
                    seen, moved_at = now, time.monotonic()
            if time.monotonic() - moved_at > stall_seconds:
                self.notes.append(f"nothing moved for {stall_seconds:g} s; {seen[0]} entries are left")
                return False
            time.sleep(POLL_SECONDS)

    def _progress(self) -> tuple[int, str]:
        backlog, last = 0, ""
        for exchange in EXCHANGES:
            keys = self.keys(exchange)
            backlog += int(self.client.xlen(keys.intents))
            newest: Any = self.client.xrevrange(keys.events, count=1)
            last += newest[0][0].decode() if newest else ""
        return backlog, last

    def close_house(self) -> None:
        """Stop the workers in order, and say which of them fell or would not stop. A last worker of each exchange
        clears up after those that were killed at the very end; what is left of ended lives is forgotten by the
        sweep, as in any pool."""
        self.fleet.replacing = False
        self.arms.clear()
        time.sleep(self.timing.lease_ms * IDLE_LEASES / 1000)
        for exchange in EXCHANGES:
            if not self.fleet.alive(exchange) and self.client.exists(self.keys(exchange).workers):
                self.fleet.start(exchange)
                self.wait_for(lambda name=exchange: self.joined(name), 30, "no last worker joined")  # type: ignore[misc]
                time.sleep(self.timing.heartbeat_ms / 1000)
        self.findings += [
            f"worker {one.name} did not stop on SIGTERM; log: {self.fleet.log_of(one)}"
            for one in self.fleet.stop_all()
        ]
        self.findings += [
            f"worker {one.name} fell with code {one.code}; log: {self.fleet.log_of(one)}"
            for one in self.fleet.fallen()
        ]
        self._sweep()

    def _sweep(self) -> None:
        """What the scheduler's sweep does about workers that are gone, until the last lease has ended; about nothing
        else."""
        sweep: Any = self.client.eval
        deadline = time.monotonic() + self.timing.lease_ms * IDLE_LEASES / 1000 + 1
        while True:
            for exchange in EXCHANGES:
                keys = self.keys(exchange)
                names = [*lane_keys(keys), keys.unseen, keys.notes]
                sweep(load_script("sweep").source, len(names), *names, "workers", "", "100")
            left = sum(int(self.client.zcard(self.keys(exchange).workers)) for exchange in EXCHANGES)
            if not left or time.monotonic() > deadline:
                return
            time.sleep(POLL_SECONDS)

    def struck_at_exchange(self) -> int:
        """How often the exchange's own faults struck."""
        return sum(int(counter["struck"]) for counter in self._exchange_faults())

    def _exchange_faults(self) -> list[dict[str, Any]]:
        return msgspec.json.decode(self.pool.ask_paper("/paper/faults"), type=list[dict[str, Any]])

    def repeat(self, only: str = "") -> str:
        """The command that repeats this run, or one cell of it."""
        return repeat_command(self.name, self.options, only)

    def tokens_struck(self) -> dict[str, failpoints.Struck]:
        """What the failpoints did, by token."""
        return {
            path.name: msgspec.json.decode(path.read_bytes(), type=failpoints.Struck)
            for path in sorted(self.tokens.iterdir())
            if path.stat().st_size
        }

    def _environment(self) -> dict[str, str]:
        arming = failpoints.Arming(folder=str(self.tokens), arms=tuple(self.arms))
        armed = {failpoints.VARIABLE: msgspec.json.encode(arming).decode()} if self.arms else {}
        return {**self.pool.environment, **self.worker_environment, **armed}
