"""Fills of an order: how one is kept, what they sum up to in the record, and the event that reports one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from common.exact import plain
from common.exchange.base import Liquidity, TradeReport
from orderlane.events import Event, EventName, order_event
from orderlane.orders import Order, OrderStatus

_encoder: Final = msgspec.json.Encoder(decimal_format="string")


class Fill(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A fill as it is kept beside its order: `amount` in base, `price` in quote per base, `traded_at` in ms."""

    amount: Decimal
    price: Decimal
    fee: Decimal | None = None
    fee_currency: str = ""
    liquidity: Liquidity | None = None
    realised: Decimal | None = None
    traded_at: int = 0


_decoder: Final = msgspec.json.Decoder(Fill)


def fill_of(trade: TradeReport) -> Fill:
    """What is kept of a trade."""
    return Fill(
        amount=trade.amount,
        price=trade.price,
        fee=trade.fee,
        fee_currency=trade.fee_currency,
        liquidity=trade.liquidity,
        realised=trade.realised,
        traded_at=trade.traded_at,
    )


def encode_fill(fill: Fill) -> bytes:
    """The fill as JSON."""
    return _encoder.encode(fill)


def decode_fill(payload: bytes) -> Fill:
    """The counterpart of `encode_fill`."""
    return _decoder.decode(payload)


def with_fills(order: Order, fills: Iterable[Fill], now_ms: int) -> Order:
    """The record with what its fills sum up to, once they account for all that is known to be filled; else as it is.

    Until then some fills are not known yet, and a sum over the others would say less than the record does.
    """
    counted = list(fills)
    filled = sum((fill.amount for fill in counted), Decimal(0))
    if not filled or filled < order.filled:
        return order
    changed = msgspec.structs.replace(
        order,
        status=OrderStatus.PARTIAL if order.status is OrderStatus.ACTIVE else order.status,
        filled=filled,
        average=plain(sum((fill.amount * fill.price for fill in counted), Decimal(0)) / filled),
        fees=_fees(counted),
    )
    if changed == order:
        return order
    return msgspec.structs.replace(
        changed, times=msgspec.structs.replace(order.times, updated_at=max(now_ms, order.times.updated_at))
    )


def _fees(fills: Iterable[Fill]) -> dict[str, Decimal]:
    fees: dict[str, Decimal] = {}
    for fill in fills:
        if fill.fee:
            fees[fill.fee_currency] = fees.get(fill.fee_currency, Decimal(0)) + fill.fee
    return fees


def trade_event(order: Order, trade: TradeReport, *, at: int, worker: str) -> Event:
    """The event about one fill of an order, which stands as it did before and after it."""
    numbers = {
        "trade_id": trade.trade_id,
        "side": trade.side.value,
        "amount": f"{trade.amount:f}",
        "price": f"{trade.price:f}",
        "fee": "" if trade.fee is None else f"{trade.fee:f}",
        "fee_currency": trade.fee_currency,
        "liquidity": trade.liquidity.value if trade.liquidity else "",
        "realised": "" if trade.realised is None else f"{trade.realised:f}",
        "traded_at": str(trade.traded_at),
    }
    event = order_event(order, order.status, at=at, name=EventName.TRADE, worker=worker)
    return msgspec.structs.replace(event, numbers={name: text for name, text in numbers.items() if text})
