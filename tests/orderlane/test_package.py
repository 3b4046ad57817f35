"""What `import orderlane` gives, and what it does not load."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import orderlane

ROOT = Path(__file__).parents[2]


def test_the_clients_are_loaded_when_they_are_asked_for() -> None:
    program = (
        "import sys, orderlane; from orderlane import PlaceOrder;"
        "before = 'orderlane.client' in sys.modules; client = orderlane.Client;"
        "print(before, client.__module__, 'orderlane.async_client' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.split() == ["False", "orderlane.client", "False"]


@pytest.mark.parametrize("name", orderlane.__all__)
def test_every_name_that_is_promised_is_there(name: str) -> None:
    assert getattr(orderlane, name).__name__ if name != "Intent" else orderlane.Intent
    assert name in dir(orderlane)


def test_a_name_that_is_not_there_is_said_to_be_missing() -> None:
    with pytest.raises(AttributeError, match="'orderlane' has no attribute 'Trader'"):
        _ = orderlane.Trader
