"""Whether the exchange was asked for what the intents asked for: side, type, symbol, price, and every base unit. Pure.

Nothing here believes the pool's own account of what it sent: that is read from the exchange's audit log. Of the records
it takes only which intents the pool says it made one of; what their orders must then be worth is worked out from the
intents.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct

from orderlane.intents import AmendOrder, OrderType, PlaceOrder, Side
from orderlane.orders import OrderStatus
from scripts.harness.material import Appended, Arrived, Journalled, Names

SENT_AS: Final = {
    OrderType.MARKET: ("MARKET",),
    OrderType.LIMIT: ("LIMIT", "LIMIT_MAKER"),
    OrderType.STOP_MARKET: ("STOP_MARKET", "STOP_LOSS"),
    OrderType.STOP_LIMIT: ("STOP", "STOP_LOSS_LIMIT"),
    OrderType.TAKE_PROFIT_MARKET: ("TAKE_PROFIT_MARKET", "TAKE_PROFIT"),
    OrderType.TAKE_PROFIT_LIMIT: ("TAKE_PROFIT", "TAKE_PROFIT_LIMIT"),
}
"""What Binance calls each type, on USDⓈ-M and on spot (enum definitions of both documentations)."""
EDITED: Final = "edited_while_waiting"


class Grid(Struct, frozen=True):
    """The steps of one symbol, as the exchange publishes them: of amounts (base) and of prices (quote)."""

    lot: Decimal
    market_lot: Decimal
    tick: Decimal


Grids = Mapping[tuple[str, str], Grid]
"""By product and the exchange's own symbol."""


def differences(
    names: Names, arrived: Sequence[Arrived], journal: Journalled, grids: Grids
) -> list[tuple[str, str]]:
    """For each executed place or amend that is not what was asked for: its client order id, and what is wrong.

    Numbers are compared where the symbol's grid is given."""
    placed = {one.client_order_id: one for one in arrived if one.kind == "place" and one.executed}
    asked = _Asked(names, journal, placed)
    found: list[tuple[str, str]] = []
    for name, request in placed.items():
        if name in names.intents:
            found += [(name, text) for text in _wrong_place(name, request, asked, grids)]
    for request in arrived:
        if request.kind == "amend" and request.executed and request.client_order_id in names.intents:
            found += [(request.client_order_id, text) for text in _wrong_amend(request, asked, grids)]
    return found + _wrong_sums(names, placed, asked, grids)


class _Asked:
    """What the intents ask for, all in all."""

    def __init__(self, names: Names, journal: Journalled, placed: Mapping[str, Arrived]) -> None:
        self.names = names
        self.orders = journal.orders
        self.placed = placed
        self._amends: dict[str, list[Appended]] = defaultdict(list)
        self._parts: dict[str, list[str]] = defaultdict(list)
        for name, one in names.intents.items():
            if isinstance(one.intent, AmendOrder):
                self._amends[names.of(one, one.intent.target)].append(one)
            order = journal.orders.get(name)
            if order is not None and order.merged_into is not None and isinstance(one.intent, PlaceOrder):
                self._parts[order.merged_into.client_order_id].append(name)

    def root(self, name: str) -> PlaceOrder | None:
        """The place intent behind an order, which amends may have replaced since."""
        one = self.names.intents.get(name)
        for _ in range(len(self.names.intents)):
            if one is None or not isinstance(one.intent, AmendOrder):
                break
            one = self.names.intents.get(self.names.of(one, one.intent.target))
        return one.intent if one is not None and isinstance(one.intent, PlaceOrder) else None

    def edits(self, name: str) -> list[AmendOrder]:
        """The amends that changed an order while it waited, in their order; last those of which the pool says that the
        order is already as they want it, which it may be because an edit was forgotten."""
        edits: list[AmendOrder] = []
        idle: list[AmendOrder] = []
        for one in self._amends[name]:
            order = self.orders.get(one.client_order_id)
            code = order.reason.code if order is not None and order.reason is not None else ""
            assert isinstance(one.intent, AmendOrder)
            if order is not None and order.status is OrderStatus.DONE and code == EDITED:
                edits.append(one.intent)
            elif code == "amend_changes_nothing":
                idle.append(one.intent)
        return edits + idle

    def amends(self, name: str) -> list[AmendOrder]:
        """Every amend of an order, under whichever of its ids."""
        return [
            one.intent
            for other in self.names.standing_for(name)
            for one in self._amends[other]
            if isinstance(one.intent, AmendOrder)
        ]

    def own_amounts(self, name: str, intent: PlaceOrder) -> set[Decimal]:
        """How much an intent may ask for itself, base: as it says, or as its edits do."""
        edits = [one.amount for one in self.edits(name) if one.amount is not None]
        return {edits[-1]} if edits and self._is_edited(name) else {intent.amount, *edits}

    def prices(self, name: str, intent: PlaceOrder) -> set[Decimal]:
        """At which price its order may be sent."""
        edits = [one.price for one in self.edits(name) if one.price is not None]
        own = {intent.price} if intent.price is not None else set()
        return {edits[-1]} if edits and self._is_edited(name) else own | set(edits)

    def survivor(self, name: str) -> str:
        """The intent whose order is for this one as well, since it was merged into it; `` where it was not. One that
        was refused asked for nothing of the exchange, and neither did its parts."""
        order, found = self.orders.get(name), ""
        for _ in range(len(self.orders)):
            if order is None or order.status is not OrderStatus.MERGED or order.merged_into is None:
                break
            found = order.merged_into.client_order_id
            order = self.orders.get(found)
        return found

    def parts(self, name: str) -> Iterator[PlaceOrder]:
        """The intents merged into one, and those merged into them."""
        for part in self._parts.get(name, ()):
            intent = self.names.intents[part].intent
            assert isinstance(intent, PlaceOrder)
            yield intent
            yield from self.parts(part)

    def replaced_fill(self, name: str) -> Decimal:
        """Base filled by the orders that this one replaced, as its record says."""
        order = self.orders.get(name)
        return order.filled_before if order is not None else Decimal(0)

    def _is_edited(self, name: str) -> bool:
        order = self.orders.get(name)
        return order is not None and order.edited is not None


def _wrong_place(name: str, request: Arrived, asked: _Asked, grids: Grids) -> Iterator[str]:
    root, own = asked.root(name), asked.names.intents[name].intent
    if root is None or own is None:
        yield f"an order was placed for it, which is a {type(own).__name__}"
        return
    yield from _wrong_kind(request, own.account, root)
    grid = grids.get((request.product, request.symbol))
    if grid is None or not request.quantity:
        return
    if root.price is not None:
        wanted = _replacement_prices(own, root, asked) if own is not root else asked.prices(name, root)
        yield from _wrong_price(request, root.side, wanted, grid)
    yield from _wrong_amount(name, request, root, asked, grid)


def _wrong_kind(request: Arrived, account: str, root: PlaceOrder) -> Iterator[str]:
    product, symbol = exchange_symbol(root.symbol)
    if (request.product, request.account, request.symbol) != (product, account, symbol):
        yield f"asked for {account} {root.symbol}, sent for {request.account} {request.product} {request.symbol}"
    if request.side and request.side != root.side.value.upper():
        yield f"asked to {root.side}, sent as {request.side}"
    if request.type and request.type not in SENT_AS[root.type]:
        yield f"asked for a {root.type} order, sent as {request.type}"


def _wrong_amount(name: str, request: Arrived, root: PlaceOrder, asked: _Asked, grid: Grid) -> Iterator[str]:
    own = asked.names.intents[name].intent
    sent, lot = Decimal(request.quantity), _lot(root, grid)
    if isinstance(own, AmendOrder) or root.replaces is not None:
        total = own.amount if isinstance(own, AmendOrder) else root.amount
        most = total - asked.replaced_fill(name) if total is not None else None
        if most is not None and not most - lot < sent <= most:
            yield f"asked for {total} in all, of which {asked.replaced_fill(name)} had filled; sent {sent}"
        return
    merged = sum((one.amount for one in asked.parts(name)), Decimal(0))
    wanted = {amount + merged for amount in asked.own_amounts(name, root)}
    if not any(amount - lot < sent <= amount for amount in wanted):
        with_others = f", {merged} of it for intents merged into it," if merged else ""
        yield f"asked for {_either(wanted)}{with_others} sent {sent}"


def _wrong_price(request: Arrived, side: Side, wanted: Iterable[Decimal], grid: Grid) -> Iterator[str]:
    sent = Decimal(request.price or 0)
    if not any(_is_rounded(sent, price, side, grid.tick) for price in wanted):
        yield f"asked for a price of {_either(wanted)}, sent {sent}"


def _replacement_prices(own: object, root: PlaceOrder, asked: _Asked) -> set[Decimal]:
    """An amend's order has its price, or that of the order it replaced."""
    assert isinstance(own, AmendOrder)
    if own.price is not None:
        return {own.price}
    known = {one.price for one in asked.amends(own.target) if one.price is not None}
    return known | ({root.price} if root.price is not None else set())


def _wrong_amend(request: Arrived, asked: _Asked, grids: Grids) -> Iterator[str]:
    name = request.client_order_id
    root, amends = asked.root(name), asked.amends(name)
    if root is None or not amends:
        yield "it was amended at the exchange, and no intent asked for that"
        return
    if request.side and request.side != root.side.value.upper():
        yield f"asked to {root.side}, amended as {request.side}"
    grid = grids.get((request.product, request.symbol))
    if grid is None or not request.quantity:
        return
    sent = Decimal(request.quantity)
    amounts = {one.amount - asked.replaced_fill(name) for one in amends if one.amount is not None}
    merged = sum((one.amount for one in asked.parts(name)), Decimal(0))
    amounts |= {amount + merged for amount in asked.own_amounts(name, root)}
    if name in asked.placed and asked.placed[name].quantity:
        amounts.add(Decimal(asked.placed[name].quantity))
    if not any(amount - grid.lot < sent <= amount for amount in amounts):
        yield f"asked for {_either(amounts)}, amended to {sent}"
    prices = {one.price for one in amends if one.price is not None}
    if root.price is not None:
        yield from _wrong_price(request, root.side, prices | {root.price}, grid)


def _wrong_sums(
    names: Names, placed: Mapping[str, Arrived], asked: _Asked, grids: Grids
) -> list[tuple[str, str]]:
    """Lanes for which more (or less) base was sent on one side than the intents that were to be sent ask for."""
    sent: dict[tuple[str, str, Side], Decimal] = defaultdict(Decimal)
    wanted: dict[tuple[str, str, Side], Decimal] = defaultdict(Decimal)
    slack: dict[tuple[str, str, Side], Decimal] = defaultdict(Decimal)
    example: dict[tuple[str, str, Side], str] = {}
    for name, one in names.intents.items():
        intent = one.intent
        if not isinstance(intent, PlaceOrder) or intent.replaces is not None or asked.edits(name):
            continue
        product, symbol = exchange_symbol(intent.symbol)
        grid = grids.get((product, symbol))
        if grid is None:
            continue
        lane = (one.exchange, intent.lane, intent.side)
        if name in placed and placed[name].quantity:
            sent[lane] += Decimal(placed[name].quantity)
        if name in placed or asked.survivor(name) in placed:
            wanted[lane] += intent.amount
            slack[lane] += _lot(intent, grid)
            example[lane] = name
    return [
        (
            example[lane],
            f"quantity: in the lane {lane[1]}, {lane[2]}, {wanted[lane]} was asked for and {sent[lane]} sent",
        )
        for lane in wanted
        if not wanted[lane] - slack[lane] < sent[lane] <= wanted[lane]
    ]


def _lot(intent: PlaceOrder, grid: Grid) -> Decimal:
    return grid.lot if intent.type.has_price else max(grid.lot, grid.market_lot)


def _is_rounded(sent: Decimal, wanted: Decimal, side: Side, tick: Decimal) -> bool:
    """Whether `sent` is `wanted` on the grid: a buy is rounded down, a sell up, never beyond what was asked."""
    away = wanted - sent if side is Side.BUY else sent - wanted
    return 0 <= away < tick


def exchange_symbol(symbol: str) -> tuple[str, str]:
    """Product and the exchange's own symbol of a unified one."""
    pair, _, settled = symbol.partition(":")
    return ("usdm" if settled else "spot"), pair.replace("/", "")


def _either(numbers: Iterable[Decimal]) -> str:
    return " or ".join(sorted(f"{number:f}" for number in numbers))
