"""The exchange's clock as this process estimates it: the monotonic clock plus a measured offset.

The machine's wall clock is read once, as the first estimate; jumping later, it changes nothing here.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct


class ClockSample(Struct, frozen=True):
    """One question for the time: asked and answered (monotonic ms), and the exchange's answer (ms since 1970)."""

    asked_ms: float
    answered_ms: float
    exchange_ms: int

    @property
    def round_trip_ms(self) -> float:
        return self.answered_ms - self.asked_ms


def offset_ms(samples: Sequence[ClockSample]) -> float:
    """Exchange time minus monotonic time, from the sample that was under way for the shortest time.

    The answer is taken to have been written half way: the error is at most half that sample's round trip.
    """
    best = min(samples, key=lambda sample: sample.round_trip_ms)
    return best.exchange_ms - (best.asked_ms + best.answered_ms) / 2


def monotonic_ms() -> float:
    """Milliseconds of a clock that only goes forward."""
    return time.monotonic_ns() / 1e6


class ExchangeClock:
    """Estimates the exchange's time without asking; `sync` asks."""

    def __init__(self) -> None:
        self._offset_ms = time.time_ns() / 1e6 - monotonic_ms()
        self.round_trip_ms: float | None = None
        """Of the best sample of the last sync; None before the first."""

    def now_ms(self) -> int:
        """The exchange's time now, ms since 1970-01-01 UTC; the local wall clock's guess before the first sync."""
        return int(monotonic_ms() + self._offset_ms)

    async def sync(self, ask: Callable[[], Awaitable[int]], samples: int) -> None:
        """Ask the exchange for its time `samples` times and keep the best answer."""
        taken = []
        for _ in range(samples):
            asked = monotonic_ms()
            answer = await ask()
            taken.append(ClockSample(asked, monotonic_ms(), answer))
        self._offset_ms = offset_ms(taken)
        self.round_trip_ms = min(sample.round_trip_ms for sample in taken)
