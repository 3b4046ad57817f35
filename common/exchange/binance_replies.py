"""What Binance answers about orders, as typed structs, and the reports made of them: spot and USDⓈ-M futures.

A reply that doesn't fit its struct, or says what can't be, is unreadable: nothing is known then. Fields without a
default are those without which a reply is no answer.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.json import Decoder

from common.exchange.base import OrderReport, OrderTerms
from common.exchange.fields import (
    EARLIEST_MS,
    LATEST_MS,
    LONGEST_NUMBER_ID,
    LONGEST_TEXT,
    MOST_DIGITS,
    measure_in,
    status_in,
    unreadable,
)
from common.exchange.terms import read_terms
from orderlane.intents import OrderType
from orderlane.orders import OrderStatus

STATUSES: Final = {
    "NEW": OrderStatus.ACTIVE,
    "PENDING_NEW": OrderStatus.ACTIVE,
    "PARTIALLY_FILLED": OrderStatus.PARTIAL,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELED,
    "PENDING_CANCEL": OrderStatus.ACTIVE,
    "REJECTED": OrderStatus.REJECTED,
    "EXPIRED": OrderStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
}
"""Order status (`status`) of the spot and USDⓈ-M enum definitions."""

ALGO_STATUSES: Final = {
    "NEW": OrderStatus.ACTIVE,
    "TRIGGERING": OrderStatus.ACTIVE,
    "CANCELED": OrderStatus.CANCELED,
    "EXPIRED": OrderStatus.EXPIRED,
    "REJECTED": OrderStatus.REJECTED,
}
TRIGGERED: Final = ("TRIGGERED", "FINISHED")
"""The rest of `algoStatus`: the order it became is on the book, or has ended there."""


SPOT_TYPES: Final = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "LIMIT_MAKER": OrderType.LIMIT,
    "STOP_LOSS": OrderType.STOP_MARKET,
    "STOP_LOSS_LIMIT": OrderType.STOP_LIMIT,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT_MARKET,
    "TAKE_PROFIT_LIMIT": OrderType.TAKE_PROFIT_LIMIT,
}
USDM_TYPES: Final = {"MARKET": OrderType.MARKET, "LIMIT": OrderType.LIMIT}
ALGO_TYPES: Final = {
    "STOP_MARKET": OrderType.STOP_MARKET,
    "STOP": OrderType.STOP_LIMIT,
    "TAKE_PROFIT_MARKET": OrderType.TAKE_PROFIT_MARKET,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT_LIMIT,
}
"""Order types (`type`) of the spot and USDⓈ-M enum definitions that an intent can ask for."""

Text = Annotated[str, Meta(min_length=1, max_length=LONGEST_TEXT)]
Moment = Annotated[int, Meta(ge=EARLIEST_MS, le=LATEST_MS)]
"""Milliseconds since 1970."""


class Confirmation(Struct, kw_only=True):
    """Any reply that is one object. `code` is there in errors, and as 200 in replies that say "done" alone."""

    code: Any | UnsetType = UNSET


class Fill(Struct, rename="camel"):
    """One fill of a new spot order (`newOrderRespType=FULL`)."""

    qty: Decimal
    commission: Decimal
    commission_asset: Text


class SpotOrder(Confirmation, kw_only=True, rename="camel"):
    """An order as spot writes it: new (FULL), queried, listed or cancelled."""

    symbol: Text
    order_id: int | str
    client_order_id: Text
    orig_client_order_id: Text | UnsetType = UNSET
    status: str
    orig_qty: Decimal
    executed_qty: Decimal
    cummulative_quote_qty: Decimal
    price: Decimal
    fills: list[Fill] | UnsetType = UNSET
    transact_time: Moment | UnsetType = UNSET
    update_time: Moment | UnsetType = UNSET


class SpotListed(SpotOrder, kw_only=True, rename="camel"):
    """An order as queries and lists show it: with what it was placed with, of which nothing else depends."""

    side: Any | UnsetType = UNSET
    type: Any | UnsetType = UNSET
    time_in_force: Any | UnsetType = UNSET
    stop_price: Any | UnsetType = UNSET
    time: Any | UnsetType = UNSET


class UsdmOrder(Confirmation, kw_only=True, rename="camel"):
    """An ordinary order of USDⓈ-M futures; these replies carry no fees. The reply to a cancel has no average."""

    symbol: Text
    order_id: int | str
    client_order_id: Text
    status: str
    orig_qty: Decimal
    executed_qty: Decimal
    price: Decimal
    avg_price: Decimal | UnsetType = UNSET
    update_time: Moment


class UsdmListed(UsdmOrder, kw_only=True, rename="camel"):
    """An order as queries and lists show it: with what it was placed with, of which nothing else depends."""

    side: Any | UnsetType = UNSET
    type: Any | UnsetType = UNSET
    time_in_force: Any | UnsetType = UNSET
    reduce_only: Any | UnsetType = UNSET
    time: Any | UnsetType = UNSET


class AlgoOrder(Confirmation, kw_only=True, rename="camel"):
    """A conditional order of USDⓈ-M futures. Its numbers may be empty texts where it has none."""

    symbol: Text
    algo_id: int | str
    client_algo_id: Text
    algo_status: str
    quantity: str | int
    price: str | int
    actual_order_id: int | str | UnsetType = UNSET
    update_time: Moment
    side: Any | UnsetType = UNSET
    order_type: Any | UnsetType = UNSET
    time_in_force: Any | UnsetType = UNSET
    trigger_price: Any | UnsetType = UNSET
    reduce_only: Any | UnsetType = UNSET
    create_time: Any | UnsetType = UNSET


CONFIRMATION: Final[Decoder[Confirmation | list[Any]]] = Decoder(Confirmation | list[Any])
"""For what is done when no error is named; spot lists what was cancelled."""
SPOT_ORDER: Final = Decoder(SpotOrder)
SPOT_LISTED: Final = Decoder(SpotListed)
SPOT_ORDERS: Final = Decoder(list[SpotListed])
USDM_ORDER: Final = Decoder(UsdmOrder)
USDM_LISTED: Final = Decoder(UsdmListed)
USDM_ORDERS: Final = Decoder(list[UsdmListed])
ALGO_ORDER: Final = Decoder(AlgoOrder)
ALGO_ORDERS: Final = Decoder(list[AlgoOrder])


def spot_report(order: SpotOrder, market_id: str, symbol: str) -> OrderReport:
    """A report on an order of spot's market `market_id`, which is `symbol` here.

    Raises:
        ExchangeFailure: UNKNOWN, the reply says what can't be.
    """
    filled = _filled(order.executed_qty, order.orig_qty, order)
    # "For some historical orders cummulativeQuoteQty will be < 0, meaning the data is not available."
    spent = _number("cummulativeQuoteQty", order.cummulative_quote_qty)
    at = order.update_time or order.transact_time
    if not at:
        raise unreadable("an order has neither updateTime nor transactTime", order)
    return OrderReport(
        # A cancelled order's `clientOrderId` is that of the cancel; the order's own stands beside it.
        client_order_id=order.orig_client_order_id or order.client_order_id,
        exchange_order_id=number_id("orderId", order.order_id),
        symbol=_same_market(order.symbol, market_id, symbol),
        status=status_in(STATUSES, order.status),
        amount=_measure("origQty", order.orig_qty),
        price=_measure("price", order.price),
        filled=filled,
        average=spent / filled if spent > 0 and filled else None,
        fees=_fees(order.fills) if order.fills else {},
        exchange_at=at,
        terms=_spot_terms(order) if isinstance(order, SpotListed) else None,
    )


def _spot_terms(order: SpotListed) -> OrderTerms | None:
    return read_terms(
        SPOT_TYPES, side=order.side, kind=order.type, trigger_price=order.stop_price, created_at=order.time,
        time_in_force="PO" if order.type == "LIMIT_MAKER" else order.time_in_force,
    )  # fmt: skip


def usdm_report(order: UsdmOrder, market_id: str, symbol: str) -> OrderReport:
    """A report on an ordinary order of the USDⓈ-M market `market_id`, which is `symbol` here.

    Raises:
        ExchangeFailure: UNKNOWN, the reply says what can't be.
    """
    return OrderReport(
        client_order_id=order.client_order_id,
        exchange_order_id=number_id("orderId", order.order_id),
        symbol=_same_market(order.symbol, market_id, symbol),
        status=status_in(STATUSES, order.status),
        amount=_measure("origQty", order.orig_qty),
        price=_measure("price", order.price),
        filled=_filled(order.executed_qty, order.orig_qty, order),
        average=None if order.avg_price is UNSET else _measure("avgPrice", order.avg_price),
        exchange_at=order.update_time,
        terms=_usdm_terms(order) if isinstance(order, UsdmListed) else None,
    )


def _usdm_terms(order: UsdmListed) -> OrderTerms | None:
    return read_terms(
        USDM_TYPES, side=order.side, kind=order.type, time_in_force=order.time_in_force,
        reduce_only=order.reduce_only, created_at=order.time,
    )  # fmt: skip


def algo_report(order: AlgoOrder, market_id: str, symbol: str) -> OrderReport:
    """A report on a conditional order that has not been followed to the order it became.

    Raises:
        ExchangeFailure: UNKNOWN, the reply says what can't be.
    """
    numbers = {"quantity": order.quantity, "price": order.price}
    triggered = order.algo_status in TRIGGERED
    return OrderReport(
        client_order_id=order.client_algo_id,
        exchange_order_id=number_id("algoId", order.algo_id),
        symbol=_same_market(order.symbol, market_id, symbol),
        status=OrderStatus.ACTIVE if triggered else status_in(ALGO_STATUSES, order.algo_status),
        amount=measure_in(numbers, "quantity", may_be_empty=True),
        price=measure_in(numbers, "price", may_be_empty=True),
        exchange_at=order.update_time,
        terms=read_terms(
            ALGO_TYPES, side=order.side, kind=order.order_type, time_in_force=order.time_in_force,
            trigger_price=order.trigger_price, reduce_only=order.reduce_only, created_at=order.create_time,
            own_book=True,
        ),
    )  # fmt: skip


def number_id(name: str, value: int | str | UnsetType) -> str:
    """The id of an order on a venue that numbers its orders, as text.

    Raises:
        ExchangeFailure: UNKNOWN, it is missing or no such number - with another one the order could never be named.
    """
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER_ID):
        raise unreadable(f"field {name} is no order's number", value)
    return text


def _same_market(found: str, market_id: str, symbol: str) -> str:
    if found != market_id:
        raise unreadable(f"the reply speaks of another market than {market_id}", found)
    return symbol


def _number(name: str, value: Decimal) -> Decimal:
    if not value.is_finite() or (abs(value.adjusted()) > MOST_DIGITS and value):
        raise unreadable(f"field {name} is no number", value)
    return value


def _measure(name: str, value: Decimal) -> Decimal | None:
    if _number(name, value) < 0:
        raise unreadable(f"field {name} is negative", value)
    return value or None


def _filled(executed: Decimal, amount: Decimal, order: Struct) -> Decimal:
    filled = _number("executedQty", executed)
    if filled < 0 or 0 < _number("origQty", amount) < filled:
        raise unreadable("field executedQty says nothing of what is filled", order)
    return filled


def with_its_fills(order: SpotOrder) -> SpotOrder:
    """A new order, once its fills are known to be all of them.

    Raises:
        ExchangeFailure: UNKNOWN, they don't add up to what is filled.
    """
    fills = order.fills or []
    if sum((fill.qty for fill in fills), Decimal(0)) != order.executed_qty:
        raise unreadable("an order's fills are not what executedQty says", order)
    return order


def _fees(fills: list[Fill]) -> dict[str, Decimal]:
    fees: dict[str, Decimal] = {}
    for fill in fills:
        paid = _number("commission", fill.commission)
        if paid:
            fees[fill.commission_asset] = fees.get(fill.commission_asset, Decimal(0)) + paid
    return fees
