"""One log line for each event of an order."""

from __future__ import annotations

import logging
from typing import Any, Final

from orderlane.events import Event, EventName
from orderlane.orders import OrderStatus

_log: Final = logging.getLogger("orderlane.orders")


def log_transition(event: Event) -> None:
    """Write the line of one published event: info, or warning for UNKNOWN and for the pool's own errors.

    Its fields, where they apply: intent, exchange, account, symbol, strategy, client_order_id, order_id (the
    exchange's), from, to, reason (the code), detail (the sentence), filled, average, worker."""
    level = level_of(event)
    if _log.isEnabledFor(level):
        # Made by hand: finding the caller, which is always the same, would take as long as the rest.
        record = _log.makeRecord(
            _log.name, level, "", 0, event.name.value, (), None, extra=transition_fields(event)
        )
        _log.handle(record)


def level_of(event: Event) -> int:
    """How important an event is to a person, as a level of `logging`."""
    urgent = event.to_status is OrderStatus.UNKNOWN or event.name is EventName.SYSTEM_ERROR
    return logging.WARNING if urgent else logging.INFO


def transition_fields(event: Event) -> dict[str, Any]:
    """What a line says of an event; what does not apply is left out."""
    reason = event.reason
    fields = {
        "intent": event.intent_id,
        "exchange": event.exchange,
        "account": event.account,
        "symbol": event.symbol,
        "strategy": event.strategy,
        "client_order_id": event.client_order_id,
        "order_id": event.exchange_order_id,
        "from": event.from_status,
        "to": event.to_status,
        "reason": reason.code if reason else "",
        "detail": reason.message if reason else "",
        "filled": event.filled,
        "average": event.average,
        "worker": event.worker,
    }
    return {name: value for name, value in fields.items() if value is not None and value != ""}
