"""The exchange's websockets: users' streams, the WebSocket API that opens spot's, and the prices' streams.

They are where ccxt looks for them once its hosts are replaced (``redirect``): ``/ws-api/v3`` for spot's user stream,
``/private/ws?listenKey=…`` for that of USDⓈ-M, ``/ws/…`` (or ``/stream/ws/…``) for spot's prices, ``/public/ws/…`` and
``/market/ws/…`` for those of USDⓈ-M. As on Binance, a stream whose listen key isn't alive stays silent.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs

import msgspec
from aiohttp import WSMsgType, web

from workers.paper.connection import Connection
from workers.paper.exchange import Exchange
from workers.paper.faults import Faults
from workers.paper.feed import Message
from workers.paper.limits import Limits
from workers.paper.price_streams import PriceStreams
from workers.paper.rules import Product
from workers.paper.websocket_api import WebSocketApi

WEBSOCKET_API = "/ws-api/v3"
PRIVATE = "/private/ws"
PRICES: dict[str, Product] = {"/ws": "spot", "/stream/ws": "spot", "/public/ws": "usdm", "/market/ws": "usdm"}
LONGEST_MESSAGE = 65_536
KEYS_LOOKED_AT_SECONDS = 0.25
_encode = msgspec.json.Encoder().encode


class StreamShown(msgspec.Struct, frozen=True):
    """A connection as ``GET /paper/streams`` shows it; ``account`` is empty where nobody's stream is open on it."""

    path: str
    product: str
    account: str
    sent: int


class Streams:
    """Every websocket that is open."""

    def __init__(self, exchange: Exchange, faults: Faults) -> None:
        self._exchange = exchange
        self._faults = faults
        self._open: dict[Connection, str] = {}

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path is that of a websocket."""
        return path in (WEBSOCKET_API, PRIVATE) or _product_of_prices(path) is not None

    async def serve(
        self, request: web.BaseRequest, path: str, query: str, limits: Limits
    ) -> web.StreamResponse:
        """Carry a websocket from its handshake to its end."""
        socket = web.WebSocketResponse(compress=False, max_msg_size=LONGEST_MESSAGE)
        await socket.prepare(request)
        connection = Connection(socket, request.transport, self._faults, self._exchange.store.committed)
        self._open[connection] = path
        sending = asyncio.create_task(connection.send_all())
        try:
            if path == WEBSOCKET_API:
                answer = WebSocketApi(self._exchange, connection, limits, request.remote or "").answer
            elif path == PRIVATE:
                self._open_private(connection, query)
                answer = _ignore
            else:
                product = _product_of_prices(path)
                assert product is not None, f"{path} is served"
                answer = PriceStreams(self._exchange, connection, product).answer
            async for received in socket:
                if received.type is WSMsgType.TEXT:
                    answer(received.data)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            self._open.pop(connection, None)
            for end in connection.at_end:
                end()
        return socket

    def _open_private(self, connection: Connection, query: str) -> None:
        key = parse_qs(query).get("listenKey", [""])[0]
        account = self._exchange.listen_keys.account_of(key, self._exchange.now_us() // 1000)
        connection.listen_key = key
        if account:
            connection.listen(self._exchange.feed, "usdm", account)

    async def end_expired(self) -> None:
        """Tell the streams whose listen key has ended so, for ever; they say nothing after it."""
        while True:
            await asyncio.sleep(KEYS_LOOKED_AT_SECONDS)
            now_ms = self._exchange.now_us() // 1000
            for connection in list(self._open):
                key = connection.listen_key
                if key and connection.account and not self._exchange.listen_keys.account_of(key, now_ms):
                    self._expire(connection, now_ms)

    def expire(self, account: str) -> int:
        """End the listen key of an account, and spot's subscriptions with it; how many streams heard of it."""
        now_ms = self._exchange.now_us() // 1000
        self._exchange.listen_keys.end(account)
        told = [connection for connection in self._open if connection.account == account]
        for connection in told:
            self._expire(connection, now_ms)
        return len(told)

    def cut(self, account: str, product: str) -> int:
        """Reset the connections of an account's user streams (of every one where both are empty); how many."""
        struck = [
            connection
            for connection in self._open
            if account in ("", connection.account) and product in ("", connection.product)
        ]
        for connection in struck:
            connection.cut()
        return len(struck)

    def shown(self) -> list[StreamShown]:
        """Every open connection."""
        return [
            StreamShown(path, connection.product, connection.account, connection.sent)
            for connection, path in self._open.items()
        ]

    def _expire(self, connection: Connection, now_ms: int) -> None:
        event: dict[str, Any]
        if connection.listen_key:
            event = {"e": "listenKeyExpired", "E": now_ms, "listenKey": connection.listen_key}
        else:
            event = {"e": "eventStreamTerminated", "E": now_ms}
        connection.put(Message(event["e"], "", _encode(event)))
        connection.leave()


def _product_of_prices(path: str) -> Product | None:
    for prefix, product in PRICES.items():
        if path == prefix or path.startswith(f"{prefix}/"):
            return product
    return None


def _ignore(text: str) -> None:
    """A private stream takes no requests."""
