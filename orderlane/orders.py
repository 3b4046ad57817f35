"""An order's record: what the pool knows about one intent, and the table of what may follow what."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from orderlane.intents import Intent


class OrderStatus(StrEnum):
    """Where an intent stands. The first letter to the last: what a person may rely on."""

    QUEUED = "QUEUED"
    """Accepted by the pool, nothing sent."""
    SUBMITTED = "SUBMITTED"
    """A request is about to be sent or on its way; its outcome is not known yet."""
    ACTIVE = "ACTIVE"
    """On the exchange's book (or armed, for a stop), nothing filled."""
    PARTIAL = "PARTIAL"
    """On the book, partly filled."""
    FILLED = "FILLED"
    REJECTED = "REJECTED"
    """Refused by the exchange, with its reason."""
    FAILED = "FAILED"
    """Refused by the pool before sending, or given up with proof that the exchange has no such order."""
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    """Its deadline passed before it was sent, or the exchange expired it."""
    MERGED = "MERGED"
    """Absorbed by another intent."""
    DONE = "DONE"
    """A cancel or an amend that the exchange confirmed (these place no order of their own)."""
    UNKNOWN = "UNKNOWN"
    """Sent, and no evidence yet of what became of it. Leaves only on evidence."""

    @property
    def terminal(self) -> bool:
        return not TRANSITIONS[self]


_Q, _S, _A, _P, _F = (
    OrderStatus.QUEUED,
    OrderStatus.SUBMITTED,
    OrderStatus.ACTIVE,
    OrderStatus.PARTIAL,
    OrderStatus.FILLED,
)
_R, _X, _C, _E = OrderStatus.REJECTED, OrderStatus.FAILED, OrderStatus.CANCELED, OrderStatus.EXPIRED
_M, _D, _U = OrderStatus.MERGED, OrderStatus.DONE, OrderStatus.UNKNOWN

_ON_THE_EXCHANGE = frozenset({_A, _P, _F, _C, _E})

TRANSITIONS: Final[Mapping[OrderStatus, frozenset[OrderStatus]]] = {
    _Q: frozenset({_S, _X, _E, _M, _C, _U}),
    _S: frozenset({_S, _R, _X, _D, _U}) | _ON_THE_EXCHANGE,
    _U: frozenset({_U, _S, _R, _X, _D}) | _ON_THE_EXCHANGE,
    _A: frozenset({_A, _P, _F, _C, _E, _R}),
    _P: frozenset({_P, _F, _C, _E}),
    _F: frozenset(),
    _R: frozenset(),
    _X: frozenset(),
    _C: frozenset(),
    _E: frozenset(),
    _M: frozenset(),
    _D: frozenset(),
}
"""What may follow what; the only place that says so. A terminal status has no successor: a later report may
only raise its fills (`correct_fills` of the journal). SUBMITTED follows itself when a request that certainly
was not executed is sent anew; SUBMITTED follows UNKNOWN when absence is proven and the order is sent again."""


def may_follow(before: OrderStatus | None, after: OrderStatus) -> bool:
    """Whether `after` may follow `before`; None is an intent without a record yet, which stands as QUEUED."""
    return after in TRANSITIONS[before or OrderStatus.QUEUED] or (before is None and after is _Q)


class Reason(Struct, frozen=True, omit_defaults=True):
    """Why a state was reached: a stable code, a sentence for a person, and the numbers it speaks of."""

    code: str
    message: str
    numbers: dict[str, str] = {}


class Times(Struct, frozen=True, omit_defaults=True):
    """When each stage was passed, ms since the epoch; 0 where it was not.

    `queued_at` is the stream entry's own time (Redis clock), `acknowledged_at` when the exchange's answer was
    read, `exchange_at` the exchange's own time of the last change it reported.
    """

    queued_at: int = 0
    taken_at: int = 0
    begun_at: int = 0
    sent_at: int = 0
    acknowledged_at: int = 0
    exchange_at: int = 0
    updated_at: int = 0


class Order(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of one intent, as `Client.get` returns it.

    `amount`, `price`, `trigger_price` are what was (or will be) sent, after normalising; `intent` is what was asked.
    `filled` is in base, `average` in quote per base, `fees` by currency. `changes` says, field by field,
    what the normaliser altered ("amount": "0.12345 -> 0.123"). `executable_until` is the last moment, in the
    exchange's own time, at which it may still execute the request. `attempts` counts requests begun.
    """

    client_order_id: str
    intent: Intent
    status: OrderStatus = OrderStatus.QUEUED
    version: int = 0
    entry: str = ""
    exchange_order_id: str = ""
    amount: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    filled: Decimal = Decimal(0)
    average: Decimal | None = None
    fees: dict[str, Decimal] = {}
    changes: dict[str, str] = {}
    reason: Reason | None = None
    successor: str = ""
    """The intent id of the amend whose order replaced this one, where the venue can't amend in place."""
    attempts: int = 0
    executable_until: int = 0
    times: Times = Times()

    @property
    def id(self) -> str:
        return self.intent.id

    @property
    def remaining(self) -> Decimal:
        """Base amount neither filled nor, once the order has ended, going to be."""
        return max((self.amount or Decimal(0)) - self.filled, Decimal(0))


_record_decoder: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
_record_encoder = msgspec.json.Encoder(decimal_format="string")


def encode_record(order: Order) -> bytes:
    """The part of a record that scripts never read: the field `record` of the order's hash.

    `status`, `version` and `entry` are left out: they are hash fields of their own, which scripts compare.
    """
    return _record_encoder.encode(
        msgspec.structs.replace(order, status=OrderStatus.QUEUED, version=0, entry="")
    )


def decode_order(fields: Mapping[bytes, bytes]) -> Order:
    """An order from its Redis hash (HGETALL, bytes); the counterpart of `encode_record`.

    `times.queued_at` comes from `entry`: a stream id starts with the ms at which Redis took the entry.
    """
    order = _record_decoder.decode(fields[b"record"])
    entry = fields[b"entry"].decode()
    return msgspec.structs.replace(
        order,
        status=OrderStatus(fields[b"status"].decode()),
        version=int(fields[b"version"]),
        entry=entry,
        times=msgspec.structs.replace(order.times, queued_at=int(entry.partition("-")[0] or 0)),
    )
