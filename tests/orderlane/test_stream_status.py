"""What an operator sees of user streams: who holds them, in which state, and how long they have been silent."""

from __future__ import annotations

import json

import pytest

from tests.orderlane.cli_runs import Run, run
from tests.orderlane.played_pool import PlayedPool

__all__ = ["run"]


@pytest.fixture
def now_ms(pool: PlayedPool) -> int:
    seconds, _ = pool.raw.time()
    return int(seconds) * 1000


def note(pool: PlayedPool, account: str, **fields: object) -> None:
    """What the holder of a stream notes."""
    usual = {"holder": "vm:1:abc", "state": "live", "complete_until": 0, "last_message": 0}
    pool.raw.hset(pool.keys().stream(account), mapping={**usual, **fields})


def test_each_stream_is_shown_with_its_holder_its_state_and_its_silence(
    pool: PlayedPool, run: Run, now_ms: int
) -> None:
    pool.register("binance", "main", "alt", "idle")
    note(pool, "main", until=now_ms + 60_000, since=now_ms - 7_200_000, last_message=now_ms - 30_000)
    note(pool, "alt", until=now_ms - 5_000, since=now_ms - 9_000, state="backfilling")
    [exchange] = json.loads(run("--json", "status").stdout)["exchanges"]
    gone, alive = exchange["streams"]
    assert (alive["account"], alive["holder"], alive["state"]) == ("main", "vm:1:abc", "live")
    assert 7_200_000 <= alive["since_ms"] < 7_300_000
    assert 30_000 <= alive["silent_ms"] < 90_000
    assert (gone["account"], gone["holder"], gone["silent_ms"]) == ("alt", "", None)


def test_the_table_says_which_streams_are_down_and_since_when_the_others_live(
    pool: PlayedPool, run: Run, now_ms: int
) -> None:
    pool.register("binance", "main", "alt")
    note(pool, "main", until=now_ms + 60_000, since=now_ms - 7_200_000, last_message=now_ms - 30_000)
    note(pool, "alt", until=now_ms - 5_000, since=now_ms - 9_000)
    lines = run("status", columns=160).stdout.splitlines()
    [main] = [line for line in lines if "vm:1:abc" in line]
    [alt] = [line for line in lines if "nobody" in line]
    assert "live" in main
    assert "ago" in main
    assert "down" in alt
    assert "none yet" in alt


def test_without_streams_there_is_no_table_of_them(pool: PlayedPool, run: Run) -> None:
    pool.register("binance", "main")
    assert "user stream" not in run("status").stdout
