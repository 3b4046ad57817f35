"""Zombies: workers that stand still for longer than their lease and the receive window, and then go on; workers whose
clock is wrong, and workers whose event loop is blocked."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from common.failpoints import POINTS, Arm, Struck
from scripts.harness.chaos.judging import Fault
from scripts.harness.chaos.matrix import COINS, Seat, batches, cells, sample, seats
from scripts.harness.chaos.stage import QUICK, Stage, Timing

TIMING: Final[Timing] = msgspec.structs.replace(
    QUICK,
    lanes=1,
    in_flight=1,
    lease_ms=600,
    heartbeat_ms=150,
    receive_window_ms=1_000,
    request_timeout_ms=700,
)
STAND_STILL_SECONDS: Final = 2.5
"""Longer than the lease and than the receive window with its margin, so that the successor has gone on by itself."""
SPOT_CREW: Final = 2
CLOCKS_OFF_SECONDS: Final = (30.0, -30.0)
BLOCKED_SECONDS: Final = 1.5
BLOCKS: Final = 12


class Wakers:
    """Sends SIGCONT to each worker that a failpoint stopped, a while after."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._woken: set[str] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Wakers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(10)
        self._wake(everybody=True)

    def _run(self) -> None:
        while not self._done.wait(0.05):
            self._wake()

    def _wake(self, *, everybody: bool = False) -> None:
        now_ms = time.time_ns() // 1_000_000
        for token, struck in self._stage.tokens_struck().items():
            due = everybody or now_ms - struck.at_ms > STAND_STILL_SECONDS * 1000
            if due and token not in self._woken and struck.action == "stop":
                self._woken.add(token)
                self._stage.faults.append(_told(struck))
                with suppress(ProcessLookupError):
                    os.kill(struck.pid, signal.SIGCONT)

    @property
    def woken(self) -> int:
        return len(self._woken)


def play(stage: Stage) -> None:
    """SIGSTOP at points of one intent's way, while the exchange accepts, loses the reply or hangs; then wrong clocks
    and blocked loops under load."""
    behaviours = ("accepts", "drops_reply", "5xx_not_executed", "hangs_executed")
    every = [cell for cell in cells(stage.options.only) if cell.behaviour in behaviours]
    chosen = sample(every, stage.options.intents, stage.options.seed)
    prices = stage.prices(COINS)
    seated_before = 0
    with Wakers(stage) as wakers:
        for batch in batches(chosen):
            seated = seats(batch, seated_before, prices, stage.options.seed)
            seated_before += len(seated)
            if not _stand_still(stage, seated):
                return
        stage.notes.append(f"{wakers.woken} workers stood still for {STAND_STILL_SECONDS:g} s and went on")
    stage.notes.append(f"{len(chosen)} of {len(every)} cells of points and behaviours")


def _stand_still(stage: Stage, seated: Sequence[Seat]) -> bool:
    targets = [seat.setup for seat in seated if seat.setup is not None]
    _staff(stage, seated)
    stage.submitter.submit_now(targets)
    if not stage.drain():
        return False
    stage.fleet.stop_all()
    stage.arms[:] = [
        Arm(point=seat.cell.point, action="stop", token=f"cell-{seat.number}", about=(_about(seat),))
        for seat in seated
    ]
    for seat in seated:
        if seat.fault is not None:
            stage.exchange_fault(**seat.fault)
    _staff(stage, seated)
    stage.submitter.submit_now(intent for seat in seated for intent in (seat.subject, seat.follower))
    ended = stage.drain()
    time.sleep(STAND_STILL_SECONDS)  # those that still stand go on, and must do nothing
    stage.arms.clear()
    stage.fleet.stop_all()
    stage.clear_exchange_faults()
    return ended


def _about(seat: Seat) -> str:
    return seat.lane if seat.cell.point == "lane.taken" else seat.subject.id


def _staff(stage: Stage, seated: Sequence[Seat]) -> None:
    stage.fleet.replacing = True
    for _ in range(stage.options.workers):
        stage.fleet.start("binance")
    for _ in range(SPOT_CREW if any(seat.cell.kind == "replace" for seat in seated) else 0):
        stage.fleet.start("binance-spot")


def _told(struck: Struck) -> Fault:
    about = ", ".join(struck.about)
    return Fault(struck.at_ms, f"SIGSTOP of {struck.pid} at {struck.point} ({about}), SIGCONT later")


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
