"""How long it takes: from a worker's end to the next order of its lanes, measured at the exchange."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from common.failpoints import Arm
from orderlane.intents import Intent, OrderType, PlaceOrder, Side, TimeInForce
from scripts.harness.chaos.fleet import Worker
from scripts.harness.chaos.judging import Fault, Ruling
from scripts.harness.chaos.matrix import ACCOUNTS, NOTIONAL, plain
from scripts.harness.chaos.stage import Stage
from scripts.harness.producer import COINS
from scripts.harness.verdict import percentile

PER_LANE: Final = 6
REPLY_DELAY_MS: Final = 60
UNDER_WAY_SECONDS: Final = 0.15
STALLS: Final = ("place.begun", "record.before", "heartbeat.before", "take.answered")
STALL_SECONDS: Final = 1.0


class Ended(Struct, frozen=True):
    """A worker was ended while it had these lanes (`account|COINUSDT`)."""

    at_ms: int
    lanes: frozenset[str]


def play(stage: Stage) -> None:
    """Under a backlog in every lane: SIGKILL a worker, `intents` times; SIGTERM one as often; last, stall loops for a
    second."""
    stage.open_house(spot=False)
    stage.exchange_fault(route="^POST /fapi/v1/order$", fault="delay_reply", delay_ms=REPLY_DELAY_MS)
    rounds = Bursts(stage)
    turns = range(stage.options.intents)
    killed = [ended for _ in turns if (ended := rounds.end_one(signal.SIGKILL))]
    stopped = [ended for _ in turns if (ended := rounds.end_one(signal.SIGTERM))]
    _stall(stage, rounds)

    def measure(ruling: Ruling) -> None:
        stage.recoveries_ms += _say(stage, "SIGKILL", killed, ruling)
        _say(stage, "SIGTERM", stopped, ruling)

    stage.after_ruling.append(measure)


class Bursts:
    """Bursts of intents over every lane, each followed by the end of one worker."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._prices = stage.prices()
        self._count = 0

    def submit(self) -> None:
        """Some intents for each lane, all at once."""
        self._stage.submitter.submit_now(self._burst())

    def end_one(self, number: signal.Signals) -> Ended | None:
        """Submit a burst, end the oldest worker in the middle of it, wait until all is done."""
        stage = self._stage
        self.submit()
        time.sleep(UNDER_WAY_SECONDS)
        victim = stage.fleet.alive("binance")[0]
        lanes = _lanes_of(stage, victim)
        at_ms = time.time_ns() // 1_000_000
        stage.fault(f"{number.name} of {victim.name}, which has {len(lanes)} lanes")
        stage.fleet.signal(victim, number)
        stage.fleet.wait(victim)
        if number is signal.SIGTERM:
            stage.fleet.start("binance")
        stage.drain()
        stage.wait_for(
            lambda: len(stage.joined("binance")) >= stage.options.workers, 30, "no successor joined"
        )
        return Ended(at_ms, lanes) if lanes else None

    def _burst(self) -> Iterator[Intent]:
        for _ in range(PER_LANE):
            for account in ACCOUNTS:
                for coin in COINS:
                    self._count += 1
                    price = self._prices[f"{coin}/USDT:USDT"]
                    yield PlaceOrder(
                        id=f"burst-{self._count}", exchange="binance", account=account, symbol=f"{coin}/USDT:USDT",
                        side=Side.BUY, type=OrderType.LIMIT, amount=plain(NOTIONAL / price),
                        price=plain(price * Decimal("0.98")), time_in_force=TimeInForce.GTC,
                    )  # fmt: skip


def _lanes_of(stage: Stage, worker: Worker) -> frozenset[str]:
    owners: Any = stage.client.hgetall(stage.keys().owners)
    mine = [lane.decode() for lane, by in owners.items() if by.decode().split(":")[1] == str(worker.pid)]
    return frozenset(lane.replace("/USDT:USDT", "USDT") for lane in mine)


def _say(stage: Stage, what: str, ends: Sequence[Ended], ruling: Ruling) -> list[float]:
    """Note the times from each end to the next order of each lane that the worker had; these times."""
    times = []
    for ended in ends:
        left = set(ended.lanes)
        for one in ruling.arrived:
            lane = f"{one.account}|{one.symbol}"
            if one.at_us // 1000 > ended.at_ms and lane in left and one.kind == "place":
                left.discard(lane)
                times.append(one.at_us / 1000 - ended.at_ms)
    window_ms = stage.timing.receive_window_ms
    waited = [one for one in times if one >= window_ms]
    prompt = [one for one in times if one < window_ms]
    stage.notes.append(
        f"{what}: {len(ends)} times, {len(prompt)} lanes: next order after p50 {percentile(prompt, 0.5):.0f} ms, "
        f"max {max(prompt, default=0):.0f} ms "
        f"(lease {stage.timing.lease_ms} ms, heartbeat {stage.timing.heartbeat_ms} ms)"
    )
    if waited:
        stage.notes.append(
            f"{what}: {len(waited)} more lanes had begun a request that never arrived, and waited until the "
            f"exchange could not execute it any more ({window_ms} ms and a margin): max {max(waited):.0f} ms"
        )
    return times


def _stall(stage: Stage, rounds: Bursts) -> None:
    """Block loops for a second, each worker's once and at a point of its own: nobody may lose its lease over it."""
    stage.fleet.stop_all()
    stage.fleet.replacing = True
    for number, point in enumerate(STALLS):
        stall = Arm(
            point=point, action="block", token=f"stall-{number}", at=2 + number, seconds=STALL_SECONDS
        )
        stage.arms[:] = [stall]
        stage.fleet.start("binance")
    stage.arms.clear()
    stage.wait_for(lambda: len(stage.joined("binance")) >= len(STALLS), 30, "the workers did not join")
    before = set(stage.joined("binance"))
    rounds.submit()
    stage.drain()
    time.sleep(STALL_SECONDS)
    lost = before - set(stage.joined("binance"))
    stalls = stage.tokens_struck().values()
    stage.faults += [Fault(one.at_ms, f"{one.pid} stalled at {one.point}") for one in stalls]
    stage.notes.append(
        f"{len(stalls)} loops stalled for {STALL_SECONDS:g} s: {len(lost)} leases lost over it"
    )
    stage.findings += [
        f"false takeover: {one} lost its lease over a stall of {STALL_SECONDS:g} s" for one in lost
    ]
