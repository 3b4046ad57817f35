"""The table of states, and the record that says where an order stands."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderlane.orders import (
    TRANSITIONS,
    Absorbed,
    IntentReference,
    Order,
    OrderStatus,
    Reason,
    Times,
    decode_order,
    encode_record,
    may_follow,
)
from tests.orderlane.played_pool import an_intent

ENDS = {"FILLED", "REJECTED", "FAILED", "CANCELED", "EXPIRED", "MERGED", "DONE"}


def fields_of(order: Order) -> dict[bytes, bytes]:
    return {
        b"status": order.status.value.encode(),
        b"version": str(order.version).encode(),
        b"entry": order.entry.encode(),
        b"record": encode_record(order),
    }


def test_every_status_has_its_row_and_ends_have_no_successor() -> None:
    assert set(TRANSITIONS) == set(OrderStatus)
    assert {status.value for status in OrderStatus if status.terminal} == ENDS


def test_every_order_can_come_to_an_end() -> None:
    for status in OrderStatus:
        seen, edge = set[OrderStatus](), {status}
        while edge:
            seen |= edge
            edge = set[OrderStatus]().union(*(TRANSITIONS[one] for one in edge)) - seen
        assert any(one.terminal for one in seen)


def test_unknown_is_never_followed_by_a_guess() -> None:
    assert not may_follow(OrderStatus.UNKNOWN, OrderStatus.QUEUED)
    assert not may_follow(OrderStatus.UNKNOWN, OrderStatus.MERGED)


def test_nothing_that_may_have_been_sent_goes_back_to_the_queue() -> None:
    assert [before for before in OrderStatus if may_follow(before, OrderStatus.QUEUED)] == []


def test_what_waits_can_end_without_a_request_and_what_was_sent_is_never_merged() -> None:
    for after in (OrderStatus.MERGED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.DONE):
        assert may_follow(OrderStatus.QUEUED, after)
    assert [before for before in OrderStatus if may_follow(before, OrderStatus.MERGED)] == [
        OrderStatus.QUEUED
    ]


def test_a_record_keeps_what_others_made_of_it_while_it_waited() -> None:
    order = Order(
        client_order_id="a" * 25,
        intent=an_intent(),
        edited=an_intent(amount=Decimal("0.75")),
        absorbed=(Absorbed("grid-2", "b" * 25, Decimal("0.25")),),
        merged_into=IntentReference("grid-0", "c" * 25),
        related="grid-2",
    )
    assert decode_order(fields_of(order)) == order
    assert order.asked == an_intent(amount=Decimal("0.75"))
    assert Order(client_order_id="a" * 25, intent=an_intent()).asked == an_intent()


def test_what_is_on_the_book_is_never_called_failed() -> None:
    for before in (OrderStatus.ACTIVE, OrderStatus.PARTIAL):
        assert not may_follow(before, OrderStatus.FAILED)
        assert not may_follow(before, OrderStatus.SUBMITTED)


@given(st.sampled_from(OrderStatus), st.sampled_from(OrderStatus))
def test_an_end_stays_an_end(before: OrderStatus, after: OrderStatus) -> None:
    if before.terminal:
        taken_out_again = (before, after) == (OrderStatus.MERGED, OrderStatus.CANCELED)
        assert may_follow(before, after) == taken_out_again


def test_an_intent_without_a_record_stands_as_queued() -> None:
    for after in OrderStatus:
        assert may_follow(None, after) == (
            after is OrderStatus.QUEUED or may_follow(OrderStatus.QUEUED, after)
        )


amounts = st.decimals(0, 10**9, places=12)


@given(
    st.sampled_from(OrderStatus),
    st.integers(0, 10**6),
    amounts,
    st.none() | amounts,
    st.dictionaries(st.sampled_from(["USDT", "BNB"]), amounts),
    st.none() | st.builds(Reason, st.text(max_size=9), st.text(max_size=9)),
    st.integers(0, 10**13),
)
def test_a_record_is_read_back_as_it_was(
    status: OrderStatus, version: int, filled: Decimal, average: Any, fees: Any, reason: Any, entry_ms: int
) -> None:
    order = Order(
        client_order_id="a" * 25,
        intent=an_intent(),
        status=status,
        version=version,
        entry=f"{entry_ms}-3",
        filled=filled,
        average=average,
        fees=fees,
        reason=reason,
        times=Times(queued_at=entry_ms, sent_at=5),
    )
    assert decode_order(fields_of(order)) == order


def test_what_scripts_compare_is_not_in_the_record_a_second_time() -> None:
    order = Order(
        client_order_id="a" * 25, intent=an_intent(), status=OrderStatus.ACTIVE, version=7, entry="5-0"
    )
    assert b"ACTIVE" not in encode_record(order)
    assert b"version" not in encode_record(order)
    assert b"entry" not in encode_record(order)


def test_the_time_an_intent_was_queued_is_that_of_its_entry() -> None:
    order = Order(client_order_id="a" * 25, intent=an_intent(), entry="1700000000123-4")
    assert decode_order(fields_of(order)).times.queued_at == 1_700_000_000_123
    without = Order(client_order_id="a" * 25, intent=an_intent())
    assert decode_order(fields_of(without)).times.queued_at == 0


@pytest.mark.parametrize(
    ("amount", "filled", "remaining"), [("2", "0.5", "1.5"), ("2", "2", "0"), (None, "1", "0")]
)
def test_what_remains_is_never_negative(amount: str | None, filled: str, remaining: str) -> None:
    order = Order(
        client_order_id="a" * 25,
        intent=an_intent(),
        amount=Decimal(amount) if amount else None,
        filled=Decimal(filled),
    )
    assert order.remaining == Decimal(remaining)
    assert order.id == "grid-1"
