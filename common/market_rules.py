"""From ccxt's unified market to our `Market`: exact numbers, amounts in base, why one can't be used.

Where ccxt drops or blurs what the venue says, the venue's own filters are laid over it (Binance).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from common.exact import bound, highest, lowest, plain, times
from common.market_rules_binance import with_binance_filters
from common.markets import Market, Markets, MarketType

TICK_SIZE: Final = 4
"""ccxt's `precisionMode` in which `precision` holds step sizes."""

_BINANCE: Final = frozenset({"binance", "binanceus", "binanceusdm"})


class UnusableMarket(ValueError):
    """A market whose rules can't be told, or whose amounts are no amounts of base."""


def markets_from_ccxt(
    exchange_id: str, ccxt_markets: Mapping[str, Mapping[str, Any]], precision_mode: int = TICK_SIZE
) -> Markets:
    """The rules of every market of a ccxt exchange, from its `id`, `markets` and `precisionMode`.

    A market that can't be used is left out and named in `unusable`.

    Raises:
        ValueError: `precision_mode` is not TICK_SIZE: the step sizes would be read wrongly.
    """
    if precision_mode != TICK_SIZE:
        raise ValueError(
            f"precisionMode of {exchange_id} is {precision_mode}; expected {TICK_SIZE} (TICK_SIZE): "
            "its precisions are no step sizes, so orders can't be put on its grid"
        )
    usable: list[Market] = []
    unusable: dict[str, str] = {}
    for symbol, ccxt_market in ccxt_markets.items():
        try:
            usable.append(market_from_ccxt(exchange_id, ccxt_market))
        except UnusableMarket as error:
            unusable[symbol] = str(error)
    return Markets(usable, unusable)


def market_from_ccxt(exchange_id: str, ccxt_market: Mapping[str, Any]) -> Market:
    """The rules of one market, from ccxt's unified structure (`precisionMode` TICK_SIZE).

    Raises:
        UnusableMarket: see `markets_from_ccxt`.
    """
    try:
        market = _from_unified(ccxt_market)
        filters = (ccxt_market.get("info") or {}).get("filters")
        return (
            with_binance_filters(market, ccxt_market["info"])
            if exchange_id in _BINANCE and filters
            else market
        )
    except UnusableMarket:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise UnusableMarket(f"its rules can't be read: {error!r}") from error


def _from_unified(ccxt_market: Mapping[str, Any]) -> Market:
    precision, limits = ccxt_market.get("precision") or {}, ccxt_market.get("limits") or {}
    size = _contract_size(ccxt_market)
    tick_size = bound(precision.get("price"))
    lot_size = bound(precision.get("amount"))
    if tick_size is None or lot_size is None:
        missing = "tick size" if tick_size is None else "lot size"
        raise UnusableMarket(f"the exchange gives no {missing} for it")
    amount, at_market = limits.get("amount") or {}, limits.get("market") or {}
    price, cost = limits.get("price") or {}, limits.get("cost") or {}
    min_amount, max_amount = bound(amount.get("min")), bound(amount.get("max"))
    min_notional, max_notional = bound(cost.get("min")), bound(cost.get("max"))
    kind = _market_type(ccxt_market)
    return Market(
        symbol=ccxt_market["symbol"],
        venue_id=ccxt_market["id"],
        type=kind,
        base=ccxt_market["base"],
        quote=ccxt_market["quote"],
        settle=ccxt_market.get("settle") or "",
        active=ccxt_market.get("active") is not False,  # None: the venue doesn't say, so it is the judge
        contract_size=size,
        tick_size=tick_size,
        min_price=bound(price.get("min")),
        max_price=bound(price.get("max")),
        lot_size=plain(times(lot_size, size)),
        min_amount=_scaled(min_amount, size),
        max_amount=_scaled(max_amount, size),
        market_lot_size=plain(times(lot_size, size)),
        market_min_amount=_scaled(highest(min_amount, bound(at_market.get("min"))), size),
        market_max_amount=_scaled(lowest(max_amount, bound(at_market.get("max"))), size),
        min_notional=min_notional,
        max_notional=max_notional,
        market_min_notional=min_notional,
        market_max_notional=max_notional,
        # No unified field says which venues exempt: an order that only closes is left to the venue's verdict.
        reduce_only_exempt_from_notional=kind is not MarketType.SPOT,
    )


def _contract_size(ccxt_market: Mapping[str, Any]) -> Decimal:
    """Base per contract; 1 on spot."""
    if not ccxt_market.get("contract"):
        return Decimal(1)
    size = bound(ccxt_market.get("contractSize"))
    if size is None:
        raise UnusableMarket("the exchange gives no contract size for it")
    if not ccxt_market.get("linear"):
        base, quote, settle = ccxt_market.get("base"), ccxt_market.get("quote"), ccxt_market.get("settle")
        raise UnusableMarket(
            f"its contracts of {size} {quote} are settled in {settle}, so an amount in {base} is no number "
            "of contracts; only contracts settled in their quote currency are traded"
        )
    return size


def _market_type(ccxt_market: Mapping[str, Any]) -> MarketType:
    try:
        return MarketType(ccxt_market["type"])
    except ValueError:
        raise UnusableMarket(
            f"its type is {ccxt_market['type']!r}; expected one of {', '.join(MarketType)}"
        ) from None


def _scaled(contracts: Decimal | None, size: Decimal) -> Decimal | None:
    return None if contracts is None else plain(times(contracts, size))
