"""What a run is told: the pool's settings of time, and what the command line says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from scripts.harness.chaos.judging import POOL

NO_LIMIT: Final = {
    "weight_1m": "6000000/minute",
    "orders_10s": "1000000/10 seconds",
    "orders_1m": "6000000/minute",
}


class Timing(Struct, frozen=True, kw_only=True):
    """The settings of time under which a scenario runs (ms), shorter than the defaults so that waits are short."""

    lease_ms: int = 800
    heartbeat_ms: int = 200
    receive_window_ms: int = 1_500
    request_timeout_ms: int = 800
    clock_margin_ms: int = 200
    resolve_delays_ms: tuple[int, ...] = (100, 200, 300)
    resolve_cap_ms: int = 500
    lanes: int = 256
    in_flight: int = 64
    max_deaths: int = 100
    restart_doubt_seconds: int = 5
    stuck_seconds: int = 0
    """After how long an order counts as stuck; it is then asked for after a second, two, four and so on. 0: as by
    default."""
    user_streams: bool = True


STUCK_AFTER: Final = ("unacknowledged_seconds", "cancel_seconds", "absent_seconds", "unknown_seconds")
QUICK: Final = Timing()
DEFAULT: Final = Timing(
    lease_ms=2_000,
    heartbeat_ms=500,
    receive_window_ms=10_000,
    request_timeout_ms=10_000,
    clock_margin_ms=1_000,
    resolve_delays_ms=(200, 500, 1_000, 2_000),
    resolve_cap_ms=30_000,
    max_deaths=3,
    restart_doubt_seconds=60,
)


class Options(Struct, frozen=True, kw_only=True):
    """What the command line says of a run. `masters` (0: one Redis, no cluster), each with so many `replicas`;
    `cluster`: whether that was asked for, and not the scenario's own."""

    seed: int = 1
    intents: int = 100
    workers: int = 2
    minutes: float = 1.0
    rate: float = 20.0
    only: str = ""
    masters: int = 0
    replicas: int = 0
    cluster: bool = False
    uses: frozenset[str] = frozenset()
    """Which of the options that not every scenario heeds this one does."""


def repeat_command(name: str, options: Options, only: str = "") -> str:
    """The command that runs a scenario again as it was run; `only`: but of its cells this one."""
    words = [
        "scripts/chaos", name, "--seed", str(options.seed), "--intents", str(options.intents), "--workers",
        str(options.workers), "--rate", f"{options.rate:g}",
    ]  # fmt: skip
    words += ["--minutes", f"{options.minutes:g}"] if "minutes" in options.uses else []
    words += ["--cluster"] if options.cluster else []
    only = only or options.only
    return " ".join(words + (["--only", only] if only else []))


def configuration(timing: Timing) -> str:
    """The `orderlane.yaml` of a stage (YAML is a superset of JSON)."""
    worker = {
        "lease_ms": timing.lease_ms,
        "heartbeat_ms": timing.heartbeat_ms,
        "lanes": timing.lanes,
        "in_flight": timing.in_flight,
        "grace_seconds": max(1.0, timing.request_timeout_ms / 1000),
        "max_deaths": timing.max_deaths,
        "resolve_delays_ms": timing.resolve_delays_ms,
        "resolve_cap_ms": timing.resolve_cap_ms,
        "clock_margin_ms": timing.clock_margin_ms,
        "restart_doubt_seconds": timing.restart_doubt_seconds,
    }

    def exchange(venue: str, limits: Sequence[str]) -> dict[str, object]:
        return {
            "venue": venue,
            "accounts": {"main": {}, "alt": {}},
            "receive_window_ms": timing.receive_window_ms,
            "request_timeout_ms": timing.request_timeout_ms,
            "limits": {name: NO_LIMIT[name] for name in limits},
            "user_stream": {"enabled": timing.user_streams},
            "worker": worker,
        }

    stuck = dict.fromkeys(STUCK_AFTER, timing.stuck_seconds) | {"ask_first_seconds": 1}
    settings = {
        "pool": POOL,
        "scheduler": {"sync_period_seconds": 5, "stuck": stuck if timing.stuck_seconds else {}},
        "exchanges": {
            "binance": exchange("binanceusdm", ("weight_1m", "orders_10s", "orders_1m")),
            "binance-spot": exchange("binance", ("weight_1m", "orders_10s")),
        },
    }
    return msgspec.json.format(msgspec.json.encode(settings), indent=2).decode() + "\n"
