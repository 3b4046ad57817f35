"""Zombies: workers that stand still for longer than their lease and the receive window, and then go on; workers whose
clock is wrong, and workers whose event loop is blocked."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from common.failpoints import POINTS, Arm
from scripts.harness.chaos.judging import Fault
from scripts.harness.chaos.matrix import COINS, Cell, Seat, batches, cells, sample, seats
from scripts.harness.chaos.stage import Stage
from scripts.harness.chaos.terms import QUICK, Timing
from scripts.harness.chaos.wakers import STAND_STILL_SECONDS, Wakers

TIMING: Final[Timing] = msgspec.structs.replace(
    QUICK,
    lanes=1,
    in_flight=1,
    lease_ms=600,
    heartbeat_ms=150,
    receive_window_ms=1_000,
    request_timeout_ms=600,
)
STAND_STILL_BRIEFLY_SECONDS: Final = 0.8
"""Longer than the lease and shorter than the receive window: its successor has the lane, and the exchange may still
execute what it sends."""
SPOT_CREW: Final = 2
BEHAVIOURS: Final = ("accepts", "drops_reply", "5xx_not_executed", "hangs_executed", "late")
CLOCKS_OFF_SECONDS: Final = (30.0, -30.0)
BLOCKED_SECONDS: Final = 1.5
BLOCKS: Final = 12


def cells_of(only: str) -> list[Cell]:
    """The cells of the matrix that are played, as `--only` chooses."""
    return [cell for cell in cells(only) if cell.behaviour in BEHAVIOURS]


def play(stage: Stage) -> None:
    """SIGSTOP at points of one intent's way, while the exchange accepts, loses the reply or hangs; then wrong clocks
    and blocked loops under load."""
    every = cells_of(stage.options.only)
    chosen = sample(every, stage.options.intents, stage.options.seed)
    prices = stage.prices(COINS)
    seated_before = 0
    with Wakers(stage) as wakers:
        for batch in batches(chosen):
            seated = seats(batch, seated_before, prices, stage.options.seed, stage.options.only)
            seated_before += len(seated)
            wakers.seconds = {f"cell-{seat.number}": _how_long(stage, seat) for seat in seated}
            if not _stand_still(stage, seated):
                return
        stage.notes.append(
            f"{wakers.woken} workers stood still for {STAND_STILL_SECONDS:g} s or "
            f"{STAND_STILL_BRIEFLY_SECONDS:g} s and went on"
        )
    stage.notes.append(f"{len(chosen)} of {len(every)} cells of points and behaviours")


def _how_long(stage: Stage, seat: Seat) -> float:
    chance = random.Random(f"{stage.options.seed}/{seat.cell.name}/still")
    return chance.choice((STAND_STILL_SECONDS, STAND_STILL_BRIEFLY_SECONDS))


def _stand_still(stage: Stage, seated: Sequence[Seat]) -> bool:
    targets = [seat.setup for seat in seated if seat.setup is not None]
    _staff(stage, seated)
    stage.submitter.submit_now(targets)
    if not stage.drain():
        return False
    stage.fleet.stop_all()
    stage.arms[:] = [
        Arm(point=seat.cell.point, action="stop", token=f"cell-{seat.number}", about=(seat.about,))
        for seat in seated
    ]
    for seat in seated:
        fault = seat.fault(stage.timing)
        if fault is not None:
            stage.exchange_fault(**fault)
    stage.submitter.submit_now(intent for seat in seated if seat.waits for intent in seat.intents)
    _staff(stage, seated)
    stage.submitter.submit_now(intent for seat in seated if not seat.waits for intent in seat.intents)
    ended = stage.drain()
    time.sleep(STAND_STILL_SECONDS)  # those that still stand go on, and must do nothing
    stage.arms.clear()
    stage.fleet.stop_all()
    stage.clear_exchange_faults()
    return ended


def _staff(stage: Stage, seated: Sequence[Seat]) -> None:
    stage.fleet.replacing = True
    for _ in range(stage.options.workers):
        stage.fleet.start("binance")
    for _ in range(SPOT_CREW if any(seat.cell.kind == "replace" for seat in seated) else 0):
        stage.fleet.start("binance-spot")


def play_clocks(stage: Stage) -> None:
    """Workers whose wall clock is 30 s ahead and 30 s behind, beside one that is right, one of them killed."""
    for off in CLOCKS_OFF_SECONDS:
        worker = stage.fleet.start("binance", world=f"clock_off={off:g}")
        stage.fault(f"the clock of {worker.name} is {off:g} s off")
    stage.open_house()
    stage.exchange_fault(route="/(order|openOrders)$", fault="drop_after", probability=0.05)
    stage.submitter.begin(stage.plan())
    stage.after(0.5)
    stage.kill(stage.fleet.alive("binance")[0])
    stage.drain()


def play_blocked(stage: Stage) -> None:
    """Event loops blocked for longer than the lease, at points drawn from the seed."""
    points = [name for name, point in POINTS.items() if {"place", "any", "process"} & set(point.drives)]
    chosen = stage.random.sample(
        [name for name in points if not name.startswith(("release", "sync"))], BLOCKS
    )
    stage.arms += [
        Arm(
            point=name,
            action="block",
            token=f"block-{number}",
            at=stage.random.randint(1, 6),
            seconds=BLOCKED_SECONDS,
        )
        for number, name in enumerate(chosen)
    ]
    stage.open_house()
    stage.exchange_fault(route="^POST .*order$", fault="drop_after", probability=0.05)
    stage.submitter.begin(stage.plan())
    stage.drain()
    for struck in stage.tokens_struck().values():
        stage.faults.append(Fault(struck.at_ms, f"loop of {struck.pid} blocked at {struck.point}"))
