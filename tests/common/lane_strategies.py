"""Random lanes for the lane rules: places of several strategies, sides and kinds, and commands that speak of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from common.lane_rules import Waiting
from orderlane.identity import client_order_id
from orderlane.intents import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    Intent,
    OrderType,
    PlaceOrder,
    Side,
)
from tests.common.lane_exchange import BEST_ASK, BEST_BID

WHERE: dict[str, Any] = {"exchange": "binance", "account": "main", "symbol": "BTC/USDT:USDT"}
STRATEGIES = ("grid", "trend")
LIVE_IDS = ("live-buy", "live-sell", "live-trend")

amounts = st.integers(1, 3).map(Decimal)
buy_prices = st.sampled_from([BEST_BID - 2, BEST_BID - 1, BEST_BID])
sell_prices = st.sampled_from([BEST_ASK, BEST_ASK + 1, BEST_ASK + 2])


def waiting(intent: Intent, number: int, rank: int = 5, **changes: Any) -> Waiting:
    """An intent as the `number`th entry of its lane."""
    identifier = client_order_id("orderlane", intent.exchange, intent.account, intent.id)
    return Waiting(
        entry=f"1700000000000-{number}", rank=rank, intent=intent, client_order_id=identifier, **changes
    )


def live_orders() -> list[PlaceOrder]:
    """What stands on the book before the lane is run, far from where anything trades."""
    prices = {"live-buy": BEST_BID - 5, "live-sell": BEST_ASK + 5, "live-trend": BEST_BID - 4}
    return [
        PlaceOrder(
            id=name, side=Side.SELL if name == "live-sell" else Side.BUY, type=OrderType.LIMIT, amount=Decimal(2),
            price=price, strategy="trend" if name == "live-trend" else "grid", **WHERE,
        )
        for name, price in prices.items()
    ]  # fmt: skip


CROWDS = {
    "chains": ["place"] * 8 + ["cancel"] * 4 + ["amend"],
    "amends": ["amend"] * 12 + ["cancel", "cancel", "place", "sweep"],
    "commands": ["place"] * 9 + ["cancel"] * 3 + ["amend"] * 5 + ["sweep"],
    "markets": ["place"] * 16 + ["cancel", "amend", "sweep"],
    "limits": ["place"] * 16 + ["cancel", "amend", "sweep"],
}
"""What a lane is mostly made of, so that each rule has much to decide in some lanes."""


@st.composite
def lanes(draw: st.DrawFn, *, one_way: bool = False, largest: int = 12) -> tuple[Waiting, ...]:
    """A lane of up to `largest` entries, in which much speaks of what stands shortly before; `one_way`: everything
    that opens buys, and what is reduce-only sells."""
    crowd = draw(st.sampled_from(sorted(CROWDS)))
    sides = {one.id: one.side for one in live_orders()}
    placed: list[str] = []
    lane: list[Waiting] = []
    for number in range(draw(st.integers(2, largest))):
        name = f"i-{number}"
        kind = draw(st.sampled_from(CROWDS[crowd]))
        often = 0 if crowd == "amends" else 3
        speaks_of = draw(st.sampled_from([*LIVE_IDS[: often or 2], *placed[-2:] * often]))
        if kind == "place":
            intent: Intent = draw(places(name, speaks_of, sides, one_way, crowd))
            assert isinstance(intent, PlaceOrder)
            sides[name] = intent.side
            placed.append(name)
        elif kind == "cancel":
            intent = CancelOrder(id=name, target=speaks_of, **WHERE)
        elif kind == "amend":
            price = draw(st.none() | (buy_prices if sides[speaks_of] is Side.BUY else sell_prices))
            amount = draw(amounts if price is None else st.none() | amounts)
            intent = AmendOrder(id=name, target=speaks_of, amount=amount, price=price, **WHERE)
        else:
            intent = CancelAll(id=name, strategy=draw(st.sampled_from(["", *STRATEGIES])), **WHERE)
        lane.append(waiting(intent, number, begun=number == 0 and draw(st.booleans())))
    return tuple(lane)


@st.composite
def places(
    draw: st.DrawFn, name: str, other: str, sides: dict[str, Side], one_way: bool, crowd: str
) -> PlaceOrder:
    """A market or limit order of a strategy; some replace `other`."""
    reduce_only = draw(st.booleans() if crowd != "limits" else st.integers(0, 5).map(lambda n: n == 0))
    side = draw(st.sampled_from([*Side, Side.BUY]))
    if one_way:
        side = Side.SELL if reduce_only else Side.BUY
    may_replace = sides[other] is side or draw(st.integers(0, 5)) == 0
    seldom = {"chains": 1, "commands": 3}.get(crowd, 12)
    replaces = draw(st.sampled_from([None] * seldom + [other])) if may_replace else None
    has_price = draw(st.booleans() if crowd in ("commands", "chains") else st.just(crowd == "limits"))
    prices = buy_prices if side is Side.BUY else sell_prices
    return PlaceOrder(
        id=name, side=side, type=OrderType.LIMIT if has_price else OrderType.MARKET, amount=draw(amounts),
        price=draw(prices) if has_price else None, reduce_only=reduce_only,
        strategy=draw(st.sampled_from(["grid"] * 3 + ["trend"])), replaces=replaces, **WHERE,
    )  # fmt: skip
