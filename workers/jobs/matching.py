"""What an exchange's list of open orders says about the journal's: who is shown, missing, or unheard of; pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct

from common.exchange.base import OrderReference, OrderReport
from orderlane.identity import belongs_to_pool
from orderlane.intents import AmendOrder, PlaceOrder
from orderlane.orders import Order, OrderStatus
from workers.external_orders import name_of

UNKNOWN_PATIENCE_MS = 30_000
"""How long an outcome that is not known is its lane's own affair; after that it is asked for here as well."""

IN_FLIGHT_MS = 2_000
"""How long a request that was begun is its worker's own affair: its answer says the same, and more."""

_ON_THE_BOOK = (OrderStatus.ACTIVE, OrderStatus.PARTIAL)


class Comparison(Struct, frozen=True):
    """`shown`: records the list shows, each with what it says. `missing`: records it should show, but does not.
    `strangers`: client order ids of this pool that it shows, none of them among the records."""

    shown: tuple[tuple[Order, OrderReport], ...]
    missing: tuple[Order, ...]
    strangers: tuple[str, ...]


def compare(pool: str, records: Collection[Order], listed: Sequence[OrderReport], now_ms: int) -> Comparison:
    """Hold the journal's open records, read before the list was asked for, against the list."""
    by_client_id = {report.client_order_id: report for report in listed if report.client_order_id}
    by_exchange_id = {(report.symbol, report.exchange_order_id): report for report in listed}
    by_name = {name_of(report): report for report in listed} if any(one.external for one in records) else {}
    known = set()
    shown: list[tuple[Order, OrderReport]] = []
    missing: list[Order] = []
    for record in records:
        known.add(record.client_order_id)
        if not placed_an_order(record) or _is_in_flight(record, now_ms):
            continue
        if record.external:
            report = by_name.get(record.intent.id)
        else:
            report = by_client_id.get(record.client_order_id) or by_exchange_id.get(
                (record.intent.symbol, record.exchange_order_id)
            )
        if report is not None:
            shown.append((record, report))
        elif should_be_shown(record, now_ms):
            missing.append(record)
    strangers = (name for name in by_client_id if name not in known and belongs_to_pool(pool, name))
    return Comparison(tuple(shown), tuple(missing), tuple(strangers))


def placed_an_order(record: Order) -> bool:
    """Whether the record is that of an order: cancels have none, amends only where they replaced one."""
    if isinstance(record.intent, AmendOrder):
        return bool(record.exchange_order_id)
    return isinstance(record.intent, PlaceOrder)


def _is_in_flight(record: Order, now_ms: int) -> bool:
    return record.status is OrderStatus.SUBMITTED and now_ms - record.times.updated_at < IN_FLIGHT_MS


def should_be_shown(record: Order, now_ms: int) -> bool:
    """Whether a list without it says something: it was on the book, or nobody has known for a while where it is."""
    if record.status is OrderStatus.UNKNOWN:
        return now_ms - record.times.updated_at >= UNKNOWN_PATIENCE_MS
    return record.status in _ON_THE_BOOK and bool(record.exchange_order_id)


def reference_to(record: Order) -> OrderReference:
    """How the exchange is asked for the order of a record."""
    intent = record.intent
    return OrderReference(
        account=intent.account,
        symbol=intent.symbol,
        client_order_id="" if record.external else record.client_order_id,
        exchange_order_id=record.exchange_order_id,
        conditional=record.trigger_price is not None
        or (isinstance(intent, PlaceOrder) and intent.type.has_trigger),
    )
