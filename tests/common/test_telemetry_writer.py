"""The log writer never waits for its reader, and loses nothing that it doesn't count."""

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from common.telemetry.writer import LineWriter

ROOT = Path(__file__).parents[2]


def report(count: int) -> str:
    return f"dropped {count}"


def test_lines_come_out_in_order_each_with_its_end(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        writer = LineWriter(file.fileno(), report)
        for number in range(5000):
            writer.write(f"line {number}")
        assert writer.flush()
        assert (tmp_path / "log").read_text().splitlines() == [f"line {number}" for number in range(5000)]
        writer.write("the last")
        writer.stop()
        writer.write("after the end")
    assert (tmp_path / "log").read_text().endswith("line 4999\nthe last\nafter the end\n")


@pytest.mark.parametrize("blocking", [True, False])
def test_a_reader_that_stands_still_costs_counted_lines_and_no_time(blocking: bool) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, blocking)
    writer = LineWriter(writing, report, max_waiting=1000)
    sent = 50_000  # far more than a pipe holds: if `write` waited for the reader, this test would hang
    for number in range(sent):
        writer.write(f"{number:>99}")
    assert not writer.flush(timeout_seconds=0)
    received: list[bytes] = []

    def read() -> None:
        with os.fdopen(reading, "rb") as file:
            received.append(file.read())

    reader = threading.Thread(target=read)
    reader.start()
    writer.stop(timeout_seconds=30)
    os.close(writing)
    reader.join()
    lines = received[0].decode().splitlines()
    dropped = sum(int(line.split()[1]) for line in lines if line.startswith("dropped"))
    numbers = [int(line) for line in lines if not line.startswith("dropped")]
    assert dropped > 0
    assert len(numbers) + dropped == sent
    assert numbers == sorted(set(numbers))


def test_a_reader_that_has_gone_harms_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    writer = LineWriter(writing, report)
    writer.write("nobody reads this")
    assert writer.flush()
    writer.stop()
    os.close(writing)


FORKS = """
import logging, os
from common.config import load_settings
from common.telemetry import start_telemetry
start_telemetry(load_settings(None, {}), process="parent")
log = logging.getLogger("x")
for number in range(200):
    log.info(f"parent {number}")
child = os.fork()
if child == 0:
    log.info("child 0")
    log.info("child 1")
    os._exit(0)  # as the child of a job queue does: nothing is flushed
os.waitpid(child, 0)
log.info("parent 200")
"""


def test_a_forked_child_writes_its_own_lines_at_once_and_none_of_its_parents() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    events = [line.partition('"event":"')[2].partition('"')[0] for line in done.stderr.splitlines()]
    assert [event for event in events if "parent" in event] == [f"parent {number}" for number in range(201)]
    assert [event for event in events if "child" in event] == ["child 0", "child 1"]


def test_a_formatter_that_fails_costs_one_line_that_says_so(tmp_path: Path) -> None:
    from common.telemetry.writer import LineHandler

    class Fails(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            if record.name == "fails":
                raise ValueError("secret content")
            return record.getMessage()

    with (tmp_path / "log").open("wb") as file:
        handler = LineHandler(file.fileno(), Fails())
        handler.handle(logging.LogRecord("fails", logging.INFO, "", 0, "content", (), None))
        handler.close()
    assert (tmp_path / "log").read_text() == "a line of fails was lost: ValueError\n"
