"""An order's record: what the pool knows about one intent, and the table of what may follow what."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from orderlane.intents import AmendOrder, Intent, PlaceOrder


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
    """Taken off the exchange's book; or ended unsent by another intent, while it waited (`related` names that one)."""
    EXPIRED = "EXPIRED"
    """Its deadline passed before it was sent, or the exchange expired it."""
    MERGED = "MERGED"
    """Absorbed by another intent, which `merged_into` names: that one's order is for both."""
    DONE = "DONE"
    """A cancel or an amend that the exchange confirmed, or that reached its target while that was still waiting
    (these place no order of their own)."""
    UNKNOWN = "UNKNOWN"
    """Sent, and no evidence yet of what became of it. Leaves only on evidence."""

    @property
    def terminal(self) -> bool:
        return self in _ENDS


_Q, _S, _A, _P, _F = (
    OrderStatus.QUEUED,
    OrderStatus.SUBMITTED,
    OrderStatus.ACTIVE,
    OrderStatus.PARTIAL,
    OrderStatus.FILLED,
)
_R, _X, _C, _E = OrderStatus.REJECTED, OrderStatus.FAILED, OrderStatus.CANCELED, OrderStatus.EXPIRED
_M, _D, _U = OrderStatus.MERGED, OrderStatus.DONE, OrderStatus.UNKNOWN

_ENDS = frozenset({_F, _R, _X, _C, _E, _M, _D})
_ON_THE_EXCHANGE = frozenset({_A, _P, _F, _C, _E})

TRANSITIONS: Final[Mapping[OrderStatus, frozenset[OrderStatus]]] = {
    _Q: frozenset({_S, _X, _E, _M, _C, _D, _U}),
    _S: frozenset({_S, _R, _X, _D, _U}) | _ON_THE_EXCHANGE,
    _U: frozenset({_U, _S, _R, _X, _D}) | _ON_THE_EXCHANGE,
    _A: frozenset({_A, _P, _F, _C, _E, _R}),
    _P: frozenset({_P, _F, _C, _E}),
    _F: frozenset(),
    _R: frozenset(),
    _X: frozenset(),
    _C: frozenset(),
    _E: frozenset(),
    _M: frozenset({_C}),
    _D: frozenset(),
}
"""What may follow what; the only place that says so. A terminal status has no successor (a later report may only
raise its fills: `correct_fills` of the journal), but for one: what was MERGED is CANCELED where a cancel takes it out
again before the order that it is a part of begins. SUBMITTED follows itself when a request that certainly
was not executed is sent anew; SUBMITTED follows UNKNOWN when absence is proven and the order is sent again.
MERGED, CANCELED, EXPIRED and DONE follow QUEUED when an intent ends without a request: absorbed, cancelled or
replaced while it waited, too late, or (a cancel, an amend) fulfilled on a target that was still waiting."""


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


class IntentReference(Struct, frozen=True):
    """Another intent of the same exchange and account, by both its names."""

    intent_id: str
    client_order_id: str


class Absorbed(Struct, frozen=True):
    """A place intent whose `amount` (base) became part of another one's order."""

    intent_id: str
    client_order_id: str
    amount: Decimal


class Order(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of one intent, as `Client.get` returns it.

    `amount`, `price`, `trigger_price` are what was (or will be) sent, after normalising; `intent` is what was asked.
    `filled` is in base, `average` in quote per base, `fees` by currency. `changes` says, field by field,
    what the normaliser altered ("amount": "0.12345 -> 0.123"). `executable_until` is the last moment, in the
    exchange's own time, at which it may still execute the request. `attempts` counts requests begun, `absences` how
    often the order was proven absent afterwards.
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
    """The intent id of the order that replaced this one: a place that `replaces` it, or an amend where the venue can't
    amend in place."""
    filled_before: Decimal = Decimal(0)
    """Base filled by the orders that this one replaced, one after another; with `filled` FIX's CumQty (tag 14)."""
    edited: PlaceOrder | AmendOrder | None = None
    """What is sent in place of `intent`, where others changed it while it waited: an amend, or a merge."""
    absorbed: tuple[Absorbed, ...] = ()
    """The place intents whose amounts are part of this order, in the order in which its fills go to them."""
    own_amount: Decimal | None = None
    """The first share of the fills, base, where an amend's order replaced one with `absorbed`. None: what the intent
    asked for itself."""
    merged_into: IntentReference | None = None
    """The intent that absorbed this one. `filled` is then this intent's share of what that one's order filled."""
    related: str = ""
    """The id of the other intent that had a part in the last change: what it was merged into, cancelled, replaced,
    annulled or edited by, or what it acted on."""
    external: bool = False
    """The pool did not place this order: it was found on the exchange and is tracked since. `intent` says what it was
    placed with, under the name by which intents may speak of it (`orderlane.identity.external_intent_id`)."""
    rebuilt: bool = False
    """The pool placed this order, and its record was lost: all that is known is what the exchange showed. Once the
    intent itself comes again, it takes the place of the stand-in."""
    attempts: int = 0
    absences: int = 0
    executable_until: int = 0
    times: Times = Times()

    @property
    def id(self) -> str:
        return self.intent.id

    @property
    def asked(self) -> Intent:
        """What is to be sent: the intent, or what others made of it while it waited."""
        return self.edited or self.intent

    def may_be_of(self, intent: Intent) -> bool:
        """Whether an intent whose id names this order, of which only what the exchange showed is on record (`rebuilt`),
        is the one that placed it: it can't have been placed on another symbol or side. Amounts and prices are rounded,
        merged and amended on the way."""
        side = getattr(intent, "side", None)
        return (
            self.rebuilt
            and self.intent.symbol == intent.symbol
            and side in (None, getattr(self.intent, "side", None))
        )

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
