"""The spot API (``/api/v3``, and what ccxt asks of ``/sapi/v1``).

Source: Binance "Spot REST API"; the weights are those of its endpoint pages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workers.paper import parameters, spot_replies, trading
from workers.paper.calls import Call, Route, costs, costs_without_symbol
from workers.paper.errors import (
    Refusal,
    either_mandatory,
    mandatory,
    order_does_not_exist,
    unknown_order,
    unread,
)
from workers.paper.exchange import Exchange
from workers.paper.orders import NewOrder, Order

SIDES = ("BUY", "SELL")
TIMES_IN_FORCE = ("GTC", "IOC", "FOK")
DETAILS = ("ACK", "RESULT", "FULL")
ORDER_PARAMETERS = frozenset(
    {
        "symbol", "side", "type", "timeInForce", "quantity", "quoteOrderQty", "price", "newClientOrderId",
        "strategyId", "strategyType", "stopPrice", "newOrderRespType", "selfTradePreventionMode",
        *parameters.SIGNING,
    }
)  # fmt: skip
REPLACE_PARAMETERS = ORDER_PARAMETERS | {
    "cancelReplaceMode", "cancelNewClientOrderId", "cancelOrigClientOrderId", "cancelOrderId",
    "cancelRestrictions", "orderRateLimitExceededMode",
}  # fmt: skip
# What each order type must bring; what it may not bring is the rest of PER_TYPE.
NEEDED = {
    "LIMIT": ("timeInForce", "quantity", "price"),
    "LIMIT_MAKER": ("quantity", "price"),
    "MARKET": (),
    "STOP_LOSS": ("quantity", "stopPrice"),
    "STOP_LOSS_LIMIT": ("timeInForce", "quantity", "price", "stopPrice"),
    "TAKE_PROFIT": ("quantity", "stopPrice"),
    "TAKE_PROFIT_LIMIT": ("timeInForce", "quantity", "price", "stopPrice"),
}
PER_TYPE = ("timeInForce", "price", "stopPrice")
ALL_ROWS = 1_000
USUAL_ROWS = 500


def read_order(exchange: Exchange, call: Call, allowed: frozenset[str] = ORDER_PARAMETERS) -> NewOrder:
    """A new spot order from its parameters. Raises the -11xx refusals."""
    known = sum(1 for name in call.params if name in allowed)
    if known != len(call.params):
        raise unread(known, len(call.params))
    rules = exchange.rules("spot", parameters.required(call, "symbol"))
    side = parameters.choice(call, "side", SIDES, -1117, "Invalid side.")
    order_type = parameters.choice(call, "type", NEEDED, -1116, "Invalid orderType.")
    if order_type not in rules.order_types:
        raise Refusal(-1013, "This type of order is not supported for this symbol.")
    needed = NEEDED[order_type]
    for name in needed:
        parameters.required(call, name)
    if order_type == "MARKET" and "quantity" not in call.params and "quoteOrderQty" not in call.params:
        raise mandatory("quantity")
    if order_type != "MARKET" or "quantity" in call.params:
        parameters.forbid(call, ("quoteOrderQty",))
    parameters.forbid(call, [name for name in PER_TYPE if name not in needed])
    time_in_force = "GTC"
    if "timeInForce" in needed:
        time_in_force = parameters.choice(call, "timeInForce", TIMES_IN_FORCE, -1115, "Invalid timeInForce.")
    return NewOrder(
        product="spot",
        account=call.account,
        symbol=rules.symbol,
        client_order_id=parameters.client_id(call, "newClientOrderId", "spot"),
        side=side,
        type=order_type,
        time_in_force=time_in_force,
        quantity=parameters.amount(call, "quantity"),
        price=parameters.amount(call, "price"),
        trigger_price=parameters.amount(call, "stopPrice"),
        quote_order_quantity=parameters.amount(call, "quoteOrderQty"),
    )


def _detail(call: Call, order_type: str) -> str:
    usual = "FULL" if order_type in ("MARKET", "LIMIT") else "ACK"
    detail = parameters.text(call, "newOrderRespType") or usual
    if detail not in DETAILS:
        raise Refusal(-1140, "Invalid newOrderRespType.")
    return detail


def place_order(exchange: Exchange, call: Call) -> object:
    """``POST /api/v3/order``"""
    new = read_order(exchange, call)
    detail = _detail(call, new.type)
    return spot_replies.placed(trading.place(exchange, new, call.at_ms), detail)


def test_order(exchange: Exchange, call: Call) -> object:
    """``POST /api/v3/order/test``: the parameters are read, nothing is placed."""
    read_order(exchange, call)
    return {}


def _find(exchange: Exchange, call: Call, id_name: str, client_name: str) -> Order | None:
    symbol = exchange.rules("spot", parameters.required(call, "symbol")).symbol
    order_id = parameters.integer(call, id_name)
    client_id = parameters.text(call, client_name)
    if not order_id and not client_id:
        raise either_mandatory(client_name, id_name)
    return exchange.register.find("spot", call.account, symbol, order_id, client_id)


def query_order(exchange: Exchange, call: Call) -> object:
    """``GET /api/v3/order``"""
    order = _find(exchange, call, "orderId", "origClientOrderId")
    if order is None:
        raise order_does_not_exist()
    return spot_replies.queried(order)


def _cancel_id(call: Call, order: Order, name: str = "newClientOrderId") -> str:
    return parameters.client_id(call, name, "spot") or f"cancel{order.order_id}"


def cancel_order(exchange: Exchange, call: Call) -> object:
    """``DELETE /api/v3/order``"""
    order = _find(exchange, call, "orderId", "origClientOrderId")
    if order is None or not order.is_open:
        raise unknown_order()
    cancel_id = _cancel_id(call, order)
    return spot_replies.cancelled(trading.cancel(exchange, order, call.at_ms, cancel_id), cancel_id)


def replace_order(exchange: Exchange, call: Call) -> object:
    """``POST /api/v3/order/cancelReplace``: cancel one order and place another, in one request."""
    modes = ("STOP_ON_FAILURE", "ALLOW_FAILURE")
    mode = parameters.choice(call, "cancelReplaceMode", modes, -1153, "Invalid cancelReplaceMode.")
    new = read_order(exchange, call, REPLACE_PARAMETERS)
    detail = _detail(call, new.type)
    result: dict[str, Any] = {
        "cancelResult": "NOT_ATTEMPTED",
        "newOrderResult": "NOT_ATTEMPTED",
        "cancelResponse": None,
        "newOrderResponse": None,
    }
    cancelled = _attempt(result, "cancel", lambda: _cancel_for_replace(exchange, call))
    placed = False
    if cancelled or mode == "ALLOW_FAILURE":
        placed = _attempt(
            result,
            "newOrder",
            lambda: spot_replies.placed(trading.place(exchange, new, call.at_ms), detail),
        )
    if cancelled and placed:
        return result
    if not cancelled and not placed:
        raise _ReplaceRefusal(-2022, "Order cancel-replace failed.", result)
    raise _ReplaceRefusal(-2021, "Order cancel-replace partially failed.", result, 409)


class _ReplaceRefusal(Refusal):
    """A cancel-replace of which at least one half failed; ``data`` says which."""

    def __init__(self, code: int, message: str, data: dict[str, Any], status: int = 400) -> None:
        super().__init__(code, message, status)
        self.data = data


def refusal_body(refusal: Refusal) -> dict[str, Any]:
    """A refusal as JSON; a cancel-replace adds what became of its halves."""
    body: dict[str, Any] = {"code": refusal.code, "msg": refusal.message}
    if isinstance(refusal, _ReplaceRefusal):
        body["data"] = refusal.data
    return body


def _cancel_for_replace(exchange: Exchange, call: Call) -> dict[str, Any]:
    order = _find(exchange, call, "cancelOrderId", "cancelOrigClientOrderId")
    if order is None or not order.is_open:
        raise unknown_order()
    cancel_id = _cancel_id(call, order, "cancelNewClientOrderId")
    return spot_replies.cancelled(trading.cancel(exchange, order, call.at_ms, cancel_id), cancel_id)


def _attempt(result: dict[str, Any], half: str, action: Callable[[], dict[str, Any]]) -> bool:
    """Run one half of a cancel-replace and note what became of it."""
    try:
        result[f"{half}Response"] = action()
    except Refusal as refusal:
        result[f"{half}Response"] = {"code": refusal.code, "msg": refusal.message}
        result[f"{half}Result"] = "FAILURE"
        return False
    result[f"{half}Result"] = "SUCCESS"
    return True


def open_orders(exchange: Exchange, call: Call) -> object:
    """``GET /api/v3/openOrders``"""
    symbol = parameters.text(call, "symbol")
    if symbol:
        exchange.rules("spot", symbol)
    return [spot_replies.queried(o) for o in exchange.register.open_of("spot", call.account, symbol)]


def cancel_open_orders(exchange: Exchange, call: Call) -> object:
    """``DELETE /api/v3/openOrders``"""
    symbol = exchange.rules("spot", parameters.required(call, "symbol")).symbol
    orders = exchange.register.open_of("spot", call.account, symbol)
    if not orders:
        raise unknown_order()
    return [
        spot_replies.cancelled(trading.cancel(exchange, order, call.at_ms, cancel_id), cancel_id)
        for order, cancel_id in ((order, f"cancel{order.order_id}") for order in orders)
    ]


def all_orders(exchange: Exchange, call: Call) -> object:
    """``GET /api/v3/allOrders``"""
    symbol = exchange.rules("spot", parameters.required(call, "symbol")).symbol
    first, start_ms = parameters.integer(call, "orderId"), parameters.integer(call, "startTime")
    limit = min(parameters.integer(call, "limit", USUAL_ROWS), ALL_ROWS)
    history = exchange.register.history("spot", call.account, symbol)
    rows = [o for o in history if o.order_id >= first and o.created_ms >= start_ms]
    return [spot_replies.queried(o) for o in (rows[:limit] if first or start_ms else rows[-limit:])]


def my_trades(exchange: Exchange, call: Call) -> object:
    """``GET /api/v3/myTrades``"""
    symbol = exchange.rules("spot", parameters.required(call, "symbol")).symbol
    return spot_replies.trades(
        exchange.register.history("spot", call.account, symbol),
        parameters.integer(call, "orderId"),
        parameters.integer(call, "fromId"),
        parameters.integer(call, "startTime"),
        min(parameters.integer(call, "limit", USUAL_ROWS), ALL_ROWS),
    )


def account(exchange: Exchange, call: Call) -> object:
    """``GET /api/v3/account``"""
    owner = exchange.account(call.account)
    return spot_replies.account(exchange, owner, call.at_ms, parameters.flag(call, "omitZeroBalances"))


def coins(exchange: Exchange, call: Call) -> object:
    """``GET /sapi/v1/capital/config/getall``"""
    return spot_replies.coins(exchange.account(call.account))


def nothing(exchange: Exchange, call: Call) -> object:
    """The margin pairs of ``/sapi/v1``: none, since margin isn't carried."""
    return []


TRADING_ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "/api/v3/order"): Route("spot", place_order, "signed", orders=costs(1), kind="place"),
    ("POST", "/api/v3/order/test"): Route("spot", test_order, "signed"),
    ("GET", "/api/v3/order"): Route("spot", query_order, "signed", costs(4)),
    ("DELETE", "/api/v3/order"): Route("spot", cancel_order, "signed", kind="cancel"),
    ("POST", "/api/v3/order/cancelReplace"): Route(
        "spot", replace_order, "signed", orders=costs(1), kind="replace"
    ),
    ("GET", "/api/v3/openOrders"): Route("spot", open_orders, "signed", costs_without_symbol(6, 80)),
    ("DELETE", "/api/v3/openOrders"): Route("spot", cancel_open_orders, "signed", kind="cancel_all"),
    ("GET", "/api/v3/allOrders"): Route("spot", all_orders, "signed", costs(20)),
    ("GET", "/api/v3/myTrades"): Route("spot", my_trades, "signed", costs(20)),
    ("GET", "/api/v3/account"): Route("spot", account, "signed", costs(20)),
    ("GET", "/sapi/v1/capital/config/getall"): Route("spot", coins, "signed", costs(10)),
    ("GET", "/sapi/v1/margin/allPairs"): Route("spot", nothing, "key"),
    ("GET", "/sapi/v1/margin/isolated/allPairs"): Route("spot", nothing, "signed", costs(10)),
}
