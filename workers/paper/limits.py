"""Request weight per address and orders per account, counted in fixed windows as Binance does.

Sources: Binance "LIMITS" (spot) and "General Info" (USDⓈ-M): 429 when a limit is broken, 418 for an address
that goes on after it, both with ``Retry-After`` in seconds; ``X-MBX-USED-WEIGHT-*`` and
``X-MBX-ORDER-COUNT-*`` in replies. Spot and USDⓈ-M are different hosts there, so they are counted apart
here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from workers.paper.audit import Arrival
from workers.paper.errors import Refusal
from workers.paper.rules import Product
from workers.paper.store import Store

SECOND_US = 1_000_000
BANS = "bans"


class Window(NamedTuple):
    """A fixed window: how long, how much it allows, and how headers and messages call it."""

    seconds: int
    limit: int
    header: str
    message: str


class ProductLimits(NamedTuple):
    """The limits of one product."""

    weight: Window
    orders: tuple[Window, ...]


class Bans(msgspec.Struct):
    """Until when (epoch microseconds) each ``product:address`` is banned."""

    until_us: dict[str, int] = {}


class Limits:
    """Counts requests, refuses those over a limit and names the headers to send."""

    def __init__(
        self,
        store: Store,
        by_product: Mapping[Product, ProductLimits],
        ban_after: int,
        ban_seconds: int,
        now_us: Callable[[], int],
    ) -> None:
        self._store = store
        self._by_product = by_product
        self._ban_after = ban_after
        self._ban_seconds = ban_seconds
        self._bans = store.fact(BANS, Bans) or Bans()
        self._violations: dict[str, int] = {}
        self._used: dict[tuple[str, int], tuple[int, int]] = {}
        self._recount(now_us())

    def _recount(self, now_us: int) -> None:
        """Counts of the windows that are still running, from the arrivals on file."""
        for name in self._store.arrival_names():
            product, kind, _ = name.split(":", 2)
            limits = self._by_product[product]  # type: ignore[index]
            for window in (limits.weight,) if kind == "weight" else limits.orders:
                begin = now_us - now_us % (window.seconds * SECOND_US)
                for arrival in self._store.arrivals(name, begin):
                    if kind == "weight" or not arrival.refused:
                        self._add(name, window, arrival.at_us, arrival.cost)

    def _add(self, name: str, window: Window, at_us: int, cost: int) -> int:
        number = at_us // (window.seconds * SECOND_US)
        counted, used = self._used.get((name, window.seconds), (number, 0))
        used = used + cost if counted == number else cost
        self._used[name, window.seconds] = (number, used)
        return used

    def _in_use(self, name: str, window: Window, at_us: int) -> int:
        counted, used = self._used.get((name, window.seconds), (0, 0))
        return used if counted == at_us // (window.seconds * SECOND_US) else 0

    def check_ban(self, product: Product, address: str, at_us: int) -> None:
        """A banned address gets 418 and nothing else."""
        until_us = self._bans.until_us.get(f"{product}:{address}", 0)
        if at_us >= until_us:
            return
        raise Refusal(
            -1003,
            f"Way too many requests; IP banned until {until_us // 1000}. "
            "Please use the websocket for live updates to avoid bans.",
            418,
            -(-(until_us - at_us) // SECOND_US),
        )

    def count_weight(self, product: Product, address: str, cost: int, at_us: int) -> None:
        """Count a request of weight ``cost``, the refused too; over the limit it gets 429, and then a ban."""
        name, window = f"{product}:weight:{address}", self._by_product[product].weight
        used = self._add(name, window, at_us, cost)
        over = used > window.limit
        self._store.add_arrival(Arrival(name, at_us, cost, over))
        if not over:
            if used == cost:
                self._violations.pop(name, None)
            return
        self._violations[name] = self._violations.get(name, 0) + 1
        if self._violations[name] > self._ban_after:
            self._violations.pop(name)
            self._bans.until_us[f"{product}:{address}"] = at_us + self._ban_seconds * SECOND_US
            self._store.put_fact(BANS, self._bans)
            self.check_ban(product, address, at_us)
        raise Refusal(
            -1003,
            f"Too much request weight used; current limit is {window.limit} request weight "
            f"per {window.message}. Please use WebSocket Streams for live updates to avoid polling the API.",
            429,
            _until_next(window, at_us),
        )

    def count_orders(self, product: Product, account: str, cost: int, at_us: int) -> None:
        """Count ``cost`` orders of an account; those over a limit get 429 and don't use it up."""
        name = f"{product}:orders:{account}"
        for window in self._by_product[product].orders:
            if self._in_use(name, window, at_us) + cost > window.limit:
                self._store.add_arrival(Arrival(name, at_us, cost, True))
                raise Refusal(
                    -1015,
                    f"Too many new orders; current limit is {window.limit} orders per {window.message}.",
                    429,
                    _until_next(window, at_us),
                )
        for window in self._by_product[product].orders:
            self._add(name, window, at_us, cost)
        self._store.add_arrival(Arrival(name, at_us, cost, False))

    def headers(self, product: Product, address: str, account: str, at_us: int) -> dict[str, str]:
        """The counters as reply headers; the order counters only when ``account`` isn't empty."""
        limits = self._by_product[product]
        weight = str(self._in_use(f"{product}:weight:{address}", limits.weight, at_us))
        headers = {f"X-MBX-USED-WEIGHT-{limits.weight.header}": weight}
        if product == "spot":
            headers["X-MBX-USED-WEIGHT"] = weight
        if account:
            for window in limits.orders:
                used = self._in_use(f"{product}:orders:{account}", window, at_us)
                headers[f"X-MBX-ORDER-COUNT-{window.header}"] = str(used)
        return headers


def _until_next(window: Window, at_us: int) -> int:
    """Whole seconds, rounded up, until the next window begins."""
    length = window.seconds * SECOND_US
    return -(-(length - at_us % length) // SECOND_US)
