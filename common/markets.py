"""Market rules: what a venue lets an order in one symbol be, and how one process's copy reaches the others.

One process loads the rules from the exchange and publishes them in Redis; the rest start from there.
`common.market_rules` makes them from what ccxt loaded.
"""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, cast

import msgspec
import redis.asyncio
from msgspec import Struct

from common.exact import EXACT, plain, times
from orderlane.intents import OrderType, Side, TimeInForce
from orderlane.keys import Keys


class MarketType(StrEnum):
    """What is traded, in ccxt's words: `future` is a contract with an expiry, `swap` one without."""

    SPOT = "spot"
    SWAP = "swap"
    FUTURE = "future"
    OPTION = "option"


class PriceBand(Struct, frozen=True, omit_defaults=True):
    """How far from the venue's reference price an order may be priced, in multiples of it; None: no bound."""

    buy_down: Decimal | None = None
    buy_up: Decimal | None = None
    sell_down: Decimal | None = None
    sell_up: Decimal | None = None

    def multipliers(self, side: Side) -> tuple[Decimal | None, Decimal | None]:
        """(lowest, highest) for one side."""
        return (self.buy_down, self.buy_up) if side is Side.BUY else (self.sell_down, self.sell_up)


class Market(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The rules of one symbol.

    Prices are in quote per base, notionals in quote. Amounts are in base, on contracts too: a lot of 1
    contract of 0.01 BTC is a `lot_size` of 0.01. A bound that is None does not exist. The `market_` fields
    hold for orders without a limit price (MARKET and the stop and take-profit kinds that act as one), the
    others for orders with one.
    """

    symbol: str
    """ccxt's unified form, such as BTC/USDT or BTC/USDT:USDT."""
    venue_id: str
    """The venue's own name of the market, such as BTCUSDT."""
    type: MarketType
    base: str
    quote: str
    settle: str = ""
    active: bool = True
    contract_size: Decimal = Decimal(1)
    """Base per contract; 1 on spot."""
    tick_size: Decimal
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    lot_size: Decimal
    min_amount: Decimal | None = None
    max_amount: Decimal | None = None
    market_lot_size: Decimal
    market_min_amount: Decimal | None = None
    market_max_amount: Decimal | None = None
    min_notional: Decimal | None = None
    max_notional: Decimal | None = None
    market_min_notional: Decimal | None = None
    market_max_notional: Decimal | None = None
    reduce_only_exempt_from_notional: bool = False
    price_band: PriceBand = PriceBand()
    price_band_covers_stops: bool = False
    """Whether the limit price of a stop or take-profit order is held to the band when it is placed."""
    order_types: frozenset[OrderType] | None = None
    """None: the venue's rules don't say."""
    times_in_force: frozenset[TimeInForce] | None = None
    post_only_stops: bool = False
    """Whether a stop-limit or take-profit-limit order may be post-only."""

    def contracts(self, amount: Decimal) -> Decimal:
        """An amount on the lot grid, in base, as the number of contracts that ccxt calls `amount`.

        Raises:
            decimal.Inexact: the amount is on no grid of this market.
        """
        return plain(EXACT.divide(amount, self.contract_size))

    def amount(self, contracts: Decimal) -> Decimal:
        """A number of contracts as an amount in base; the counterpart of `contracts`."""
        return plain(times(contracts, self.contract_size))


class UnknownSymbol(KeyError):
    """No rules for a symbol. `message` says why, or which symbols look like it."""

    def __init__(self, symbol: str, message: str) -> None:
        super().__init__(symbol)
        self.symbol = symbol
        self.message = message

    def __str__(self) -> str:
        return self.message


class Markets(Mapping[str, Market]):
    """The rules of one exchange, by unified symbol. `unusable` names the rest, each with the reason."""

    def __init__(self, markets: Iterable[Market], unusable: Mapping[str, str] | None = None) -> None:
        self._by_symbol = {market.symbol: market for market in markets}
        self.unusable: Mapping[str, str] = dict(unusable or {})

    def __getitem__(self, symbol: str) -> Market:
        """The rules of `symbol`.

        Raises:
            UnknownSymbol: the exchange has no such symbol, or one that can't be used; the message says which.
        """
        market = self._by_symbol.get(symbol)
        if market is None:
            raise UnknownSymbol(symbol, self._why_unknown(symbol))
        return market

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._by_symbol  # the inherited test would compose a message for each miss

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_symbol)

    def __len__(self) -> int:
        return len(self._by_symbol)

    def _why_unknown(self, symbol: str) -> str:
        if symbol in self.unusable:
            return f"symbol {symbol!r} can't be traded here: {self.unusable[symbol]}"
        near = self._near(symbol)
        hint = f"did you mean {' or '.join(near)}?" if near else "see the exchange's list of symbols"
        return f"symbol {symbol!r} is none of the exchange's {len(self)}: {hint}"

    def _near(self, symbol: str) -> list[str]:
        wanted = symbol.upper()
        pair, _, _ = wanted.partition(":")
        compact = pair.translate(_SEPARATORS)
        same_pair = [
            market.symbol
            for market in self._by_symbol.values()
            if compact
            in (f"{market.base}{market.quote}".upper(), market.venue_id.translate(_SEPARATORS).upper())
        ]
        return (same_pair or difflib.get_close_matches(wanted, self._by_symbol))[:_SUGGESTIONS]


_SEPARATORS: Final = str.maketrans("", "", "/-_ ")
_SUGGESTIONS: Final = 3


class SharedMarkets(Struct, frozen=True):
    """What one process published: when it was loaded from the exchange (ms), our rules, and ccxt's own.

    `ccxt_markets` goes to `exchange.set_markets(…)`, which then needs no `load_markets`.
    """

    loaded_at_ms: int
    markets: Markets
    ccxt_markets: list[dict[str, Any]]


class _Published(Struct, frozen=True):
    markets: list[Market]
    unusable: dict[str, str]


_encoder = msgspec.json.Encoder(decimal_format="string", order="deterministic")
_decoder: msgspec.json.Decoder[_Published] = msgspec.json.Decoder(_Published)
_ccxt_decoder: msgspec.json.Decoder[list[dict[str, Any]]] = msgspec.json.Decoder(list[dict[str, Any]])


async def publish(
    redis: redis.asyncio.Redis,
    keys: Keys,
    markets: Markets,
    ccxt_markets: Mapping[str, Mapping[str, Any]],
    now_ms: int,
) -> None:
    """Share the rules loaded at `now_ms` with every process of the pool, in one write that replaces all.

    `ccxt_markets` is the `markets` of the ccxt exchange that they were made from.
    """
    published = _Published(list(markets.values()), dict(markets.unusable))
    await redis.hset(
        keys.markets,
        mapping={
            "loaded_at": now_ms,
            "markets": _encoder.encode(published),
            "ccxt": zlib.compress(_encoder.encode(list(ccxt_markets.values()))),
        },
    )


async def loaded_at(redis: redis.asyncio.Redis, keys: Keys) -> int:
    """When what was last published had been loaded from the exchange, ms; 0: nothing is there."""
    found = await cast(Awaitable[bytes | None], redis.hget(keys.markets, "loaded_at"))
    return int(found) if found and found.isdigit() else 0


async def load(redis: redis.asyncio.Redis, keys: Keys) -> SharedMarkets | None:
    """What was last published. None: nothing this version can read, so load it from the exchange."""
    fields = await cast(
        Awaitable[list[bytes | None]], redis.hmget(keys.markets, ["loaded_at", "markets", "ccxt"])
    )
    loaded_at, markets, ccxt_markets = fields
    if loaded_at is None or markets is None or ccxt_markets is None:
        return None
    try:
        published = _decoder.decode(markets)
        return SharedMarkets(
            loaded_at_ms=int(loaded_at),
            markets=Markets(published.markets, published.unusable),
            ccxt_markets=_ccxt_decoder.decode(zlib.decompress(ccxt_markets)),
        )
    except (msgspec.DecodeError, zlib.error, ValueError):
        return None
