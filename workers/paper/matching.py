"""Matching: what an order takes from a book, when a resting order fills, when a stop triggers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from workers.paper.amounts import ZERO, floor_to
from workers.paper.book import Level, Quote

PARTIAL_LEAST = Decimal("0.2")
PARTIAL_SPAN = Decimal("0.6")
TAKE_PROFITS = frozenset({"TAKE_PROFIT", "TAKE_PROFIT_LIMIT", "TAKE_PROFIT_MARKET"})


class Take(NamedTuple):
    """A piece of an order executed against one level."""

    price: Decimal
    quantity: Decimal


def acceptable(side: str, offered: Decimal, limit: Decimal) -> bool:
    """Whether a price is as good as ``limit`` or better for ``side``; a limit of zero accepts every price."""
    if not limit:
        return True
    return offered <= limit if side == "BUY" else offered >= limit


def take(levels: Iterable[Level], side: str, quantity: Decimal, limit: Decimal = ZERO) -> list[Take]:
    """What ``quantity`` base units take from ``levels`` at ``limit`` or better; less if the depth ends."""
    takes: list[Take] = []
    left = quantity
    for level in levels:
        if left <= 0 or not acceptable(side, level.price, limit):
            break
        size = min(left, level.quantity)
        takes.append(Take(level.price, size))
        left -= size
    return takes


def take_for_quote(levels: Iterable[Level], budget: Decimal, lot: Decimal) -> list[Take]:
    """What a market order that spends (or earns) at most ``budget`` quote units takes, in whole lots."""
    takes: list[Take] = []
    left = budget
    for level in levels:
        size = min(level.quantity, floor_to(left / level.price, lot))
        if size <= 0:
            break
        takes.append(Take(level.price, size))
        left -= size * level.price
    return takes


def taken(takes: Sequence[Take]) -> Decimal:
    """Base units of all pieces."""
    return sum((piece.quantity for piece in takes), ZERO)


def cost(takes: Sequence[Take]) -> Decimal:
    """Quote units of all pieces."""
    return sum((piece.price * piece.quantity for piece in takes), ZERO)


def crosses(side: str, price: Decimal, quote: Quote) -> bool:
    """Whether a limit at ``price`` meets the other side of the book."""
    return price >= quote.ask if side == "BUY" else price <= quote.bid


def resting_quantity(
    remaining: Decimal, lot: Decimal, partial_probability: Decimal, chance: Decimal, share: Decimal
) -> Decimal:
    """How much of a resting order fills when the market reaches it.

    ``chance`` and ``share`` are draws in [0, 1): below ``partial_probability`` only 20-80 % fills, in whole
    lots and at least one; otherwise everything.
    """
    if chance >= partial_probability or remaining <= lot:
        return remaining
    return max(lot, floor_to(remaining * (PARTIAL_LEAST + PARTIAL_SPAN * share), lot))


def is_triggered(side: str, order_type: str, trigger: Decimal, last: Decimal) -> bool:
    """Whether a stop or take-profit with ``trigger`` fires at the last price.

    A buy stop and a sell take-profit fire at the trigger or above; a sell stop and a buy take-profit at it
    or below.
    """
    rising = (side == "BUY") != (order_type in TAKE_PROFITS)
    return last >= trigger if rising else last <= trigger
