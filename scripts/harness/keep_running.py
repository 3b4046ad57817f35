"""Runs a command and starts it again when it fails, with growing waits; passes signals on.

    python -m scripts.harness.keep_running -- COMMAND…

A command that ends by itself with code 0, or that was asked to stop, is not started again.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import Final

from common.die_with_parent import die_with_parent

WAITS_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
STABLE_SECONDS: Final = 30.0
"""A command that ran this long counts as healthy: its next failure starts with the shortest wait."""


class Keeper:
    """One command, kept running."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    def run(self) -> int:
        """Keep the command running until it ends well or a signal asks it to; its exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._pass_on)
        failures = 0
        while True:
            started_at = time.monotonic()
            # A session of its own: a signal to the whole group would reach the child twice.
            self._child = subprocess.Popen(self._command, start_new_session=True)
            code = self._child.wait()
            if self._stopping.is_set() or code == 0:
                return code
            failures = 1 if time.monotonic() - started_at > STABLE_SECONDS else failures + 1
            wait = WAITS_SECONDS[min(failures, len(WAITS_SECONDS)) - 1]
            print(f"ended with code {code}; starting it again in {wait:g} s", flush=True)
            if self._stopping.wait(wait):
                return 0

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._stopping.set()
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)


def main() -> None:
    """Run the command given after `--`."""
    command = sys.argv[1:]
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        raise SystemExit("usage: python -m scripts.harness.keep_running -- COMMAND…")
    sys.exit(Keeper(die_with_parent(command)).run())


if __name__ == "__main__":
    main()
