"""Bybit v5's words about an order, read strictly: what is missing or absurd is no answer.

Sources: "Get Open & Closed Orders", "Get Order History" and the enum definitions of the v5 documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from common.exchange.base import OrderReport
from common.exchange.fields import (
    decimal_in,
    fields_in,
    filled_in,
    market_id_in,
    measure_in,
    moment_in,
    optional_text_in,
    status_in,
    text_in,
    unreadable,
)
from common.exchange.terms import read_terms
from orderlane.intents import OrderType
from orderlane.orders import OrderStatus

_STATUSES: Final = {
    **dict.fromkeys(
        ("Created", "New", "Untriggered", "Triggered", "Active", "PendingCancel"), OrderStatus.ACTIVE
    ),
    "PartiallyFilled": OrderStatus.PARTIAL,
    "Filled": OrderStatus.FILLED,
    **dict.fromkeys(("Cancelled", "PartiallyFilledCanceled", "Deactivated"), OrderStatus.CANCELED),
    "Rejected": OrderStatus.REJECTED,
}
"""`orderStatus` of the enum definitions."""
_ORDER_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]{10,20}")
"""A UUID, or a long number."""
_TYPES: Final = {
    "Market": OrderType.MARKET,
    "Limit": OrderType.LIMIT,
    **dict.fromkeys(("Market Buy 1", "Market Sell 2"), OrderType.STOP_MARKET),
    **dict.fromkeys(("Limit Buy 1", "Limit Sell 2"), OrderType.STOP_LIMIT),
    **dict.fromkeys(("Market Buy 2", "Market Sell 1"), OrderType.TAKE_PROFIT_MARKET),
    **dict.fromkeys(("Limit Buy 2", "Limit Sell 1"), OrderType.TAKE_PROFIT_LIMIT),
}
"""By what `_kind` calls them."""


def result_of(decoded: Any) -> dict[str, Any]:
    """The part of a reply that answers."""
    return fields_in(fields_in(decoded).get("result"))


def order_id_in(fields: Mapping[str, Any]) -> str:
    """The order's id, which looks like one."""
    order_id = text_in(fields, "orderId")
    if not _ORDER_ID.fullmatch(order_id):
        raise unreadable("field orderId is no order's id", order_id)
    return order_id


def order_report(order: Mapping[str, Any], market: Mapping[str, Any]) -> OrderReport:
    """What one row of a list of orders says of its order."""
    market_id_in(order, "symbol", market.get("id"))
    amount = measure_in(order, "qty")  # 0: whatever the position has then
    filled = filled_in(order, "cumExecQty", amount)
    return OrderReport(
        client_order_id=optional_text_in(order, "orderLinkId"),
        exchange_order_id=order_id_in(order),
        symbol=str(market["symbol"]),
        status=status_in(_STATUSES, order.get("orderStatus")),
        amount=amount,
        price=measure_in(order, "price", may_be_empty=order.get("orderType") == "Market"),
        filled=filled,
        average=_average(order, filled) if filled else None,
        fees=_fees(order, market) if filled else {},
        exchange_at=moment_in(order, "updatedTime"),
        terms=read_terms(
            _TYPES,
            side=order.get("side"),
            kind=_kind(order),
            time_in_force=order.get("timeInForce"),
            trigger_price=order.get("triggerPrice"),
            reduce_only=order.get("reduceOnly"),
        ),
    )


def _kind(order: Mapping[str, Any]) -> str:
    """`orderType`; of a conditional order with what it waits for: the price to rise (`triggerDirection` 1) or fall (2).
    Where that is not told (spot), it can't be said whether it is a stop."""
    kind = str(order.get("orderType"))
    if order.get("triggerPrice") in (None, "", "0", "0.0", "0.00"):
        return kind
    return f"{kind} {order.get('side')} {order.get('triggerDirection')}"


def _average(order: Mapping[str, Any], filled: Decimal) -> Decimal | None:
    """`avgPrice`; the venue leaves it empty for some orders that have fills, whose value stands beside it."""
    average = measure_in(order, "avgPrice", may_be_empty=True)
    if average is not None:
        return average
    spent = measure_in(order, "cumExecValue")
    return spent / filled if spent else None


def _fees(order: Mapping[str, Any], market: Mapping[str, Any]) -> dict[str, Decimal]:
    """By coin, from `cumFeeDetail`; where that is missing, `cumExecFee` in what the market settles in."""
    if "cumFeeDetail" in order:
        by_coin = fields_in(order["cumFeeDetail"])
        fees = {str(coin): decimal_in(by_coin, coin) for coin in by_coin}
        if None in fees.values():
            raise unreadable("field cumFeeDetail is no list of fees", by_coin)
        return {coin: fee for coin, fee in fees.items() if fee}
    paid, settle = decimal_in(order, "cumExecFee"), market.get("settle")
    return {str(settle): paid} if paid and settle else {}
