from decimal import Decimal
from typing import Any

import msgspec
import pytest

from common.closed_orders import CLOSED_ORDERS, DAY_MS, HOUR_MS, may_be_forgotten
from common.config import StuckSection
from common.exchange.base import TradeReport
from common.venue_limits import VENUES
from orderlane.identity import client_order_id
from orderlane.intents import AmendOrder, CancelAll, CancelOrder, Intent, OrderType, PlaceOrder, Side
from orderlane.orders import Order, OrderStatus, Times
from orderlane.stuck import StuckKind, Watch
from workers.jobs.stuck_rules import (
    MARGIN_MS,
    asked_now,
    due,
    end_of_cancel,
    forgotten,
    report_of_trades,
    stuck_reason,
    to_tell,
    watched,
)

NOW = 1_700_000_000_000
SECTION = StuckSection()
WHERE: dict[str, Any] = {"exchange": "x", "account": "main", "symbol": "A/B"}
PLACE = PlaceOrder(id="p", side=Side.BUY, type=OrderType.LIMIT, amount=Decimal(3), price=Decimal(10), **WHERE)
CANCEL = CancelOrder(id="c", target="p", **WHERE)


def record(
    status: OrderStatus, intent: Intent = PLACE, *, age_ms: int = 0, exchange_id: str = "7", filled: int = 0
) -> Order:
    return Order(
        client_order_id=client_order_id("pool", "x", "main", intent.id),
        intent=intent,
        status=status,
        exchange_order_id=exchange_id if isinstance(intent, PlaceOrder) else "",
        amount=Decimal(3),
        filled=Decimal(filled),
        times=Times(sent_at=NOW - age_ms, updated_at=NOW),
    )


def watch_of(
    one: Order, *, absent: bool = False, before: Watch | None = None, listed_at: int = 0, now_ms: int = NOW
) -> Watch | None:
    name = one.client_order_id
    known = {name: before} if before else {}
    return watched([one], frozenset([name] if absent else []), known, listed_at, now_ms, SECTION).get(name)


@pytest.mark.parametrize(
    ("status", "intent", "after_seconds", "kind"),
    [
        (OrderStatus.SUBMITTED, PLACE, SECTION.unacknowledged_seconds, StuckKind.UNACKNOWLEDGED),
        (OrderStatus.UNKNOWN, PLACE, SECTION.unknown_seconds / 2, StuckKind.UNKNOWN),
        (OrderStatus.SUBMITTED, CANCEL, SECTION.cancel_seconds, StuckKind.CANCEL),
        (OrderStatus.UNKNOWN, CANCEL, SECTION.cancel_seconds, StuckKind.CANCEL),
        (OrderStatus.UNKNOWN, CancelAll(id="a", **WHERE), SECTION.cancel_seconds, StuckKind.CANCEL),
        (
            OrderStatus.SUBMITTED,
            AmendOrder(id="m", target="p", price=Decimal(1), **WHERE),
            SECTION.cancel_seconds,
            StuckKind.CANCEL,
        ),
    ],
)
def test_a_request_without_an_answer_is_watched_from_its_time_on(
    status: OrderStatus, intent: Intent, after_seconds: float, kind: StuckKind
) -> None:
    age_ms = int(after_seconds * 1000)
    assert watch_of(record(status, intent, age_ms=age_ms - 1)) is None
    found = watch_of(record(status, intent, age_ms=age_ms))
    assert found is not None
    assert (found.kind, found.since) == (kind, NOW - age_ms)


def test_an_open_order_is_watched_as_soon_as_the_list_lacks_it_and_no_longer_once_it_shows_it() -> None:
    one = record(OrderStatus.ACTIVE, age_ms=DAY_MS)
    assert watch_of(one) is None
    found = watch_of(one, absent=True, listed_at=NOW - 15_000)
    assert found is not None
    assert (found.kind, found.since, found.seen_open) == (StuckKind.ABSENT, NOW, NOW - 15_000)
    assert watch_of(one, absent=True, before=found, listed_at=NOW, now_ms=NOW + 9) == found
    assert watch_of(one, before=found) is None


def test_without_a_list_an_absent_order_stays_one() -> None:
    one = record(OrderStatus.ACTIVE)
    found = watch_of(one, absent=True)
    assert found is not None
    name = one.client_order_id
    assert watched([one], None, {name: found}, 0, NOW + 9, SECTION) == {name: found}
    assert watched([one], None, {}, 0, NOW, SECTION) == {}


def test_each_new_state_has_a_deadline_of_its_own() -> None:
    unacknowledged = watch_of(record(OrderStatus.SUBMITTED, age_ms=40_000))
    assert unacknowledged is not None
    told = msgspec.structs.replace(unacknowledged, told=NOW, asked=3)
    unknown = watch_of(record(OrderStatus.UNKNOWN, age_ms=40_000), before=told)
    assert unknown is not None
    assert (unknown.kind, unknown.told, unknown.asked) == (StuckKind.UNKNOWN, 0, 0)
    assert unknown.deadline == NOW - 40_000 + SECTION.unknown_seconds * 1000


def test_questions_come_after_growing_waits() -> None:
    watch = watch_of(record(OrderStatus.ACTIVE), absent=True)
    assert watch is not None
    at, waits = NOW, []
    for _ in range(9):
        assert due([watch], at, 5) == [watch]
        watch = asked_now(watch, at, SECTION)
        assert due([watch], watch.next - 1, 5) == []
        waits.append((watch.next - at) // 1000)
        at = watch.next
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_the_longest_not_asked_about_goes_first() -> None:
    watch = watch_of(record(OrderStatus.ACTIVE), absent=True)
    assert watch is not None
    one, other, new = (
        msgspec.structs.replace(watch, client_order_id=name, last=last)
        for name, last in (("one", NOW - 5), ("other", NOW - 9), ("new", 0))
    )
    assert due([one, other, new], NOW, 2) == [new, other]


def test_an_order_is_told_once_its_deadline_has_passed_and_never_again() -> None:
    watch = watch_of(record(OrderStatus.ACTIVE), absent=True)
    assert watch is not None
    assert to_tell([watch], watch.deadline - 1) == []
    assert to_tell([watch], watch.deadline) == [watch]
    assert to_tell([msgspec.structs.replace(watch, told=watch.deadline)], NOW + DAY_MS) == []
    reason = stuck_reason(msgspec.structs.replace(watch, asked=4, not_found=3, failed=1), watch.deadline)
    assert reason.code == "stuck_absent"
    assert reason.numbers == {
        "kind": "absent", "stuck_ms": "60000", "deadline_ms": "60000", "asked": "4", "not_found": "3",
        "failed": "1", "next_at": "0",
    }  # fmt: skip


def trade(amount: str, order: str = "7", price: str = "10", trade_id: str = "1") -> TradeReport:
    return TradeReport(
        trade_id=trade_id, exchange_order_id=order, symbol="A/B", side=Side.BUY, amount=Decimal(amount),
        price=Decimal(price), fee=Decimal("0.1"), fee_currency="B", traded_at=NOW,
    )  # fmt: skip


def test_fills_are_evidence_of_an_order_filled_as_a_whole() -> None:
    report = report_of_trades(record(OrderStatus.ACTIVE), [trade("1"), trade("2", price="13")])
    assert report is not None
    assert (report.status, report.filled, report.average) == (OrderStatus.FILLED, Decimal(3), Decimal(12))
    assert report.fees == {"B": Decimal("0.2")}


def test_fills_of_a_part_only_raise_what_is_filled() -> None:
    one = record(OrderStatus.PARTIAL, filled=1)
    assert report_of_trades(one, [trade("1")]) is None
    report = report_of_trades(one, [trade("2")])
    assert report is not None
    assert (report.status, report.filled) == (OrderStatus.PARTIAL, Decimal(2))


def test_another_orders_fills_say_nothing() -> None:
    assert report_of_trades(record(OrderStatus.ACTIVE), [trade("3", order="8")]) is None


def absent_watch(not_found: int = 2, seen_open: int = NOW - 15_000) -> Watch:
    watch = watch_of(record(OrderStatus.ACTIVE), absent=True)
    assert watch is not None
    return msgspec.structs.replace(watch, not_found=not_found, seen_open=seen_open)


@pytest.mark.parametrize(
    ("venue", "age_ms", "seen_open_ms", "ended"),
    [
        ("binanceusdm", 3 * DAY_MS + MARGIN_MS + 1, 15_000, True),  # counted from when it was placed
        ("binanceusdm", 3 * DAY_MS, 15_000, False),
        ("binance", 200 * DAY_MS, 15_000, False),  # counted from its end, and it was open a moment ago
        ("binance", 200 * DAY_MS, 91 * DAY_MS, True),
        ("okx", 3 * HOUR_MS, 15_000, False),
        ("okx", 3 * HOUR_MS, 2 * HOUR_MS + MARGIN_MS + 1, True),
        ("bybit", 3 * DAY_MS, 2 * DAY_MS, True),
        ("kraken", 900 * DAY_MS, 800 * DAY_MS, False),
    ],
)
def test_absence_is_evidence_only_where_the_venue_forgets_and_has_had_the_time_to(
    venue: str, age_ms: int, seen_open_ms: int, ended: bool
) -> None:
    one = record(OrderStatus.ACTIVE, age_ms=age_ms)
    found = forgotten(one, absent_watch(seen_open=NOW - seen_open_ms), venue, NOW)
    assert (found is not None) is ended


def test_absence_is_no_evidence_about_an_order_with_fills_nor_after_one_answer() -> None:
    old = 9 * DAY_MS
    assert forgotten(record(OrderStatus.ACTIVE, age_ms=old), absent_watch(), "binanceusdm", NOW)
    assert not forgotten(record(OrderStatus.ACTIVE, age_ms=old), absent_watch(1), "binanceusdm", NOW)
    partly = record(OrderStatus.PARTIAL, age_ms=old, filled=1)
    assert not forgotten(partly, absent_watch(), "binanceusdm", NOW)


def test_every_venue_says_what_it_forgets_or_that_nothing_is_known() -> None:
    assert CLOSED_ORDERS.keys() == VENUES.keys()
    times = {"placed_at": 1, "seen_open_at": 1, "now_ms": NOW, "margin_ms": 0}
    assert not may_be_forgotten("elsewhere", **times)
    assert not may_be_forgotten("okx", **{**times, "seen_open_at": 0})


def test_a_cancel_ends_as_its_target_did() -> None:
    cancel = record(OrderStatus.UNKNOWN, CANCEL)
    assert end_of_cancel(cancel, record(OrderStatus.ACTIVE)) is None
    assert end_of_cancel(cancel, record(OrderStatus.CANCELED)) == (OrderStatus.DONE, None)
    end = end_of_cancel(cancel, record(OrderStatus.FILLED, filled=3))
    assert end is not None
    assert end[0] is OrderStatus.REJECTED
    assert end[1] is not None
    assert end[1].code == "target_closed"
    amend = record(OrderStatus.UNKNOWN, AmendOrder(id="m", target="p", price=Decimal(1), **WHERE))
    assert end_of_cancel(amend, record(OrderStatus.CANCELED)) is None
