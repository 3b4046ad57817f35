"""A pool on a real Redis Cluster: workers, scheduler, client and command, each a process or connection of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orderlane.client import Client
from orderlane.connection import connect
from orderlane.intents import OrderType, PlaceOrder, Side
from orderlane.keys import Keys
from orderlane.orders import OrderStatus
from scripts.demo import wait_until_ready
from scripts.harness.evidence import leaked_keys
from scripts.harness.processes import LocalPool

SECONDS = 60.0
SYMBOLS = {"binance": "BTC/USDT:USDT", "binance-spot": "BTC/USDT"}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPool]:
    with LocalPool(tmp_path_factory.mktemp("pool"), masters=3) as one:
        one.start_worker("binance", 1)
        one.start_worker("binance-spot", 1)
        one.start_scheduler()
        with connect(one.redis_url) as client:
            wait_until_ready(one, client, 2)
        yield one


@pytest.fixture
def client(pool: LocalPool) -> Iterator[Client]:
    with Client(pool.redis_url, account="main", retry_seconds=SECONDS) as one:
        yield one


def an_intent(intent_id: str, exchange: str) -> PlaceOrder:
    return PlaceOrder(
        id=intent_id, exchange=exchange, account="main", symbol=SYMBOLS[exchange], side=Side.BUY,
        type=OrderType.MARKET, amount=Decimal("0.01"),
    )  # fmt: skip


def test_orders_of_exchanges_on_different_masters_are_placed(pool: LocalPool, client: Client) -> None:
    assert pool.cluster is not None
    assert len({pool.cluster.master_of(Keys(exchange).intents).port for exchange in SYMBOLS}) == 2
    for exchange in SYMBOLS:
        client.submit(an_intent("first", exchange))
        order = client.wait("first", until="terminal", timeout_seconds=SECONDS, exchange=exchange)
        assert order.status is OrderStatus.FILLED


def test_the_command_shows_the_workers_of_every_exchange(pool: LocalPool) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "orderlane.cli", "--redis-url", pool.redis_url, "--json", "status"],
        env=pool.environment, capture_output=True, timeout=SECONDS, check=True,
    )  # fmt: skip
    status = json.loads(shown.stdout)
    assert [one["exchange"] for one in status["exchanges"]] == ["binance", "binance-spot"]
    assert [len(one["workers"]) for one in status["exchanges"]] == [1, 1]


def test_the_periodic_jobs_run_from_a_plain_redis_and_reach_the_cluster(
    pool: LocalPool, client: Client
) -> None:
    deadline = time.monotonic() + SECONDS
    lock = Keys("binance-spot").lock("sync")
    with connect(pool.redis_url) as cluster, connect(pool.redis.url) as plain:
        while not cluster.exists(lock):
            assert time.monotonic() < deadline, "no sync has begun"
            time.sleep(0.1)
        assert [key for key in plain.scan_iter("*") if not key.startswith(b"rq:")] == []


def test_a_worker_follows_its_exchange_to_another_master(pool: LocalPool, client: Client) -> None:
    assert pool.cluster is not None
    key = Keys("binance").intents
    before = pool.cluster.master_of(key)
    pool.cluster.move(key, next(node for node in pool.cluster.nodes if node is not before))
    client.submit(an_intent("moved", "binance"))
    order = client.wait("moved", until="terminal", timeout_seconds=SECONDS, exchange="binance")
    assert order.status is OrderStatus.FILLED
    assert pool.cluster.master_of(key) is not before
    with connect(pool.redis_url) as cluster:
        found: Any = cluster.scan_iter("orderlane:*")
        assert leaked_keys(cluster) == []
        assert any(name.startswith(b"orderlane:{binance-spot}") for name in found)


def test_a_worker_in_a_cluster_without_a_queue_of_its_own_is_refused(pool: LocalPool, tmp_path: Path) -> None:
    environment = {name: text for name, text in pool.environment.items() if name != "RQ_REDIS_URL"}
    refused = subprocess.run(
        [sys.executable, "-m", "workers.exchange", "--exchange", "binance"],
        env=environment, capture_output=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert refused.returncode == 1
    assert b"RQ_REDIS_URL" in refused.stderr
