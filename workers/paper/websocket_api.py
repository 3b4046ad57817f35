"""Spot's WebSocket API as far as user streams need it: subscribing by signature, unsubscribing, ``ping``.

Source: "User Data Stream requests" of Binance's WebSocket API documentation. Parameters are signed as in a request:
over all but the signature, in alphabetical order.
"""

from __future__ import annotations

from typing import Any

import msgspec

from workers.paper import signing
from workers.paper.calls import Call
from workers.paper.connection import Connection
from workers.paper.errors import Refusal, mandatory
from workers.paper.exchange import Exchange
from workers.paper.limits import Limits

WEIGHT = 2
"""Of a subscription."""


class Request(msgspec.Struct):
    """A request as it is sent; ``id`` is given back as it came."""

    id: int | str | None = None
    method: str = ""
    params: dict[str, Any] = {}


class WebSocketApi:
    """The requests of one connection."""

    def __init__(self, exchange: Exchange, connection: Connection, limits: Limits, address: str) -> None:
        self._exchange = exchange
        self._connection = connection
        self._limits = limits
        self._address = address
        self._subscriptions = 0
        self._methods = {
            "ping": self._ping,
            "userDataStream.subscribe.signature": self._subscribe,
            "userDataStream.unsubscribe": self._unsubscribe,
        }

    def answer(self, text: str) -> None:
        """Carry out one request."""
        try:
            request = msgspec.json.decode(text, type=Request)
        except msgspec.MsgspecError:
            return self._refuse(None, Refusal(-1135, "Invalid JSON Request"))
        method = self._methods.get(request.method)
        if method is None:
            return self._refuse(request.id, Refusal(-1000, f"Unknown method '{request.method}'."))
        try:
            result = method(request)
        except Refusal as refusal:
            return self._refuse(request.id, refusal)
        self._connection.answer({"id": request.id, "status": 200, "result": result, "rateLimits": []})
        return None

    def _refuse(self, number: int | str | None, refusal: Refusal) -> None:
        error = {"code": refusal.code, "msg": refusal.message}
        self._connection.answer({"id": number, "status": refusal.status, "error": error})

    def _ping(self, request: Request) -> object:
        return {}

    def _subscribe(self, request: Request) -> object:
        call = self._call(request)
        self._limits.check_ban("spot", self._address, call.at_us)
        self._limits.count_weight("spot", self._address, WEIGHT, call.at_us)
        credentials = signing.identify(call, self._exchange.by_key)
        signing.check_signature(call, credentials.secret)
        signing.check_time(call, call.at_ms)
        number, self._subscriptions = self._subscriptions, self._subscriptions + 1
        self._connection.subscription = number
        self._connection.listen(self._exchange.feed, "spot", credentials.name)
        return {"subscriptionId": number}

    def _unsubscribe(self, request: Request) -> object:
        self._connection.leave()
        return {}

    def _call(self, request: Request) -> Call:
        params = {name: _text(value) for name, value in request.params.items()}
        if "apiKey" not in params:
            raise mandatory("apiKey")
        signed = "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")
        key, at_us = params["apiKey"], self._exchange.now_us()
        return Call("WS", request.method, signed, "", key, self._address, at_us, params)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
