"""Intents and lanes for the tests of the lane rules, and what decisions come to in the intents' own names."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from common.lane_rules import (
    Decision,
    LaneRules,
    Waiting,
    after,
    consequences,
    decide,
)
from orderlane.intents import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    Intent,
    OrderType,
    PlaceOrder,
    Side,
)
from tests.common.lane_strategies import WHERE, waiting

NOW_MS = 1_700_000_000_000
DEFAULT = LaneRules()
SMALL = msgspec.structs.replace(DEFAULT, merge_small_limits=True, small_notional=Decimal(1000))
FLAT = msgspec.structs.replace(DEFAULT, annul_open_and_close=True)


def limit(name: str, price: int = 100, side: Side = Side.BUY, amount: int = 1, **changes: Any) -> PlaceOrder:
    fields = {"amount": Decimal(amount), "price": Decimal(price), "strategy": "grid"} | changes
    return PlaceOrder(id=name, side=side, type=OrderType.LIMIT, **(WHERE | fields))


def market(name: str, side: Side = Side.BUY, amount: int = 1, **changes: Any) -> PlaceOrder:
    fields = {"amount": Decimal(amount), "strategy": "grid"} | changes
    return PlaceOrder(id=name, side=side, type=OrderType.MARKET, **(WHERE | fields))


def close(name: str, side: Side = Side.SELL, amount: int = 1, **changes: Any) -> PlaceOrder:
    return market(name, side, amount, reduce_only=True, **changes)


def cancel(name: str, target: str) -> CancelOrder:
    return CancelOrder(id=name, target=target, **WHERE)


def amend(name: str, target: str, **changes: Any) -> AmendOrder:
    return AmendOrder(id=name, target=target, **(WHERE | changes))


def sweep(name: str, strategy: str = "") -> CancelAll:
    return CancelAll(id=name, strategy=strategy, **WHERE)


def lane_of(*intents: Intent, begun: int = 0) -> tuple[Waiting, ...]:
    return tuple(waiting(one, number, begun=number < begun) for number, one in enumerate(intents))


def named(lane: tuple[Waiting, ...], decisions: tuple[Decision, ...]) -> list[tuple[str, ...]]:
    """Decisions in the intents' own names: what ended, as what, because of which other."""
    said: list[tuple[str, ...]] = []
    names = {one.entry: one.id for one in lane}
    for decision in decisions:
        for one in consequences(lane, decision).ended:
            said.append((names[one.entry], one.status.value, one.related))
        lane = after(lane, decision)
    return said


def ended(*intents: Intent, rules: LaneRules = DEFAULT, begun: int = 0) -> list[tuple[str, ...]]:
    lane = lane_of(*intents, begun=begun)
    return named(lane, decide(lane, rules, NOW_MS))


def left(*intents: Intent, rules: LaneRules = DEFAULT) -> list[Intent]:
    lane = lane_of(*intents)
    for decision in decide(lane, rules, NOW_MS):
        lane = after(lane, decision)
    return [one.intent for one in lane]
