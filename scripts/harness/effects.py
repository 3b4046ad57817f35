"""Whether what the pool says it did, or was refused, shows in the exchange's audit log. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from orderlane.intents import EVERY_SYMBOL, AmendOrder, CancelAll, CancelOrder, PlaceOrder
from orderlane.orders import Order, OrderStatus
from scripts.harness.content import exchange_symbol
from scripts.harness.material import Appended, Arrived, Journalled, Names, Refused

CANCELLED: Final = "cancelled_while_waiting"
SPARED: Final = (CANCELLED, "closed_while_waiting", "replaced_while_waiting")
"""Reasons for which an order ends as CANCELED without a request: stable codes of the lane rules."""
NOTHING_OPEN: Final = -2011
"""What spot says to a cancel of everything where nothing is open."""


def was_spared(order: Order) -> bool:
    """Whether a lane rule ended a place while it waited, so that it was never sent."""
    code = order.reason.code if order.reason else ""
    return order.status is OrderStatus.CANCELED and not order.exchange_order_id and code in SPARED


def unfounded(
    names: Names, arrived: Sequence[Arrived], journal: Journalled, refused: Iterable[Refused]
) -> list[tuple[str, str]]:
    """Records that claim an effect, or a refusal, that the exchange knows nothing of: client order id, and what."""
    log = _Log(names, arrived, refused)
    found: list[tuple[str, str]] = []
    for name, one in names.intents.items():
        order = journal.orders.get(name)
        if order is None:
            continue
        if order.status is OrderStatus.DONE:
            found += [(name, text) for text in _unfounded_done(one, order, log, journal)]
        elif order.status in (OrderStatus.REJECTED, OrderStatus.FAILED):
            found += [(name, text) for text in _denied(one, order, log)]
            if order.status is OrderStatus.REJECTED:
                found += [(name, text) for text in _unfounded_refusal(one, order, log, journal)]
        elif was_spared(order) and not _is_by_another(one, order, names):
            found.append(
                (name, f"ended unsent by {order.related!r}, which is no intent of this run that may do so")
            )
    return found + _too_few_cancel_alls(names, journal, log) + _uncalled_for(names, log)


class _Log:
    """The audit log, by what one asks it for."""

    def __init__(self, names: Names, arrived: Sequence[Arrived], refused: Iterable[Refused]) -> None:
        self.names = names
        self.refused = list(refused)
        self._of: dict[tuple[str, str], list[Arrived]] = defaultdict(list)
        self._by_order_id: dict[tuple[str, str, int], str] = {}
        self.cancel_alls: list[Arrived] = []
        for one in arrived:
            if one.kind == "place" and one.executed:
                self._by_order_id[one.product, one.symbol, one.order_id] = one.client_order_id
        for one in arrived:
            if one.kind == "cancel_all":
                self.cancel_alls.append(one)
            else:
                self._of[self.name_of(one), one.kind].append(one)
        self._commands: dict[str, int] = Counter()
        self._cleared: set[str] = set()
        self.successors: dict[str, list[str]] = defaultdict(list)
        for name, entry in names.intents.items():
            target = target_of(entry)
            if target:
                self._commands[names.of(entry, target)] += 1
            if isinstance(entry.intent, CancelAll):
                self._cleared.add(entry.intent.account)
            for older in names.standing_for(name) - {name}:
                self.successors[older].append(name)

    def name_of(self, request: Arrived) -> str:
        """The client order id of the order a request is about, which may name it by the exchange's own id."""
        by_id = self._by_order_id.get((request.product, request.symbol, request.order_id), "")
        return request.client_order_id or by_id

    def about(self, name: str, kind: str) -> list[Arrived]:
        """The requests of a kind about an order, or about what it was replaced by."""
        return [one for other in (name, *self.successors[name]) for one in self._of[other, kind]]

    def requests(self) -> Iterator[tuple[str, Arrived]]:
        """Every request about one order that was carried out, with the order's client order id."""
        for (name, _), requests in self._of.items():
            yield from ((name, one) for one in requests if one.executed)

    def is_alone(self, name: str) -> bool:
        """Whether one command at most is about an order."""
        intent = self.names.intents[name].intent
        return self._commands[name] <= 1 and intent is not None and intent.account not in self._cleared


def target_of(one: Appended) -> str:
    """The intent id that an intent acts on; `` where it acts on none."""
    if isinstance(one.intent, CancelOrder | AmendOrder):
        return one.intent.target
    return (one.intent.replaces or "") if isinstance(one.intent, PlaceOrder) else ""


def _unfounded_done(one: Appended, order: Order, log: _Log, journal: Journalled) -> Iterator[str]:
    code = order.reason.code if order.reason else ""
    name = log.names.of(one, target_of(one))
    target = journal.orders.get(name)
    if isinstance(one.intent, CancelAll):
        return  # counted, not told apart
    if code == CANCELLED:
        if target is None or not was_spared(target):
            yield f"DONE because {target_of(one)!r} still waited, but that one is {_status(target)}"
    elif code == "edited_while_waiting":
        if target is None:
            yield f"DONE because {target_of(one)!r} still waited, but that one has no record"
    elif isinstance(one.intent, CancelOrder) or code == "nothing_left":
        if not _is_cancelled(name, log) and not (code == "nothing_left" and _has_filled(target)):
            yield f"DONE, but the exchange carried out no cancel of {target_of(one)!r}"
    elif isinstance(one.intent, AmendOrder):
        wanted = one.intent
        sent = any(_amends_as(request, wanted) for request in log.about(name, "amend"))
        if not sent and not _was_edited_so(wanted, name, log, journal):
            yield f"DONE, but the exchange carried out no such amend of {target_of(one)!r}"


def _is_cancelled(name: str, log: _Log) -> bool:
    """Whether a request took the order off the book: its own cancel, or one of everything on its symbol."""
    if any(request.executed for request in log.about(name, "cancel")):
        return True
    places = [request for request in log.about(name, "place") if request.executed]
    return any(
        request.executed and (request.account, request.symbol) == (place.account, place.symbol)
        for place in places
        for request in log.cancel_alls
        if request.sequence > place.sequence
    )


def _amends_as(request: Arrived, wanted: AmendOrder) -> bool:
    """Whether an executed amend may be this one: `content` compares the numbers to the last digit."""
    return request.executed and (wanted.price is None or bool(request.price))


def _was_edited_so(wanted: AmendOrder, target: str, log: _Log, journal: Journalled) -> bool:
    """Whether another amend had given the target these numbers while it waited: it was sent with them."""
    for name, one in log.names.intents.items():
        order, other = journal.orders.get(name), one.intent
        if isinstance(other, AmendOrder) and log.names.of(one, other.target) == target and order is not None:
            is_edit = order.reason is not None and order.reason.code == "edited_while_waiting"
            if is_edit and (other.price, other.amount) == (wanted.price, wanted.amount):
                return True
    return False


def _has_filled(order: Order | None) -> bool:
    return order is not None and (order.filled > 0 or order.status is OrderStatus.FILLED)


def _unfounded_refusal(one: Appended, order: Order, log: _Log, journal: Journalled) -> Iterator[str]:
    code = order.reason.code if order.reason else ""
    assert one.intent is not None
    name = log.names.of(one, target_of(one))
    if code == "target_closed":
        target = _last(name, log, journal)
        if target is None or not target.status.terminal:
            yield f"REJECTED because {target_of(one)!r} had ended, but that one is {_status(target)}"
        return
    requests = [
        *log.about(one.client_order_id, "place"),
        *log.about(name, "cancel"),
        *log.about(name, "amend"),
    ]
    if isinstance(one.intent, CancelAll):
        requests += log.cancel_alls + [request for _, request in log.requests()]
    refusals = [str(request.code) for request in requests if not request.executed]
    _, symbol = exchange_symbol(one.intent.symbol)
    refusals += [
        str(fault.code)
        for fault in log.refused
        if (fault.account or one.intent.account) == one.intent.account and (fault.symbol or symbol) == symbol
    ]
    if code not in refusals and not (code == "partly_refused" and refusals):
        yield f"REJECTED with {code!r}, but the exchange refused nothing of it so"


def _denied(one: Appended, order: Order, log: _Log) -> Iterator[str]:
    """Commands told as refused, or as without effect, that the exchange carried out. (A place that it has is judged by
    its id, and what an amend placed anew as well.)"""
    name = log.names.of(one, target_of(one))
    if not isinstance(one.intent, CancelOrder | AmendOrder) or not name or not log.is_alone(name):
        return
    kind = "cancel" if isinstance(one.intent, CancelOrder) else "amend"
    if any(request.executed for request in log.about(name, kind)):
        code = order.reason.code if order.reason else "no reason"
        yield f"{order.status} ({code}), but the exchange carried out a {kind} of {target_of(one)!r}"


def _is_by_another(one: Appended, order: Order, names: Names) -> bool:
    """Whether an order that ended unsent was ended by an intent that asks for that."""
    other = names.intents.get(names.of(one, order.related))
    assert one.intent is not None
    if other is None or order.reason is None:
        return False
    if order.reason.code == "closed_while_waiting":
        return isinstance(other.intent, PlaceOrder)
    if isinstance(other.intent, CancelAll):
        return other.intent.symbol in (one.intent.symbol, EVERY_SYMBOL)
    return target_of(other) == one.intent.id


def _too_few_cancel_alls(names: Names, journal: Journalled, log: _Log) -> list[tuple[str, str]]:
    """Accounts and symbols for which more cancels of everything are on record than the exchange was asked for."""
    claimed: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, one in names.intents.items():
        order = journal.orders.get(name)
        whole = isinstance(one.intent, CancelAll) and not one.intent.strategy
        if not whole or one.intent is None or one.intent.symbol == EVERY_SYMBOL or order is None:
            continue
        if order.status is OrderStatus.DONE:
            claimed[one.intent.account, *exchange_symbol(one.intent.symbol)].append(name)
    found = []
    for key, claims in claimed.items():
        done = {
            (request.at_us, request.sequence)
            for request in log.cancel_alls
            if (request.account, request.product, request.symbol) == key
            and (request.executed or request.code == NOTHING_OPEN)
        }
        if len(done) < len(claims):
            found.append(
                (claims[-1], f"{len(claims)} cancels of everything are DONE, {len(done)} were carried out")
            )
    return found


def _uncalled_for(names: Names, log: _Log) -> list[tuple[str, str]]:
    """Orders of ours that were cancelled though no intent asked for it."""
    wanted: set[str] = set()
    everything: set[str] = set()
    for one in names.intents.values():
        target = names.of(one, target_of(one)) if target_of(one) else ""
        wanted |= {target, *log.successors[target]} if target else set()
        if isinstance(one.intent, CancelAll):
            everything.add(one.intent.account)
    return [
        (name, "it was cancelled at the exchange, and no intent asked for that")
        for name, request in log.requests()
        if request.kind == "cancel" and name in names.intents
        if name not in wanted and request.account not in everything
    ]


def _last(name: str, log: _Log, journal: Journalled) -> Order | None:
    """The record that stands for an order now: its last successor's, if that came to the exchange."""
    for other in reversed((name, *log.successors[name])):
        order = journal.orders.get(other)
        if order is not None and (other == name or order.exchange_order_id):
            return order
    return None


def _status(order: Order | None) -> str:
    return str(order.status) if order is not None else "not on record"
