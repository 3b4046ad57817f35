"""A tiny exchange for one account and symbol, in plain values, which runs a lane from its first entry to its last.

It is as kind to commands as the lane rules take it to be: what a later entry of the lane speaks of has not traded
when that entry comes. Everything else trades at once where its price allows it: a market order always, a limit
at `BEST_BID` or above (buy), at `BEST_ASK` or below (sell). Reduce-only is clamped to the account's position.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from common.lane_rules import Decision, Waiting, after, consequences, shares
from common.lane_rules.dependence import targets
from orderlane.intents import AmendOrder, CancelAll, CancelOrder, PlaceOrder, Side
from orderlane.orders import OrderStatus

BEST_BID, BEST_ASK = Decimal(100), Decimal(101)
ZERO = Decimal(0)


@dataclass
class Resting:
    order: PlaceOrder
    waiting: Waiting | None = None
    """The entry that placed it; None: it was there before."""


@dataclass
class LaneExchange:
    position: dict[str, Decimal]
    """By strategy; the account's is their sum."""
    book: dict[str, Resting]
    ends: dict[str, list[OrderStatus]] = field(default_factory=lambda: defaultdict(list))
    """How each intent of the lane ended, by entry; an order left on the book as ACTIVE."""
    filled: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    """By intent id."""
    closed: dict[str, OrderStatus] = field(default_factory=dict)

    def run(self, lane: Sequence[Waiting]) -> None:
        for at, waiting in enumerate(lane):
            spoken_of = {target for one in lane[at + 1 :] if (target := targets(one.intent))}
            self._run(waiting, spoken_of)
        for resting in self.book.values():
            if resting.waiting is not None:
                self.ends[resting.waiting.entry].append(OrderStatus.ACTIVE)

    def _run(self, waiting: Waiting, spoken_of: set[str]) -> None:
        intent, ends = waiting.intent, self.ends[waiting.entry]
        if isinstance(intent, PlaceOrder):
            self._place(waiting, intent, spoken_of)
        elif isinstance(intent, CancelOrder):
            ends.append(OrderStatus.DONE if self._cancel(intent.target) else OrderStatus.FAILED)
        elif isinstance(intent, CancelAll):
            for name, resting in list(self.book.items()):
                if intent.strategy in ("", resting.order.strategy):
                    self._cancel(name)
            ends.append(OrderStatus.DONE)
        else:
            ends.append(OrderStatus.DONE if self._amend(intent, spoken_of) else OrderStatus.FAILED)

    def _place(self, waiting: Waiting, order: PlaceOrder, spoken_of: set[str]) -> None:
        if order.replaces is not None:
            older = self.book.get(order.replaces)
            if older is not None and older.order.side is not order.side:
                self._end(waiting, OrderStatus.FAILED)
                return
            cancelled = self._cancel(order.replaces)
            before = OrderStatus.CANCELED if cancelled else self.closed.get(order.replaces)
            if before is not OrderStatus.CANCELED:
                self._end(waiting, OrderStatus.FAILED)
                return
        self.book[order.id] = Resting(order, waiting)
        self._trade(order.id, spoken_of)

    def _amend(self, amend: AmendOrder, spoken_of: set[str]) -> bool:
        resting = self.book.get(amend.target)
        if resting is None or (amend.price is not None and not resting.order.type.has_price):
            return False
        resting.order = amended(resting.order, amend)
        self._trade(amend.target, spoken_of)
        return True

    def _cancel(self, name: str) -> bool:
        resting = self.book.pop(name, None)
        if resting is None:
            return False
        self.closed[name] = OrderStatus.CANCELED
        if resting.waiting is not None:
            self._end(resting.waiting, OrderStatus.CANCELED)
        return True

    def _trade(self, name: str, spoken_of: set[str]) -> None:
        resting = self.book[name]
        order, waiting = resting.order, resting.waiting
        if name in spoken_of or not is_marketable(order):
            return
        del self.book[name]
        traded = order.amount
        signed = sum(self.position.values(), ZERO)
        if order.reduce_only:
            traded = min(traded, max(ZERO, signed if order.side is Side.SELL else -signed))
        self.position[order.strategy] += traded if order.side is Side.BUY else -traded
        status = OrderStatus.FILLED if traded else OrderStatus.REJECTED
        self.closed[name] = status
        if waiting is None:
            return
        self._end(waiting, status)
        own = order.amount - sum((one.amount for one in waiting.absorbed), ZERO)
        parts = shares(traded, own, [one.amount for one in waiting.absorbed])
        names = [waiting.id, *(one.intent_id for one in waiting.absorbed)]
        for one, part in zip(names, parts, strict=True):
            self.filled[one] += part

    def _end(self, waiting: Waiting, status: OrderStatus) -> None:
        self.closed[waiting.id] = status
        self.ends[waiting.entry].append(status)

    def levels(self) -> dict[tuple[str, Side, Decimal | None, bool], Decimal]:
        """What is on the book: the amount at each price, by whose and which kind it is."""
        found: dict[tuple[str, Side, Decimal | None, bool], Decimal] = defaultdict(Decimal)
        for resting in self.book.values():
            order = resting.order
            found[order.strategy, order.side, order.price, order.reduce_only] += order.amount
        return dict(found)


def amended(order: PlaceOrder, amend: AmendOrder) -> PlaceOrder:
    """The order with what an amend says."""
    fields = {name: getattr(order, name) for name in order.__struct_fields__}
    changes = {"amount": amend.amount or order.amount, "price": amend.price or order.price}
    return PlaceOrder(**(fields | changes))


def is_marketable(order: PlaceOrder) -> bool:
    """Whether it trades as soon as it stands."""
    if order.price is None:
        return True
    return order.price >= BEST_BID if order.side is Side.BUY else order.price <= BEST_ASK


def run_plain(
    lane: Sequence[Waiting], position: dict[str, Decimal], live: Iterable[PlaceOrder]
) -> LaneExchange:
    """The lane as it came, without any rule."""
    exchange = LaneExchange(dict(position), {order.id: Resting(order) for order in live})
    exchange.run(lane)
    return exchange


def run_decided(
    lane: Sequence[Waiting],
    decisions: Sequence[Decision],
    position: dict[str, Decimal],
    live: Iterable[PlaceOrder],
) -> LaneExchange:
    """The lane that the decisions leave behind, with the ends that they give."""
    exchange = LaneExchange(dict(position), {order.id: Resting(order) for order in live})
    left = tuple(lane)
    for decision in decisions:
        names = {waiting.entry: waiting.id for waiting in left}
        for ended in consequences(left, decision).ended:
            exchange.ends[ended.entry].append(ended.status)
            exchange.closed[names[ended.entry]] = ended.status
        left = after(left, decision)
    exchange.run(left)
    return exchange
