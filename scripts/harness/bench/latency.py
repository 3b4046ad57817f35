"""How long an intent takes from XADD to the exchange: when the pool is idle, and at half of what it can do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import redis.asyncio
import uvloop

from orderlane.connection import connect_async
from orderlane.identity import client_order_id
from orderlane.keys import INTENT_FIELD
from scripts.harness.bench.load import payloads
from scripts.harness.bench.measures import Result, compared, seen
from scripts.harness.bench.stage import EXCHANGE, POOL, Site, Stage, shape_for
from scripts.harness.bench.statistics import percentile
from scripts.harness.bench.throughput import LANES, run_pool

IDLE_GAP_SECONDS = 0.02
"""Between two intents: many times what one takes, so that the worker sleeps in between."""
WARM_UP = 20
TICK_SECONDS = 0.002
SETTLE_SECONDS = 1.0


def idle(repeats: int, samples: int, site: Site) -> Result:
    """Measure 3."""
    medians, tails, pings, blocking = [], [], [], []
    with Stage(shape_for(site, LANES)) as stage:
        for _ in range(repeats):
            latencies, round_trips = _idle_run(stage, samples)
            medians.append(percentile(latencies, 0.5))
            tails.append(percentile(latencies, 0.99))
            pings.append(percentile(round_trips, 0.5))
            blocking.append(percentile(_blocking_round_trips(stage, samples), 0.5))
    return Result(
        number=3,
        counted=[
            compared(
                "XADD to the exchange, p50, beside a round trip of an asyncio client", medians, pings, "us"
            )
        ],
        explaining=[
            seen("XADD to the exchange, p99", tails, "us"),
            seen("a round trip of a blocking client, p50", blocking, "us"),
        ],
    )


def loaded(repeats: int, samples: int, orders: int, site: Site) -> Result:
    """Measure 4."""
    medians, tails, loaded_medians, rates = [], [], [], []
    with Stage(shape_for(site, LANES)) as stage:
        for _ in range(repeats):
            latencies, _ = _idle_run(stage, samples)
            medians.append(percentile(latencies, 0.5))
            rate = run_pool(stage, orders, LANES).rate / 2
            under_load = _loaded_run(stage, rate, orders)
            tails.append(percentile(under_load, 0.99))
            loaded_medians.append(percentile(under_load, 0.5))
            rates.append(rate)
    return Result(
        number=4,
        counted=[compared("p99 at half the greatest throughput, beside p50 idle", tails, medians, "us")],
        explaining=[
            seen("p50 at half the greatest throughput", loaded_medians, "us"),
            seen("half the greatest throughput", rates, "orders/s"),
        ],
    )


def _idle_run(stage: Stage, samples: int) -> tuple[list[float], list[float]]:
    """Latencies and round trips, us, taken in turn."""
    stage.clear()
    worker = stage.start_worker()
    try:
        stage.wait_until_joined(1, worker)
        intents = list(payloads(stage, samples + WARM_UP, LANES, "i"))
        sent_ns, round_trips = uvloop.run(_one_by_one(stage, intents))
        stage.wait_for_arrivals(len(intents), 30, worker)
        return _latencies(stage, sent_ns, "i")[WARM_UP:], round_trips[WARM_UP:]
    finally:
        stage.drop(worker)


def _loaded_run(stage: Stage, rate: float, orders: int) -> list[float]:
    """Latencies, us, of intents appended evenly at `rate` a second, the first part left out."""
    stage.clear()
    worker = stage.start_worker()
    try:
        stage.wait_until_joined(1, worker)
        time.sleep(SETTLE_SECONDS)
        intents = list(payloads(stage, orders, LANES, "l"))
        sent_ns = uvloop.run(_paced(stage, intents, rate))
        stage.wait_for_arrivals(orders, 60, worker)
        return _latencies(stage, sent_ns, "l")[orders // 5 :]
    finally:
        stage.drop(worker)


def _latencies(stage: Stage, sent_ns: Sequence[int], prefix: str) -> list[float]:
    """From sending XADD to the arrival at the exchange, us, in the order of sending."""
    arrived: dict[str, int] = {}
    for at_ns, name in stage.arrivals():
        arrived.setdefault(name, at_ns)
    found = []
    symbols = len(stage.instruments)
    for number, at_ns in enumerate(sent_ns):
        account = stage.accounts[number % LANES // symbols]
        name = client_order_id(POOL, EXCHANGE, account, f"{prefix}-{number}")
        found.append((arrived[name] - at_ns) / 1000)
    return found


async def _one_by_one(stage: Stage, intents: Sequence[bytes]) -> tuple[list[int], list[float]]:
    client: redis.asyncio.Redis = connect_async(stage.redis_server.url)
    sent_ns, round_trips = [], []
    try:
        for intent in intents:
            await asyncio.sleep(IDLE_GAP_SECONDS)
            asked_ns = time.perf_counter_ns()
            await client.ping()
            round_trips.append((time.perf_counter_ns() - asked_ns) / 1000)
            await asyncio.sleep(IDLE_GAP_SECONDS)
            sent_ns.append(time.time_ns())
            await client.xadd(stage.keys.intents, {INTENT_FIELD: intent})
    finally:
        await client.aclose()
    return sent_ns, round_trips


async def _paced(stage: Stage, intents: Sequence[bytes], rate: float) -> list[int]:
    client: redis.asyncio.Redis = connect_async(stage.redis_server.url)
    sent_ns: list[int] = []
    started = time.perf_counter()
    try:
        while len(sent_ns) < len(intents):
            due = min(int((time.perf_counter() - started) * rate), len(intents))
            if due > len(sent_ns):
                pipeline = client.pipeline(transaction=False)
                for intent in intents[len(sent_ns) : due]:
                    pipeline.xadd(stage.keys.intents, {INTENT_FIELD: intent})
                sent_ns += [time.time_ns()] * (due - len(sent_ns))
                await pipeline.execute()
            await asyncio.sleep(TICK_SECONDS)
    finally:
        await client.aclose()
    return sent_ns


def _blocking_round_trips(stage: Stage, samples: int) -> list[float]:
    found = []
    for _ in range(samples):
        time.sleep(0.001)
        asked_ns = time.perf_counter_ns()
        stage.redis.ping()
        found.append((time.perf_counter_ns() - asked_ns) / 1000)
    return found
