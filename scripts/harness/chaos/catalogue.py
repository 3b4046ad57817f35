"""The scenarios by name: what each breaks, how it is played, and with what it runs when nothing else is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from scripts.harness.chaos import death
from scripts.harness.chaos.stage import QUICK, Stage, Timing


class Scenario(Struct, frozen=True, kw_only=True):
    """One way to break a pool. `cut_intents`: with how many it runs in the cut of continuous integration; 0: not."""

    summary: str
    play: Callable[[Stage], None]
    timing: Timing = QUICK
    intents: int = 200
    workers: int = 3
    rate: float = 25.0
    cut_intents: int = 0


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "death": Scenario(
        summary="SIGKILL at each failpoint, for each behaviour of the exchange; --intents: how many cells",
        play=death.play,
        timing=death.TIMING,
        intents=100_000,
        workers=death.CREW,
        rate=0,
        cut_intents=60,
    ),
}
