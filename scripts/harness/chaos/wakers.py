"""Who wakes the workers that a failpoint stopped."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from common.failpoints import Struck
from scripts.harness.chaos.judging import Fault
from scripts.harness.chaos.stage import Stage

STAND_STILL_SECONDS: Final = 2.5
"""Longer than the lease and than the receive window with its margin, so that the successor has gone on by itself."""


class Wakers:
    """Sends SIGCONT to each worker that a failpoint stopped, a while after: by its token, or `STAND_STILL_SECONDS`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.seconds: Mapping[str, float] = {}
        self._woken: set[str] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Wakers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(10)
        self._wake(everybody=True)

    def _run(self) -> None:
        while not self._done.wait(0.05):
            self._wake()

    def _wake(self, *, everybody: bool = False) -> None:
        now_ms = time.time_ns() // 1_000_000
        for token, struck in self._stage.tokens_struck().items():
            due = everybody or now_ms - struck.at_ms > self.seconds.get(token, STAND_STILL_SECONDS) * 1000
            if due and token not in self._woken and struck.action == "stop":
                self._woken.add(token)
                self._stage.faults.append(_told(struck))
                with suppress(ProcessLookupError):
                    os.kill(struck.pid, signal.SIGCONT)

    @property
    def woken(self) -> int:
        return len(self._woken)


def _told(struck: Struck) -> Fault:
    about = ", ".join(struck.about)
    return Fault(struck.at_ms, f"SIGSTOP of {struck.pid} at {struck.point} ({about}), SIGCONT later")
