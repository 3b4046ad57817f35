"""What the pool publishes: one entry, field `event`, of `<pool>:{<exchange>}:events` for every state change.

An event is written by the same script as the state it reports, so neither exists without the other.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec
from msgspec import Struct

from orderlane.orders import Order, OrderStatus, Reason, Times


class EventName(StrEnum):
    """What an event is called; consumers filter by it."""

    SUBMITTED = "order.submitted"
    ACKNOWLEDGED = "order.acknowledged"
    PARTIAL = "order.partial"
    FILLED = "order.filled"
    CANCELLED = "order.cancelled"
    EXPIRED = "order.expired"
    REJECTED = "order.rejected"
    """Refused by the exchange (`to` is REJECTED) or by the pool before anything was sent (`to` is FAILED)."""
    ERROR = "order.error"
    """Given up after sending, with proof that the exchange has no such order (`to` is FAILED)."""
    UNKNOWN = "order.unknown"
    DUPLICATE = "order.duplicate"
    MERGED = "order.merged"
    """Absorbed by another intent, which `related` names."""
    AMENDED = "order.amended"
    """Changed while it waited, by the intent that `related` names."""
    TRADE = "order.trade"
    """One fill, by the exchange's own id of it. `numbers` holds `trade_id`, `side`, `amount` (base), `price` (quote per
    base), `fee`, `fee_currency`, `liquidity` (`maker` or `taker`) and `traded_at` (ms, the exchange's time); what is
    not known is left out."""
    LATENCY = "execution.latency"
    RATE_LIMIT = "execution.rate_limit"
    SYSTEM_ERROR = "system.error"
    BACKLOG = "system.backlog"
    """Every 10 s while intents wait for longer than that (in lanes that are not parked), and once more when none does
    any more. `numbers` holds `depth` (unfinished intents of the exchange), `oldest_ms` (age of the oldest of them),
    `drained_per_second` (how many ended; left out where it is not known yet) and `account:<name>` (the depth of an
    account, for the five deepest)."""


EVENT_OF_STATUS: dict[OrderStatus, EventName] = {
    OrderStatus.SUBMITTED: EventName.SUBMITTED,
    OrderStatus.ACTIVE: EventName.ACKNOWLEDGED,
    OrderStatus.DONE: EventName.ACKNOWLEDGED,
    OrderStatus.PARTIAL: EventName.PARTIAL,
    OrderStatus.FILLED: EventName.FILLED,
    OrderStatus.CANCELED: EventName.CANCELLED,
    OrderStatus.EXPIRED: EventName.EXPIRED,
    OrderStatus.REJECTED: EventName.REJECTED,
    OrderStatus.FAILED: EventName.REJECTED,
    OrderStatus.MERGED: EventName.MERGED,
    OrderStatus.UNKNOWN: EventName.UNKNOWN,
}


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened. Fields that do not apply are left out of the JSON.

    `id` is the stream id, filled in when read: pass the last one seen to `events(after=…)` to go on from
    there. `at` is ms since the epoch. `numbers` holds the figures of system and latency events. `related` is the
    id of the other intent, where one intent ended or changed another that was still waiting: both are named.
    """

    name: EventName
    at: int
    id: str = ""
    intent_id: str = ""
    client_order_id: str = ""
    exchange: str = ""
    account: str = ""
    symbol: str = ""
    strategy: str = ""
    leg: str = ""
    from_status: OrderStatus | None = None
    to_status: OrderStatus | None = None
    reason: Reason | None = None
    changes: dict[str, str] = {}
    exchange_order_id: str = ""
    filled: Decimal | None = None
    average: Decimal | None = None
    times: Times | None = None
    tags: dict[str, str] = {}
    worker: str = ""
    related: str = ""
    numbers: dict[str, str] = {}


_encoder = msgspec.json.Encoder(decimal_format="string")
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encode_event(event: Event) -> bytes:
    """The event as JSON, for the `event` field of a stream entry."""
    return _encoder.encode(event)


def decode_event(entry_id: str, payload: bytes) -> Event:
    """An event from the `event` field of a stream entry, with the entry's id as its own."""
    return msgspec.structs.replace(_decoder.decode(payload), id=entry_id)


def order_event(
    order: Order, before: OrderStatus | None, *, at: int, name: EventName | None = None, worker: str = ""
) -> Event:
    """The event that reports that `order` has just reached its status, coming from `before`."""
    intent = order.intent
    given_up = order.status is OrderStatus.FAILED and before not in (None, OrderStatus.QUEUED)
    return Event(
        name=name or (EventName.ERROR if given_up else EVENT_OF_STATUS[order.status]),
        at=at,
        intent_id=intent.id,
        client_order_id=order.client_order_id,
        exchange=intent.exchange,
        account=intent.account,
        symbol=intent.symbol,
        strategy=intent.strategy,
        leg=getattr(intent, "leg", ""),
        from_status=before,
        to_status=order.status,
        reason=order.reason,
        changes=order.changes,
        exchange_order_id=order.exchange_order_id,
        filled=order.filled if order.filled else None,
        average=order.average,
        times=order.times,
        tags=intent.tags,
        worker=worker,
        related=order.related,
    )
