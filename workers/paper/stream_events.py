"""What the exchange's streams say, field by field as Binance writes it. Pure.

Sources: "User Data Streams" of Binance's spot and USDⓈ-M documentation; "Web Socket Streams" and "Market Streams" for
tickers.
"""

from __future__ import annotations

from typing import Any

from workers.paper.accounts import Account, Position
from workers.paper.amounts import ZERO, fixed, plain
from workers.paper.book import Quote
from workers.paper.margin_ledger import unrealised
from workers.paper.orders import AlgoOrder, Fill, Order, average_of, status_of
from workers.paper.rules import SymbolRules

Json = dict[str, Any]
NO_TRADE = -1
DAY_MS = 86_400_000


def execution_report(order: Order, execution: str, now_ms: int, fill: Fill | None, cancel_id: str) -> Json:
    """Spot's ``executionReport``: ``execution`` is NEW, TRADE, CANCELED or EXPIRED, ``fill`` what a TRADE executed.

    A cancel shows its own id under ``c`` and the order's under ``C``.
    """
    shown: Json = {
        "e": "executionReport",
        "E": now_ms,
        "s": order.symbol,
        "c": cancel_id or order.client_order_id,
        "S": order.side,
        "o": order.type,
        "f": order.time_in_force,
        "q": fixed(order.quantity),
        "p": fixed(order.price),
        "P": fixed(order.trigger_price),
        "F": fixed(ZERO),
        "g": -1,
        "C": order.client_order_id if cancel_id else "",
        "x": execution,
        "X": order.status,
        "r": "NONE",
        "i": order.order_id,
        "l": fixed(fill.quantity if fill else ZERO),
        "z": fixed(order.executed_quantity),
        "L": fixed(fill.price if fill else ZERO),
        "n": fixed(fill.commission) if fill else "0",
        "N": fill.commission_asset if fill else None,
        "T": now_ms,
        "t": fill.trade_id if fill else NO_TRADE,
        "I": order.order_id * 2,
        "w": order.is_open and order.is_working,
        "m": fill.maker if fill else False,
        "M": fill is not None,
        "O": order.created_ms,
        "Z": fixed(order.executed_quote),
        "Y": fixed(fill.quote if fill else ZERO),
        "Q": fixed(order.quote_order_quantity),
        "V": "NONE",
    }
    if order.is_working:
        shown["W"] = order.created_ms
    return shown


def outbound_account_position(owner: Account, assets: tuple[str, ...], now_ms: int) -> Json:
    """Spot's ``outboundAccountPosition``: the balances that may have changed."""
    return {
        "e": "outboundAccountPosition",
        "E": now_ms,
        "u": now_ms,
        "B": [
            {"a": asset, "f": fixed(owner.balance(asset).free), "l": fixed(owner.balance(asset).locked)}
            for asset in assets
        ],
    }


def order_trade_update(order: Order, execution: str, now_ms: int, fill: Fill | None) -> Json:
    """USDⓈ-M's ``ORDER_TRADE_UPDATE``; commission and its asset stand there only when something was executed."""
    shown: Json = {
        "s": order.symbol,
        "c": order.client_order_id,
        "S": order.side,
        "o": order.type,
        "f": order.time_in_force,
        "q": plain(order.quantity),
        "p": plain(order.price),
        "ap": plain(order.average_price),
        "sp": plain(order.trigger_price),
        "x": execution,
        "X": order.status,
        "i": order.order_id,
        "l": plain(fill.quantity if fill else ZERO),
        "z": plain(order.executed_quantity),
        "L": plain(fill.price if fill else ZERO),
        "T": now_ms,
        "t": fill.trade_id if fill else 0,
        "b": "0",
        "a": "0",
        "m": fill.maker if fill else False,
        "R": order.reduce_only,
        "wt": order.working_type,
        "ot": order.original_type,
        "ps": "BOTH",
        "cp": order.close_position,
        "rp": plain(fill.realised if fill else ZERO),
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": "NONE",
        "pm": "NONE",
        "gtd": 0,
    }
    if fill is not None:
        shown |= {"N": fill.commission_asset, "n": plain(fill.commission)}
    return {"e": "ORDER_TRADE_UPDATE", "T": now_ms, "E": now_ms, "o": shown}


def algo_update(algo: AlgoOrder, actual: Order | None, now_ms: int) -> Json:
    """USDⓈ-M's ``ALGO_UPDATE``: a conditional order, with what the order it became has executed."""
    shown: Json = {
        "caid": algo.client_algo_id,
        "aid": algo.algo_id,
        "at": "CONDITIONAL",
        "o": algo.type,
        "s": algo.symbol,
        "S": algo.side,
        "ps": "BOTH",
        "f": algo.time_in_force,
        "q": plain(algo.quantity),
        "X": status_of(algo, actual),
        "ai": str(algo.actual_order_id) if algo.actual_order_id else "",
        "tp": plain(algo.trigger_price),
        "p": plain(algo.price),
        "V": "EXPIRE_MAKER",
        "wt": algo.working_type,
        "pm": "NONE",
        "cp": algo.close_position,
        "pP": False,
        "R": algo.reduce_only,
        "tt": algo.triggered_ms,
        "gtd": 0,
        "rm": algo.reason,
    }
    if actual is not None:
        shown |= {"ap": average_of(actual), "aq": plain(actual.executed_quantity), "act": actual.type}
    return {"e": "ALGO_UPDATE", "T": now_ms, "E": now_ms, "o": shown}


def account_update(owner: Account, order: Order, asset: str, mid: Any, now_ms: int) -> Json:
    """USDⓈ-M's ``ACCOUNT_UPDATE`` after a fill of ``order``: the wallet of its margin asset and the position."""
    position = owner.positions.get(order.symbol, Position())
    wallet = fixed(owner.wallet.get(asset, ZERO))
    return {
        "e": "ACCOUNT_UPDATE",
        "T": now_ms,
        "E": now_ms,
        "a": {
            "m": "ORDER",
            "B": [{"a": asset, "wb": wallet, "cw": wallet, "bc": "0"}],
            "P": [
                {
                    "s": order.symbol,
                    "pa": plain(position.amount),
                    "ep": plain(position.entry_price),
                    "bep": plain(position.entry_price),
                    "cr": "0",
                    "up": fixed(unrealised(position, mid)),
                    "mt": owner.margin_type.get(order.symbol, "cross"),
                    "iw": "0",
                    "ps": "BOTH",
                }
            ],
        },
    }


def book_ticker(rules: SymbolRules, quote: Quote, step: int, now_ms: int) -> Json:
    """The best bid and ask; spot's has neither event name nor times."""
    size = fixed(rules.lot)
    shown: Json = {
        "u": step + 1,
        "s": rules.symbol,
        "b": fixed(quote.bid),
        "B": size,
        "a": fixed(quote.ask),
        "A": size,
    }
    return shown if rules.product == "spot" else {"e": "bookTicker", "T": now_ms, "E": now_ms, **shown}


def day_ticker(rules: SymbolRules, mid: str, quote: Quote, now_ms: int) -> Json:
    """The rolling 24-hour ticker of a market that keeps no history: every price is the present one."""
    size, none = fixed(rules.lot), fixed(ZERO)
    shown: Json = {
        "e": "24hrTicker",
        "E": now_ms,
        "s": rules.symbol,
        "p": none,
        "P": "0.000",
        **dict.fromkeys(("w", "c", "o", "h", "l"), mid),
        **dict.fromkeys(("Q", "v", "q"), none),
        "O": now_ms - DAY_MS,
        "C": now_ms,
        "F": -1,
        "L": -1,
        "n": 0,
    }
    if rules.product == "spot":
        shown |= {"x": mid, "b": fixed(quote.bid), "B": size, "a": fixed(quote.ask), "A": size}
    return shown


def day_mini_ticker(rules: SymbolRules, mid: str, now_ms: int) -> Json:
    """The same, only last, first, highest and lowest price and the volumes."""
    none = fixed(ZERO)
    prices = dict.fromkeys(("c", "o", "h", "l"), mid)
    return {"e": "24hrMiniTicker", "E": now_ms, "s": rules.symbol, **prices, "v": none, "q": none}
