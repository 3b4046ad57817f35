"""What the exchange's reports make of a record, whatever order they come in: pure."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from common.exchange.base import OrderReport
from common.journal import apply_report
from orderlane.intents import decode_intent
from orderlane.orders import TRANSITIONS, Order, OrderStatus, Reason, Times
from tests.common.pool_bench import intent_json

ACTIVE, PARTIAL, FILLED = OrderStatus.ACTIVE, OrderStatus.PARTIAL, OrderStatus.FILLED
CANCELED, EXPIRED = OrderStatus.CANCELED, OrderStatus.EXPIRED
QUEUED, SUBMITTED, UNKNOWN = OrderStatus.QUEUED, OrderStatus.SUBMITTED, OrderStatus.UNKNOWN
INTENT = decode_intent(intent_json("main|BTC/USDT", id="n1", amount="10").encode())
AMOUNT = 10


def order_in(status: OrderStatus, **fields: Any) -> Order:
    return Order(client_order_id="c", intent=INTENT, status=status, **fields)


def report_of(status: OrderStatus, filled: int | Decimal = 0, at: int = 1, **fields: Any) -> OrderReport:
    return OrderReport(
        client_order_id="c",
        exchange_order_id="7",
        symbol="BTC/USDT",
        status=status,
        filled=Decimal(filled),
        amount=Decimal(AMOUNT),
        exchange_at=at,
        **fields,
    )


@st.composite
def lives(draw: st.DrawFn) -> list[OrderReport]:
    """What an exchange reports of one order, in its order: open, fills that grow, perhaps an end."""
    fills = sorted(draw(st.sets(st.integers(1, AMOUNT - 1), max_size=4)))
    reports = [report_of(ACTIVE)]
    reports += [report_of(PARTIAL, filled, at=2 + n) for n, filled in enumerate(fills)]
    last = fills[-1] if fills else 0
    ends = {None: [], FILLED: [report_of(FILLED, AMOUNT, at=20)]} | {
        end: [report_of(end, last, at=20)] for end in (CANCELED, EXPIRED)
    }
    return reports + ends[draw(st.sampled_from([None, FILLED, CANCELED, EXPIRED]))]


def merged(order: Order, reports: list[OrderReport]) -> list[Order]:
    """The record after each report."""
    states = [order]
    for report in reports:
        states.append(apply_report(states[-1], report, 99) or states[-1])
    return states


@given(lives(), st.data(), st.sampled_from([SUBMITTED, UNKNOWN]))
def test_reports_in_any_order_late_or_repeated_end_in_the_same_status_and_fills(
    life: list[OrderReport], data: st.DataObject, before: OrderStatus
) -> None:
    shuffled = data.draw(st.permutations(life + data.draw(st.lists(st.sampled_from(life), max_size=4))))
    straight, other = merged(order_in(before), life)[-1], merged(order_in(before), shuffled)[-1]
    assert (other.status, other.filled) == (straight.status, straight.filled)
    assert (straight.status, straight.filled) == (life[-1].status, life[-1].filled)


@given(st.sampled_from(list(OrderStatus)), st.lists(lives().flatmap(st.sampled_from), max_size=6))
def test_a_record_only_moves_forward_whatever_is_reported(
    before: OrderStatus, reports: list[OrderReport]
) -> None:
    states = merged(order_in(before, filled=Decimal(3), amount=Decimal(AMOUNT)), reports)
    for earlier, later in pairwise(states):
        assert later.filled >= earlier.filled
        assert later.status == earlier.status or later.status in TRANSITIONS[earlier.status]
        if earlier.status.terminal:
            assert later.status is earlier.status


@given(st.sampled_from(list(OrderStatus)), lives())
def test_what_was_merged_is_nothing_new_a_second_time(before: OrderStatus, life: list[OrderReport]) -> None:
    for report in life:
        after = apply_report(order_in(before), report, 99)
        assert after is None or apply_report(after, report, 100) is None


def test_a_late_report_raises_the_fills_of_an_order_that_has_ended_and_nothing_else() -> None:
    ended = order_in(CANCELED, filled=Decimal(2), exchange_order_id="7", amount=Decimal(AMOUNT))
    assert apply_report(ended, report_of(PARTIAL, 1), 9) is None
    raised = apply_report(ended, report_of(PARTIAL, 4, average=Decimal(5), fees={"USDT": Decimal(1)}), 9)
    assert raised is not None
    assert (raised.status, raised.filled, raised.average) == (CANCELED, Decimal(4), Decimal(5))
    assert raised.fees == {"USDT": 1}


def test_a_report_of_an_order_that_the_journal_forgot_waits_for_its_lane() -> None:
    assert apply_report(order_in(QUEUED), report_of(ACTIVE), 9) is None
    assert apply_report(order_in(QUEUED), report_of(PARTIAL, 3), 9) is None
    canceled = apply_report(order_in(QUEUED), report_of(CANCELED), 9)
    assert canceled is not None
    assert canceled.status is CANCELED


def test_an_amend_is_taken_from_a_report_that_is_not_older() -> None:
    order = order_in(ACTIVE, amount=Decimal(AMOUNT), exchange_order_id="7", times=Times(exchange_at=5))
    larger = {"amount": Decimal(12)}
    assert apply_report(order, msgspec.structs.replace(report_of(ACTIVE, at=4), **larger), 9) is None
    at_once = apply_report(order, msgspec.structs.replace(report_of(ACTIVE, at=5), **larger), 9)
    assert at_once is not None
    assert at_once.amount == Decimal(12)
    amended = apply_report(order, msgspec.structs.replace(report_of(ACTIVE, at=6), **larger), 9)
    assert amended is not None
    assert (amended.amount, amended.times.exchange_at) == (Decimal(12), 6)
    assert apply_report(amended, report_of(ACTIVE, at=5), 9) is None


def test_evidence_clears_the_reason_why_nothing_was_known() -> None:
    order = order_in(UNKNOWN, reason=Reason("timeout", "no answer"))
    known = apply_report(order, report_of(FILLED, AMOUNT), 9)
    assert known is not None
    assert (known.status, known.reason) == (FILLED, None)


def test_the_price_of_an_order_that_was_only_asked_for_is_learnt_from_whoever_reports_it_first() -> None:
    begun_to_ask = order_in(UNKNOWN)
    found = apply_report(begun_to_ask, report_of(ACTIVE, price=Decimal(5)), 9)
    assert found is not None
    assert found.price == Decimal(5)
    sent = apply_report(order_in(SUBMITTED, price=Decimal(5)), report_of(ACTIVE), 9)
    assert sent is not None
    assert sent.price == Decimal(5)
