"""The demo as a newcomer runs it, and what it says when something goes wrong."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orderlane.connection import connect
from orderlane.keys import Keys
from scripts.demo import EXCHANGES, POOL, start_producer, wait_until_ready
from scripts.harness import flood
from scripts.harness.evidence import leaked_keys, read_appended, read_arrived, read_journal
from scripts.harness.flooded import wait_for_workers
from scripts.harness.processes import ROOT, LocalPool
from scripts.harness.verdict import judge

DRAIN_SECONDS = 90.0


def run_demo(*options: str) -> tuple[int, dict[str, object]]:
    """Exit code and closing line of `scripts/demo --json`."""
    done = subprocess.run(
        [sys.executable, "-P", str(ROOT / "scripts" / "demo.py"), "--json", *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=180,
        check=False,
    )
    assert done.stdout, done.stderr.decode()
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("workers", [2, 4])
def test_every_intent_of_the_demo_ends_once_with_two_and_with_four_workers(workers: int) -> None:
    code, closing = run_demo("--workers", str(workers), "--intents", "200", "--seed", str(workers))
    assert code == 0
    assert (closing["lost"], closing["duplicated"], closing["out_of_order"]) == (0, 0, 0)
    assert closing["intents"] == 200
    assert closing["acknowledged"] + closing["rejected"] + closing["failed"] == 200  # type: ignore[operator]
    assert closing["filled"]
    assert closing["failed"]
    assert closing["fills"]
    assert closing["differences"] == 0


def test_every_intent_of_the_demo_ends_once_on_a_cluster_of_three_masters() -> None:
    code, closing = run_demo("--cluster", "--intents", "120", "--seed", "3")
    assert code == 0
    assert (closing["lost"], closing["duplicated"], closing["out_of_order"]) == (0, 0, 0)
    assert closing["acknowledged"] + closing["rejected"] + closing["failed"] == 120  # type: ignore[operator]
    assert closing["filled"]


def test_nothing_is_lost_or_doubled_when_a_worker_is_killed_in_the_middle(tmp_path: Path) -> None:
    with LocalPool(tmp_path, paper_options=("--seed", "7")) as pool:
        client = connect(pool.redis.url)
        victim = pool.start_worker("binance", 1)
        pool.start_worker("binance", 2)
        pool.start_worker("binance-spot", 1)
        wait_until_ready(pool, client, 3)
        record = tmp_path / "appended.jsonl"
        producer = start_producer(pool, 240, 7, record)
        intents = Keys("binance", POOL).intents
        while len(read_arrived(pool)) < 40:
            time.sleep(0.01)
        owned = client.hvals(Keys("binance", POOL).owners)
        victim.kill()
        del pool.processes[victim.name]
        deadline = time.monotonic() + DRAIN_SECONDS
        while (
            producer.poll() is None or client.xlen(intents) or client.xlen(Keys("binance-spot", POOL).intents)
        ):
            assert time.monotonic() < deadline, "the backlog did not drain"
            pool.check()
            time.sleep(0.05)
        verdict = judge(read_appended(record), read_arrived(pool), read_journal(client, POOL, EXCHANGES))
        assert owned, "the victim held nothing: the kill proved nothing"
        assert verdict.findings == ()
        assert verdict.holds
        assert verdict.unknown == 0
        assert leaked_keys(client) == []
        client.close()


def test_a_flood_of_one_account_is_judged_and_measured_beside_the_others(tmp_path: Path) -> None:
    config = tmp_path / "orderlane.yaml"
    config.write_text(flood.CONFIG)
    with LocalPool(tmp_path / "pool", config=config, paper_options=flood.PAPER_OPTIONS) as pool:
        for number in (1, 2):
            pool.start_worker(flood.EXCHANGE, number)
        wait_for_workers(pool, 2)
        outcome = flood.run_flood(pool, 400, 4.0, 1, lambda _: None)
    verdict = outcome.verdict
    assert verdict.findings == ()
    assert verdict.holds
    assert verdict.unknown == 0
    assert outcome.waiting > len(flood.CALM), "the flood was gone before it could hold anybody back"
    assert outcome.flood == 400
    assert 0 < outcome.sent < 400
    assert len(outcome.alone_ms) == int(4.0 * flood.CALM_RATE)
    assert len(outcome.flooded_ms) == int(2.0 * flood.CALM_RATE)
