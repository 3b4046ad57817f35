"""``/paper/…``: what tests and the demo ask the exchange about itself, and how they steer it. Loopback
only, no keys.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any, Literal

import msgspec

from workers.paper import conditional, trading
from workers.paper.amounts import ZERO, plain
from workers.paper.audit import peak_in_any_window
from workers.paper.calls import Reply
from workers.paper.dispatch import match_everything
from workers.paper.errors import Refusal
from workers.paper.exchange import Exchange
from workers.paper.faults import FaultRule, Faults
from workers.paper.orders import AlgoOrder, Order
from workers.paper.rules import PRODUCTS, Product
from workers.paper.streams import Streams

GREATEST_PAGE = 1_000_000
Query = dict[str, str]


class PriceSetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /paper/price``: set a mid and match at once. ``hold`` keeps it from walking on."""

    product: Product
    symbol: str
    price: Decimal
    hold: bool = False


class StreamsMeant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /paper/cut_streams``: reset the connections of these user streams, of all where nothing is named."""

    account: str = ""
    product: Product | Literal[""] = ""


class KeyMeant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /paper/expire_listen_key``: end an account's listen key, and spot's subscriptions with it."""

    account: str


class Steps(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /paper/step``: take this many steps of the walk, matching after each."""

    steps: int = 1


def _integer(query: Query, name: str, default: int) -> int:
    value = query.get(name, "")
    if not value:
        return default
    try:
        return int(value)
    except ValueError as error:
        raise ValueError(f"'{name}' is {value!r}, expected a whole number") from error


class Control:
    """Answers of ``/paper/…``."""

    def __init__(self, exchange: Exchange, faults: Faults, streams: Streams) -> None:
        self._exchange = exchange
        self._faults = faults
        self._streams = streams

    def answer(self, method: str, path: str, query: Query, body: bytes) -> Reply:
        """Carry out a control request; 400 with a sentence for a wrong one, 404 for an unknown path."""
        action = getattr(self, f"_{method.lower()}_{path.removeprefix('/paper/')}", None)
        if action is None:
            return self._json({"error": f"no {method} {path}"}, 404)
        try:
            return self._json(action(query, body))
        except (msgspec.MsgspecError, ValueError, Refusal) as error:
            return self._json({"error": str(error)}, 400)

    @staticmethod
    def _json(value: object, status: int = 200) -> Reply:
        return Reply(status, msgspec.json.encode(value))

    def _get_health(self, query: Query, body: bytes) -> object:
        return {"ok": True, "time_us": self._exchange.now_us()}

    def _get_audit(self, query: Query, body: bytes) -> object:
        after, limit = _integer(query, "after", 0), _integer(query, "limit", GREATEST_PAGE)
        self._exchange.store.flush_now()
        return self._exchange.store.audit(after, limit)

    def _get_orders(self, query: Query, body: bytes) -> object:
        def wanted(order: Order | AlgoOrder, client_id: str, product: str) -> bool:
            asked = {
                "client_id": client_id,
                "product": product,
                "account": order.account,
                "symbol": order.symbol,
            }
            return all(query.get(name, value) == value for name, value in asked.items())

        register = self._exchange.register
        return {
            "orders": [
                shown(order)
                for order in register.every()
                if wanted(order, order.client_order_id, order.product)
            ],
            "algo_orders": [
                order for order in register.every_algo() if wanted(order, order.client_algo_id, "usdm")
            ],
        }

    def _get_books(self, query: Query, body: bytes) -> object:
        exchange = self._exchange
        rows = []
        for product in PRODUCTS:
            for rules in exchange.markets[product].symbols.values():
                quote, mid = exchange.quote(rules), exchange.mid(rules)
                rows.append(
                    {"product": product, "symbol": rules.symbol, "mid": plain(mid), "bid": plain(quote.bid),
                     "ask": plain(quote.ask), "step": exchange.state.step}
                )  # fmt: skip
        return rows

    def _get_windows(self, query: Query, body: bytes) -> object:
        store = self._exchange.store
        store.flush_now()
        name, window_ms = query.get("name", ""), _integer(query, "ms", 60_000)
        if window_ms < 1:
            raise ValueError(f"'ms' is {window_ms}, expected at least 1")
        names = [name] if name else store.arrival_names()
        return [peak_in_any_window(one, store.arrivals(one), window_ms) for one in names]

    def _get_accounts(self, query: Query, body: bytes) -> object:
        return list(self._exchange.accounts.values())

    def _post_price(self, query: Query, body: bytes) -> object:
        setting = msgspec.json.decode(body, type=PriceSetting)
        if setting.price <= 0:
            raise ValueError(f"'price' is {setting.price}, expected more than 0")
        exchange = self._exchange
        rules = exchange.rules(setting.product, setting.symbol)
        mid = exchange.set_price(rules, setting.price, setting.hold)
        now_ms = exchange.now_us() // 1000
        trading.match(exchange, setting.product, setting.symbol, now_ms)
        if setting.product == "usdm":
            conditional.trigger_conditionals(exchange, setting.symbol, now_ms)
        return {"product": setting.product, "symbol": setting.symbol, "mid": plain(mid)}

    def _post_step(self, query: Query, body: bytes) -> object:
        wanted = msgspec.json.decode(body or b"{}", type=Steps)
        for _ in range(wanted.steps):
            self._exchange.step_prices()
            match_everything(self._exchange)
        return {"step": self._exchange.state.step}

    def _post_reset(self, query: Query, body: bytes) -> object:
        self._faults.clear()
        self._exchange.reset()
        self._streams.cut("", "")
        return {"ok": True}

    def _post_faults(self, query: Query, body: bytes) -> object:
        return self._faults.add(msgspec.json.decode(body, type=FaultRule))

    def _get_faults(self, query: Query, body: bytes) -> object:
        return self._faults.counters()

    def _get_streams(self, query: Query, body: bytes) -> object:
        return self._streams.shown()

    def _post_cut_streams(self, query: Query, body: bytes) -> object:
        meant = msgspec.json.decode(body or b"{}", type=StreamsMeant)
        return {"cut": self._streams.cut(meant.account, meant.product)}

    def _post_expire_listen_key(self, query: Query, body: bytes) -> object:
        meant = msgspec.json.decode(body, type=KeyMeant)
        return {"told": self._streams.expire(meant.account)}

    def _delete_faults(self, query: Query, body: bytes) -> object:
        self._faults.clear()
        return {"ok": True}


def shown(order: Order) -> dict[str, Any]:
    """An order with every fill, its average price and its fees by asset."""
    fees: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for fill in order.fills:
        fees[fill.commission_asset] += fill.commission
    built: dict[str, Any] = msgspec.to_builtins(order)
    built["average_price"] = plain(order.average_price)
    built["fees"] = {asset: plain(total) for asset, total in fees.items()}
    return built
