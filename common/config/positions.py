"""The settings about an exchange's positions and balances."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class PositionsSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Positions and balances of each account: kept from fills, and compared with what the exchange says."""

    enabled: bool = True
    """Off: nothing is kept or compared, `orderlane positions` stays empty, and what is traded behind the pool's back
    goes unnoticed."""
    compare_period_seconds: Annotated[int, Meta(ge=1, le=3600)] = 60
    """How often they are compared, besides the start and the end of each gap in the user stream. Smaller: a drift is
    found sooner, at a cost of weight per account (Binance: 10 USDⓈ-M, 20 spot). Larger: strategies go on for
    longer on figures that are wrong."""
    confirm_delay_seconds: Annotated[int, Meta(ge=1, le=60)] = 5
    """A drift counts when a second reading, this much later, shows the same one, fills that arrived meanwhile
    taken into account. Smaller than a fill may be under way: a fill is taken for a drift. Larger: a real one takes
    effect as much later."""
    critical_share: Annotated[float, Meta(ge=0, le=1, extra={"unit": "share"})] = 0.05
    """A drift is critical when it is more than this share of the position (of the larger of the two figures) or turns
    its side around, and is worth `critical_notional` too. What is less is corrected, and told by an event. 0: any drift
    that is worth it. Larger: strategies go on after a larger surprise."""
    critical_notional: Annotated[float, Meta(ge=0, le=1e12, extra={"unit": "quote"})] = 100.0
    """What a drift must be worth, in the quote currency, to be critical. 0: however little. Larger: strategies go on
    after a larger surprise. Where no price is known, any worth is taken for this much."""
    on_critical: Literal["disable", "report"] = "disable"
    """What a critical drift does beyond the correction and its event. `disable`: new opening orders of the strategies
    on that symbol are refused until `orderlane enable`. `report`: nothing, they go on."""
