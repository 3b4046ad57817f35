"""What is traded in a measurement: the paper exchange's own rules, and as many copies of one symbol as lanes need."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_UP, Decimal
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from workers.paper.rules import SymbolRules, load_market

PRODUCT: Final = "usdm"
COPIED: Final = "BTCUSDT"
QUOTE: Final = "USDT"
NOTIONAL_FACTOR: Final = Decimal("1.5")
"""How far an order's value is above the least that the exchange takes."""
AGGRESSION: Final = Decimal("0.03")
"""How far through the market an order is priced, so that a matching exchange fills it."""


class Instrument(Struct, frozen=True):
    """A symbol, and an order for it that every rule accepts. `price` by side: buy, sell."""

    symbol: str
    amount: str
    buy_price: str
    sell_price: str


@cache
def listed() -> tuple[SymbolRules, ...]:
    """The paper exchange's own USDT symbols that trade, in order of their names."""
    rules = load_market(PRODUCT).symbols
    return tuple(
        rules[name]
        for name in sorted(rules)
        if rules[name].quote == QUOTE and rules[name].status == "TRADING" and rules[name].start_price
    )


def copies(count: int) -> list[str]:
    """The base assets of `count` made-up symbols."""
    return [f"B{number:05d}" for number in range(count)]


def instruments(count: int) -> list[Instrument]:
    """`count` made-up instruments, which only the fast endpoint lists."""
    model = _instrument(load_market(PRODUCT).symbols[COPIED])
    return [msgspec.structs.replace(model, symbol=f"{base}/USDT:USDT") for base in copies(count)]


def listed_instruments(count: int) -> list[Instrument]:
    """Up to `count` instruments that the paper exchange lists too."""
    return [_instrument(rules) for rules in listed()[:count]]


def exchange_info(count: int) -> bytes:
    """The reply to `GET /fapi/v1/exchangeInfo`: `count` copies of one real symbol."""
    info = load_market(PRODUCT).exchange_info
    model: dict[str, Any] = next(one for one in info["symbols"] if one["symbol"] == COPIED)
    symbols = [
        {**model, "symbol": f"{base}{QUOTE}", "pair": f"{base}{QUOTE}", "baseAsset": base}
        for base in copies(count)
    ]
    return msgspec.json.encode({**info, "symbols": symbols})


def _instrument(rules: SymbolRules) -> Instrument:
    buy = (rules.start_price * (1 + AGGRESSION)).quantize(rules.tick, ROUND_UP)
    sell = (rules.start_price * (1 - AGGRESSION)).quantize(rules.tick, ROUND_DOWN)
    least = max(rules.min_quantity, rules.min_notional * NOTIONAL_FACTOR / sell)
    amount = (least / rules.lot).to_integral_value(ROUND_UP) * rules.lot
    return Instrument(f"{rules.base}/{rules.quote}:{rules.quote}", f"{amount:f}", f"{buy:f}", f"{sell:f}")
