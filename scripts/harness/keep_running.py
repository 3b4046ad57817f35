"""Runs a command and starts it again when it fails, with growing waits; passes signals on.

    python -m scripts.harness.keep_running [--stop-delay SECONDS] -- COMMAND…

A command that ends by itself with code 0 or 78 (it can't work as it is set up), or that was asked to stop, is not
started again. `--stop-delay` passes a signal to stop on that much later: for what others need while they stop.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import Final

import click

from common.die_with_parent import die_with_parent

WAITS_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
FINAL_CODES: Final = (0, 78)
"""78 is EX_CONFIG of sysexits.h."""
STABLE_SECONDS: Final = 30.0
"""A command that ran this long counts as healthy: its next failure starts with the shortest wait."""


class Keeper:
    """One command, kept running."""

    def __init__(self, command: list[str], stop_delay_seconds: float = 0.0) -> None:
        self._command = command
        self._stop_delay_seconds = stop_delay_seconds
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
            if self._stopping.is_set() or code in FINAL_CODES:
                return code
            failures = 1 if time.monotonic() - started_at > STABLE_SECONDS else failures + 1
            wait = WAITS_SECONDS[min(failures, len(WAITS_SECONDS)) - 1]
            print(f"ended with code {code}; starting it again in {wait:g} s", flush=True)
            if self._stopping.wait(wait):
                return 0

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        again = self._stopping.is_set()
        self._stopping.set()
        if self._stop_delay_seconds and not again:
            timer = threading.Timer(self._stop_delay_seconds, self._signal, [number])
            timer.daemon = True
            timer.start()
        else:
            self._signal(number)

    def _signal(self, number: int) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option(
    "--stop-delay",
    default=0.0,
    type=click.FloatRange(0, 600),
    help="Seconds to wait before passing a stop on.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def main(stop_delay: float, command: tuple[str, ...]) -> None:
    """Run the command given after `--`."""
    sys.exit(Keeper(die_with_parent(list(command)), stop_delay).run())


if __name__ == "__main__":
    main()
