"""Events say what an order has come to, and are read back as they were written."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from orderlane.events import (
    EVENT_OF_STATUS,
    Event,
    EventName,
    decode_event,
    encode_event,
    order_event,
)
from orderlane.orders import Order, OrderStatus, Reason, Times
from tests.orderlane.played_pool import an_intent


def an_order(status: OrderStatus) -> Order:
    return Order(
        client_order_id="a" * 25,
        intent=an_intent(strategy="grid", leg="open", tags={"a": "b"}),
        status=status,
        exchange_order_id="77",
        filled=Decimal("0.1"),
        average=Decimal("63999.5"),
        reason=Reason("code", "words", {"n": "1"}),
        changes={"price": "64000.05 -> 64000"},
        times=Times(sent_at=9),
    )


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - {OrderStatus.QUEUED}))
def test_every_state_an_order_reaches_has_its_event(status: OrderStatus) -> None:
    event = order_event(an_order(status), OrderStatus.SUBMITTED, at=5, worker="w")
    assert (event.from_status, event.to_status, event.at, event.worker) == (
        OrderStatus.SUBMITTED,
        status,
        5,
        "w",
    )
    assert set(EVENT_OF_STATUS) == set(OrderStatus) - {OrderStatus.QUEUED}


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - {OrderStatus.QUEUED}))
def test_an_event_is_read_back_as_it_was_written(status: OrderStatus) -> None:
    event = order_event(an_order(status), None, at=5)
    again = decode_event("1700000000000-0", encode_event(event))
    assert again == msgspec.structs.replace(event, id="1700000000000-0")


def test_an_event_names_the_intent_its_order_and_whose_it_is() -> None:
    event = order_event(an_order(OrderStatus.PARTIAL), OrderStatus.ACTIVE, at=5)
    assert event == Event(
        name=EventName.PARTIAL,
        at=5,
        intent_id="grid-1",
        client_order_id="a" * 25,
        exchange="binance",
        account="main",
        symbol="BTC/USDT:USDT",
        strategy="grid",
        leg="open",
        from_status=OrderStatus.ACTIVE,
        to_status=OrderStatus.PARTIAL,
        reason=Reason("code", "words", {"n": "1"}),
        changes={"price": "64000.05 -> 64000"},
        exchange_order_id="77",
        filled=Decimal("0.1"),
        average=Decimal("63999.5"),
        times=Times(sent_at=9),
        tags={"a": "b"},
    )


def test_an_intent_that_another_one_ended_has_an_event_that_names_both() -> None:
    order = msgspec.structs.replace(an_order(OrderStatus.MERGED), related="grid-0")
    event = order_event(order, OrderStatus.QUEUED, at=5)
    assert (event.name, event.intent_id, event.related) == (EventName.MERGED, "grid-1", "grid-0")


def test_what_does_not_apply_is_left_out() -> None:
    assert encode_event(Event(name=EventName.SYSTEM_ERROR, at=5)) == b'{"name":"system.error","at":5}'


def test_a_field_of_a_later_version_is_passed_over() -> None:
    assert decode_event("1-0", b'{"name":"order.filled","at":5,"mood":"good"}').name is EventName.FILLED


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"name":"order.teleported","at":5}', b"\xff"])
def test_what_is_no_event_is_not_taken_for_one(payload: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_event("1-0", payload)
