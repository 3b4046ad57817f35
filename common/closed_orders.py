"""For how long each venue can be asked for an order that has ended: data, and the one question it answers.

"No such order" about an order that was on the book says something only once the venue may have forgotten it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS


class ClosedOrders(Struct, frozen=True, kw_only=True):
    """A venue's memory. None: for ever, or nothing is known about it.

    `unfilled_ms`: how long an order without any fill can be asked for, counted from its end, or `from_creation` from
    when it was placed. Orders with fills are kept for longer everywhere: that they are forgotten is never assumed.
    """

    unfilled_ms: int | None = None
    from_creation: bool = False


CLOSED_ORDERS: Final[Mapping[str, ClosedOrders]] = MappingProxyType(
    {
        # Error -2026 ORDER_ARCHIVED: "canceled or expired with no executed qty over 90 days ago".
        "binance": ClosedOrders(unfilled_ms=90 * DAY_MS),
        # "Query Order": not found if "CANCELED or EXPIRED, NO filled trade, created time + 3 days < current time".
        "binanceusdm": ClosedOrders(unfilled_ms=3 * DAY_MS, from_creation=True),
        # "Get Order History": cancelled orders without fills are kept for 24 hours.
        "bybit": ClosedOrders(unfilled_ms=DAY_MS),
        # "Order details": "incomplete orders that have been canceled are only reserved for 2 hours".
        "okx": ClosedOrders(unfilled_ms=2 * HOUR_MS),
        # Its documentation names no such time.
        "kraken": ClosedOrders(),
    }
)
"""By ccxt id. Sources: each venue's own documentation of its REST interface."""


def may_be_forgotten(venue: str, *, placed_at: int, seen_open_at: int, now_ms: int, margin_ms: int) -> bool:
    """Whether an order that ended without a fill some time after `seen_open_at` may be unknown to the venue by now.

    Args:
        venue: a ccxt id.
        placed_at: when it was placed, ms; 0: not known.
        seen_open_at: when it was last known to be open, ms; 0: not known.
        now_ms: the time, by the same clock.
        margin_ms: how far the clocks may be apart.
    """
    memory = CLOSED_ORDERS.get(venue, ClosedOrders())
    counted_from = placed_at if memory.from_creation else seen_open_at
    if memory.unfilled_ms is None or not counted_from:
        return False
    return now_ms - counted_from > memory.unfilled_ms + margin_ms
