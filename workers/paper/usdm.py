"""USDⓈ-M orders (``/fapi/v1``): placing, amending, cancelling and listing.

Source: Binance "USDⓈ-M Futures Trade endpoints"; the weights are those of its endpoint pages.
"""

from __future__ import annotations

from typing import Any

import msgspec

from workers.paper import parameters, trading, usdm_replies
from workers.paper.calls import Call, Route, costs, costs_without_symbol
from workers.paper.errors import (
    Refusal,
    either_mandatory,
    illegal_characters,
    order_does_not_exist,
    unknown_order,
)
from workers.paper.exchange import Exchange
from workers.paper.orders import NewOrder, Order

SIDES = ("BUY", "SELL")
TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX")
CONDITIONAL_TYPES = (
    "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET",
)  # fmt: skip
GREATEST_BATCH = 5
ALL_ROWS = 1_000
USUAL_ROWS = 500


def read_order(exchange: Exchange, call: Call) -> NewOrder:
    """A new order from its parameters. Conditional types are refused here since their move to the algo API."""
    rules = exchange.rules("usdm", parameters.required(call, "symbol"))
    side = parameters.choice(call, "side", SIDES, -1117, "Invalid side.")
    order_type = parameters.required(call, "type")
    if order_type in CONDITIONAL_TYPES:
        raise Refusal(
            -4120,
            "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
        )
    if order_type not in ("LIMIT", "MARKET"):
        raise Refusal(-1116, "Invalid orderType.")
    check_position_side(call)
    parameters.required(call, "quantity")
    parameters.forbid(call, ("stopPrice", "activationPrice", "callbackRate", "closePosition"))
    time_in_force = "GTC"
    if order_type == "LIMIT":
        parameters.required(call, "price")
        time_in_force = parameters.choice(call, "timeInForce", TIMES_IN_FORCE, -1115, "Invalid timeInForce.")
    else:
        parameters.forbid(call, ("timeInForce", "price"))
    return NewOrder(
        product="usdm",
        account=call.account,
        symbol=rules.symbol,
        client_order_id=parameters.client_id(call, "newClientOrderId", "usdm"),
        side=side,
        type=order_type,
        time_in_force=time_in_force,
        quantity=parameters.amount(call, "quantity"),
        price=positive_price(call, "price") if order_type == "LIMIT" else parameters.amount(call, "price"),
        reduce_only=parameters.flag(call, "reduceOnly"),
    )


def positive_price(call: Call, name: str) -> Any:
    """A price that must be there and above zero."""
    price = parameters.required_amount(call, name)
    if price <= 0:
        raise Refusal(-4001, "Price less than or equal to zero.")
    return price


def check_position_side(call: Call) -> None:
    """Only one-way mode is carried."""
    if parameters.text(call, "positionSide") not in ("", "BOTH"):
        raise Refusal(-4061, "Order's position side does not match user's setting.")


def place_order(exchange: Exchange, call: Call) -> object:
    """``POST /fapi/v1/order``. Without ``newOrderRespType=RESULT`` the answer is that of a fresh order."""
    placed = usdm_replies.order(trading.place(exchange, read_order(exchange, call), call.at_ms))
    detail = parameters.text(call, "newOrderRespType") or "ACK"
    if detail == "ACK":
        placed |= {"status": "NEW", "executedQty": "0", "cumQty": "0", "cumQuote": "0", "avgPrice": "0.00"}
    placed.pop("time")
    return placed


def _batch(call: Call) -> list[dict[str, str]]:
    try:
        batch = msgspec.json.decode(parameters.required(call, "batchOrders"), type=list[dict[str, Any]])
    except msgspec.MsgspecError as error:
        raise illegal_characters("batchOrders", "a JSON list of objects") from error
    if not batch or len(batch) > GREATEST_BATCH:
        raise Refusal(-4082, f"Invalid number of batch place orders; at most {GREATEST_BATCH}.")
    return [{name: _as_text(value) for name, value in order.items()} for order in batch]


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def batch_size(call: Call) -> int:
    """How many orders a batch counts for; one that can't be read counts for one."""
    try:
        return len(_batch(call))
    except Refusal:
        return 1


def place_orders(exchange: Exchange, call: Call) -> object:
    """``POST /fapi/v1/batchOrders``: each order stands alone; a refused one is shown by its code."""
    answers: list[object] = []
    for params in _batch(call):
        single = Call(
            "POST",
            "/fapi/v1/order",
            "",
            "",
            call.key,
            call.address,
            call.at_us,
            params,
            call.account,
            call.fault,
            call.reply_dropped,
        )
        try:
            answer = place_order(exchange, single)
        except Refusal as refusal:
            answers.append({"code": refusal.code, "msg": refusal.message})
        else:
            answers.append(answer)
    return answers


def _find(exchange: Exchange, call: Call) -> Order | None:
    symbol = exchange.rules("usdm", parameters.required(call, "symbol")).symbol
    order_id = parameters.integer(call, "orderId")
    client_id = parameters.text(call, "origClientOrderId")
    if not order_id and not client_id:
        raise either_mandatory("origClientOrderId", "orderId")
    return exchange.register.find("usdm", call.account, symbol, order_id, client_id)


def query_order(exchange: Exchange, call: Call) -> object:
    """``GET /fapi/v1/order``"""
    order = _find(exchange, call)
    if order is None:
        raise order_does_not_exist()
    return usdm_replies.order(order)


def open_order(exchange: Exchange, call: Call) -> object:
    """``GET /fapi/v1/openOrder``"""
    order = _find(exchange, call)
    if order is None or not order.is_open:
        raise order_does_not_exist()
    return usdm_replies.order(order)


def amend_order(exchange: Exchange, call: Call) -> object:
    """``PUT /fapi/v1/order``"""
    order = _find(exchange, call)
    side = parameters.choice(call, "side", SIDES, -1117, "Invalid side.")
    quantity = parameters.required_amount(call, "quantity")
    price = positive_price(call, "price")
    if order is None or not order.is_open:
        raise order_does_not_exist()
    if side != order.side:
        raise Refusal(-1117, "Invalid side.")
    return usdm_replies.order(trading.amend(exchange, order, quantity, price, call.at_ms))


def cancel_order(exchange: Exchange, call: Call) -> object:
    """``DELETE /fapi/v1/order``"""
    order = _find(exchange, call)
    if order is None or not order.is_open:
        raise unknown_order()
    return usdm_replies.order(trading.cancel(exchange, order, call.at_ms))


def cancel_orders(exchange: Exchange, call: Call) -> object:
    """``DELETE /fapi/v1/batchOrders``: up to ten by ``orderIdList`` or ``origClientOrderIdList``."""
    symbol = exchange.rules("usdm", parameters.required(call, "symbol")).symbol
    lowered = {name.lower(): value for name, value in call.params.items()}
    ids, clients = lowered.get("orderidlist", "[]"), lowered.get("origclientorderidlist", "[]")
    try:
        wanted = [(int(number), "") for number in msgspec.json.decode(ids, type=list[int | str])]
        wanted += [(0, name) for name in msgspec.json.decode(clients, type=list[str])]
    except (msgspec.MsgspecError, ValueError) as error:
        raise illegal_characters("orderIdList", "a JSON list") from error
    answers: list[object] = []
    for order_id, client_id in wanted:
        order = exchange.register.find("usdm", call.account, symbol, order_id, client_id)
        if order is None or not order.is_open:
            answers.append({"code": -2011, "msg": "Unknown order sent."})
        else:
            answers.append(usdm_replies.order(trading.cancel(exchange, order, call.at_ms)))
    return answers


def open_orders(exchange: Exchange, call: Call) -> object:
    """``GET /fapi/v1/openOrders``"""
    symbol = parameters.text(call, "symbol")
    if symbol:
        exchange.rules("usdm", symbol)
    return [usdm_replies.order(o) for o in exchange.register.open_of("usdm", call.account, symbol)]


def cancel_open_orders(exchange: Exchange, call: Call) -> object:
    """``DELETE /fapi/v1/allOpenOrders``"""
    symbol = exchange.rules("usdm", parameters.required(call, "symbol")).symbol
    for order in exchange.register.open_of("usdm", call.account, symbol):
        trading.cancel(exchange, order, call.at_ms)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def all_orders(exchange: Exchange, call: Call) -> object:
    """``GET /fapi/v1/allOrders``"""
    symbol = exchange.rules("usdm", parameters.required(call, "symbol")).symbol
    first, start_ms = parameters.integer(call, "orderId"), parameters.integer(call, "startTime")
    limit = min(parameters.integer(call, "limit", USUAL_ROWS), ALL_ROWS)
    history = exchange.register.history("usdm", call.account, symbol)
    rows = [o for o in history if o.order_id >= first and o.created_ms >= start_ms]
    return [usdm_replies.order(o) for o in (rows[:limit] if first or start_ms else rows[-limit:])]


def user_trades(exchange: Exchange, call: Call) -> object:
    """``GET /fapi/v1/userTrades``"""
    symbol = exchange.rules("usdm", parameters.required(call, "symbol")).symbol
    order_id, first_id = parameters.integer(call, "orderId"), parameters.integer(call, "fromId")
    start_ms = parameters.integer(call, "startTime")
    limit = min(parameters.integer(call, "limit", USUAL_ROWS), ALL_ROWS)
    rows = [
        usdm_replies.trade(order, fill)
        for order in exchange.register.history("usdm", call.account, symbol)
        if not order_id or order.order_id == order_id
        for fill in order.fills
        if fill.trade_id >= first_id and fill.time_ms >= start_ms
    ]
    rows.sort(key=lambda row: int(row["id"]))
    return rows[:limit] if first_id or start_ms else rows[-limit:]


ORDER_ROUTES: dict[tuple[str, str], Route] = {
    ("POST", "/fapi/v1/order"): Route("usdm", place_order, "signed", costs(0), costs(1), "place"),
    ("GET", "/fapi/v1/order"): Route("usdm", query_order, "signed"),
    ("PUT", "/fapi/v1/order"): Route("usdm", amend_order, "signed", costs(0), costs(1), "amend"),
    ("DELETE", "/fapi/v1/order"): Route("usdm", cancel_order, "signed", kind="cancel"),
    ("POST", "/fapi/v1/batchOrders"): Route("usdm", place_orders, "signed", costs(5), batch_size, "place"),
    ("DELETE", "/fapi/v1/batchOrders"): Route("usdm", cancel_orders, "signed", kind="cancel"),
    ("GET", "/fapi/v1/openOrder"): Route("usdm", open_order, "signed"),
    ("GET", "/fapi/v1/openOrders"): Route("usdm", open_orders, "signed", costs_without_symbol(1, 40)),
    ("DELETE", "/fapi/v1/allOpenOrders"): Route("usdm", cancel_open_orders, "signed", kind="cancel_all"),
    ("GET", "/fapi/v1/allOrders"): Route("usdm", all_orders, "signed", costs(5)),
    ("GET", "/fapi/v1/userTrades"): Route("usdm", user_trades, "signed", costs(5)),
}
