"""Orderlane: append an intent, get exactly one order. What other applications import."""

from orderlane.admission import Submitted
from orderlane.async_client import AsyncClient
from orderlane.client import Client
from orderlane.errors import (
    Backlogged,
    ExchangeUnclear,
    ExchangeUnknown,
    IdReused,
    IntentAmbiguous,
    OrderEnded,
    OrderlaneError,
    OrderNotFound,
    OutcomeUnknown,
    Unreachable,
    WaitTimeout,
)
from orderlane.events import Event, EventName
from orderlane.intents import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    Intent,
    IntentInvalid,
    OrderType,
    PlaceOrder,
    Side,
    TimeInForce,
)
from orderlane.orders import Order, OrderStatus, Reason, Times

__all__ = [
    "AmendOrder",
    "AsyncClient",
    "Backlogged",
    "CancelAll",
    "CancelOrder",
    "Client",
    "Event",
    "EventName",
    "ExchangeUnclear",
    "ExchangeUnknown",
    "IdReused",
    "Intent",
    "IntentAmbiguous",
    "IntentInvalid",
    "Order",
    "OrderEnded",
    "OrderNotFound",
    "OrderStatus",
    "OrderType",
    "OrderlaneError",
    "OutcomeUnknown",
    "PlaceOrder",
    "Reason",
    "Side",
    "Submitted",
    "TimeInForce",
    "Times",
    "Unreachable",
    "WaitTimeout",
]
