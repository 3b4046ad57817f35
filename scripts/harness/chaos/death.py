"""Death at every point: SIGKILL exactly there, for everything the exchange may do, and another worker takes over."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec
from rich.table import Table

from common.failpoints import POINTS, Arm
from orderlane.identity import client_order_id
from orderlane.intents import Intent
from scripts.harness.chaos.judging import POOL, Fault, Ruling
from scripts.harness.chaos.matrix import (
    BEHAVIOURS,
    COINS,
    ROUTES,
    Seat,
    batches,
    cells,
    sample,
    seats,
)
from scripts.harness.chaos.stage import Stage
from scripts.harness.chaos.terms import QUICK, Timing

CREW: Final = 6
"""Workers for `binance`, each with one lane: so that only the intent in question dies with its worker."""
SPOT_CREW: Final = 2
TIMING: Final[Timing] = msgspec.structs.replace(QUICK, lanes=1, in_flight=1, lease_ms=600, heartbeat_ms=150)


class DeathMatrix:
    """One run of the matrix, or of a sample of it."""

    def __init__(self, stage: Stage) -> None:
        options = stage.options
        self.stage = stage
        self.cells = sample(cells(options.only), options.intents, options.seed)
        self.seats: list[Seat] = []
        self.struck: dict[int, int] = {}
        """Number of the seat -> when its worker died (ms since the epoch)."""

    def play(self) -> None:
        """Run every cell, batch after batch."""
        stage = self.stage
        prices = stage.prices(COINS)
        for batch in batches(self.cells):
            seated = seats(batch, len(self.seats), prices, stage.options.seed, stage.options.only)
            self.seats += seated
            if not self._run(seated):
                break
        stage.notes.append(f"{len(self.seats)} of {len(cells())} cells of the matrix")

    def _run(self, seated: Sequence[Seat]) -> bool:
        stage = self.stage
        targets = [seat.setup for seat in seated if seat.setup is not None]
        if targets:
            self._staff(CREW // 2)
            stage.submitter.submit_now(targets)
            if not stage.drain():
                return False
            self._dismiss()
        stage.arms[:] = [
            Arm(point=seat.cell.point, action="kill", token=f"cell-{seat.number}", about=(seat.about,))
            for seat in seated
        ]
        self._break_exchange(seated)
        stage.submitter.submit_now(intent for seat in seated if seat.waits for intent in seat.intents)
        self._staff(stage.options.workers)
        stage.submitter.submit_now(intent for seat in seated if not seat.waits for intent in seat.intents)
        ended = stage.drain()
        stage.arms.clear()
        self._dismiss()
        self._count_faults()
        return ended

    def _break_exchange(self, seated: Sequence[Seat]) -> None:
        for seat in seated:
            fault = seat.fault(self.stage.timing)
            if fault is not None:
                self.stage.exchange_fault(**fault)
        unread = Counter(seat.cell.kind for seat in seated if seat.cell.behaviour == "reset_unread")
        for kind, count in unread.items():
            self.stage.exchange_fault(route=ROUTES[kind], fault="reset_before_read", count=count)

    def _count_faults(self) -> None:
        stage = self.stage
        for token, struck in stage.tokens_struck().items():
            number = int(token.removeprefix("cell-"))
            if number not in self.struck:
                self.struck[number] = struck.at_ms
                stage.faults.append(
                    Fault(
                        struck.at_ms, f"SIGKILL of {struck.pid} at {struck.point} ({', '.join(struck.about)})"
                    )
                )
        stage.clear_exchange_faults()

    def _staff(self, crew: int) -> None:
        fleet = self.stage.fleet
        fleet.replacing = True
        for _ in range(crew):
            fleet.start("binance")
        for _ in range(SPOT_CREW if any(cell.kind == "replace" for cell in self.cells) else 0):
            fleet.start("binance-spot")

    def _dismiss(self) -> None:
        self.stage.findings += [
            f"worker {one.name} did not stop on SIGTERM; log: {self.stage.fleet.log_of(one)}"
            for one in self.stage.fleet.stop_all()
        ]

    # What came of it

    def measure(self, ruling: Ruling) -> None:
        """From each death to the next order of its lane at the exchange."""
        first = {
            one.client_order_id: one.at_us // 1000 for one in reversed(ruling.arrived) if one.kind == "place"
        }
        for seat in self.seats:
            died_at_ms, next_at_ms = self.struck.get(seat.number), first.get(_name(seat.follower))
            if died_at_ms is not None and next_at_ms is not None:
                self.stage.recoveries_ms.append(max(0, next_at_ms - died_at_ms))

    def table(self, ruling: Ruling) -> Table:
        """The matrix: `ok` where the death happened and the outcome is right, `.` where this path does not pass the
        point, empty where the cell was not run."""
        shown: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for seat in self.seats:
            wrong = any(_name(one) in ruling.wrong for one in (seat.setup, *seat.intents) if one)
            if wrong:
                self.stage.notes.append(f"wrong: {self.stage.repeat(seat.name)}")
            mark = "[red]WRONG[/red]" if wrong else "ok" if seat.number in self.struck else "."
            shown[seat.cell.kind, seat.cell.point][seat.cell.behaviour] = mark
        table = Table(title="SIGKILL at each point, for each behaviour of the exchange", title_justify="left")
        table.add_column("work")
        table.add_column("point")
        for behaviour in BEHAVIOURS:
            table.add_column(behaviour)
        for kind in ROUTES:
            for point in POINTS:
                if (kind, point) in shown:
                    row = shown[kind, point]
                    table.add_row(kind, point, *(row.get(behaviour, "") for behaviour in BEHAVIOURS))
        return table


def play(stage: Stage) -> None:
    """Run the matrix; what it showed is on the stage."""
    matrix = DeathMatrix(stage)
    matrix.play()
    stage.after_ruling.append(matrix.measure)
    stage.after_ruling.append(lambda ruling: stage.tables.append(matrix.table(ruling)))


def _name(intent: Intent) -> str:
    return client_order_id(POOL, intent.exchange, intent.account, intent.id)
