"""Workers that join and leave under load, as real processes: the lanes follow, and nothing else has to be done."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
import redis

from orderlane.connection import connect
from orderlane.intents import OrderType, PlaceOrder, Side, encode_intent
from orderlane.keys import Keys
from scripts.harness.evidence import read_arrived
from scripts.harness.processes import LocalPool

EXCHANGE = "binance"
KEYS = Keys(EXCHANGE)
COINS = ("BTC", "ETH", "BNB", "SOL", "XRP", "ADA", "DOGE", "LTC", "LINK", "AVAX", "DOT", "ATOM")
ACCOUNTS = ("main", "alt")
LANES = len(COINS) * len(ACCOUNTS)
DEPTH = 600
"""Intents in each lane: work for longer than the workers take to join and leave."""
UNEVEN = 0.25
"""How far from even a worker's share may be."""
WAIT_SECONDS = 30.0
"""How long a test waits for what is promised; only a test that fails takes that long."""
CONFIG = """\
exchanges:
  binance:
    venue: binanceusdm
    accounts: {main: {}, alt: {}}
    limits: {weight_1m: 10000000/minute, orders_10s: 1000000/10 seconds, orders_1m: 10000000/minute}
"""
PAPER = ("--step-ms", "0", "--weight-limit", "10000000", "--orders-10s", "1000000", "--orders-1m", "10000000")
AMOUNTS = {"BTC": "0.002", "ETH": "0.02", "BNB": "0.1", "LTC": "0.5"}


def fill(client: redis.Redis) -> None:
    for number in range(DEPTH):
        with client.pipeline(transaction=False) as pipeline:
            for account in ACCOUNTS:
                for coin in COINS:
                    intent = PlaceOrder(
                        id=f"{coin}-{number}", exchange=EXCHANGE, account=account, symbol=f"{coin}/USDT:USDT",
                        side=Side.BUY if number % 2 else Side.SELL, type=OrderType.MARKET,
                        amount=Decimal(AMOUNTS.get(coin, "100")),
                    )  # fmt: skip
                    pipeline.xadd(KEYS.intents, {"intent": encode_intent(intent)})
            pipeline.execute()


def shares(client: redis.Redis) -> dict[str, int]:
    """The lanes of each worker in the pool."""
    with client.pipeline() as pipeline:
        pipeline.zrange(KEYS.workers, 0, -1)
        pipeline.hgetall(KEYS.load)
        workers, load = pipeline.execute()
    return {worker.decode(): int(load.get(worker, 0)) for worker in workers}


def is_fair(lanes: dict[str, int], workers: int) -> bool:
    even = LANES / workers
    return len(lanes) == workers and all(abs(one - even) <= UNEVEN * even for one in lanes.values())


def until(pool: LocalPool, condition: Callable[[], bool], what: Callable[[], str]) -> float:
    """Wait until it is so; after how many seconds."""
    started_at = time.monotonic()
    while not condition():
        pool.check()
        assert time.monotonic() - started_at < WAIT_SECONDS, what()
        time.sleep(0.005)
    return time.monotonic() - started_at


def test_shares_are_even_after_each_worker_that_joins_or_leaves_under_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "orderlane.yaml"
    config.write_text(CONFIG)
    told = {}
    with LocalPool(tmp_path / "pool", config=config, paper_options=PAPER) as pool:
        client = connect(pool.redis_url)
        fill(client)
        for count in (1, 2, 3):
            pool.start_worker(EXCHANGE, count)
            until(pool, lambda: len(shares(client)) == count, lambda: f"{count} workers: {shares(client)}")  # noqa: B023
            told[f"{count} workers"] = until(
                pool,
                lambda: is_fair(shares(client), count),  # noqa: B023
                lambda: f"{count} workers share {shares(client)}",  # noqa: B023
            )
        assert pool.processes.pop(f"{EXCHANGE}.1").stop() == 0
        told["one left"] = until(
            pool, lambda: is_fair(shares(client), 2), lambda: f"after one left: {shares(client)}"
        )
        assert client.xlen(KEYS.intents) > LANES, "the load ended too soon to prove anything"
        lanes = [(one.account, one.symbol) for one in read_arrived(pool)]
        client.close()
    assert len(set(lanes)) == LANES
    with capsys.disabled():
        moments = ", ".join(f"{what} {seconds * 1000:.0f} ms" for what, seconds in told.items())
        sys.stdout.write(f"\nshares of {LANES} lanes under load within {UNEVEN:.0%} of even: {moments}\n")
