"""What readings of the exchange say of a figure that fills add up to: pure.

A reading shows the figure at some moment between question and answer, and fills reach the pool a little before or
after. So a reading is held against every value that the figure had around it. One that fits none of them may be a
drift, or a fill still under way. A second reading, later, tells: held against the values since, it leaves one drift
that explains both, or none.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Final

from msgspec import Struct

from common.config import PositionsSection
from common.positions import values_since
from orderlane.positions import Trail

LAG_MS: Final = 2_000
"""How far behind its own fills an exchange's answer about positions may be."""


class Kind(StrEnum):
    """What a figure is of."""

    POSITION = "position"
    BALANCE = "balance"


class Verdict(StrEnum):
    """What is known of a figure."""

    AGREES = "agrees"
    DRIFTS = "drifts"
    UNSETTLED = "unsettled"


class Judged(Struct, frozen=True):
    """A verdict; `drift`: what the exchange says less what fills add up to, once it is certain."""

    verdict: Verdict
    drift: Decimal = Decimal(0)


class Said(Struct, frozen=True):
    """What a reading said of one figure, and when it was asked for (ms of Redis TIME)."""

    value: Decimal
    asked_at: int


def agrees(said: Said, trail: Trail) -> bool:
    """Whether the figure had the value that the exchange said, around the time at which it was asked."""
    return said.value in _known_since(trail, said.asked_at - LAG_MS)


def judge(first: Said, second: Said, trail: Trail) -> Judged:
    """What two readings say of a figure, given what it was from the first until after the second.

    That there is one is certain when neither reading fits; by how much, when one drift alone makes both right.
    """
    if agrees(first, trail) or agrees(second, trail):
        return Judged(Verdict.AGREES)
    since_first = values_since(trail, first.asked_at - LAG_MS)
    since_second = values_since(trail, second.asked_at - LAG_MS)
    if since_first is None or since_second is None:
        return Judged(Verdict.UNSETTLED)  # just corrected, or too much has happened to remember
    explain_both = {first.value - value for value in since_first} & {
        second.value - value for value in since_second
    }
    if len(explain_both) == 1:
        return Judged(Verdict.DRIFTS, explain_both.pop())
    # Several could be it where much is traded. What both readings say at face value is the likeliest; where that is
    # wrong by a fill under way, the next comparison says so.
    at_face_value = {one.value - _in_force(trail, one.asked_at) for one in (first, second)}
    if len(at_face_value) == 1 and at_face_value <= explain_both:
        return Judged(Verdict.DRIFTS, at_face_value.pop())
    return Judged(Verdict.UNSETTLED)


def _in_force(trail: Trail, at_ms: int) -> Decimal:
    """The value the figure had at a moment that the trail reaches back to."""
    return max((at, number, value) for number, (at, value) in enumerate(trail) if at <= at_ms)[2]


def _known_since(trail: Trail, since_ms: int) -> set[Decimal]:
    """The values the figure had since, as far back as is remembered."""
    return values_since(trail, since_ms) or {value for _, value in trail}


def worth_of(drift: Decimal, price: Decimal | None) -> Decimal | None:
    """What a drift is worth, in quote; None where no price is known."""
    return None if price is None else abs(drift) * price


def is_critical(expected: Decimal, drift: Decimal, price: Decimal | None, section: PositionsSection) -> bool:
    """Whether a drift is beyond the thresholds: worth enough, and a large share or on the other side."""
    said = expected + drift
    worth = worth_of(drift, price)
    if worth is not None and worth < Decimal(str(section.critical_notional)):
        return False
    turned = (expected > 0 > said) or (expected < 0 < said)
    return turned or abs(drift) > Decimal(str(section.critical_share)) * max(abs(expected), abs(said))
