"""`scripts/up`: however early whoever reads its output goes away, the pool ends and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from common.redis_server import free_port
from scripts.harness.processes import ROOT

MARK = "UP_UNDER_TEST"


def marked(value: str) -> list[psutil.Process]:
    """The living processes that were started with this mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == value:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


@pytest.mark.parametrize(
    ("lines", "unbuffered"),
    [(1, "1"), (1, ""), (12, "1")],
    ids=["in the middle of the greeting", "before any process is up", "while they start"],
)
def test_a_reader_that_goes_away_ends_the_pool_and_every_process_of_it(
    lines: int, unbuffered: str, tmp_path: Path
) -> None:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("REDIS_")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": unbuffered,
        "ORDERLANE_DATA_FOLDER": str(tmp_path),
        "ORDERLANE_PAPER_URL": f"http://127.0.0.1:{free_port()}",
        MARK: str(tmp_path),
    }
    up = subprocess.Popen(
        [sys.executable, "-P", str(ROOT / "scripts" / "up.py"), "--redis-port", str(free_port())],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert up.stdout is not None
        for _ in range(lines):
            assert up.stdout.readline()
        up.stdout.close()
        assert up.wait(60) == 0, up.communicate()[1].decode()
        assert marked(str(tmp_path)) == []
    finally:
        for process in marked(str(tmp_path)):
            process.kill()
        up.communicate()
