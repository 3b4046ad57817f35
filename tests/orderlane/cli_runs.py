"""Calls of the command for its tests: inside their own process, or as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from orderlane.cli.app import group

PLACE = [
    "--exchange", "binance", "--account", "main", "--symbol", "BTC/USDT:USDT", "--side", "buy",
    "--type", "limit", "--amount", "0.5", "--price", "64000",
]  # fmt: skip

Run = Callable[..., Result]
Start = Callable[..., subprocess.Popen[str]]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(redis_url: str) -> Run:
    def run_it(*words: str, given: bytes = b"", columns: int = 100, **environment: str) -> Result:
        settings = {"ORDERLANE_REDIS_URL": redis_url, "COLUMNS": str(columns), **environment}
        result = CliRunner(env=settings).invoke(group, list(words), input=given)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run_it


@pytest.fixture
def process(redis_url: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command as a process of its own; what still runs at the end is ended."""
    started = []

    def start(*words: str, **environment: str) -> subprocess.Popen[str]:
        one = subprocess.Popen(
            [sys.executable, "-m", "orderlane.cli", *words],
            cwd=ROOT,
            env={**os.environ, "ORDERLANE_REDIS_URL": redis_url, "COLUMNS": "100", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
        )
        started.append(one)
        return one

    yield start
    for one in started:
        one.kill()
        one.wait()
        for stream in (one.stdin, one.stdout, one.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


def documents(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]
