"""The rows that the stand-in exchange lists as open, made from the ids it is told."""

from __future__ import annotations

import msgspec
from msgspec import Struct

ROW = (
    '{"orderId":%d,"symbol":"%s","status":"NEW","clientOrderId":"%s","price":"%s","avgPrice":"0","origQty":"%s",'
    '"executedQty":"0","cumQuote":"0","timeInForce":"GTC","type":"LIMIT","reduceOnly":false,"closePosition":false,'
    '"side":"BUY","positionSide":"BOTH","stopPrice":"0","workingType":"CONTRACT_PRICE","priceProtect":false,'
    '"origType":"LIMIT","priceMatch":"NONE","selfTradePreventionMode":"NONE","goodTillDate":0,"time":%d,"updateTime":%d}'
)


class OpenOrder(Struct, frozen=True):
    """One order that rests: the exchange's id and ours, the market's id, and when it changed (ms since 1970)."""

    order_id: int
    client_order_id: str
    market: str
    price: str
    amount: str
    at_ms: int


class OpenOrders(Struct, frozen=True):
    """Every order that `GET /fapi/v1/openOrders` shall list."""

    orders: list[OpenOrder]


def open_order_rows(listed: OpenOrders) -> bytes:
    """The reply's body."""
    rows = (
        ROW % (one.order_id, one.market, one.client_order_id, one.price, one.amount, one.at_ms, one.at_ms)
        for one in listed.orders
    )
    return f"[{','.join(rows)}]".encode()


def encode_open_orders(orders: list[OpenOrder]) -> bytes:
    """What the stand-in is told."""
    return msgspec.json.encode(OpenOrders(orders))
