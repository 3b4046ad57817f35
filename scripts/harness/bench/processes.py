"""A process of a measurement: started so that it can't outlive us, and looked at from outside (Linux' /proc)."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from msgspec import Struct

from common.die_with_parent import die_with_parent
from scripts.harness.processes import ROOT, PoolFailed

STOP_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 0.02
"""Between two looks at what is waited for: looking takes CPU from what is measured."""
TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Usage(Struct, frozen=True):
    """What a process has used: CPU seconds since its start, resident memory now (bytes)."""

    cpu_seconds: float
    memory_bytes: int


def usage_of(process_id: int) -> Usage:
    """A process' use of CPU (its own, all threads) and memory.

    Raises:
        PoolFailed: there is no /proc here.
    """
    folder = Path("/proc") / str(process_id)
    try:
        after_name = (folder / "stat").read_text().rpartition(")")[2].split()
        pages = int((folder / "statm").read_text().split()[1])
    except OSError as error:
        raise PoolFailed(f"process {process_id} can't be looked at in /proc: {error}") from None
    user, system = (
        int(after_name[11]),
        int(after_name[12]),
    )  # utime and stime of proc(5), counted after the name
    return Usage((user + system) / TICKS_PER_SECOND, pages * PAGE_BYTES)


def cpu_seconds(process_id: int) -> float:
    """CPU seconds used so far, to the nanosecond where the kernel says (all threads that still run)."""
    total = 0
    try:
        for task in (Path("/proc") / str(process_id) / "task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return usage_of(process_id).cpu_seconds
    return total / 1e9


def family_cpu_seconds(process_id: int) -> float:
    """CPU seconds of a process and of every descendant that lives, or that it has waited for."""
    children: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(folder.name))
            used[int(folder.name)] = sum(int(fields[index]) for index in (11, 12, 13, 14)) / TICKS_PER_SECOND
    total, waiting = 0.0, [process_id]
    while waiting:
        one = waiting.pop()
        total += used.get(one, 0.0)
        waiting += children.get(one, [])
    return total


class Child:
    """One child process, its output in a file."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, cwd: Path = ROOT
    ) -> None:
        self.name = name
        self.log = log
        self._output: IO[bytes] = log.open("ab")
        self.popen = subprocess.Popen(
            die_with_parent(list(command)),
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def check(self) -> None:
        """Raise PoolFailed if it has ended by itself."""
        if self.popen.poll() is not None:
            raise PoolFailed(f"{self.name} ended with code {self.popen.returncode}:\n{self.last_words()}")

    def wait(self, seconds: float) -> None:
        """Wait for its end.

        Raises:
            PoolFailed: it did not end in time, or not with code 0.
        """
        try:
            code = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise PoolFailed(f"{self.name} did not end in {seconds:g} s:\n{self.last_words()}") from None
        self._output.close()
        if code:
            raise PoolFailed(f"{self.name} ended with code {code}:\n{self.last_words()}")

    def kill(self) -> None:
        """End it and all it started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        self._output.close()

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ask it to end; end what is left of it after a while."""
        if self.popen.poll() is None:
            self.popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(seconds)
        self.kill()

    def last_words(self, lines: int = 15) -> str:
        """The end of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def wait_until(ready: Callable[[], bool], what: str, seconds: float, *children: Child) -> None:
    """Look again and again until `ready`.

    Raises:
        PoolFailed: it took too long, or one of the children ended.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        for child in children:
            child.check()
        if time.monotonic() > deadline:
            words = "\n".join(f"{child.name}: {child.last_words(5)}" for child in children)
            raise PoolFailed(f"{what} took more than {seconds:g} s; last words:\n{words}")
        time.sleep(LOOK_SECONDS)
