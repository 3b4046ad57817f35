"""What the exchange tells those who listen: written down at the moment it happens, handed to each of them.

Nothing is rendered for an account to which nobody listens. What is handed over may leave only once the store has
committed it (``Connection`` in ``streams`` waits for that).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from workers.paper import stream_events
from workers.paper.orders import AlgoOrder, Fill, Order
from workers.paper.rules import Product

if TYPE_CHECKING:
    from workers.paper.exchange import Exchange

_encode = msgspec.json.Encoder().encode


class Message(NamedTuple):
    """One event: its name, the symbol it is about (empty for none), and its JSON."""

    event: str
    symbol: str
    body: bytes


Listener = Callable[[Message], None]


class Feed:
    """Who listens to which account, and to the prices."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[Product, str], set[Listener]] = defaultdict(set)
        self._on_prices: set[Callable[[], None]] = set()

    def listen(self, product: Product, account: str, listener: Listener) -> None:
        """From now on tell ``listener`` everything about an account."""
        self._accounts[product, account].add(listener)

    def leave(self, product: Product, account: str, listener: Listener) -> None:
        """Tell it nothing more; nothing happens if it doesn't listen."""
        self._accounts[product, account].discard(listener)

    def order(
        self,
        exchange: Exchange,
        order: Order,
        execution: str,
        now_ms: int,
        fill: Fill | None = None,
        cancel_id: str = "",
    ) -> None:
        """An order was accepted (NEW), executed (TRADE), amended, or ended."""
        if not self._accounts.get((order.product, order.account)):
            return
        owner, rules = exchange.account(order.account), exchange.rules(order.product, order.symbol)
        if order.product == "spot":
            self._tell(order, stream_events.execution_report(order, execution, now_ms, fill, cancel_id))
            assets = (rules.base, rules.quote)
            self._tell(order, stream_events.outbound_account_position(owner, assets, now_ms))
            return
        if fill is not None:
            mid = exchange.mid(rules)
            self._tell(order, stream_events.account_update(owner, order, rules.quote, mid, now_ms))
        self._tell(order, stream_events.order_trade_update(order, execution, now_ms, fill))
        if not order.is_open:
            algo = exchange.register.find_algo(order.account, 0, order.client_order_id)
            if algo is not None and algo.actual_order_id == order.order_id:
                self.algo(algo, order, now_ms)

    def algo(self, algo: AlgoOrder, actual: Order | None, now_ms: int) -> None:
        """A conditional order was accepted, triggered, refused, cancelled, or what it became has ended."""
        listeners = self._accounts.get(("usdm", algo.account))
        if listeners:
            event = stream_events.algo_update(algo, actual, now_ms)
            message = Message(event["e"], algo.symbol, _encode(event))
            for listener in list(listeners):
                listener(message)

    def watch_prices(self, listener: Callable[[], None]) -> Callable[[], None]:
        """From now on tell ``listener`` when prices moved; returns what ends that."""
        self._on_prices.add(listener)
        return lambda: self._on_prices.discard(listener)

    def prices(self) -> None:
        """Prices moved."""
        for listener in list(self._on_prices):
            listener()

    def _tell(self, order: Order, event: dict[str, Any]) -> None:
        message = Message(event["e"], order.symbol, _encode(event))
        for listener in list(self._accounts[order.product, order.account]):
            listener(message)
