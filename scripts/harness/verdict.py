"""Judging a run by the exchange's own books: what was appended, what arrived, and what the journal says of it.

Pure: it takes the list of appended entries, the exchange's audit log and the journal, and returns findings.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from msgspec import Struct

from orderlane.intents import AmendOrder, CancelAll, CancelOrder, Intent, PlaceOrder
from orderlane.orders import Order, OrderStatus

ON_THE_BOOKS = (
    OrderStatus.ACTIVE,
    OrderStatus.PARTIAL,
    OrderStatus.FILLED,
    OrderStatus.CANCELED,
    OrderStatus.EXPIRED,
)
REFUSED = (OrderStatus.REJECTED, OrderStatus.FAILED, OrderStatus.EXPIRED, OrderStatus.MERGED)


class Appended(Struct, frozen=True):
    """One entry a producer appended: its stream id, and its intent unless it was wrong on purpose beyond reading."""

    exchange: str
    entry: str
    client_order_id: str = ""
    intent: Intent | None = None


class Arrived(Struct, frozen=True):
    """One order-changing request in the exchange's audit log (`/paper/audit`)."""

    sequence: int
    at_us: int
    product: str
    account: str
    symbol: str
    kind: str
    client_order_id: str
    order_id: int
    executed: bool
    code: int = 0
    message: str = ""


class Journalled(Struct, frozen=True, kw_only=True):
    """What the pool itself says at the end."""

    orders: dict[str, Order]
    """By client order id."""
    dead: dict[tuple[str, str], str]
    """(exchange, entry) -> reason code: two streams may give the same id in the same millisecond."""
    duplicates: frozenset[str]
    """Client order ids for which a second entry was recognised as a duplicate."""


class Verdict(Struct, frozen=True, kw_only=True):
    """The outcome of a run. `findings` tells, for each wrong outcome, what was seen."""

    intents: int
    acknowledged: int
    filled: int
    rejected: int
    failed: int
    unknown: int
    lost: int
    duplicated: int
    out_of_order: int
    reasons: dict[str, int]
    latencies_ms: tuple[float, ...]
    findings: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not (self.lost or self.duplicated or self.out_of_order)


def judge(appended: Sequence[Appended], arrived: Sequence[Arrived], journal: Journalled) -> Verdict:
    """Compare what was appended with what the exchange saw and what the journal says."""
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
            findings.append(f"lost: entry {one.entry} of {one.exchange} has no record, and is no dead letter")
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
        reasons=dict(reasons.most_common()),
        latencies_ms=_latencies_ms(appended, placed),
        findings=tuple(findings),
    )


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
        return "failed" if one.client_order_id in journal.duplicates else "lost"
    if order.status is OrderStatus.REJECTED:
        return "rejected"
    if order.status is OrderStatus.UNKNOWN:
        return "unknown"
    if order.status is OrderStatus.DONE or (order.status in ON_THE_BOOKS and order.exchange_order_id):
        return "acknowledged"
    return "failed" if order.status in REFUSED else "lost"


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
    return order.status in ON_THE_BOOKS or order.status is OrderStatus.UNKNOWN


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
