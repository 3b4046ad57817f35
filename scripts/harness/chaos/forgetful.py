"""A Redis that comes back at once and has forgotten the last moments, while workers that still hold their leases go on;
and a clock set back, so that what was appended before looks newer than what comes after."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec

from orderlane.intents import Intent, OrderType, PlaceOrder, Side
from scripts.harness.chaos.matrix import ACCOUNTS
from scripts.harness.chaos.redis_faults import append_only_file, cut_off, known_to, server_on
from scripts.harness.chaos.stage import Stage
from scripts.harness.chaos.terms import DEFAULT
from scripts.harness.material import Appended
from scripts.harness.producer import COINS

TIMING: Final = msgspec.structs.replace(
    DEFAULT, receive_window_ms=1_500, request_timeout_ms=1_500, clock_margin_ms=200, resolve_delays_ms=(20, 20)
)  # fmt: skip
"""The product's own leases: a worker that notices nothing goes on for two seconds. The window is short, so that waiting
for it is."""
ROUNDS: Final = ((0.0, "clients"), (1.0, "XADD"), (0.0, "XADD"), (1.0, "clients"))
"""For how many seconds Redis is away, and how producers append."""
BURST: Final = 80
"""Fewer intents than four of these: fewer rounds, two at least."""
REPLY_DELAY_MS: Final = 60
UNDER_WAY_SECONDS: Final = 0.4
LOST_SHARE: Final = (0.2, 0.9)
"""How much of what a round added to the append-only file is lost."""
AHEAD_SECONDS: Final = 120
AWAY_SECONDS: Final = 3.0


def play_back_at_once(stage: Stage) -> None:
    """Four times (twice with few intents): a burst over all lanes, Redis killed in the middle, the end of its file
    gone, and Redis back at once or a second later; producers use the client, or append by themselves."""
    stage.open_house(spot=False)
    stage.exchange_fault(route="^POST /fapi/v1/order$", fault="delay_reply", delay_ms=REPLY_DELAY_MS)
    rounds = ROUNDS[: max(2, stage.options.intents // BURST)]
    bursts = _bursts(stage, len(rounds))
    for away_seconds, producers in rounds:
        gone, again = _forget(stage, next(bursts), away_seconds, by_client=producers == "clients")
        stage.notes.append(
            f"Redis away for {away_seconds:g} s, producers by {producers}: {gone} answered entries were gone; their "
            f"producer sent {again} of them again"
        )
        if not stage.drain():
            return


def play_clock_set_back(stage: Stage) -> None:
    """Redis' clock was two minutes ahead and is right again: the stream's ids stay ahead of it. Redis is then killed
    with the end of its file gone."""
    stage.open_house(spot=False)
    key = stage.keys().intents
    entry = f"{time.time_ns() // 1_000_000 + AHEAD_SECONDS * 1000}-0"
    stage.client.xadd(key, {"intent": "appended by the clock that was ahead"}, id=entry)
    stage.submitter.appended.append(Appended("binance", entry))
    stage.fault(f"the clock is set back: the stream's ids are {AHEAD_SECONDS} s ahead")
    stage.exchange_fault(route="^POST /fapi/v1/order$", fault="delay_reply", delay_ms=REPLY_DELAY_MS)
    gone, again = _forget(stage, next(_bursts(stage, 1)), AWAY_SECONDS, by_client=True)
    stage.drain()
    stage.notes.append(
        f"stream ids {AHEAD_SECONDS} s ahead of Redis' clock: {gone} answered entries were gone; their producer sent "
        f"{again} of them again"
    )


def _bursts(stage: Stage, number: int) -> Iterator[list[Intent]]:
    """The run's intents in so many bursts: market orders, whose client order ids are free again at once."""
    coins, size = list(COINS), stage.options.intents // number
    for first in range(0, number * size, size):
        yield [
            PlaceOrder(
                id=f"burst-{index}", exchange="binance", account=ACCOUNTS[index // len(coins) % 2],
                symbol=f"{coins[index % len(coins)]}/USDT:USDT",
                side=Side.BUY if index // 24 % 2 else Side.SELL, type=OrderType.MARKET,
                amount=Decimal(COINS[coins[index % len(coins)]][0]),
            )
            for index in range(first, first + size)
        ]  # fmt: skip


def _forget(stage: Stage, burst: list[Intent], away_seconds: float, *, by_client: bool) -> tuple[int, int]:
    """Submit a burst, kill Redis in the middle of it and start it again without the end of its file; how many answered
    entries were gone, and how many of them were submitted again."""
    server = stage.pool.redis
    file = append_only_file(server.data_dir)
    size_before = file.stat().st_size
    if by_client:
        stage.submitter.submit_now(burst)
    else:
        stage.submitter.append_now(burst)
    time.sleep(UNDER_WAY_SECONDS)
    stage.fault("SIGKILL of Redis")
    server.kill()
    size = file.stat().st_size
    lost_bytes = cut_off(file, int((size - size_before) * stage.random.uniform(*LOST_SHARE)))
    stage.fault(f"the last {lost_bytes} of {size} bytes of the append-only file are gone")
    copy = stage.folder / f"redis-copy-{len(stage.faults)}"
    shutil.copytree(server.data_dir, copy)
    time.sleep(away_seconds)
    server.restart()
    before = list(stage.submitter.appended)
    with server_on(copy) as survivor:
        survived = known_to(survivor, before)
    gone = [one for one in before if (one.exchange, one.entry) not in survived]
    return len(gone), stage.resend(gone)
