"""The streams of prices: ``bookTicker``, ``ticker`` and ``miniTicker`` of a symbol or of all, pushed when prices move.

Source: "Web Socket Streams" (spot) and "Market Streams" (USDⓈ-M) of Binance's documentation. What stands now is also
pushed right after a subscription: prices here may stand still for long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from workers.paper import stream_events
from workers.paper.amounts import fixed
from workers.paper.connection import Connection
from workers.paper.exchange import Exchange
from workers.paper.feed import Message
from workers.paper.rules import Product, SymbolRules

_encode = msgspec.json.Encoder().encode


class Request(msgspec.Struct):
    """A request to a stream of prices."""

    method: str
    id: int | str | None = None
    params: list[str] = []


class PriceStreams:
    """The subscriptions of one connection."""

    def __init__(self, exchange: Exchange, connection: Connection, product: Product) -> None:
        self._exchange = exchange
        self._connection = connection
        self._product = product
        self._names: dict[str, None] = {}
        connection.at_end.append(exchange.feed.watch_prices(self._push))

    def answer(self, text: str) -> None:
        """Carry out ``SUBSCRIBE``, ``UNSUBSCRIBE`` or ``LIST_SUBSCRIPTIONS``."""
        try:
            request = msgspec.json.decode(text, type=Request)
        except msgspec.MsgspecError:
            error = {"code": 2, "msg": "Invalid request: request must be a JSON object with a method"}
            return self._connection.answer({"error": error})
        unknown = [name for name in request.params if self._bodies(name) is None]
        if unknown:
            error = {"code": 2, "msg": f"Invalid request: invalid stream {unknown[0]}"}
            return self._connection.answer({"error": error, "id": request.id})
        if request.method == "LIST_SUBSCRIPTIONS":
            return self._connection.answer({"result": list(self._names), "id": request.id})
        self._connection.answer({"result": None, "id": request.id})
        for name in request.params:
            if request.method == "UNSUBSCRIBE":
                self._names.pop(name, None)
            else:
                self._names[name] = None
                self._send(name)
        return None

    def _push(self) -> None:
        for name in self._names:
            self._send(name)

    def _send(self, name: str) -> None:
        for event, symbol, body in self._bodies(name) or ():
            self._connection.put(Message(event, symbol, _encode(body)))

    def _bodies(self, name: str) -> list[tuple[str, str, Any]] | None:
        """What a stream says now: event, symbol, JSON; None for a name that is no stream's."""
        market, rows = self._exchange.markets[self._product].symbols, self._rows()
        first, _, last = name.partition("@")
        if name == "!bookTicker" and self._product == "usdm":
            return [("bookTicker", one.symbol, rows["bookTicker"](one)) for one in market.values()]
        if last == "arr" and first in ("!ticker", "!miniTicker"):
            return [(first[1:], "", [rows[first[1:]](one) for one in market.values()])]
        rules = market.get(first.upper())
        return None if rules is None or last not in rows else [(last, rules.symbol, rows[last](rules))]

    def _rows(self) -> dict[str, Callable[[SymbolRules], Any]]:
        exchange, now_ms = self._exchange, self._exchange.now_us() // 1000
        return {
            "bookTicker": lambda rules: stream_events.book_ticker(
                rules, exchange.quote(rules), exchange.state.step, now_ms
            ),
            "ticker": lambda rules: stream_events.day_ticker(
                rules, fixed(exchange.mid(rules)), exchange.quote(rules), now_ms
            ),
            "miniTicker": lambda rules: stream_events.day_mini_ticker(
                rules, fixed(exchange.mid(rules)), now_ms
            ),
        }
