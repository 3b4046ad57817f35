"""Binance's lists of past fills: `myTrades` (spot) and `userTrades` (USDⓈ-M), as typed structs.

Sources: "Account trade list" of the spot and of the USDⓈ-M documentation: at most 1000 rows, oldest first from
`startTime` or `fromId` on, never both; from a `startTime` they reach a day (spot) or a week (USDⓈ-M) on.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct
from msgspec.json import Decoder

from common.exchange.base import Liquidity, TradeReport
from common.exchange.binance_replies import Moment, Text, number_id
from common.exchange.binance_requests import Endpoint
from common.exchange.fields import MOST_DIGITS, unreadable
from orderlane.intents import Side

PAGE: Final = 1000
SPOT_TRADES: Final = Endpoint("GET", "private", "myTrades", "privateGetMyTrades")
USDM_TRADES: Final = Endpoint("GET", "fapiPrivate", "userTrades", "fapiPrivateGetUserTrades")


class SpotTrade(Struct, kw_only=True, rename="camel"):
    """A row of `myTrades`."""

    symbol: Text
    id: int | str
    order_id: int | str
    price: Decimal
    qty: Decimal
    commission: Decimal
    commission_asset: Text
    time: Moment
    is_buyer: bool
    is_maker: bool


class UsdmTrade(Struct, kw_only=True, rename="camel"):
    """A row of `userTrades`."""

    symbol: Text
    id: int | str
    order_id: int | str
    price: Decimal
    qty: Decimal
    commission: Decimal
    commission_asset: Text
    realized_pnl: Decimal
    time: Moment
    buyer: bool
    maker: bool


SPOT_ROWS: Final = Decoder(list[SpotTrade])
USDM_ROWS: Final = Decoder(list[UsdmTrade])


def page_of(market_id: str, since_ms: int, after_id: str, of_order: str = "") -> dict[str, Any]:
    """The parameters that ask for a page: from a time on, or after a trade, or of one order."""
    if of_order:
        return {"symbol": market_id, "orderId": int(of_order), "limit": PAGE}
    begin = {"fromId": int(after_id) + 1} if after_id else {"startTime": since_ms}
    return {"symbol": market_id, **begin, "limit": PAGE}


def spot_trades(rows: Sequence[SpotTrade], market_id: str, symbol: str) -> list[TradeReport]:
    """The fills of spot's market `market_id`, which is `symbol` here.

    Raises:
        ExchangeFailure: UNKNOWN, the reply says what can't be.
    """
    found = [_report(row, market_id, symbol, buys=row.is_buyer, makes=row.is_maker) for row in rows]
    return sorted(found, key=_number)


def usdm_trades(rows: Sequence[UsdmTrade], market_id: str, symbol: str) -> list[TradeReport]:
    """The same for USDⓈ-M."""
    found = [_report(row, market_id, symbol, buys=row.buyer, makes=row.maker) for row in rows]
    return sorted(found, key=_number)


def _report(
    row: SpotTrade | UsdmTrade, market_id: str, symbol: str, *, buys: bool, makes: bool
) -> TradeReport:
    realised = row.realized_pnl if isinstance(row, UsdmTrade) else None
    numbers = {"price": row.price, "qty": row.qty, "commission": row.commission, "realizedPnl": realised}
    for name, number in numbers.items():
        if number is None:
            continue
        if not number.is_finite() or (number and abs(number.adjusted()) > MOST_DIGITS):
            raise unreadable(f"field {name} is no number", row)
    if row.symbol != market_id or row.price <= 0 or row.qty <= 0:
        raise unreadable(f"no trade of {market_id}", row)
    return TradeReport(
        trade_id=number_id("id", row.id),
        exchange_order_id=number_id("orderId", row.order_id),
        symbol=symbol,
        side=Side.BUY if buys else Side.SELL,
        amount=row.qty,
        price=row.price,
        fee=row.commission,
        fee_currency=row.commission_asset,
        liquidity=Liquidity.MAKER if makes else Liquidity.TAKER,
        realised=realised,
        traded_at=row.time,
    )


def _number(trade: TradeReport) -> int:
    return int(trade.trade_id)
