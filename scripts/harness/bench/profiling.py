"""Where the microseconds of an intent go in a worker: sampled from outside by py-spy, in an environment of its own.

Every sample of the main thread belongs to the innermost frame that one of `PARTS` knows. Shares of samples times the
CPU that an intent costs without a profiler, measured in the same run, give microseconds.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

from scripts.harness.bench.load import append, payloads
from scripts.harness.bench.queues import environment_of
from scripts.harness.bench.stage import Shape, Stage
from scripts.harness.bench.statistics import spread_of
from scripts.harness.bench.throughput import LANES, Run, run_pool
from scripts.harness.processes import PoolFailed

SAMPLES_A_SECOND: Final = 200
STARTED: Final = 500
"""Orders after which the start of the worker is over."""

REST: Final = "event loop: uvloop, sockets, tasks switched"
PARTS: Final = (
    (REST, ("workers/exchange.py",)),  # its main function runs the loop
    ("HTTP: connections, replies", ("common/exchange/http_", "httptools/", "aiohappyeyeballs/")),
    (
        "request written and signed",
        ("common/exchange/binance_requests.py", "hmac.py", "hashlib.py", "ccxt/", "urllib/parse.py"),
    ),
    ("adapter: call, reply judged, report", ("common/exchange/",)),
    (
        "Redis: scripts packed, written, replies handed out",
        ("common/redis.py", "common/pipeline.py", "common/scripts.py", "hiredis/"),
    ),
    ("Redis: sleeping and waking", ("common/bell.py",)),
    ("Redis: connections made, by redis-py", ("common/own_connection.py", "redis/")),
    (
        "journal: records and events as JSON",
        ("common/journal.py", "common/lane_queue.py", "orderlane/events.py", "orderlane/orders.py"),
    ),
    ("intent: decoded, encoded, checked", ("orderlane/intents.py", "orderlane/repeated_keys.py")),
    ("client order id", ("orderlane/identity.py", "base64.py")),
    (
        "normaliser and market rules",
        (
            "common/normalizer.py",
            "common/order_rules.py",
            "common/market",
            "workers/rules.py",
            "common/exact.py",
        ),
    ),
    (
        "tokens: claim, gate, usage headers",
        (
            "common/limiter.py",
            "common/gate.py",
            "common/claims.py",
            "common/buckets.py",
            "workers/throttle.py",
        ),
    ),
    ("telemetry", ("common/telemetry/", "logging/", "sentry_sdk/")),
    ("lanes and lease", ("common/lanes.py", "workers/life.py")),
    ("pipeline's own steps", ("workers/",)),
)
"""A part's name, and what the files of its frames are called."""


class Share(Struct, frozen=True):
    """One part of the worker's time: the share of samples, and microseconds of an intent."""

    part: str
    share: float
    microseconds: float


class Profile(Struct, frozen=True):
    """Where a worker's time went, dearest first; CPU of an intent (worker and Redis), us; commands of an intent."""

    worker_us: float
    redis_us: float
    samples: int
    shares: list[Share]
    commands: list[tuple[str, float, float]]
    """Redis' own account of its commands: name, calls and microseconds for each intent, dearest first."""


def part_of(stack: str) -> str:
    """The part a sample belongs to; `stack` is a line of py-spy's raw form, outermost frame first."""
    for frame in reversed(stack.split(";")):
        for part, files in PARTS:
            if any(name in frame for name in files):
                return part
    return REST


def shares_of(lines: Iterable[str], worker_us: float) -> tuple[list[Share], int]:
    """The parts of a profile in py-spy's raw form (`frame;frame;… count`), and how many samples it has.

    Samples of other threads than the main one are left out: those wait.
    """
    counted: Counter[str] = Counter()
    for line in lines:
        stack, _, number = line.rpartition(" ")
        if number.isdigit() and "threading.py" not in stack:
            counted[part_of(stack)] += int(number)
    total = sum(counted.values())
    shares = [Share(part, count / total, count / total * worker_us) for part, count in counted.most_common()]
    return shares, total


def profile(repeats: int, orders: int, seconds: float) -> Profile:
    """Profile a worker at its greatest throughput over 64 lanes.

    Raises:
        PoolFailed: py-spy could not look at the worker (it needs the right to trace other processes).
    """
    binaries = environment_of("profiler")
    with Stage(Shape()) as stage:
        runs = [run_pool(stage, orders, LANES) for _ in range(repeats)]
        commands = _commands(stage, orders)
        raw = _sampled(stage, binaries, orders, seconds)
    worker_us = spread_of([run.worker_us for run in runs]).median
    shares, samples = shares_of(raw.splitlines(), worker_us)
    return Profile(worker_us, _redis_us(runs), samples, shares, commands)


def _redis_us(runs: list[Run]) -> float:
    return spread_of([run.redis_us for run in runs]).median


def _commands(stage: Stage, orders: int) -> list[tuple[str, float, float]]:
    found: dict[str, dict[str, float]] = stage.redis.info("commandstats")
    rows = [
        (name.removeprefix("cmdstat_"), one["calls"] / orders, one["usec"] / orders)
        for name, one in found.items()
    ]
    return sorted(rows, key=lambda row: -row[2])[:12]


def _sampled(stage: Stage, binaries: Path, orders: int, seconds: float) -> str:
    stage.clear()
    append(stage, payloads(stage, int(orders * 10), LANES, "p"))
    worker = stage.start_worker()
    written = stage.folder / "profile.raw"
    try:
        stage.wait_for_arrivals(STARTED, 60, worker)
        command = [
            str(binaries / "py-spy"), "record", "--pid", str(worker.pid), "--duration", f"{seconds:.0f}",
            "--rate", str(SAMPLES_A_SECOND), "--format", "raw", "--output", str(written), "--nonblocking",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
        if not written.exists():
            raise PoolFailed(f"py-spy ended with code {done.returncode}: {done.stderr.strip()[-300:]}")
        return written.read_text()
    finally:
        stage.drop(worker)


def profile_tables(found: Profile) -> str:
    """A profile in Markdown."""
    lines = [
        f"An intent costs {found.worker_us:.0f} us of a worker's CPU and {found.redis_us:.0f} us of Redis'.",
        "",
        f"| worker ({found.samples} samples) | share | us |",
        "|---|--:|--:|",
        *(f"| {one.part} | {one.share:.1%} | {one.microseconds:.0f} |" for one in found.shares),
        "",
        "| Redis, by its own count (`evalsha` contains the others) | calls for an intent | us |",
        "|---|--:|--:|",
        *(f"| {name} | {calls:.2f} | {spent:.1f} |" for name, calls, spent in found.commands),
    ]
    return "\n".join(lines) + "\n"
