"""A whole pool on this machine: Redis, the paper exchange, workers, scheduler, each a real process.

Everything listens on loopback, on ports the system picks, and keeps its files in one folder. Leaving the
context ends every process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final, Self

from common.die_with_parent import die_with_parent
from common.redis_cluster_server import EmbeddedCluster
from common.redis_server import EmbeddedRedis

ROOT: Final = Path(__file__).resolve().parents[2]
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 15.0


class PoolFailed(RuntimeError):
    """A process of the pool did not start or ended by itself; the message has its last words."""


class Process:
    """One child process of the pool, with its output in a file of its own."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._output: IO[bytes] = log.open("ab")
        self.popen = subprocess.Popen(
            die_with_parent(command),
            env=environment,
            cwd=ROOT,
            stdout=self._output,
            stderr=self._output,
            stdin=subprocess.DEVNULL,
        )

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if there still is someone to get it."""
        if self.alive:
            self.popen.send_signal(number)

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM, and SIGKILL for one that does not end in time; its exit code."""
        self.signal(signal.SIGTERM)
        try:
            self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self._output.close()
        return self.popen.returncode

    def kill(self) -> None:
        """SIGKILL, at whatever instruction it is."""
        if self.alive:
            self.popen.kill()
        self.popen.wait()
        self._output.close()

    def last_words(self, lines: int = 15) -> str:
        """The end of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class LocalPool:
    """Redis and the paper exchange, and as many workers as are asked for.

    With `masters`, the pool is in a Redis Cluster of so many, each with so many `replicas`; `redis` then holds the
    scheduler's queue alone.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        config: Path | None = None,
        append_only: bool = True,
        password: str | None = None,
        paper_options: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        masters: int = 0,
        replicas: int = 0,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="orderlane-") if folder is None else None
        self.folder = Path(self._temporary.name) if self._temporary else Path(str(folder))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.redis = EmbeddedRedis(data_dir=self.folder / "redis", append_only=append_only, password=password)
        self.cluster: EmbeddedCluster | None = None
        if masters:
            self.cluster = EmbeddedCluster(
                self.folder / "cluster", masters=masters, replicas=replicas, append_only=append_only
            )
        self.processes: dict[str, Process] = {}
        self._config = config
        self._paper_options = paper_options
        self._extra_environment = environment or {}
        self._paper_port = 0

    def __enter__(self) -> Self:
        try:
            self.redis.start()
            if self.cluster:
                self.cluster.start()
            self.start_paper()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def paper_url(self) -> str:
        return f"http://127.0.0.1:{self._paper_port}"

    @property
    def redis_url(self) -> str:
        """The address of the Redis that holds the pool's stream and journal."""
        return self.cluster.url if self.cluster else self.redis.url

    @property
    def environment(self) -> dict[str, str]:
        """What the pool's processes find in their environment."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ORDERLANE_", "REDIS_", "RQ_REDIS_"))
        }
        return {
            **kept,
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": self.redis_url,
            "RQ_REDIS_URL": self.redis.url,
            "ORDERLANE_PAPER_URL": self.paper_url,
            "ORDERLANE_LOG_FORMAT": "json",
            **({"ORDERLANE_CONFIG": str(self._config)} if self._config else {}),
            **self._extra_environment,
        }

    def start(self, name: str, *command: str, environment: dict[str, str] | None = None) -> Process:
        """Start `python -m command…` under a name that no living process has."""
        process = Process(
            name,
            [sys.executable, "-m", *command],
            environment or self.environment,
            self.folder / f"{name}.log",
        )
        self.processes[name] = process
        return process

    def start_paper(self) -> Process:
        """Start the paper exchange, again on the same port and books when it ran before."""
        port_file = self.folder / "paper.port"
        port_file.unlink(missing_ok=True)
        process = self.start(
            "paper", "workers.paper", "--port", str(self._paper_port), "--port-file", str(port_file),
            "--database", str(self.folder / "paper.sqlite"), *self._paper_options,
        )  # fmt: skip
        self._wait_until(port_file.exists, process)
        self._paper_port = int(port_file.read_text())
        return process

    def start_worker(self, exchange: str, number: int) -> Process:
        """Start one exchange worker."""
        return self.start(f"{exchange}.{number}", "workers.exchange", "--exchange", exchange)

    def start_scheduler(self, number: int = 1) -> Process:
        """Start one scheduler."""
        return self.start(f"scheduler.{number}", "workers.scheduler")

    def ask_paper(self, path: str, body: bytes | None = None) -> bytes:
        """What the paper exchange answers to `/paper/…`."""
        request = urllib.request.Request(f"{self.paper_url}{path}", data=body)
        with urllib.request.urlopen(request, timeout=30) as reply:
            answer: bytes = reply.read()
        return answer

    def check(self) -> None:
        """Raise PoolFailed if a process that should run has ended."""
        for process in self.processes.values():
            if not process.alive:
                raise PoolFailed(
                    f"{process.name} ended with code {process.popen.returncode}; "
                    f"its last words:\n{process.last_words()}"
                )

    def close(self) -> dict[str, int]:
        """End every process, workers first; their exit codes."""
        codes: dict[str, int] = {}
        ordered = sorted(self.processes.values(), key=lambda process: process.name == "paper")
        for process in ordered:
            process.signal(signal.SIGTERM)
        for process in ordered:
            codes[process.name] = process.stop()
        if self.cluster:
            self.cluster.stop()
        self.redis.stop()
        if self._temporary:
            self._temporary.cleanup()
        return codes

    def _wait_until(self, ready: Callable[[], bool], process: Process) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if not process.alive or time.monotonic() > deadline:
                raise PoolFailed(f"{process.name} did not start; its last words:\n{process.last_words()}")
            time.sleep(0.02)
