"""The venues' captured replies, as ccxt reads them: what the tests of market rules start from."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import ccxt
from msgspec import Struct

from common.market_rules import markets_from_ccxt
from common.markets import Market, Markets

CAPTURES = Path(__file__).parents[1] / "data"


class Binance(ccxt.binance):  # type: ignore[misc]  # ccxt comes without types
    number = str


class BinanceUsdm(ccxt.binanceusdm):  # type: ignore[misc]  # ccxt comes without types
    number = str


class Okx(ccxt.okx):  # type: ignore[misc]  # ccxt comes without types
    number = str


class Kraken(ccxt.kraken):  # type: ignore[misc]  # ccxt comes without types
    number = str


class Venue(Struct, frozen=True):
    exchange: Any
    """The ccxt exchange, its markets set from the capture."""
    markets: Markets
    entries: dict[str, dict[str, Any]]
    """The venue's own entry of each symbol, as it came."""


def read(name: str, folder: Path = CAPTURES) -> Any:
    return json.loads((folder / name).read_bytes())


@cache
def venues(folder: Path = CAPTURES) -> dict[str, Venue]:
    """Every captured venue by its ccxt id."""
    spot, usdm = Binance(), BinanceUsdm()
    spot.options |= {"crossMarginPairsData": [], "isolatedMarginPairsData": []}
    usdm.options |= {"crossMarginPairsData": [], "isolatedMarginPairsData": []}
    okx, kraken = Okx(), Kraken()
    pairs = read("kraken_AssetPairs.json", folder)
    for pair in pairs["result"].values():
        pair["status"] = "online"  # told since 2022; ccxt takes a pair without it for inactive
    kraken.publicGetAssetPairs = lambda params=None: pairs
    parsed: list[tuple[Any, list[dict[str, Any]]]] = [
        (spot, spot.parse_markets(read("binance_spot_exchangeInfo.json", folder)["symbols"])),
        (usdm, usdm.parse_markets(read("binance_usdm_exchangeInfo.json", folder)["symbols"])),
        (okx, okx.parse_markets(read("okx_swap_instruments.json", folder)["data"])),
        (kraken, kraken.fetch_markets()),
    ]
    return {exchange.id: venue(exchange, markets) for exchange, markets in parsed}


def venue(exchange: Any, ccxt_markets: list[dict[str, Any]]) -> Venue:
    exchange.set_markets(ccxt_markets)
    return Venue(
        exchange,
        markets_from_ccxt(exchange.id, exchange.markets, exchange.precisionMode),
        {symbol: market["info"] for symbol, market in exchange.markets.items()},
    )


def spot_market(**entry: Any) -> Market:
    """One Binance spot market from an `exchangeInfo` entry; what is not given is as BTCUSDT has it today."""
    exchange = Binance()
    exchange.options |= {"crossMarginPairsData": [], "isolatedMarginPairsData": []}
    return markets_from_ccxt("binance", _by_symbol(exchange, TODAYS_BTCUSDT | entry))["BTC/USDT"]


def usdm_market(symbol: str) -> Market:
    """A captured USDⓈ-M market, such as BTC/USDT:USDT."""
    return venues()["binanceusdm"].markets[symbol]


def every_market(folder: Path = CAPTURES) -> Iterator[tuple[str, Market, dict[str, Any]]]:
    """(exchange id, our rules, the venue's entry) of every captured market that can be used."""
    for name, captured in venues(folder).items():
        for symbol, market in captured.markets.items():
            yield name, market, captured.entries[symbol]


def _by_symbol(exchange: Any, entry: dict[str, Any]) -> dict[str, Any]:
    market = exchange.parse_market(entry)
    return {market["symbol"]: market}


TODAYS_BTCUSDT: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "baseAssetPrecision": 8,
    "quoteAsset": "USDT",
    "quotePrecision": 8,
    "orderTypes": [
        "LIMIT",
        "LIMIT_MAKER",
        "MARKET",
        "STOP_LOSS",
        "STOP_LOSS_LIMIT",
        "TAKE_PROFIT",
        "TAKE_PROFIT_LIMIT",
    ],
    "permissions": [],
    "filters": [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": "0.01000000",
            "maxPrice": "1000000.00000000",
            "tickSize": "0.01000000",
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": "0.00001000",
            "maxQty": "9000.00000000",
            "stepSize": "0.00001000",
        },
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": "0.00000000",
            "maxQty": "114.12693879",
            "stepSize": "0.00000000",
        },
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": "5",
            "bidMultiplierDown": "0.2",
            "askMultiplierUp": "4",
            "askMultiplierDown": "0.5",
            "avgPriceMins": 5,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": "5.00000000",
            "applyMinToMarket": True,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
    ],
}
"""A symbol with the filters that Binance spot has had since 2023, in the shape its documentation gives."""
