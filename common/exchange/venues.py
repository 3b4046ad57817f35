"""Which venue file serves which ccxt id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from common.exchange.binance import BinanceSpot
from common.exchange.binance_usdm import BinanceUsdm
from common.exchange.bybit import Bybit
from common.exchange.kraken import Kraken
from common.exchange.okx import Okx
from common.exchange.unified import Unified
from common.exchange.venue import Venue

VENUES: Final[Mapping[str, type[Venue]]] = {
    "binance": BinanceSpot,
    "binanceusdm": BinanceUsdm,
    "bybit": Bybit,
    "okx": Okx,
    "kraken": Kraken,
}
"""By ccxt id. Any other id gets `Unified`, which takes nothing for certain."""


def venue_type(venue: str) -> type[Venue]:
    """The adapter of a ccxt id."""
    return VENUES.get(venue, Unified)
