"""Whose fills they are, where one order stands for several intents. Pure and exact."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from common.exact import EXACT


def shares(filled: Decimal, own: Decimal, absorbed: Sequence[Decimal]) -> tuple[Decimal, ...]:
    """How the fills of a merged order go to its intents: (the survivor's share, each absorbed one's).

    First come, first served, the survivor first and the absorbed in the order given: so they would have been filled
    one after another. The shares add up to `filled`. What is filled beyond all amounts (an amend made the order
    larger) is the survivor's.

    Args:
        filled: base filled of the survivor's order.
        own: base that the survivor itself asked for.
        absorbed: base that each absorbed intent asked for.

    Raises:
        ValueError: one of them is negative or no number.
    """
    for name, value in (("filled", filled), ("own", own), *(("absorbed", one) for one in absorbed)):
        if not value.is_finite() or value < 0:
            raise ValueError(f"{name} is {value}: expected an amount of 0 or more")
    left, parts = filled, []
    for amount in (own, *absorbed):
        parts.append(min(left, amount))
        left = EXACT.subtract(left, parts[-1])
    return (EXACT.add(parts[0], left), *parts[1:])
