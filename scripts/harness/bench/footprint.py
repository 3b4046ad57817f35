"""What the pool costs when it stands still: memory in Redis and in a worker, CPU and requests, and its start."""

from __future__ import annotations

import threading
import time
from typing import Any

from scripts.harness.bench.load import append, payloads
from scripts.harness.bench.measures import Result, bounded, seen
from scripts.harness.bench.processes import Child, cpu_seconds, usage_of, wait_until
from scripts.harness.bench.stage import Shape, Site, Stage, shape_for

ORDER_BYTES = 2048
WAITING_LANES = 10_000
WAITING_BYTES = 100e6
IDLE_CPU_PERCENT = 1.0
IDLE_REQUESTS = 3.0
START_SECONDS = 1.5
VENUE_SYMBOLS = 500
"""About as many as Binance lists among its USDⓈ-M futures: their rules are read at the start."""
IDLE_LANES = 16
SETTLE_SECONDS = 1.0
SLOW_MS = 2_000.0


def open_order_memory(repeats: int, orders: int) -> Result:
    """Measure 6."""
    held, with_events, lengths = [], [], []
    with Stage(Shape(status="NEW")) as stage:
        for _ in range(repeats):
            stage.clear()
            _place_all(stage, 64, 0, "w")
            stage.redis.delete(stage.keys.events)
            before = _memory(stage)
            _place_all(stage, orders, 64, "o")
            after_with_events = _memory(stage)
            stage.redis.delete(stage.keys.events)
            held.append((_memory(stage) - before) / orders)
            with_events.append((after_with_events - before) / orders)
            some = next(iter(stage.redis.scan_iter(f"{stage.keys.prefix_order}*")))
            lengths.append(float(len(stage.redis.hget(some, "record") or b"")))
    return Result(
        number=6,
        counted=[bounded("memory of an open order", held, ORDER_BYTES, "bytes")],
        explaining=[
            seen("the same with its events, which are trimmed by age", with_events, "bytes"),
            seen("the record's JSON alone", lengths, "bytes"),
        ],
    )


def waiting_lanes_memory(repeats: int) -> Result:
    """Measure 7: every lane is in the worker's hands, and waits for one of its few requests."""
    grown, idle = [], []
    shape = Shape(symbols=1000, accounts=WAITING_LANES // 1000, lanes=WAITING_LANES, delay_ms=SLOW_MS)
    with Stage(shape) as stage:
        for _ in range(repeats):
            stage.clear()
            worker = stage.start_worker()
            try:
                stage.wait_until_joined(1, worker)
                time.sleep(SETTLE_SECONDS)
                before = usage_of(worker.pid).memory_bytes
                append(stage, payloads(stage, WAITING_LANES, WAITING_LANES, "m"))
                wait_until(
                    lambda: int(stage.redis.hlen(stage.keys.owners)) >= WAITING_LANES * 0.95,
                    "taking every lane",
                    60,
                    worker,
                )
                time.sleep(SETTLE_SECONDS)
                idle.append(before / 1e6)
                grown.append(usage_of(worker.pid).memory_bytes - before)
            finally:
                stage.drop(worker)
    return Result(
        number=7,
        counted=[bounded("memory over idle", [value / 1e6 for value in grown], WAITING_BYTES / 1e6, "MB")],
        explaining=[seen("an idle worker, 1 000 markets and 10 accounts", idle, "MB")],
    )


def idle_cost(repeats: int, seconds: float, site: Site) -> Result:
    """Measure 8."""
    percents, requests = [], []
    with Stage(shape_for(site, IDLE_LANES)) as stage:
        worker = stage.start_worker()
        stage.wait_until_joined(1, worker)
        time.sleep(SETTLE_SECONDS)
        for _ in range(repeats):
            with Overheard(stage) as overheard:
                used, started = cpu_seconds(worker.pid), time.monotonic()
                time.sleep(seconds)
                percents.append((cpu_seconds(worker.pid) - used) / (time.monotonic() - started) * 100)
            requests.append(overheard.commands / seconds)
    return Result(
        number=8,
        counted=[
            bounded("CPU of an idle worker", percents, IDLE_CPU_PERCENT, "% of a core"),
            bounded("requests to Redis", requests, IDLE_REQUESTS, "1/s"),
        ],
    )


def start_time(repeats: int) -> Result:
    """Measure 9."""
    first, later = [], []
    with Stage(Shape(symbols=VENUE_SYMBOLS)) as stage:
        for _ in range(repeats):
            stage.clear()
            first.append(_start_seconds(stage))
            stage.redis.delete(stage.keys.workers)
            later.append(_start_seconds(stage))
    return Result(
        number=9,
        counted=[
            bounded("the first worker, which loads the markets", first, START_SECONDS, "s"),
            bounded("a further worker", later, START_SECONDS, "s"),
        ],
    )


class Overheard:
    """Counts the commands that clients send to Redis; those that scripts run inside are none of them."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.commands = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Overheard:
        self._thread.start()
        self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._stage.redis.echo("end of listening")
        self._thread.join()

    def _listen(self) -> None:
        client: Any = self._stage.redis  # its `monitor` has no types
        with client.monitor() as monitor:
            self._ready.set()
            for heard in monitor.listen():
                if heard["command"].startswith("ECHO"):
                    return
                self.commands += heard["client_type"] != "lua"


def _place_all(stage: Stage, count: int, offset: int, prefix: str) -> None:
    """Place orders through a worker, and end it."""
    append(stage, payloads(stage, count, 64, prefix))
    worker = stage.start_worker()
    stage.wait_for_arrivals(count + offset, 120, worker)
    wait_until(lambda: int(stage.redis.xlen(stage.keys.intents)) == 0, "the end of the backlog", 30, worker)
    stage.end(worker)


def _memory(stage: Stage) -> int:
    found: dict[str, int] = stage.redis.info("memory")
    return int(found["used_memory"])


def _start_seconds(stage: Stage) -> float:
    started = time.perf_counter()
    worker: Child = stage.start_worker()
    try:
        while not stage.redis.zcard(stage.keys.workers):
            worker.check()
            time.sleep(0.002)
        return time.perf_counter() - started
    finally:
        stage.drop(worker)
