"""Binance's filters, exactly: what `exchangeInfo` of spot and USDⓈ-M says of a symbol, over ccxt's reading.

Sources: Binance "Filters" (spot API), "Exchange Information" and "Common Definition: Filters" (USDⓈ-M).
`pricePrecision` and `quantityPrecision` are no steps ("please do not use it as tickSize"): on USDⓈ-M, ADAUSDT
has 5 places and a tick of 0.0001. A value of 0 disables its rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from common.exact import bound, common_multiple, highest, lowest
from common.markets import Market, MarketType, PriceBand
from orderlane.intents import OrderType, TimeInForce

_SPOT_ORDER_TYPES: Final[Mapping[str, OrderType]] = {
    "LIMIT": OrderType.LIMIT,
    "MARKET": OrderType.MARKET,
    "STOP_LOSS": OrderType.STOP_MARKET,
    "STOP_LOSS_LIMIT": OrderType.STOP_LIMIT,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT_MARKET,
    "TAKE_PROFIT_LIMIT": OrderType.TAKE_PROFIT_LIMIT,
}
_USDM_ORDER_TYPES: Final[Mapping[str, OrderType]] = {
    "LIMIT": OrderType.LIMIT,
    "MARKET": OrderType.MARKET,
    "STOP": OrderType.STOP_LIMIT,
    "STOP_MARKET": OrderType.STOP_MARKET,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT_LIMIT,
    "TAKE_PROFIT_MARKET": OrderType.TAKE_PROFIT_MARKET,
}
_TIMES_IN_FORCE: Final[Mapping[str, TimeInForce]] = {
    "GTC": TimeInForce.GTC,
    "IOC": TimeInForce.IOC,
    "FOK": TimeInForce.FOK,
    "GTX": TimeInForce.PO,
}
_SPOT_TIMES_IN_FORCE: Final = frozenset({TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK})

_Filter = Mapping[str, Any]


def with_binance_filters(market: Market, info: Mapping[str, Any]) -> Market:
    """`market` with every rule that `info` (the symbol's entry in `exchangeInfo`) states.

    Raises:
        ValueError: a filter holds something that is no number.
    """
    filters: dict[str, _Filter] = {one["filterType"]: one for one in info["filters"]}
    market = _with_price_filter(market, filters.get("PRICE_FILTER", {}))
    market = _with_lot_sizes(market, filters.get("LOT_SIZE", {}), filters.get("MARKET_LOT_SIZE", {}))
    market = _with_notional(market, filters)
    market = _with_price_band(market, filters)
    return _with_order_types(market, info)


def _with_price_filter(market: Market, rule: _Filter) -> Market:
    return replace(
        market,
        tick_size=bound(rule.get("tickSize")) or market.tick_size,
        min_price=bound(rule.get("minPrice")),
        max_price=bound(rule.get("maxPrice")),
    )


def _with_lot_sizes(market: Market, rule: _Filter, at_market: _Filter) -> Market:
    """LOT_SIZE holds for every order, MARKET_LOT_SIZE as well for those at market: the stricter counts.

    The market filter alone would not do: spot gives it no step (0), and sometimes a maximum above LOT_SIZE's.
    """
    lot_size = bound(rule.get("stepSize")) or market.lot_size
    market_step = bound(at_market.get("stepSize"))
    min_amount, max_amount = bound(rule.get("minQty")), bound(rule.get("maxQty"))
    return replace(
        market,
        lot_size=lot_size,
        min_amount=min_amount,
        max_amount=max_amount,
        market_lot_size=lot_size if market_step is None else common_multiple(lot_size, market_step),
        market_min_amount=highest(min_amount, bound(at_market.get("minQty"))),
        market_max_amount=lowest(max_amount, bound(at_market.get("maxQty"))),
    )


def _with_notional(market: Market, filters: Mapping[str, _Filter]) -> Market:
    """Spot has MIN_NOTIONAL (`applyToMarket`) or, since 2023, NOTIONAL; USDⓈ-M MIN_NOTIONAL for all types.

    USDⓈ-M exempts reduce-only orders (error -4164: "no smaller than … (unless you choose reduce only)").
    """
    least, both = filters.get("MIN_NOTIONAL", {}), filters.get("NOTIONAL", {})
    min_notional = highest(
        bound(least.get("minNotional", least.get("notional"))), bound(both.get("minNotional"))
    )
    max_notional = bound(both.get("maxNotional"))
    least_at_market = (
        bound(least.get("minNotional", least.get("notional"))) if least.get("applyToMarket", True) else None
    )
    both_at_market = bound(both.get("minNotional")) if both.get("applyMinToMarket", True) else None
    return replace(
        market,
        min_notional=min_notional,
        max_notional=max_notional,
        market_min_notional=highest(least_at_market, both_at_market),
        market_max_notional=max_notional if both.get("applyMaxToMarket", True) else None,
        reduce_only_exempt_from_notional=market.type is not MarketType.SPOT,
    )


def _with_price_band(market: Market, filters: Mapping[str, _Filter]) -> Market:
    """Spot bounds both sides both ways, by PERCENT_PRICE or PERCENT_PRICE_BY_SIDE (bid is the buyer's side).

    USDⓈ-M bounds a buy from above and a sell from below alone; a stop's limit price may stand outside until
    it triggers.
    """
    one, sides = filters.get("PERCENT_PRICE", {}), filters.get("PERCENT_PRICE_BY_SIDE", {})
    down, up = bound(one.get("multiplierDown")), bound(one.get("multiplierUp"))
    if market.type is not MarketType.SPOT:
        return replace(market, price_band=PriceBand(buy_up=up, sell_down=down))
    band = PriceBand(
        buy_down=highest(down, bound(sides.get("bidMultiplierDown"))),
        buy_up=lowest(up, bound(sides.get("bidMultiplierUp"))),
        sell_down=highest(down, bound(sides.get("askMultiplierDown"))),
        sell_up=lowest(up, bound(sides.get("askMultiplierUp"))),
    )
    return replace(market, price_band=band, price_band_covers_stops=True)


def _with_order_types(market: Market, info: Mapping[str, Any]) -> Market:
    """Which types and times in force the symbol takes.

    Spot's post-only is a type of its own, LIMIT_MAKER, so a stop can't be post-only there: ccxt would send
    the maker order and drop the stop. USDⓈ-M calls it the time in force GTX, for stops too.
    """
    listed = info.get("orderTypes") or ()
    if market.type is MarketType.SPOT:
        post_only = {TimeInForce.PO} if "LIMIT_MAKER" in listed else set()
        return replace(
            market,
            order_types=_known(_SPOT_ORDER_TYPES, listed),
            times_in_force=_SPOT_TIMES_IN_FORCE | post_only,
            post_only_stops=False,
        )
    return replace(
        market,
        order_types=_known(_USDM_ORDER_TYPES, listed),
        times_in_force=frozenset(
            _TIMES_IN_FORCE[name] for name in info.get("timeInForce", ()) if name in _TIMES_IN_FORCE
        )
        or None,
        post_only_stops=True,
    )


def _known(names: Mapping[str, OrderType], listed: Any) -> frozenset[OrderType] | None:
    return frozenset(names[name] for name in listed if name in names) or None
