"""Public market data of both products: rules, time, book, tickers, mark price."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from workers.paper import parameters, spot_replies, usdm_replies
from workers.paper.amounts import fixed
from workers.paper.calls import Answer, Call, Route, costs, costs_without_symbol
from workers.paper.errors import illegal_characters
from workers.paper.exchange import Exchange
from workers.paper.rules import Product, SymbolRules

USUAL_DEPTH = 100


def ping(exchange: Exchange, call: Call) -> object:
    """``GET …/ping``"""
    return {}


def server_time(exchange: Exchange, call: Call) -> object:
    """``GET …/time``"""
    return {"serverTime": exchange.now_us() // 1000}


def exchange_info(product: Product) -> Answer:
    """``GET …/exchangeInfo``; ``symbol`` or ``symbols`` narrow it."""

    def answer(exchange: Exchange, call: Call) -> object:
        info = {**exchange.markets[product].exchange_info, "serverTime": exchange.now_us() // 1000}
        wanted = _wanted(exchange, product, call)
        if wanted is not None:
            names = {rules.symbol for rules in wanted}
            info["symbols"] = [entry for entry in info["symbols"] if entry["symbol"] in names]
        return info

    return answer


def nothing_listed(exchange: Exchange, call: Call) -> object:
    """``GET /dapi/v1/exchangeInfo``: ccxt's spot class asks; no coin-margined market is carried."""
    return {"timezone": "UTC", "serverTime": exchange.now_us() // 1000, "rateLimits": [], "symbols": []}


def _wanted(exchange: Exchange, product: Product, call: Call) -> list[SymbolRules] | None:
    symbol, several = parameters.text(call, "symbol"), parameters.text(call, "symbols")
    if symbol:
        return [exchange.rules(product, symbol)]
    if not several:
        return None
    try:
        names = msgspec.json.decode(several, type=list[str])
    except msgspec.MsgspecError as error:
        raise illegal_characters("symbols", "a JSON list of symbols") from error
    return [exchange.rules(product, name) for name in names]


def depth(product: Product) -> Answer:
    """``GET …/depth``"""

    def answer(exchange: Exchange, call: Call) -> object:
        rules = exchange.rules(product, parameters.required(call, "symbol"))
        book = spot_replies.levels(exchange.depth(rules), parameters.integer(call, "limit", USUAL_DEPTH))
        book["lastUpdateId"] = exchange.state.step + 1
        if product == "usdm":
            book |= {"E": call.at_ms, "T": call.at_ms}
        return book

    return answer


def _per_symbol(product: Product, row: Callable[[Exchange, SymbolRules, Call], dict[str, Any]]) -> Answer:
    """An answer of one row for a symbol, and of a list without one."""

    def answer(exchange: Exchange, call: Call) -> object:
        wanted = _wanted(exchange, product, call)
        if wanted is not None and "symbol" in call.params:
            return row(exchange, wanted[0], call)
        chosen = exchange.markets[product].symbols.values() if wanted is None else wanted
        return [row(exchange, rules, call) for rules in chosen]

    return answer


def _price(exchange: Exchange, rules: SymbolRules, call: Call) -> dict[str, Any]:
    return {"symbol": rules.symbol, "price": fixed(exchange.mid(rules)), "time": call.at_ms}


def _book(exchange: Exchange, rules: SymbolRules, call: Call) -> dict[str, Any]:
    return {**spot_replies.book_ticker(rules, exchange.quote(rules)), "time": call.at_ms}


def _day(exchange: Exchange, rules: SymbolRules, call: Call) -> dict[str, Any]:
    mid = fixed(exchange.mid(rules))
    return spot_replies.day_ticker(rules, mid, exchange.quote(rules), call.at_ms)


def _premium(exchange: Exchange, rules: SymbolRules, call: Call) -> dict[str, Any]:
    return usdm_replies.premium(rules, fixed(exchange.mid(rules)), call.at_ms)


def _routes(product: Product, prefix: str, weights: dict[str, int]) -> dict[tuple[str, str], Route]:
    return {
        ("GET", f"{prefix}/ping"): Route(product, ping),
        ("GET", f"{prefix}/time"): Route(product, server_time),
        ("GET", f"{prefix}/exchangeInfo"): Route(
            product, exchange_info(product), weight=costs(weights["exchangeInfo"])
        ),
        ("GET", f"{prefix}/depth"): Route(product, depth(product), weight=costs(5)),
        ("GET", f"{prefix}/ticker/price"): Route(
            product, _per_symbol(product, _price), weight=costs_without_symbol(weights["price"], 4)
        ),
        ("GET", f"{prefix}/ticker/bookTicker"): Route(
            product, _per_symbol(product, _book), weight=costs_without_symbol(weights["price"], 5)
        ),
        ("GET", f"{prefix}/ticker/24hr"): Route(
            product, _per_symbol(product, _day), weight=costs_without_symbol(weights["day"], weights["days"])
        ),
    }


MARKET_ROUTES: dict[tuple[str, str], Route] = {
    **_routes("spot", "/api/v3", {"exchangeInfo": 20, "price": 2, "day": 2, "days": 80}),
    **_routes("usdm", "/fapi/v1", {"exchangeInfo": 1, "price": 1, "day": 1, "days": 40}),
    ("GET", "/fapi/v2/ticker/price"): Route("usdm", _per_symbol("usdm", _price)),
    ("GET", "/fapi/v1/premiumIndex"): Route("usdm", _per_symbol("usdm", _premium)),
    ("GET", "/dapi/v1/exchangeInfo"): Route("spot", nothing_listed, weight=costs(0)),
}
