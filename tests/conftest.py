"""What every test may use, and the check that a test session leaves no process behind."""

import os
import time
import uuid
from collections.abc import Iterator

import hypothesis
import psutil
import pytest

from tests.redis_process import fresh_redis, redis_server, redis_url

__all__ = ["fresh_redis", "no_process_left_behind", "redis_server", "redis_url"]

# The same examples in every run, and no verdict by the clock. To look further: --hypothesis-profile=explore
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
hypothesis.settings.load_profile("repeatable")

MARK = "ORDERLANE_TEST_PROCESS"
ENDING_SECONDS = 5.0
INTERPRETERS_OWN = "multiprocessing.resource_tracker"  # ends with the process that uses multiprocessing


@pytest.fixture(scope="session", autouse=True)
def no_process_left_behind() -> Iterator[None]:
    """Fail the session if a process started by its tests lives on; the last thing torn down.

    Processes are known by a mark in the environment they inherit, so that daemons and orphans are found too, and
    by being our children: a redis-server overwrites its environment. Pytest's own mark beside ours names the
    test that started them.
    """
    os.environ[MARK] = mark = uuid.uuid4().hex
    yield
    del os.environ[MARK]
    deadline = time.monotonic() + ENDING_SECONDS
    while (left := _started_here(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in left:
        process.kill()
    assert not left, "processes left behind:\n" + "\n".join(left.values())


def _started_here(mark: str) -> dict[psutil.Process, str]:
    """Find the living processes of this session, each with its command and the test that started it."""
    children = set(psutil.Process().children(recursive=True))
    found = {}
    for process in psutil.process_iter():
        try:
            environment, command = process.environ(), " ".join(process.cmdline())
            ended = process.status() == psutil.STATUS_ZOMBIE
        except (psutil.Error, OSError):
            continue  # it has ended, or is another user's
        ours = process in children or environment.get(MARK) == mark
        if ours and not ended and INTERPRETERS_OWN not in command:
            test = environment.get("PYTEST_CURRENT_TEST", "a fixture of the session")
            found[process] = f"{process.pid} {command!r} started by {test}"
    return found
