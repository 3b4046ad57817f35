"""Lines to a stream without waiting for it: a worker must not lose its lease because somebody paused a
terminal.

The caller only appends to a queue; a thread writes what has gathered, some milliseconds later, in one piece.
A reader that stands still for long costs lines, which are counted, never time. What SIGKILL takes is what has
gathered since the last piece; every other end of the process writes it."""

from __future__ import annotations

import logging
import os
import select
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final

GATHER_SECONDS: Final = 0.005
"""How long lines gather before they are written: long enough for dozens, too short for a person to see."""
MAX_WAITING_LINES: Final = 20_000
"""Lines that wait for a reader that stands still; those that come later are counted and dropped."""
STOP_SECONDS: Final = 2.0
"""How long the end of the process waits for such a reader."""

DroppedLine = Callable[[int], str]
"""Makes the line that reports how many were dropped."""


class LineWriter:
    """Writes lines to a file descriptor from a thread of its own; in a forked child, where that is gone, at
    once."""

    def __init__(
        self, descriptor: int, dropped_line: DroppedLine, max_waiting: int = MAX_WAITING_LINES
    ) -> None:
        self._descriptor = descriptor
        self._dropped_line = dropped_line
        self._max_waiting = max_waiting
        self._waiting: deque[bytes | threading.Event] = deque()
        self._dropped = 0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = threading.Thread(
            target=self._run, name="log-writer", daemon=True
        )
        self._thread.start()
        _writers.add(self)

    def write(self, line: str) -> None:
        """Take one line (without its end) to be written soon. Never waits, never raises."""
        if len(self._waiting) >= self._max_waiting:
            self._dropped += 1
            return
        self._waiting.append(line.encode(errors="backslashreplace") + b"\n")
        if self._thread is None:
            self._write_waiting()
        elif not self._wake.is_set():
            self._wake.set()

    def flush(self, timeout_seconds: float = STOP_SECONDS) -> bool:
        """Wait until all that was taken so far is written; False if that takes too long."""
        if self._thread is None:
            self._write_waiting()
            return True
        written = threading.Event()
        self._waiting.append(written)
        self._wake.set()
        return written.wait(timeout_seconds)

    def stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Write what waits and end the thread; lines that come later are written at once."""
        if self._thread is not None:
            self._stopping.set()
            self._wake.set()
            self._thread.join(timeout_seconds)
            if not self._thread.is_alive():
                self._thread = None
                self._write_waiting()

    def forget_thread(self) -> None:
        """In a forked child: the thread and the lines that wait are the parent's."""
        self._waiting.clear()
        self._dropped = 0
        self._thread = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            self._write_waiting()
            self._stopping.wait(GATHER_SECONDS)
        self._write_waiting()

    def _write_waiting(self) -> None:
        lines: list[bytes] = []
        while item := self._next():
            if isinstance(item, bytes):
                lines.append(item)
            else:
                self._put(b"".join(lines))
                lines.clear()
                item.set()
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            lines.append(self._dropped_line(dropped).encode() + b"\n")
        self._put(b"".join(lines))

    def _next(self) -> bytes | threading.Event | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # somebody who shares the terminal or pipe made it non-blocking
                select.select([], [self._descriptor], [], 1.0)
            except OSError:
                return  # nobody reads any more


class LineHandler(logging.Handler):
    """Formats in the caller, whose context the fields are, and hands the line to a `LineWriter`."""

    def __init__(
        self, descriptor: int, form: logging.Formatter, max_waiting: int = MAX_WAITING_LINES
    ) -> None:
        super().__init__()
        self.setFormatter(form)
        self.writer = LineWriter(descriptor, self._dropped_line, max_waiting)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; what can't be formatted is replaced by a line that says so, without its
        content."""
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a log line must not end what it reports on
            line = self._plain(logging.ERROR, f"a line of {record.name} was lost: {type(error).__name__}")
        self.writer.write(line)

    def flush(self) -> None:
        """Wait, at most two seconds, until all lines are written."""
        self.writer.flush()

    def close(self) -> None:
        """Write what waits, at most for two seconds; `logging` calls this at the end of the process."""
        self.writer.stop()
        super().close()

    def _dropped_line(self, count: int) -> str:
        return self._plain(logging.WARNING, f"{count} lines were dropped: whoever reads them was too slow")

    def _plain(self, level: int, text: str) -> str:
        return self.format(logging.LogRecord("common.telemetry", level, "", 0, text, (), None))


_writers: weakref.WeakSet[LineWriter] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for writer in list(_writers):
        writer.forget_thread()


os.register_at_fork(after_in_child=_after_fork_in_child)
