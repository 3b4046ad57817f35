"""Judging a run by the exchange's own books: what was appended, what arrived, and what the journal says of it.

Pure: it takes the list of appended entries, the exchange's audit log and the journal, and returns findings.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from orderlane.intents import AmendOrder, CancelAll, CancelOrder, PlaceOrder, intent_digest
from orderlane.orders import Order, OrderStatus
from scripts.harness.content import Grids, differences
from scripts.harness.effects import unfounded, was_spared
from scripts.harness.material import Appended, Arrived, Journalled, Names, Refused
from scripts.harness.steps import gaps

__all__ = ["Appended", "Arrived", "Journalled", "Refused", "Verdict", "judge", "latencies_ms", "percentile"]

ON_THE_BOOKS = (
    OrderStatus.ACTIVE,
    OrderStatus.PARTIAL,
    OrderStatus.FILLED,
    OrderStatus.CANCELED,
    OrderStatus.EXPIRED,
)
REFUSED = (OrderStatus.REJECTED, OrderStatus.FAILED, OrderStatus.EXPIRED)
NO_GRIDS: Grids = MappingProxyType({})


class Verdict(Struct, frozen=True, kw_only=True):
    """The outcome of a run. `findings` tells, for each wrong outcome, what was seen. `mismatched`: records that claim
    what the exchange's audit log, or their own events, do not bear out, and orders that are not what was asked for."""

    intents: int
    acknowledged: int
    filled: int
    rejected: int
    failed: int
    unknown: int
    lost: int
    duplicated: int
    out_of_order: int
    mismatched: int
    reasons: dict[str, int]
    latencies_ms: tuple[float, ...]
    findings: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not (self.lost or self.duplicated or self.out_of_order or self.mismatched)


def judge(
    appended: Sequence[Appended],
    arrived: Sequence[Arrived],
    journal: Journalled,
    *,
    grids: Grids = NO_GRIDS,
    refused: Iterable[Refused] = (),
) -> Verdict:
    """Compare what was appended with what the exchange saw and what the journal says.

    `grids`: the steps of the exchange's symbols; of others amounts and prices are not compared. `refused`: requests
    that a fault at the exchange refused, which the audit log does not have.
    """
    findings: list[str] = []
    placed = _executed_places(arrived)
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for one in appended:
        ending = _ending_of(one, journal)
        counts[ending] += 1
        if ending in ("rejected", "failed", "unknown"):
            reasons[_reason_of(one, journal)] += 1
        if ending == "lost":
            findings.append(_lost(one, journal))
        elif _is_missing(one, journal, placed):
            counts["lost"] += 1
            findings.append(f"lost: {_name(one)} is on record as placed, but the exchange has no such order")
    known = {one.client_order_id for one in appended}
    for client_order_id, requests in placed.items():
        if len(requests) > 1:
            counts["duplicated"] += 1
            findings.append(f"duplicated: {client_order_id} was placed {len(requests)} times")
        order = journal.orders.get(client_order_id)
        if client_order_id in known and (order is None or not _admits_order(order)):
            counts["lost"] += 1
            status = order.status if order else "absent"
            findings.append(f"mismatch: the exchange has {client_order_id}, but its record is {status}")
    apart = _merged_apart(journal.orders)
    counts["lost"] += len(apart)
    findings += apart
    names = Names(appended, journal)
    wrong = (
        differences(names, arrived, journal, grids)
        + unfounded(names, arrived, journal, refused)
        + gaps(journal)
    )
    findings += [f"mismatched: {client_order_id}: {text}" for client_order_id, text in wrong]
    disorder = _out_of_order(_taken(appended, journal), arrived) + _before_their_targets(arrived)
    findings += disorder
    return Verdict(
        intents=len(appended),
        acknowledged=counts["acknowledged"],
        filled=sum(order.status is OrderStatus.FILLED for order in journal.orders.values()),
        rejected=counts["rejected"],
        failed=counts["failed"],
        unknown=counts["unknown"],
        lost=counts["lost"],
        duplicated=counts["duplicated"],
        out_of_order=len(disorder),
        mismatched=len(wrong),
        reasons=dict(reasons.most_common()),
        latencies_ms=_latencies_ms(appended, placed),
        findings=tuple(findings),
    )


def latencies_ms(appended: Sequence[Appended], arrived: Sequence[Arrived]) -> tuple[float, ...]:
    """From the entry's own time (Redis clock) to the arrival at the exchange, for each of these that was placed."""
    return _latencies_ms(appended, _executed_places(arrived))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank); 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def _executed_places(arrived: Sequence[Arrived]) -> dict[str, list[Arrived]]:
    placed: dict[str, list[Arrived]] = defaultdict(list)
    for request in arrived:
        if request.kind == "place" and request.executed:
            placed[request.client_order_id].append(request)
    return placed


def _ending_of(one: Appended, journal: Journalled) -> str:
    """In which of the ways an entry may end this one did; `lost` when in none."""
    if (one.exchange, one.entry) in journal.dead:
        return "failed"
    order = journal.orders.get(one.client_order_id)
    if order is None:
        return "lost"
    if order.entry != one.entry:
        told = one.client_order_id in journal.duplicates
        return "failed" if told and _is_same(one, order) else "lost"
    return _ending_on_record(order, journal)


def _is_same(one: Appended, order: Order) -> bool:
    """Whether an entry repeats what is on record; another intent under the same id is to be buried, for all to see."""
    return one.intent is not None and intent_digest(one.intent) == intent_digest(order.intent)


def _ending_on_record(order: Order, journal: Journalled) -> str:
    """An intent that was merged into another ends as that one does."""
    seen: set[str] = set()
    while order.status is OrderStatus.MERGED:
        survivor = journal.orders.get(order.merged_into.client_order_id) if order.merged_into else None
        if survivor is None or survivor.client_order_id in seen:
            return "lost"
        seen.add(survivor.client_order_id)
        order = survivor
    if order.status is OrderStatus.REJECTED:
        return "rejected"
    if order.status is OrderStatus.UNKNOWN:
        return "unknown"
    if order.status is OrderStatus.DONE or (order.status in ON_THE_BOOKS and order.exchange_order_id):
        return "acknowledged"
    return "failed" if order.status in REFUSED or was_spared(order) else "lost"


def _lost(one: Appended, journal: Journalled) -> str:
    order = journal.orders.get(one.client_order_id)
    about = f" ({_name(one)})" if one.intent else ""
    if order is None:
        return f"lost: entry {one.entry} of {one.exchange}{about} has no record, and is no dead letter"
    return (
        f"lost: entry {one.entry} of {one.exchange}{about} has not ended: its record, of entry {order.entry}, is "
        f"{order.status}"
    )


def _reason_of(one: Appended, journal: Journalled) -> str:
    if (one.exchange, one.entry) in journal.dead:
        return journal.dead[one.exchange, one.entry]
    order = journal.orders.get(one.client_order_id)
    if order is None or order.entry != one.entry:
        return "duplicate"
    return order.reason.code if order.reason else order.status.value


def _is_missing(one: Appended, journal: Journalled, placed: Mapping[str, object]) -> bool:
    order = journal.orders.get(one.client_order_id)
    return (
        order is not None
        and order.entry == one.entry
        and order.status in ON_THE_BOOKS
        and bool(order.exchange_order_id)
        and one.client_order_id not in placed
    )


def _admits_order(order: Order) -> bool:
    """Whether the record says that an order came to the exchange, or may have."""
    came_there = order.status in ON_THE_BOOKS and bool(order.exchange_order_id)
    return came_there or order.status is OrderStatus.UNKNOWN


def _merged_apart(orders: Mapping[str, Order]) -> list[str]:
    """Intents on record as merged into an order that does not hold their amount, or that holds more than its parts."""
    findings = []
    for client_order_id, order in orders.items():
        into = orders.get(order.merged_into.client_order_id) if order.merged_into else None
        if into is not None and isinstance(order.intent, PlaceOrder):
            holds = client_order_id in {one.client_order_id for one in into.absorbed}
            findings += (
                [] if holds else [f"mismatch: {client_order_id} is not part of what it is merged into"]
            )
        parts = [orders.get(one.client_order_id) for one in order.absorbed]
        if any(part is not None and part.status is not OrderStatus.MERGED for part in parts):
            findings.append(
                f"mismatch: {client_order_id} holds amounts of intents that are not on record as merged"
            )
    return findings


def _latencies_ms(appended: Sequence[Appended], placed: Mapping[str, Sequence[Arrived]]) -> tuple[float, ...]:
    """From the entry's own time (Redis clock) to the arrival at the exchange, for each placed order."""
    return tuple(
        placed[one.client_order_id][0].at_us / 1000 - _entry_ms(one.entry)
        for one in appended
        if one.client_order_id in placed
    )


def _out_of_order(appended: Sequence[Appended], arrived: Sequence[Arrived]) -> list[str]:
    """Pairs of one lane that reached the exchange the wrong way round.

    An intent may be overtaken by a more urgent one that was appended after it, except by one that needs it first.
    """
    arrival = _first_arrivals(arrived)
    lanes: dict[tuple[str, str], list[tuple[int, Appended]]] = defaultdict(list)
    seen: set[str] = set()
    for one in sorted(appended, key=lambda entry: _entry_key(entry.entry)):
        if one.intent is not None and one.client_order_id in arrival and one.client_order_id not in seen:
            seen.add(one.client_order_id)
            lanes[one.exchange, one.intent.lane].append((arrival[one.client_order_id], one))
    findings = []
    for lane in lanes.values():
        for index, (at, later) in enumerate(lane):
            for earlier_at, earlier in lane[:index]:
                if at < earlier_at and not _may_overtake(later, earlier):
                    findings.append(f"out of order: {_name(later)} arrived before {_name(earlier)}")
    return findings


def _taken(appended: Sequence[Appended], journal: Journalled) -> list[Appended]:
    """Without the entries that repeat an id: the order that arrived under it belongs to the entry on its record."""
    return [
        one
        for one in appended
        if (order := journal.orders.get(one.client_order_id)) is None or order.entry == one.entry
    ]


def _before_their_targets(arrived: Sequence[Arrived]) -> list[str]:
    """Cancels and amends that reached the exchange before the order they are about."""
    placed = _first_arrivals(arrived)
    return [
        f"out of order: a {request.kind} of {request.client_order_id} arrived before the order itself"
        for request in arrived
        if request.kind in ("cancel", "amend") and request.sequence < placed.get(request.client_order_id, 0)
    ]


def _first_arrivals(arrived: Sequence[Arrived]) -> dict[str, int]:
    first: dict[str, int] = {}
    for request in arrived:
        if request.kind == "place":
            first.setdefault(request.client_order_id, request.sequence)
    return first


def _may_overtake(later: Appended, earlier: Appended) -> bool:
    if later.intent is None or earlier.intent is None or later.intent.urgency >= earlier.intent.urgency:
        return False
    if isinstance(later.intent, CancelOrder | AmendOrder):
        return earlier.intent.id != later.intent.target
    if isinstance(later.intent, CancelAll):
        return False
    opening = isinstance(earlier.intent, PlaceOrder) and not earlier.intent.reduce_only
    return not (later.intent.reduce_only and opening and later.intent.strategy == earlier.intent.strategy)


def _entry_key(entry: str) -> tuple[int, int]:
    ms, _, sequence = entry.partition("-")
    return int(ms), int(sequence)


def _entry_ms(entry: str) -> int:
    return _entry_key(entry)[0]


def _name(one: Appended) -> str:
    identifier = one.intent.id if one.intent else one.entry
    return f"intent {identifier} (entry {one.entry}, client order id {one.client_order_id})"
