"""USDⓈ-M accounts (``/fapi/v1``, ``v2``, ``v3``): balances, positions, leverage and margin mode."""

from __future__ import annotations

from workers.paper import parameters, usdm_replies
from workers.paper.calls import Call, Route, costs
from workers.paper.errors import Refusal
from workers.paper.exchange import Exchange

MARGIN_TYPES = ("ISOLATED", "CROSSED")


def balance(exchange: Exchange, call: Call) -> object:
    """``GET /fapi/v2/balance`` and ``v3``"""
    return usdm_replies.balances(exchange, exchange.account(call.account), call.at_ms)


def account(exchange: Exchange, call: Call) -> object:
    """``GET /fapi/v2/account`` and ``v3``; v2 lists every symbol, v3 those with a position."""
    owner = exchange.account(call.account)
    return usdm_replies.account(exchange, owner, call.at_ms, every_symbol="/v3/" not in call.path)


def position_risk(exchange: Exchange, call: Call) -> object:
    """``GET /fapi/v2/positionRisk`` and ``v3``; v2 lists every symbol, v3 those with a position."""
    owner = exchange.account(call.account)
    wanted = parameters.text(call, "symbol")
    if wanted:
        symbols = [exchange.rules("usdm", wanted).symbol]
    elif "/v3/" in call.path:
        symbols = usdm_replies.held_symbols(owner)
    else:
        symbols = list(exchange.markets["usdm"].symbols)
    return [usdm_replies.position_risk(exchange, owner, symbol) for symbol in symbols]


def leverage(exchange: Exchange, call: Call) -> object:
    """``POST /fapi/v1/leverage``"""
    symbol = exchange.rules("usdm", parameters.required(call, "symbol")).symbol
    parameters.required(call, "leverage")
    wanted = parameters.integer(call, "leverage")
    if not 1 <= wanted <= usdm_replies.MOST_LEVERAGE:
        raise Refusal(-4028, f"Leverage {wanted} is not valid")
    owner = exchange.account(call.account)
    owner.leverage[symbol] = wanted
    exchange.store.put_account(owner)
    return {"symbol": symbol, "leverage": wanted, "maxNotionalValue": "100000000"}


def margin_type(exchange: Exchange, call: Call) -> object:
    """``POST /fapi/v1/marginType``; remembered and shown, margin itself is always counted as cross."""
    symbol = exchange.rules("usdm", parameters.required(call, "symbol")).symbol
    wanted = parameters.choice(call, "marginType", MARGIN_TYPES, -4047, "Invalid marginType.")
    owner = exchange.account(call.account)
    name = "isolated" if wanted == "ISOLATED" else "cross"
    if owner.margin_type.get(symbol, "cross") == name:
        raise Refusal(-4046, "No need to change margin type.")
    owner.margin_type[symbol] = name
    exchange.store.put_account(owner)
    return {"code": 200, "msg": "success"}


def position_mode(exchange: Exchange, call: Call) -> object:
    """``GET /fapi/v1/positionSide/dual``: always one-way."""
    return {"dualSidePosition": False}


def set_position_mode(exchange: Exchange, call: Call) -> object:
    """``POST /fapi/v1/positionSide/dual``: hedge mode isn't carried."""
    parameters.required(call, "dualSidePosition")
    if parameters.flag(call, "dualSidePosition"):
        raise Refusal(-4060, "Invalid position side.")
    raise Refusal(-4059, "No need to change position side.")


def leverage_bracket(exchange: Exchange, call: Call) -> object:
    """``GET /fapi/v1/leverageBracket``"""
    wanted = parameters.text(call, "symbol")
    symbols = [exchange.rules("usdm", wanted).symbol] if wanted else list(exchange.markets["usdm"].symbols)
    return [usdm_replies.leverage_bracket(symbol) for symbol in symbols]


ACCOUNT_ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/fapi/v2/balance"): Route("usdm", balance, "signed", costs(5)),
    ("GET", "/fapi/v3/balance"): Route("usdm", balance, "signed", costs(5)),
    ("GET", "/fapi/v2/account"): Route("usdm", account, "signed", costs(5)),
    ("GET", "/fapi/v3/account"): Route("usdm", account, "signed", costs(5)),
    ("GET", "/fapi/v2/positionRisk"): Route("usdm", position_risk, "signed", costs(5)),
    ("GET", "/fapi/v3/positionRisk"): Route("usdm", position_risk, "signed", costs(5)),
    ("POST", "/fapi/v1/leverage"): Route("usdm", leverage, "signed"),
    ("POST", "/fapi/v1/marginType"): Route("usdm", margin_type, "signed"),
    ("GET", "/fapi/v1/positionSide/dual"): Route("usdm", position_mode, "signed", costs(30)),
    ("POST", "/fapi/v1/positionSide/dual"): Route("usdm", set_position_mode, "signed"),
    ("GET", "/fapi/v1/leverageBracket"): Route("usdm", leverage_bracket, "signed"),
}
