"""The synthetic market: where the mid price goes next, and what the book around it holds. Pure.

Everything is drawn from a hash of (seed, symbol, step), so the same seed gives the same market on any
machine. The book is not consumed: each order meets the full depth of its moment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from workers.paper.amounts import ceil_to, floor_to, nearest_to
from workers.paper.rules import SymbolRules

LEVELS = 20
HALF_SPREAD = Decimal("0.0001")
PULL = Decimal("0.01")


class Level(NamedTuple):
    """One price of the book and the base units offered there."""

    price: Decimal
    quantity: Decimal


class Depth(NamedTuple):
    """The book of a moment, each side best price first."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class Quote(NamedTuple):
    """The best bid and the best ask."""

    bid: Decimal
    ask: Decimal


def draw(*parts: object) -> Decimal:
    """A number in [0, 1) that depends on ``parts`` alone."""
    digest = hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=6).digest()
    return Decimal(int.from_bytes(digest, "big")) / Decimal(1 << 48)


def next_mid(
    rules: SymbolRules, mid: Decimal, anchor: Decimal, volatility: Decimal, seed: int, step: int
) -> Decimal:
    """The mid after ``step``: a seeded move of at most ``volatility`` (a fraction), pulled 1 % towards
    ``anchor``.
    """
    move = (draw(seed, rules.product, rules.symbol, step) * 2 - 1) * volatility
    wanted = mid * (1 + move) + (anchor - mid) * PULL
    return max(rules.tick * 2, nearest_to(wanted, rules.tick))


def half_spread(rules: SymbolRules, mid: Decimal) -> Decimal:
    """Distance from the mid to either best price, and between levels: 1 bp, at least one tick."""
    return max(rules.tick, ceil_to(mid * HALF_SPREAD, rules.tick))


def quote(rules: SymbolRules, mid: Decimal) -> Quote:
    """Best bid and ask around ``mid``."""
    gap = half_spread(rules, mid)
    return Quote(max(rules.tick, mid - gap), mid + gap)


def levels(rules: SymbolRules, mid: Decimal, side: str, seed: int, step: int) -> Iterator[Level]:
    """The levels an order of ``side`` trades against, best first: up to 20, each worth one to three times the
    quote asset's level notional. Made one by one, since most orders need the first alone.
    """
    gap = half_spread(rules, mid)
    away = gap if side == "BUY" else -gap
    for index in range(1, LEVELS + 1):
        price = mid + away * index
        if price <= 0:
            return
        size = rules.level_notional * (1 + 2 * draw(seed, rules.symbol, step, index)) / mid
        yield Level(price, max(rules.lot, floor_to(size, rules.lot)))


def depth(rules: SymbolRules, mid: Decimal, seed: int, step: int) -> Depth:
    """The whole book of a moment."""
    return Depth(
        bids=tuple(levels(rules, mid, "SELL", seed, step)), asks=tuple(levels(rules, mid, "BUY", seed, step))
    )
