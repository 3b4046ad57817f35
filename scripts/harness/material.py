"""What a run is judged by: what was appended, what reached the exchange, and what the journal says of it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from orderlane.intents import AmendOrder, Intent, PlaceOrder
from orderlane.orders import Order, OrderStatus


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
    side: str = ""
    type: str = ""
    quantity: str = ""
    price: str = ""


class Refused(Struct, frozen=True):
    """A request that was refused in the exchange's name before it came to its books, by a fault put in force there."""

    account: str
    symbol: str
    code: int


class Step(Struct, frozen=True):
    """One event that reports a state: of which intent, from which status (None: no record) to which."""

    client_order_id: str
    before: OrderStatus | None
    after: OrderStatus


class Journalled(Struct, frozen=True, kw_only=True):
    """What the pool itself says at the end."""

    orders: dict[str, Order]
    """By client order id."""
    dead: dict[tuple[str, str], str]
    """(exchange, entry) -> reason code: two streams may give the same id in the same millisecond."""
    duplicates: frozenset[str]
    """Client order ids for which a second entry was recognised as a duplicate."""
    rebuilt: frozenset[str] = frozenset()
    """Client order ids of orders whose records were lost and made anew from what the exchange shows, as events say."""
    steps: tuple[Step, ...] | None = None
    """The events that report states, in the order of their streams; None where they are not judged."""


class Names:
    """The intents of a run, and by which client order ids they are about each other."""

    def __init__(self, appended: Sequence[Appended], journal: Journalled) -> None:
        self.intents: dict[str, Appended] = {}
        self._by_id: dict[tuple[str, str, str], str] = {}
        for one in appended:
            order = journal.orders.get(one.client_order_id)
            if one.intent is not None and (order is None or order.entry == one.entry):
                self.intents.setdefault(one.client_order_id, one)
                self._by_id[one.exchange, one.intent.account, one.intent.id] = one.client_order_id

    def of(self, one: Appended, intent_id: str) -> str:
        """The client order id of another intent of the same exchange and account; `` if none was appended."""
        assert one.intent is not None
        return self._by_id.get((one.exchange, one.intent.account, intent_id), "")

    def standing_for(self, name: str) -> set[str]:
        """The client order ids of an order and of those that it replaced, one after another."""
        found: set[str] = set()
        while name and name not in found:
            found.add(name)
            one = self.intents.get(name)
            before = one.intent if one is not None else None
            if one is not None and isinstance(before, AmendOrder):
                name = self.of(one, before.target)
            elif one is not None and isinstance(before, PlaceOrder) and before.replaces:
                name = self.of(one, before.replaces)
            else:
                break
        return found
