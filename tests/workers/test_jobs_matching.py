from decimal import Decimal

import msgspec
import pytest

from common.exchange.base import OrderReport
from orderlane.identity import client_order_id
from orderlane.intents import AmendOrder, CancelOrder, OrderType, PlaceOrder, Side
from orderlane.orders import Order, OrderStatus, Times
from workers.jobs.matching import UNKNOWN_PATIENCE_MS, compare, reference_to

NOW = 1_000_000
POOL = "orderlane"


def record(
    intent_id: str = "a", status: OrderStatus = OrderStatus.ACTIVE, exchange_id: str = "1", at: int = 0
) -> Order:
    intent = PlaceOrder(
        id=intent_id, exchange="x", account="main", symbol="A/B", side=Side.BUY, type=OrderType.LIMIT,
        amount=Decimal(1), price=Decimal(1),
    )  # fmt: skip
    return Order(
        client_order_id=client_order_id(POOL, "x", "main", intent_id),
        intent=intent,
        status=status,
        exchange_order_id=exchange_id,
        times=Times(updated_at=at),
    )


def report(of: Order, client_id: str | None = None) -> OrderReport:
    return OrderReport(
        client_order_id=of.client_order_id if client_id is None else client_id,
        exchange_order_id=of.exchange_order_id,
        symbol=of.intent.symbol,
        status=OrderStatus.ACTIVE,
    )


def test_an_order_is_recognised_by_its_client_order_id_and_else_by_the_exchanges() -> None:
    one, two = record("a", exchange_id="1"), record("b", exchange_id="2")
    found = compare(POOL, [one, two], [report(one), report(two, client_id="")], NOW)
    assert [order for order, _ in found.shown] == [one, two]
    assert found.missing == ()


@pytest.mark.parametrize(
    ("status", "exchange_id", "at", "missing"),
    [
        (OrderStatus.ACTIVE, "1", NOW, True),
        (OrderStatus.PARTIAL, "1", NOW, True),
        (OrderStatus.ACTIVE, "", NOW, False),
        (OrderStatus.SUBMITTED, "", 0, False),
        (OrderStatus.UNKNOWN, "", NOW - UNKNOWN_PATIENCE_MS, True),
        (OrderStatus.UNKNOWN, "", NOW - UNKNOWN_PATIENCE_MS + 1, False),
    ],
)
def test_an_order_is_missing_when_the_list_should_show_it(
    status: OrderStatus, exchange_id: str, at: int, missing: bool
) -> None:
    one = record(status=status, exchange_id=exchange_id, at=at)
    assert compare(POOL, [one], [], NOW).missing == ((one,) if missing else ())


def test_a_request_under_way_is_left_to_its_worker() -> None:
    fresh, old = record("a", OrderStatus.SUBMITTED, at=NOW), record("b", OrderStatus.SUBMITTED, "2", at=0)
    found = compare(POOL, [fresh, old], [report(fresh), report(old)], NOW)
    assert [order for order, _ in found.shown] == [old]
    assert found.strangers == ()


def test_cancels_are_no_orders_and_amends_only_where_they_placed_one() -> None:
    common = {"exchange": "x", "account": "main", "symbol": "A/B", "target": "a"}
    cancel = msgspec.structs.replace(record("c"), intent=CancelOrder(id="c", **common))  # type: ignore[arg-type]
    amend = AmendOrder(id="d", price=Decimal(2), **common)  # type: ignore[arg-type]
    waiting = msgspec.structs.replace(record("d", exchange_id=""), intent=amend)
    placed = msgspec.structs.replace(record("d", exchange_id="3"), intent=amend)
    assert compare(POOL, [cancel, waiting], [report(cancel), report(waiting)], NOW).shown == ()
    assert compare(POOL, [placed], [], NOW).missing == (placed,)


def test_only_orders_of_this_pool_are_strangers() -> None:
    ours, theirs = record("a"), client_order_id("another", "x", "main", "a")
    found = compare(POOL, [], [report(ours), report(ours, theirs), report(ours, "by-hand")], NOW)
    assert found.strangers == (ours.client_order_id,)


def test_a_conditional_order_is_asked_for_in_the_book_of_conditional_ones() -> None:
    plain = record()
    stop = msgspec.structs.replace(
        plain,
        intent=msgspec.structs.replace(
            plain.intent, type=OrderType.STOP_MARKET, price=None, trigger_price=Decimal(2)
        ),
    )
    assert not reference_to(plain).conditional
    assert reference_to(stop).conditional
