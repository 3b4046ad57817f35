"""Orders on the exchange without a record: whose they are, what is done about them, and the records they get. Pure.

Three kinds. *Lost*: the client order id begins with the pool's prefix, so the pool placed it, and its record is gone.
*Another pool's*: the client order id has the form that pools give, with another prefix. *External*: any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from common.exchange.base import OrderReport
from orderlane.events import Event, EventName, order_event
from orderlane.external import ExternalAction, ExternalOrder
from orderlane.identity import (
    LONGEST_INTENT_ID,
    REBUILT,
    belongs_to_pool,
    client_order_id,
    external_intent_id,
    is_made_by_a_pool,
)
from orderlane.intents import CancelOrder, PlaceOrder
from orderlane.orders import Order, OrderStatus, Reason, Times

NO_ENTRY: Final = "0-0"
"""The entry of a record that no entry of the stream led to."""


def without_records(records: Iterable[Order], listed: Sequence[OrderReport]) -> list[OrderReport]:
    """The orders of a list that are none of these records'."""
    client_ids, names, exchange_ids = set(), set(), set()
    for record in records:
        client_ids.add(record.client_order_id)
        if record.external:
            names.add(record.intent.id)
        else:
            exchange_ids.add((record.intent.symbol, record.exchange_order_id))
    return [
        report
        for report in listed
        if report.client_order_id not in client_ids
        and name_of(report) not in names
        and (is_in_own_book(report) or (report.symbol, report.exchange_order_id) not in exchange_ids)
    ]


def name_of(report: OrderReport) -> str:
    """The intent id by which an order is known that the pool did not place."""
    return external_intent_id(report.symbol, report.exchange_order_id, own_book=is_in_own_book(report))


def is_in_own_book(report: OrderReport) -> bool:
    """Whether the order is numbered apart from ordinary ones."""
    return report.terms is not None and report.terms.own_book


def action_on(report: OrderReport, wanted: ExternalAction, pool: str, *, pools_too: bool) -> ExternalAction:
    """What is to be done about an order that the pool did not place.

    Another pool's orders are left to it, unless `pools_too`; what no intent could ask for can't be tracked; what has
    ended needs no cancel.
    """
    if wanted is not ExternalAction.REPORT:
        if is_made_by_a_pool(report.client_order_id) and not pools_too:
            return ExternalAction.REPORT
        if not can_be_recorded(report):
            return ExternalAction.REPORT
        if report.status.terminal:
            return ExternalAction.ADOPT
    return wanted


def can_be_recorded(report: OrderReport) -> bool:
    """Whether an intent could have placed this order."""
    terms = report.terms
    return terms is not None and bool(report.amount) and (bool(report.price) or not terms.type.has_price)


def external_order(account: str, report: OrderReport, action: ExternalAction) -> ExternalOrder:
    """What is kept of an order that the pool did not place."""
    terms = report.terms
    return ExternalOrder(
        id=name_of(report),
        account=account,
        symbol=report.symbol,
        exchange_order_id=report.exchange_order_id,
        client_order_id=report.client_order_id,
        other_pool=is_made_by_a_pool(report.client_order_id),
        action=action,
        status=report.status,
        side=terms.side.value if terms else "",
        type=terms.type.value if terms else "",
        amount=report.amount,
        price=report.price,
        filled=report.filled,
        created_at=terms.created_at if terms else 0,
    )


def adopted(pool: str, exchange: str, account: str, report: OrderReport, now_ms: int) -> Order:
    """The record of an order that the pool did not place, from now on tracked."""
    name = name_of(report)
    record = _recorded(
        client_order_id(pool, exchange, account, name), name, exchange, account, report, now_ms
    )
    return msgspec.structs.replace(record, external=True)


def rebuilt(
    exchange: str, account: str, report: OrderReport, now_ms: int, told: Event | None = None
) -> Order:
    """The record of an order of the pool whose record was lost; `told`: the last event about it, if there is one left,
    which knows the intent's id and strategy."""
    name = told.intent_id if told is not None and told.intent_id else f"{REBUILT}{report.client_order_id}"
    record = _recorded(report.client_order_id, name, exchange, account, report, now_ms)
    if told is not None and isinstance(record.intent, PlaceOrder):
        intent = msgspec.structs.replace(record.intent, strategy=told.strategy, leg=told.leg, tags=told.tags)
        record = msgspec.structs.replace(record, intent=intent)
    return msgspec.structs.replace(record, rebuilt=True)


def _recorded(
    name: str, intent_id: str, exchange: str, account: str, report: OrderReport, now_ms: int
) -> Order:
    terms = report.terms
    assert terms is not None, "only an order that can be recorded is"
    assert report.amount is not None, "only an order that can be recorded is"
    intent = PlaceOrder(
        id=intent_id,
        exchange=exchange,
        account=account,
        symbol=report.symbol,
        side=terms.side,
        type=terms.type,
        amount=report.amount,
        price=report.price if terms.type.has_price else None,
        trigger_price=terms.trigger_price,
        time_in_force=terms.time_in_force,
        reduce_only=terms.reduce_only,
    )
    return Order(
        client_order_id=name,
        intent=intent,
        status=report.status,
        entry=NO_ENTRY,
        exchange_order_id=report.exchange_order_id,
        amount=report.amount,
        price=report.price,
        trigger_price=terms.trigger_price,
        filled=report.filled,
        average=report.average,
        fees=report.fees,
        times=Times(sent_at=terms.created_at, exchange_at=report.exchange_at, updated_at=now_ms),
    )


def external_event(exchange: str, seen: ExternalOrder, now_ms: int, writer: str) -> Event:
    """What is told of an order that the pool did not place and has no record of."""
    return Event(
        name=EventName.EXTERNAL,
        at=now_ms,
        intent_id=seen.id,
        exchange=exchange,
        account=seen.account,
        symbol=seen.symbol,
        exchange_order_id=seen.exchange_order_id,
        filled=seen.filled or None,
        worker=writer,
        numbers=_numbers(seen),
    )


def adopted_event(record: Order, seen: ExternalOrder, writer: str) -> Event:
    """What is told of one that has a record from now on."""
    event = order_event(
        record, OrderStatus.QUEUED, at=record.times.updated_at, name=EventName.EXTERNAL, worker=writer
    )
    return msgspec.structs.replace(event, numbers=_numbers(seen))


def rebuilt_event(record: Order, writer: str) -> Event:
    """What is told of an order of the pool whose record was lost, beside the event of the state it was found in."""
    return Event(
        name=EventName.REBUILT,
        at=record.times.updated_at,
        intent_id=record.intent.id,
        client_order_id=record.client_order_id,
        exchange=record.intent.exchange,
        account=record.intent.account,
        symbol=record.intent.symbol,
        exchange_order_id=record.exchange_order_id,
        filled=record.filled or None,
        reason=Reason(
            code="record_lost",
            message=f"the exchange shows this order of the pool as {record.status}, and there was no record of it",
        ),
        worker=writer,
    )


def cancel_of(record: Order) -> CancelOrder:
    """The intent that cancels an order that the pool did not place; always the same for the same order."""
    named = f"cancel:{record.intent.id}"
    if len(named) > LONGEST_INTENT_ID:
        named = f"cancel:external:{sha256(record.intent.id.encode()).hexdigest()[:40]}"
    intent = record.intent
    return CancelOrder(
        id=named, exchange=intent.exchange, account=intent.account, symbol=intent.symbol, target=intent.id
    )


def is_lost(pool: str, report: OrderReport) -> bool:
    """Whether the pool placed this order."""
    return belongs_to_pool(pool, report.client_order_id)


def _numbers(seen: ExternalOrder) -> dict[str, str]:
    numbers = {
        "action": seen.action.value,
        "client_order_id": seen.client_order_id,
        "status": seen.status.value,
        "side": seen.side,
        "type": seen.type,
        "amount": f"{seen.amount:f}" if seen.amount is not None else "",
        "price": f"{seen.price:f}" if seen.price is not None else "",
        "filled": f"{seen.filled:f}",
        "pool": "another" if seen.other_pool else "",
    }
    return {name: text for name, text in numbers.items() if text}
