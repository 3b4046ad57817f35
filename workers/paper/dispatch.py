"""One request through the exchange: limits, who it is, what it asks, and the record of it."""

from __future__ import annotations

from typing import Any

import msgspec

from workers.paper import conditional, recording, signing, spot, trading
from workers.paper.calls import Call, Reply, Route
from workers.paper.errors import Refusal
from workers.paper.exchange import Exchange
from workers.paper.limits import Limits
from workers.paper.listen_keys import LISTEN_KEY_ROUTES
from workers.paper.market_data import MARKET_ROUTES
from workers.paper.rules import PRODUCTS
from workers.paper.usdm import ORDER_ROUTES
from workers.paper.usdm_account import ACCOUNT_ROUTES
from workers.paper.usdm_algo import ALGO_ROUTES

ROUTES: dict[tuple[str, str], Route] = {
    **MARKET_ROUTES,
    **spot.TRADING_ROUTES,
    **ORDER_ROUTES,
    **ALGO_ROUTES,
    **ACCOUNT_ROUTES,
    **LISTEN_KEY_ROUTES,
}
SPOT_NOT_FOUND = b"<html><body><h2>404 Not found</h2></body></html>"
_encode = msgspec.json.Encoder().encode


def product_of(path: str) -> str:
    """``spot`` or ``usdm`` by the path's first part, empty for paths of neither."""
    if path.startswith(("/api/", "/sapi/")):
        return "spot"
    return "usdm" if path.startswith("/fapi/") else ""


def answer(exchange: Exchange, limits: Limits, call: Call) -> Reply:
    """Carry out ``call``. What it changed is on file only after the store's next commit."""
    route = ROUTES.get((call.method, call.path))
    if route is None:
        return _not_found(call)
    refusal: Refusal | None = None
    result: Any = None
    try:
        _admit(exchange, limits, route, call)
        result = route.answer(exchange, call)
        reply = Reply(200, _encode(result))
    except Refusal as refused:
        refusal = refused
        reply = Reply(refused.status, _encode(spot.refusal_body(refused)))
        if refused.retry_after_seconds is not None:
            reply.headers["Retry-After"] = str(refused.retry_after_seconds)
    if route.kind:
        for entry in recording.entries(call, route, result, refusal):
            exchange.record(entry)
    counted = call.account if call.counted_orders else ""
    reply.headers.update(limits.headers(route.product, call.address, counted, call.at_us))
    return reply


def _admit(exchange: Exchange, limits: Limits, route: Route, call: Call) -> None:
    """Limits, key, signature and time, in the order in which Binance checks them."""
    limits.check_ban(route.product, call.address, call.at_us)
    limits.count_weight(route.product, call.address, route.weight(call), call.at_us)
    if route.security == "none":
        return
    credentials = signing.identify(call, exchange.by_key)
    if route.security == "signed":
        signing.check_signature(call, credentials.secret)
        signing.check_time(call, call.at_ms)
    orders = route.orders(call)
    if orders:
        call.counted_orders = True
        limits.count_orders(route.product, call.account, orders, call.at_us)


def _not_found(call: Call) -> Reply:
    """An unknown path, as each product's host answers it."""
    if product_of(call.path) == "usdm":
        message = f"Path {call.path}, Method {call.method} is invalid"
        return Reply(404, _encode({"code": -5000, "msg": message}))
    return Reply(404, SPOT_NOT_FOUND, {"Content-Type": "text/html"})


def match_everything(exchange: Exchange) -> None:
    """Trigger and fill on every symbol at the current prices."""
    now_ms = exchange.now_us() // 1000
    for product in PRODUCTS:
        for symbol in exchange.markets[product].symbols:
            trading.match(exchange, product, symbol, now_ms)
    for symbol in exchange.markets["usdm"].symbols:
        conditional.trigger_conditionals(exchange, symbol, now_ms)
