"""From an event and a record in Redis to rows of the archive. Pure.

Nothing that stands in the stream may hold the archive up: what a column can't take is left out there, and `payload`
keeps the event as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from orderlane.archive.state import event_position
from orderlane.events import Event, EventName, decode_event
from orderlane.intents import PlaceOrder
from orderlane.keys import EVENT_FIELD
from orderlane.orders import Order, decode_order, encode_record

LARGEST_INTEGER: Final = 2**63 - 1
MOST_DIGITS: Final = 60
"""Digits before or after the point of a decimal that is taken for a number: far more than any order has."""


class Entry(Struct, frozen=True):
    """An entry of an event stream: its id, and its event's JSON, in a form that every database takes."""

    id: str
    payload: str


class EventRow(Struct, frozen=True, kw_only=True):
    """A row of `events`."""

    exchange: str
    event_id: str
    event_ms: int
    event_sequence: int
    name: str = ""
    at_ms: int | None = None
    account: str = ""
    symbol: str = ""
    strategy: str = ""
    intent_id: str = ""
    client_order_id: str = ""
    from_status: str = ""
    to_status: str = ""
    reason_code: str = ""
    payload: str


class OrderRow(Struct, frozen=True, kw_only=True):
    """A row of `orders`. Without a `record` it says what the event told, and an older row's other columns stay."""

    exchange: str
    client_order_id: str
    entry: str = ""
    account: str
    symbol: str
    strategy: str
    leg: str
    intent_id: str
    kind: str = ""
    side: str = ""
    type: str = ""
    amount: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    status: str
    reason_code: str
    reason_message: str
    exchange_order_id: str
    filled: Decimal | None
    average: Decimal | None
    fees: str = "{}"
    queued_at_ms: int = 0
    sent_at_ms: int = 0
    acknowledged_at_ms: int = 0
    exchange_at_ms: int = 0
    updated_at_ms: int = 0
    event_id: str
    record: str = ""


class TradeRow(Struct, frozen=True, kw_only=True):
    """A row of `trades`."""

    exchange: str
    account: str
    symbol: str
    trade_id: str
    strategy: str
    intent_id: str
    client_order_id: str
    exchange_order_id: str
    side: str
    liquidity: str
    amount: Decimal | None
    price: Decimal | None
    fee: Decimal | None
    fee_currency: str
    traded_at_ms: int
    event_id: str


def entry_of(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    """A stream entry. One without the field of an event, which no part of the pool writes, is kept whole as JSON."""
    payload = fields.get(EVENT_FIELD.encode())
    if payload is None:
        payload = msgspec.json.encode({_text(name): _text(value) for name, value in fields.items()})
    return Entry(entry_id.decode(), clean(_text(payload)))


def clean(text: str) -> str:
    """The text without what PostgreSQL or UTF-8 can't hold: NUL and single surrogates are written as escapes."""
    return text.replace("\x00", "\\u0000").encode(errors="backslashreplace").decode()


def read(entry: Entry) -> Event | None:
    """The event of an entry; None where this version can't read it."""
    try:
        return decode_event(entry.id, entry.payload.encode())
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def event_row(exchange: str, entry: Entry, event: Event | None) -> EventRow:
    """The row of an entry; `event` is what `read` made of it."""
    ms, sequence = event_position(entry.id)
    ms, sequence = min(ms, LARGEST_INTEGER), min(sequence, LARGEST_INTEGER)
    if event is None:
        return EventRow(
            exchange=exchange, event_id=entry.id, event_ms=ms, event_sequence=sequence, payload=entry.payload
        )
    return EventRow(
        exchange=exchange,
        event_id=entry.id,
        event_ms=ms,
        event_sequence=sequence,
        name=event.name.value,
        at_ms=event.at if _fits(event.at) else None,
        account=clean(event.account),
        symbol=clean(event.symbol),
        strategy=clean(event.strategy),
        intent_id=clean(event.intent_id),
        client_order_id=clean(event.client_order_id),
        from_status=event.from_status.value if event.from_status else "",
        to_status=event.to_status.value if event.to_status else "",
        reason_code=clean(event.reason.code) if event.reason else "",
        payload=entry.payload,
    )


def moves_an_order(event: Event) -> bool:
    """Whether the event reports what became of the order it names. A duplicate is about another intent of its id."""
    return (
        bool(event.client_order_id) and event.to_status is not None and event.name is not EventName.DUPLICATE
    )


def ends_an_order(event: Event) -> bool:
    """Whether the event reports the end of the order it names."""
    return moves_an_order(event) and event.to_status is not None and event.to_status.terminal


def order_row(exchange: str, event: Event, record: Mapping[bytes, bytes]) -> OrderRow:
    """The row of the order that an event moves: as its record stands (HGETALL), else what the event tells."""
    order = _order(record)
    return _row_of_event(exchange, event) if order is None else _row_of_record(exchange, event, order)


def _row_of_record(exchange: str, event: Event, order: Order) -> OrderRow:
    intent, times = order.asked, order.times
    placed = intent if isinstance(intent, PlaceOrder) else None
    return OrderRow(
        exchange=exchange,
        client_order_id=order.client_order_id,
        entry=order.entry,
        account=clean(intent.account),
        symbol=clean(intent.symbol),
        strategy=clean(intent.strategy),
        leg=clean(getattr(intent, "leg", "")),
        intent_id=clean(order.intent.id),
        kind=str(order.intent.__struct_config__.tag),
        side=placed.side.value if placed else "",
        type=placed.type.value if placed else "",
        amount=exact(order.amount if order.amount is not None else getattr(intent, "amount", None)),
        price=exact(order.price if order.price is not None else getattr(intent, "price", None)),
        trigger_price=exact(order.trigger_price or getattr(intent, "trigger_price", None)),
        status=order.status.value,
        reason_code=clean(order.reason.code) if order.reason else "",
        reason_message=clean(order.reason.message) if order.reason else "",
        exchange_order_id=clean(order.exchange_order_id),
        filled=exact(order.filled),
        average=exact(order.average),
        fees=clean(_fees(order.fees)),
        queued_at_ms=_time(times.queued_at),
        sent_at_ms=_time(times.sent_at),
        acknowledged_at_ms=_time(times.acknowledged_at),
        exchange_at_ms=_time(times.exchange_at),
        updated_at_ms=_time(times.updated_at),
        event_id=event.id,
        record=clean(_text(encode_record(order))),
    )


def _row_of_event(exchange: str, event: Event) -> OrderRow:
    times = event.times
    return OrderRow(
        exchange=exchange,
        client_order_id=clean(event.client_order_id),
        account=clean(event.account),
        symbol=clean(event.symbol),
        strategy=clean(event.strategy),
        leg=clean(event.leg),
        intent_id=clean(event.intent_id),
        status=event.to_status.value if event.to_status else "",
        reason_code=clean(event.reason.code) if event.reason else "",
        reason_message=clean(event.reason.message) if event.reason else "",
        exchange_order_id=clean(event.exchange_order_id),
        filled=exact(event.filled or Decimal(0)),
        average=exact(event.average),
        queued_at_ms=_time(times.queued_at) if times else 0,
        sent_at_ms=_time(times.sent_at) if times else 0,
        acknowledged_at_ms=_time(times.acknowledged_at) if times else 0,
        exchange_at_ms=_time(times.exchange_at) if times else 0,
        updated_at_ms=_time(event.at),
        event_id=event.id,
    )


def trade_row(exchange: str, event: Event) -> TradeRow | None:
    """The fill that an event `order.trade` reports; None for another event, or one that names no trade.

    Its `numbers` hold `trade_id`, `side`, `amount` (base), `price` (quote per base), `fee`, `fee_currency`, `liquidity`
    (`maker` or `taker`) and `traded_at` (ms, the exchange's time); what is not known is left out.
    """
    numbers = event.numbers
    if event.name is not EventName.TRADE or not numbers.get("trade_id"):
        return None
    traded_at = numbers.get("traded_at", "")
    known = traded_at.isascii() and traded_at.isdecimal() and len(traded_at) <= 15
    return TradeRow(
        exchange=exchange,
        account=clean(event.account),
        symbol=clean(event.symbol),
        trade_id=clean(numbers["trade_id"]),
        strategy=clean(event.strategy),
        intent_id=clean(event.intent_id),
        client_order_id=clean(event.client_order_id),
        exchange_order_id=clean(event.exchange_order_id),
        side=clean(numbers.get("side", "")),
        liquidity=clean(numbers.get("liquidity", "")),
        amount=_number(numbers.get("amount")),
        price=_number(numbers.get("price")),
        fee=_number(numbers.get("fee")),
        fee_currency=clean(numbers.get("fee_currency", "")),
        traded_at_ms=int(traded_at) if known else _time(event.at),
        event_id=event.id,
    )


def exact(value: Decimal | None) -> Decimal | None:
    """The decimal, or None for what no order has: not finite, or longer than any database should hold."""
    if value is None or not value.is_finite():
        return None
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return value if value.adjusted() < MOST_DIGITS and -exponent <= MOST_DIGITS else None


def _number(text: str | None) -> Decimal | None:
    try:
        return exact(msgspec.convert(text, Decimal)) if text else None
    except msgspec.ValidationError:
        return None


def _order(record: Mapping[bytes, bytes]) -> Order | None:
    try:
        return decode_order(record)
    except (KeyError, ValueError, msgspec.MsgspecError):
        return None


def _fees(fees: Mapping[str, Decimal]) -> str:
    known = {currency: exact(fee) for currency, fee in fees.items()}
    plain = {currency: f"{fee:f}" for currency, fee in known.items() if fee is not None}
    return msgspec.json.encode(plain).decode()


def _fits(number: int) -> bool:
    return -LARGEST_INTEGER <= number <= LARGEST_INTEGER


def _time(ms: int) -> int:
    return ms if 0 <= ms <= LARGEST_INTEGER else 0


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")
