"""A reply as its venue documents it, and what it means; how the questions are asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from msgspec import Struct

from common.exchange.base import OrderReport, Outcome
from common.exchange.ccxt_exchange import CcxtExchange
from orderlane.orders import OrderStatus
from tests.common.exchange.venues import AT_MS, ID, VenueUnderTest, order, reference

Ask = Callable[[CcxtExchange], Awaitable[Any]]
Unseen = tuple[str, tuple[str, ...], str]


class Case(Struct, frozen=True, kw_only=True):
    """One reply of one venue that is damaged, in the midst of the others that its question needs.

    `means` is what is told of the intact reply: a value, or the outcome and code of a failure. `unseen` are damages
    that nothing in the reply gives away, as (path, kinds of damage, why). `decisive` are paths that
    may not be damaged in any other way without the answer becoming UNKNOWN.
    """

    venue: VenueUnderTest
    name: str
    route: str
    reply: Any
    ask: Ask
    means: Any
    around: dict[str, Any] = {}
    unseen: tuple[Unseen, ...] = ()
    decisive: tuple[str, ...] = ()
    other_order_id: Any = "312999"
    status: int = 200


class Refusal(Struct, frozen=True):
    """A failure that is a verdict."""

    outcome: Outcome
    code: str


A_REBATE = ("negative", "negative text")
ANOTHER_ID = ("other order id",)
AN_EMPTY_LIST = ("empty list",)


def find(venue: VenueUnderTest, **named: Any) -> Ask:
    return lambda exchange: exchange.find(reference(venue, **named))


def place(venue: VenueUnderTest) -> Ask:
    return lambda exchange: exchange.place(order(venue), AT_MS)


def cancel(venue: VenueUnderTest, **named: Any) -> Ask:
    return lambda exchange: exchange.cancel(reference(venue, **named), AT_MS)


def amend(venue: VenueUnderTest) -> Ask:
    return lambda exchange: exchange.amend(reference(venue), order(venue, price=Decimal(65000)), AT_MS)


def open_orders(symbol: str | None) -> Ask:
    return lambda exchange: exchange.open_orders("main", symbol)


def cancel_all(venue: VenueUnderTest) -> Ask:
    return lambda exchange: exchange.cancel_all("main", venue.symbol, AT_MS)


def price(venue: VenueUnderTest) -> Ask:
    return lambda exchange: exchange.reference_price(venue.symbol)


async def clock(exchange: CcxtExchange) -> int:
    return await exchange.server_time_ms()


def report(venue: VenueUnderTest, exchange_order_id: str, **fields: Any) -> OrderReport:
    """The order of the tests: 0.2 of 0.5 filled at 63 999.5."""
    told: dict[str, Any] = {
        "client_order_id": ID,
        "exchange_order_id": exchange_order_id,
        "symbol": venue.symbol,
        "status": OrderStatus.PARTIAL,
        "amount": Decimal("0.5"),
        "price": Decimal(64000),
        "filled": Decimal("0.2"),
        "average": Decimal("63999.5"),
        "fees": {"USDT": Decimal("7.04")},
        "exchange_at": AT_MS,
    }
    return OrderReport(**{**told, **fields})


def placed(venue: VenueUnderTest, exchange_order_id: str, **fields: Any) -> OrderReport:
    """The order of the tests as it is at first."""
    new: dict[str, Any] = {
        "status": OrderStatus.ACTIVE,
        "filled": Decimal(0),
        "average": None,
        "fees": {},
    }
    return report(venue, exchange_order_id, **{**new, **fields})


ROW_IDS = "which order a row of a list is about, the row alone says"
ANY_TEXT = ("x", "negative text", "overflow", "not a number", "other client id", "other order id")
NEW_ID = "it is told here for the first time"
