"""Every order of the exchange, found by id, by client id, by account and by symbol."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from workers.paper.orders import AlgoOrder, Order
from workers.paper.rules import Product

FIRST_ORDER_ID = {"spot": 28_000_000, "usdm": 8_389_000_000}
FIRST_ALGO_ID = 3_000_000


class OrderRegister:
    """The orders in memory. It keeps indexes only; whoever changes an order says so by :meth:`closed`."""

    def __init__(self, orders: Iterable[Order], algo_orders: Iterable[AlgoOrder]) -> None:
        self._by_id: dict[tuple[str, int], Order] = {}
        self._by_client: dict[tuple[str, str, str], Order] = {}
        self._history: dict[tuple[str, str, str], list[Order]] = defaultdict(list)
        self._open: dict[tuple[str, str], dict[int, Order]] = defaultdict(dict)
        self._open_of: dict[tuple[str, str], dict[int, Order]] = defaultdict(dict)
        self._algo_by_id: dict[int, AlgoOrder] = {}
        self._algo_by_client: dict[tuple[str, str], AlgoOrder] = {}
        self._algo_open: dict[str, dict[int, AlgoOrder]] = defaultdict(dict)
        self._last_order = dict(FIRST_ORDER_ID)
        self._last_trade = {"spot": 0, "usdm": 0}
        self._last_algo = FIRST_ALGO_ID
        for order in orders:
            self.add(order)
        for algo in algo_orders:
            self.add_algo(algo)

    def next_order_id(self, product: Product) -> int:
        """A fresh order id."""
        self._last_order[product] += 1
        return self._last_order[product]

    def next_trade_id(self, product: Product) -> int:
        """A fresh trade id."""
        self._last_trade[product] += 1
        return self._last_trade[product]

    def next_algo_id(self) -> int:
        """A fresh conditional order id."""
        self._last_algo += 1
        return self._last_algo

    def add(self, order: Order) -> None:
        """Index a new order, or one read back from file."""
        key = (order.product, order.order_id)
        self._by_id[key] = order
        self._by_client[order.product, order.account, order.client_order_id] = order
        self._history[order.product, order.account, order.symbol].append(order)
        if order.is_open:
            self._open[order.product, order.symbol][order.order_id] = order
            self._open_of[order.product, order.account][order.order_id] = order
        self._last_order[order.product] = max(self._last_order[order.product], order.order_id)
        for fill in order.fills:
            self._last_trade[order.product] = max(self._last_trade[order.product], fill.trade_id)

    def closed(self, order: Order) -> None:
        """Take an ended order out of the open ones."""
        self._open[order.product, order.symbol].pop(order.order_id, None)
        self._open_of[order.product, order.account].pop(order.order_id, None)

    def find(
        self, product: Product, account: str, symbol: str, order_id: int, client_order_id: str
    ) -> Order | None:
        """An order by its id or, without one, by client id: the latest that carried it."""
        if order_id:
            order = self._by_id.get((product, order_id))
        else:
            order = self._by_client.get((product, account, client_order_id))
        if order is None or order.account != account or order.symbol != symbol:
            return None
        return order

    def with_client_id(self, product: Product, account: str, client_order_id: str) -> Order | None:
        """The latest order that carried a client id, on any symbol."""
        return self._by_client.get((product, account, client_order_id))

    def open_on(self, product: Product, symbol: str) -> list[Order]:
        """Open orders of every account on a symbol, oldest first."""
        return list(self._open[product, symbol].values())

    def open_of(self, product: Product, account: str, symbol: str = "") -> list[Order]:
        """Open orders of an account, oldest first; of every symbol if none is given."""
        orders = self._open_of[product, account].values()
        return [order for order in orders if not symbol or order.symbol == symbol]

    def history(self, product: Product, account: str, symbol: str) -> list[Order]:
        """Every order of an account on a symbol, oldest first."""
        return self._history[product, account, symbol]

    def every(self) -> Iterable[Order]:
        """Every order of the exchange, by product and id."""
        return [order for _, order in sorted(self._by_id.items(), key=lambda item: item[0])]

    def add_algo(self, order: AlgoOrder) -> None:
        """Index a new conditional order, or one read back from file."""
        self._algo_by_id[order.algo_id] = order
        self._algo_by_client[order.account, order.client_algo_id] = order
        if order.status == "NEW":
            self._algo_open[order.symbol][order.algo_id] = order
        self._last_algo = max(self._last_algo, order.algo_id)

    def algo_closed(self, order: AlgoOrder) -> None:
        """Take a conditional order out of those waiting for their trigger."""
        self._algo_open[order.symbol].pop(order.algo_id, None)

    def find_algo(self, account: str, algo_id: int, client_algo_id: str) -> AlgoOrder | None:
        """A conditional order by its id or, without one, by client id."""
        order = (
            self._algo_by_id.get(algo_id) if algo_id else self._algo_by_client.get((account, client_algo_id))
        )
        return order if order is not None and order.account == account else None

    def algo_open_on(self, symbol: str) -> list[AlgoOrder]:
        """Conditional orders of every account waiting on a symbol."""
        return list(self._algo_open[symbol].values())

    def algo_history(self, account: str, symbol: str = "") -> list[AlgoOrder]:
        """Every conditional order of an account, oldest first."""
        return [
            order
            for order in self._algo_by_id.values()
            if order.account == account and (not symbol or order.symbol == symbol)
        ]

    def every_algo(self) -> Iterable[AlgoOrder]:
        """Every conditional order of the exchange."""
        return self._algo_by_id.values()
