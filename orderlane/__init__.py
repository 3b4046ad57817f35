"""Orderlane: append an intent, get exactly one order. What other applications import."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

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
from orderlane.orders import Absorbed, IntentReference, Order, OrderStatus, Reason, Times

if TYPE_CHECKING:
    from orderlane.admission import Submitted
    from orderlane.async_client import AsyncClient
    from orderlane.client import Client

__all__ = [
    "Absorbed",
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
    "IntentReference",
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

_CLIENTS: Final = {
    "AsyncClient": "orderlane.async_client",
    "Client": "orderlane.client",
    "Submitted": "orderlane.admission",
}
"""Where these live. They are imported when first asked for: the pool's own processes need the rest alone."""


def __getattr__(name: str) -> Any:
    if name not in _CLIENTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_CLIENTS[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_CLIENTS})
