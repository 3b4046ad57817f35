"""The stage of a measurement: one Redis and one exchange process, on which both sides are run in turn."""

from __future__ import annotations

import http.client
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import msgspec
import redis

from common.redis_server import EmbeddedRedis
from orderlane.connection import connect
from orderlane.keys import Keys
from scripts.harness.bench.instruments import Instrument, instruments, listed_instruments
from scripts.harness.bench.processes import Child, wait_until
from scripts.harness.processes import ROOT

EXCHANGE: Final = "binance"
POOL: Final = "bench"
START_SECONDS: Final = 60.0
NO_LIMIT: Final = {
    "weight_1m": "60000000/minute",
    "orders_10s": "10000000/10 seconds",
    "orders_1m": "60000000/minute",
}
"""So high that no bucket is ever asked to wait: limits are not what is measured, taking tokens is."""
PAPER_SYMBOLS: Final = 16
"""Of those the paper exchange lists; the rest of the lanes are on further accounts."""
PAPER_LIMIT: Final = "60000000"


class Site(msgspec.Struct, frozen=True):
    """What stands for the exchange: the paper exchange or the fast endpoint, which answers after `delay_ms`."""

    paper: bool = False
    delay_ms: float = 0.0


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a measurement needs on its stage."""

    symbols: int = 64
    accounts: int = 1
    status: str = "FILLED"
    delay_ms: float = 0.0
    in_flight: int = 64
    lanes: int = 256
    paper: bool = False
    """The paper exchange instead of the fast endpoint."""


def shape_for(site: Site, lanes: int) -> Shape:
    """A stage with so many lanes: on one account, or on several where the exchange lists fewer symbols."""
    symbols = min(lanes, PAPER_SYMBOLS) if site.paper else lanes
    return Shape(symbols=symbols, accounts=lanes // symbols, paper=site.paper, delay_ms=site.delay_ms)


@contextmanager
def first_on_path(folder: Path | None) -> Iterator[None]:
    """Programs are looked for in `folder` first, inside the `with`; without one nothing changes."""
    before = os.environ.get("PATH", os.defpath)
    if folder is not None:
        os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


class Stage:
    """Redis, the exchange, and the configuration of a pool on them. Leaving the context ends every process."""

    def __init__(self, shape: Shape, redis_folder: Path | None = None) -> None:
        """`redis_folder`: where the `redis-server` of this stage is; without one, the first that is found."""
        self.shape = shape
        self._redis_folder = redis_folder
        self.keys = Keys(EXCHANGE, POOL)
        self.accounts = [f"a{number:03d}" for number in range(shape.accounts)]
        pick = listed_instruments if shape.paper else instruments
        self.instruments: list[Instrument] = pick(shape.symbols)
        self._temporary = tempfile.TemporaryDirectory(prefix="orderlane-bench-")
        self.folder = Path(self._temporary.name)
        self.redis_server = EmbeddedRedis(data_dir=self.folder / "redis", append_only=True)
        self.children: list[Child] = []
        self.exchange_port = 0

    def __enter__(self) -> Self:
        try:
            with first_on_path(self._redis_folder):
                self.redis_server.start()
            self.redis: redis.Redis = connect(self.redis_server.url, socket_timeout_seconds=60)
            self.exchange = self._start_exchange()
            self._write_configuration()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process, the latest first."""
        while self.children:
            self.children.pop().stop()
        if hasattr(self, "redis"):
            self.redis.close()
        self.redis_server.stop()
        self._temporary.cleanup()

    @property
    def exchange_url(self) -> str:
        return f"http://127.0.0.1:{self.exchange_port}"

    @property
    def redis_pid(self) -> int:
        found: dict[str, int] = self.redis.info("server")
        return int(found["process_id"])

    def environment(self) -> dict[str, str]:
        """What our processes find in their environment."""
        kept = {
            name: text for name, text in os.environ.items() if not name.startswith(("ORDERLANE_", "REDIS_"))
        }
        return {
            **kept,
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": self.redis_server.url,
            "ORDERLANE_PAPER_URL": self.exchange_url,
            "ORDERLANE_LOG_FORMAT": "json",
            "ORDERLANE_CONFIG": str(self.folder / "orderlane.yaml"),
        }

    def start(self, name: str, *command: str) -> Child:
        """Start `python -m command…`."""
        child = Child(name, [sys.executable, "-m", *command], self.environment(), self.folder / f"{name}.log")
        self.children.append(child)
        return child

    def start_worker(self, number: int = 1) -> Child:
        """Start one exchange worker, and return at once."""
        return self.start(f"worker.{number}", "workers.exchange", "--exchange", EXCHANGE)

    def end(self, *children: Child) -> None:
        """End these processes in order, and forget them."""
        for child in children:
            child.stop()
            self.children.remove(child)

    def drop(self, child: Child) -> None:
        """End a process at once: nothing it does is measured any more."""
        child.kill()
        self.children.remove(child)

    def ask(self, path: str, body: bytes | None = None) -> bytes:
        """What the exchange process answers to a question of ours."""
        connection = http.client.HTTPConnection("127.0.0.1", self.exchange_port, timeout=60)
        try:
            connection.request("POST" if body is not None else "GET", path, body)
            return connection.getresponse().read()
        finally:
            connection.close()

    def arrived(self) -> int:
        """How many orders the exchange got since the last `clear`."""
        if self.shape.paper:
            return len(self.arrivals())
        return int(self.ask("/bench/count"))

    def arrivals(self) -> list[tuple[int, str]]:
        """When each order arrived (ns since 1970), and its client order id."""
        if self.shape.paper:
            return self._paper_arrivals()
        return msgspec.json.decode(self.ask("/bench/arrivals"), type=list[tuple[int, str]])

    def clear(self) -> None:
        """Empty Redis, and let the exchange forget what arrived; both go on running."""
        self.redis.flushall()
        self.redis.config_resetstat()
        self.ask("/paper/reset" if self.shape.paper else "/bench/reset", b"{}")

    def wait_for_arrivals(self, count: int, seconds: float, *children: Child) -> None:
        """Wait until `count` orders have arrived.

        Raises:
            PoolFailed: it took too long, or a child ended.
        """
        wait_until(lambda: self.arrived() >= count, f"the arrival of {count} orders", seconds, *children)

    def wait_until_joined(self, workers: int, *children: Child) -> None:
        """Wait until this many workers have made their first take."""
        wait_until(
            lambda: int(self.redis.zcard(self.keys.workers)) >= workers,
            f"the start of {workers} workers",
            START_SECONDS,
            *children,
        )

    def _paper_arrivals(self) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        after = 0
        while page := msgspec.json.decode(self.ask(f"/paper/audit?after={after}&limit=5000")):
            after = page[-1]["sequence"]
            found += [(one["at_us"] * 1000, one["client_order_id"]) for one in page if one["kind"] == "place"]
        return found

    def _start_exchange(self) -> Child:
        port_file = self.folder / "exchange.port"
        if self.shape.paper:
            command = [
                "workers.paper", "--port-file", str(port_file), "--database", str(self.folder / "paper.sqlite"),
                "--accounts", ",".join(self.accounts), "--volatility", "0", "--step-ms", "0",
                "--weight-limit", PAPER_LIMIT, "--orders-10s", PAPER_LIMIT, "--orders-1m", PAPER_LIMIT,
            ]  # fmt: skip
        else:
            command = [
                "scripts.harness.bench.endpoint", "--port-file", str(port_file), "--symbols", str(self.shape.symbols),
                "--status", self.shape.status, "--delay-ms", str(self.shape.delay_ms),
            ]  # fmt: skip
        child = self.start("exchange", *command)
        wait_until(port_file.exists, "the start of the exchange", START_SECONDS, child)
        self.exchange_port = int(port_file.read_text())
        return child

    def _write_configuration(self) -> None:
        section = {
            "venue": "binanceusdm",
            "endpoint": "paper",
            "accounts": {name: {} for name in self.accounts},
            "limits": NO_LIMIT,
            # The stand-in has no streams to tell of orders; with the paper exchange both sides of a pair do without.
            "user_stream": {"enabled": False},
            "worker": {"in_flight": self.shape.in_flight, "lanes": self.shape.lanes},
        }
        # JSON is YAML too.
        document = {"pool": POOL, "log": {"level": "warning"}, "exchanges": {EXCHANGE: section}}
        (self.folder / "orderlane.yaml").write_bytes(msgspec.json.encode(document))
