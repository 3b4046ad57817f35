"""Market rules of the symbols the paper exchange lists.

``rules/spot.json`` and ``rules/usdm.json`` are trimmed ``exchangeInfo`` replies that Binance really gave in
2021, served back almost verbatim. Three things were changed: spot rate limits are today's; most spot
symbols also allow STOP_LOSS and TAKE_PROFIT, as today (three kept the old list); and KILOUSDT, a made-up
symbol, gives a lot of 1000. ``rules/prices.json`` holds the price each symbol starts at and how deep its
book is.
"""

from __future__ import annotations

from decimal import Decimal
from importlib import resources
from typing import Any, Literal

import msgspec

from workers.paper.amounts import ZERO

Product = Literal["spot", "usdm"]
PRODUCTS: tuple[Product, ...] = ("spot", "usdm")


class SymbolRules(msgspec.Struct, frozen=True):
    """One symbol's rules; prices in quote units, quantities in base units. A maximum of zero is no maximum."""

    product: Product
    symbol: str
    status: str
    base: str
    quote: str
    order_types: tuple[str, ...]
    tick: Decimal
    min_price: Decimal
    max_price: Decimal
    lot: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    market_lot: Decimal
    market_min_quantity: Decimal
    market_max_quantity: Decimal
    min_notional: Decimal
    notional_applies_to_market: bool
    percent_up: Decimal
    percent_down: Decimal
    price_places: int
    quantity_places: int
    max_orders: int
    max_algo_orders: int
    start_price: Decimal
    level_notional: Decimal


class Prices(msgspec.Struct, frozen=True):
    """Starting prices by symbol, and the notional of one book level by quote asset."""

    spot: dict[str, Decimal]
    usdm: dict[str, Decimal]
    level_notional: dict[str, Decimal]


class Market(msgspec.Struct, frozen=True):
    """One product: the ``exchangeInfo`` reply it serves, and the same rules in typed form."""

    product: Product
    exchange_info: dict[str, Any]
    symbols: dict[str, SymbolRules]


def _read(name: str) -> bytes:
    return (resources.files("workers.paper") / "rules" / name).read_bytes()


def load_market(product: Product) -> Market:
    """The carried rules of ``product``."""
    info: dict[str, Any] = msgspec.json.decode(_read(f"{product}.json"))
    prices = msgspec.json.decode(_read("prices.json"), type=Prices)
    start = prices.spot if product == "spot" else prices.usdm
    symbols = {
        entry["symbol"]: parse_symbol(
            product, entry, start[entry["symbol"]], prices.level_notional[entry["quoteAsset"]]
        )
        for entry in info["symbols"]
    }
    return Market(product, info, symbols)


def parse_symbol(
    product: Product, entry: dict[str, Any], start_price: Decimal, level_notional: Decimal
) -> SymbolRules:
    """A symbol of an ``exchangeInfo`` reply, of either product, as typed rules."""
    filters = {item["filterType"]: item for item in entry["filters"]}
    price, lot = filters["PRICE_FILTER"], filters["LOT_SIZE"]
    market_lot = filters["MARKET_LOT_SIZE"]
    notional, percent = filters["MIN_NOTIONAL"], filters["PERCENT_PRICE"]
    orders, algo = filters["MAX_NUM_ORDERS"], filters["MAX_NUM_ALGO_ORDERS"]
    return SymbolRules(
        product=product,
        symbol=entry["symbol"],
        status=entry["status"],
        base=entry["baseAsset"],
        quote=entry["quoteAsset"],
        order_types=tuple(entry["orderTypes"]),
        tick=Decimal(price["tickSize"]),
        min_price=Decimal(price["minPrice"]),
        max_price=Decimal(price["maxPrice"]),
        lot=Decimal(lot["stepSize"]),
        min_quantity=Decimal(lot["minQty"]),
        max_quantity=Decimal(lot["maxQty"]),
        market_lot=Decimal(market_lot["stepSize"]),
        market_min_quantity=Decimal(market_lot["minQty"]),
        market_max_quantity=Decimal(market_lot["maxQty"]),
        min_notional=Decimal(notional.get("minNotional", notional.get("notional", ZERO))),
        notional_applies_to_market=bool(notional.get("applyToMarket", True)),
        percent_up=Decimal(percent["multiplierUp"]),
        percent_down=Decimal(percent["multiplierDown"]),
        price_places=int(entry.get("pricePrecision", 8)),
        quantity_places=int(entry.get("quantityPrecision", 8)),
        max_orders=int(orders.get("maxNumOrders", orders.get("limit", 0))),
        max_algo_orders=int(algo.get("maxNumAlgoOrders", algo.get("limit", 0))),
        start_price=start_price,
        level_notional=level_notional,
    )
