"""The workers of a pool under test: started by the nursery, watched, and replaced when they die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from scripts.harness.chaos.nursery import Birth, Report
from scripts.harness.processes import ROOT

STOP_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.01


class Worker(Struct):
    """One worker process; `code` once it has ended."""

    name: str
    exchange: str
    pid: int = 0
    code: int | None = None
    world: str = ""
    ended_at_ms: int = 0

    @property
    def alive(self) -> bool:
        return self.pid > 0 and self.code is None


class Fleet:
    """Workers by name. With `replacing` on, one that was killed is followed by another at once.

    `environment` is asked anew at each start, so that what is armed may change on the way.
    """

    def __init__(self, folder: Path, environment: Callable[[], dict[str, str]]) -> None:
        self.workers: list[Worker] = []
        self.replacing = True
        self._folder = folder
        self._environment = environment
        self._changed = threading.Condition()
        self._count = 0
        self._errors = (folder / "nursery.log").open("ab")
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "scripts.harness.chaos.nursery"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def start(self, exchange: str, *, world: str = "") -> Worker:
        """Start one worker and wait until its process is there."""
        with self._changed:
            worker = self._order(exchange, world)
            self._changed.wait_for(lambda: worker.pid, STOP_SECONDS)
        return worker

    def alive(self, exchange: str = "") -> list[Worker]:
        """The living workers, of one exchange or of all, oldest first."""
        with self._changed:
            return [one for one in self.workers if one.alive and exchange in ("", one.exchange)]

    def signal(self, worker: Worker, number: signal.Signals) -> None:
        """Send a signal, if there still is someone to get it."""
        with suppress(ProcessLookupError):
            if worker.alive:
                os.kill(worker.pid, number)

    def wait(self, worker: Worker, seconds: float = STOP_SECONDS) -> int | None:
        """Wait for its end; its exit code, None if it lives on."""
        with self._changed:
            self._changed.wait_for(lambda: worker.code is not None, seconds)
        return worker.code

    def stop_all(self) -> list[Worker]:
        """SIGTERM to every worker (SIGCONT to those that stand), SIGKILL to those that don't end; those that had to
        be killed."""
        self.replacing = False
        living = self.alive()
        for worker in living:
            self.signal(worker, signal.SIGCONT)
            self.signal(worker, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        stubborn = [one for one in living if self.wait(one, deadline - time.monotonic()) is None]
        for worker in stubborn:
            self.signal(worker, signal.SIGUSR1)
            time.sleep(1)
            self.signal(worker, signal.SIGKILL)
            self.wait(worker)
        return stubborn

    def fallen(self) -> list[Worker]:
        """Workers that ended by themselves: neither killed nor told to stop."""
        expected = (None, 0, -signal.SIGKILL, -signal.SIGTERM)  # SIGTERM: told so before it could listen
        return [one for one in self.workers if one.code not in expected]

    def close(self) -> None:
        """End everything."""
        self.replacing = False
        assert self._nursery.stdin is not None
        with suppress(OSError):
            self._nursery.stdin.close()
        try:
            self._nursery.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._nursery.kill()
            self._nursery.wait()
        self._listener.join(STOP_SECONDS)
        if self._nursery.stdout is not None:
            self._nursery.stdout.close()
        self._errors.close()

    def log_of(self, worker: Worker) -> Path:
        """Where a worker writes."""
        return self._folder / f"{worker.name}.log"

    def _order(self, exchange: str, world: str) -> Worker:
        self._count += 1
        worker = Worker(name=f"{exchange}.{self._count}", exchange=exchange, world=world)
        self.workers.append(worker)
        birth = Birth(worker.name, exchange, self._environment(), str(self.log_of(worker)), world)
        assert self._nursery.stdin is not None
        self._nursery.stdin.write(msgspec.json.encode(birth) + b"\n")
        self._nursery.stdin.flush()
        return worker

    def _listen(self) -> None:
        assert self._nursery.stdout is not None
        for line in self._nursery.stdout:
            report = msgspec.json.decode(line, type=Report)
            with self._changed:
                worker = next(one for one in reversed(self.workers) if one.name == report.name)
                worker.pid = report.pid
                if report.code is not None:
                    worker.code = report.code
                    worker.ended_at_ms = time.time_ns() // 1_000_000
                    if self.replacing and report.code != 0:
                        with suppress(OSError):
                            self._order(worker.exchange, worker.world)
                self._changed.notify_all()
