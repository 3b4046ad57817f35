"""How far intents of one symbol may be summed, by the rules of its market. Pure."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Context, Decimal
from typing import Final

from common.exact import lowest
from common.lane_rules.vocabulary import MergeBounds, SumBounds
from common.markets import Market

_DOWNWARDS: Final = Context(prec=40, rounding=ROUND_FLOOR)


def merge_bounds(market: Market, reference_price: Decimal | None = None) -> MergeBounds:
    """The bounds of a market.

    A market order is worth what the market says: where the venue bounds that worth and no `reference_price` (quote
    per base) is known, no sum is known to keep the bound, and none is made.
    """
    most_worth = market.market_max_notional
    by_worth: Decimal | None = None
    if most_worth is not None:
        by_worth = _DOWNWARDS.divide(most_worth, reference_price) if reference_price else Decimal(0)
    return MergeBounds(
        market=SumBounds(limit=lowest(market.market_max_amount, by_worth), lot_size=market.market_lot_size),
        limit=SumBounds(
            limit=market.max_amount, notional_limit=market.max_notional, lot_size=market.lot_size
        ),
    )
