"""USDⓈ-M conditional orders (``/fapi/v1/algoOrder``), the way ccxt sends stops since their move there.

Source: Binance "New Algo Order", "Cancel Algo Order", "Query Algo Order". Trailing stops are not carried.
"""

from __future__ import annotations

from typing import Any

from workers.paper import parameters, usdm_replies
from workers.paper.amounts import ZERO
from workers.paper.calls import Call, Route, costs, costs_without_symbol
from workers.paper.conditional import LIMIT_TYPES, MARKET_TYPES, place_conditional
from workers.paper.errors import Refusal, either_mandatory, order_does_not_exist, unknown_order
from workers.paper.exchange import Exchange
from workers.paper.orders import AlgoOrder, NewOrder
from workers.paper.usdm import SIDES, TIMES_IN_FORCE, check_position_side, positive_price

WORKING_TYPES = ("CONTRACT_PRICE", "MARK_PRICE")
TYPES = LIMIT_TYPES | MARKET_TYPES


def read_order(exchange: Exchange, call: Call) -> NewOrder:
    """A conditional order from its parameters."""
    parameters.choice(call, "algoType", ("CONDITIONAL",), -1102, "Invalid algoType.")
    rules = exchange.rules("usdm", parameters.required(call, "symbol"))
    side = parameters.choice(call, "side", SIDES, -1117, "Invalid side.")
    order_type = parameters.choice(call, "type", TYPES, -1116, "Invalid orderType.")
    check_position_side(call)
    trigger = positive_price(call, "triggerPrice")
    close_position = parameters.flag(call, "closePosition")
    if close_position:
        if order_type not in MARKET_TYPES:
            raise Refusal(-4136, f"Target strategy invalid for orderType {order_type},closePosition true")
        parameters.forbid(call, ("quantity", "reduceOnly"))
    else:
        parameters.required(call, "quantity")
    is_limit = order_type in LIMIT_TYPES
    if not is_limit:
        parameters.forbid(call, ("price",))
    time_in_force = parameters.text(call, "timeInForce") or "GTC"
    if time_in_force not in TIMES_IN_FORCE:
        raise Refusal(-1115, "Invalid timeInForce.")
    working_type = parameters.text(call, "workingType") or "CONTRACT_PRICE"
    if working_type not in WORKING_TYPES:
        raise Refusal(-4109, "Invalid workingType.")
    return NewOrder(
        product="usdm",
        account=call.account,
        symbol=rules.symbol,
        client_order_id=parameters.client_id(call, "clientAlgoId", "usdm"),
        side=side,
        type=order_type,
        time_in_force=time_in_force,
        quantity=ZERO if close_position else parameters.amount(call, "quantity"),
        price=positive_price(call, "price") if is_limit else ZERO,
        trigger_price=trigger,
        reduce_only=parameters.flag(call, "reduceOnly"),
        close_position=close_position,
        working_type=working_type,
    )


def shown(exchange: Exchange, order: AlgoOrder) -> dict[str, Any]:
    """A conditional order as replies show it."""
    actual = None
    if order.actual_order_id:
        actual = exchange.register.find("usdm", order.account, order.symbol, order.actual_order_id, "")
    return usdm_replies.algo_order(order, actual)


def place_order(exchange: Exchange, call: Call) -> object:
    """``POST /fapi/v1/algoOrder``"""
    return shown(exchange, place_conditional(exchange, read_order(exchange, call), call.at_ms))


def _find(exchange: Exchange, call: Call) -> AlgoOrder | None:
    algo_id = parameters.integer(call, "algoId")
    client_id = parameters.text(call, "clientAlgoId")
    if not algo_id and not client_id:
        raise either_mandatory("algoId", "clientAlgoId")
    return exchange.register.find_algo(call.account, algo_id, client_id)


def query_order(exchange: Exchange, call: Call) -> object:
    """``GET /fapi/v1/algoOrder``"""
    order = _find(exchange, call)
    if order is None:
        raise order_does_not_exist()
    return shown(exchange, order)


def cancel_order(exchange: Exchange, call: Call) -> object:
    """``DELETE /fapi/v1/algoOrder``: only while it waits for its trigger."""
    order = _find(exchange, call)
    if order is None or order.status != "NEW":
        raise unknown_order()
    exchange.keep_algo(order, "CANCELED", call.at_ms)
    return {"algoId": order.algo_id, "clientAlgoId": order.client_algo_id, "code": "200", "msg": "success"}


def open_orders(exchange: Exchange, call: Call) -> object:
    """``GET /fapi/v1/openAlgoOrders``"""
    symbol = parameters.text(call, "symbol")
    history = exchange.register.algo_history(call.account, symbol)
    return [shown(exchange, order) for order in history if order.status == "NEW"]


def all_orders(exchange: Exchange, call: Call) -> object:
    """``GET /fapi/v1/allAlgoOrders``"""
    symbol = exchange.rules("usdm", parameters.required(call, "symbol")).symbol
    return [shown(exchange, order) for order in exchange.register.algo_history(call.account, symbol)]


def cancel_open_orders(exchange: Exchange, call: Call) -> object:
    """``DELETE /fapi/v1/algoOpenOrders``"""
    symbol = exchange.rules("usdm", parameters.required(call, "symbol")).symbol
    for order in exchange.register.algo_open_on(symbol):
        if order.account == call.account:
            exchange.keep_algo(order, "CANCELED", call.at_ms)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


ALGO_ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "/fapi/v1/algoOrder"): Route("usdm", place_order, "signed", costs(0), costs(1), "place"),
    ("GET", "/fapi/v1/algoOrder"): Route("usdm", query_order, "signed"),
    ("DELETE", "/fapi/v1/algoOrder"): Route("usdm", cancel_order, "signed", kind="cancel"),
    ("GET", "/fapi/v1/openAlgoOrders"): Route("usdm", open_orders, "signed", costs_without_symbol(1, 40)),
    ("GET", "/fapi/v1/allAlgoOrders"): Route("usdm", all_orders, "signed", costs(5)),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Route("usdm", cancel_open_orders, "signed", kind="cancel_all"),
}
