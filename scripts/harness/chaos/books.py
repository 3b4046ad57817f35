"""The journal against the exchange's books, order by order. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from orderlane.intents import PlaceOrder
from orderlane.orders import Order, OrderStatus
from scripts.harness.content import Grids
from scripts.harness.verdict import NO_GRIDS

STATUSES: Final = {
    "NEW": OrderStatus.ACTIVE,
    "PARTIALLY_FILLED": OrderStatus.PARTIAL,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELED,
    "EXPIRED": OrderStatus.EXPIRED,
    "REJECTED": OrderStatus.REJECTED,
}


class Booked(Struct, frozen=True):
    """An order as the exchange has it."""

    client_order_id: str
    status: str
    quantity: Decimal
    price: Decimal
    executed_quantity: Decimal = Decimal(0)
    product: str = ""
    symbol: str = ""
    trigger_price: Decimal = Decimal(0)
    reduce_only: bool = False


class _Algo(Struct, frozen=True):
    client_algo_id: str
    status: str
    quantity: Decimal
    price: Decimal
    symbol: str
    trigger_price: Decimal
    reduce_only: bool


class _Books(Struct, frozen=True):
    orders: list[Booked]
    algo_orders: list[_Algo]


def read_books(text: bytes) -> list[Booked]:
    """What `/paper/orders` answers; conditional orders among the others."""
    books = msgspec.json.decode(text, type=_Books)
    return [
        *books.orders,
        *(
            Booked(
                one.client_algo_id, one.status, one.quantity, one.price, product="usdm", symbol=one.symbol,
                trigger_price=one.trigger_price, reduce_only=one.reduce_only,
            )
            for one in books.algo_orders
        ),
    ]  # fmt: skip


def mismatches(
    orders: Mapping[str, Order], booked: Sequence[Booked], grids: Grids = NO_GRIDS
) -> dict[str, str]:
    """Client order id -> how its record differs from the exchange's, or what the exchange has from what was asked for.
    A record that admits to be UNKNOWN does not. Trigger prices are compared where the symbol's grid is given."""
    by_id: dict[str, list[Booked]] = defaultdict(list)
    for one in booked:
        by_id[one.client_order_id].append(one)
    found = {}
    for client_order_id, order in orders.items():
        if order.exchange_order_id and order.status is not OrderStatus.DONE:
            known = by_id.get(client_order_id, [])
            difference = _difference(order, known) or _unlike_asked(order, known, grids)
            if difference:
                found[client_order_id] = difference
    return found


def _difference(order: Order, booked: Sequence[Booked]) -> str:
    if not booked:
        return f"on record as {order.status}, but the exchange has no such order"
    if order.status is OrderStatus.UNKNOWN:
        return ""
    one = booked[-1]
    seen = (STATUSES.get(one.status), one.executed_quantity, one.quantity)
    known = (order.status, order.filled, order.amount)
    if seen != known:
        return (
            f"on record {order.status}, filled {order.filled} of {order.amount}; "
            f"at the exchange {one.status}, filled {one.executed_quantity} of {one.quantity}"
        )
    if one.price and order.price != one.price:
        return f"on record at price {order.price}, at the exchange at {one.price}"
    return ""


def _unlike_asked(order: Order, booked: Sequence[Booked], grids: Grids) -> str:
    """How the exchange's order differs from the intent in what the audit log does not tell."""
    intent, one = order.intent, booked[-1]
    if not isinstance(intent, PlaceOrder):
        return ""
    if one.product == "usdm" and one.reduce_only != intent.reduce_only:
        return f"asked for reduce_only {intent.reduce_only}, at the exchange {one.reduce_only}"
    grid = grids.get((one.product, one.symbol))
    if grid and intent.trigger_price and not abs(one.trigger_price - intent.trigger_price) < grid.tick:
        return f"asked for a trigger price of {intent.trigger_price}, at the exchange {one.trigger_price}"
    return ""
