"""Spot replies, field by field as Binance writes them: every number a string with eight decimals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workers.paper.accounts import Account
from workers.paper.amounts import fixed
from workers.paper.book import Depth, Quote
from workers.paper.exchange import Exchange
from workers.paper.orders import Fill, Order
from workers.paper.rules import SymbolRules

Json = dict[str, Any]


def _common(order: Order) -> Json:
    """The fields every form of an order has."""
    shown: Json = {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_order_id,
        "price": fixed(order.price),
        "origQty": fixed(order.quantity),
        "executedQty": fixed(order.executed_quantity),
        "origQuoteOrderQty": fixed(order.quote_order_quantity),
        "cummulativeQuoteQty": fixed(order.executed_quote),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": order.side,
        "selfTradePreventionMode": "NONE",
    }
    if order.trigger_price:
        shown["stopPrice"] = fixed(order.trigger_price)
    return shown


def placed(order: Order, detail: str) -> Json:
    """The answer to a new order in the asked detail: ``ACK``, ``RESULT`` or ``FULL``."""
    if detail == "ACK":
        return {
            "symbol": order.symbol,
            "orderId": order.order_id,
            "orderListId": -1,
            "clientOrderId": order.client_order_id,
            "transactTime": order.created_ms,
        }
    shown = {**_common(order), "transactTime": order.created_ms, "workingTime": _working_ms(order)}
    if detail == "FULL":
        shown["fills"] = [
            {
                "price": fixed(fill.price),
                "qty": fixed(fill.quantity),
                "commission": fixed(fill.commission),
                "commissionAsset": fill.commission_asset,
                "tradeId": fill.trade_id,
            }
            for fill in order.fills
        ]
    return shown


def _working_ms(order: Order) -> int:
    return order.created_ms if order.is_working else -1


def queried(order: Order) -> Json:
    """An order as a query or a list shows it."""
    return {
        **_common(order),
        "stopPrice": fixed(order.trigger_price),
        "icebergQty": "0.00000000",
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "isWorking": order.is_working,
        "workingTime": _working_ms(order),
    }


def cancelled(order: Order, cancel_id: str) -> Json:
    """The answer to a cancel: the request's own client id, and the order's under ``origClientOrderId``."""
    return {
        **_common(order),
        "origClientOrderId": order.client_order_id,
        "clientOrderId": cancel_id,
        "transactTime": order.updated_ms,
    }


def trade(order: Order, fill: Fill) -> Json:
    """One fill as ``myTrades`` shows it."""
    return {
        "symbol": order.symbol,
        "id": fill.trade_id,
        "orderId": order.order_id,
        "orderListId": -1,
        "price": fixed(fill.price),
        "qty": fixed(fill.quantity),
        "quoteQty": fixed(fill.quote),
        "commission": fixed(fill.commission),
        "commissionAsset": fill.commission_asset,
        "time": fill.time_ms,
        "isBuyer": order.side == "BUY",
        "isMaker": fill.maker,
        "isBestMatch": True,
    }


def account(exchange: Exchange, owner: Account, now_ms: int, omit_zero: bool) -> Json:
    """The account with its balances."""
    behaviour = exchange.behaviour
    maker, taker = fixed(behaviour.spot_maker_fee), fixed(behaviour.spot_taker_fee)
    return {
        "makerCommission": 10,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {"maker": maker, "taker": taker, "buyer": "0.00000000", "seller": "0.00000000"},
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": now_ms,
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": fixed(balance.free), "locked": fixed(balance.locked)}
            for asset, balance in owner.balances.items()
            if not omit_zero or balance.free or balance.locked
        ],
        "permissions": ["SPOT"],
    }


def coins(owner: Account) -> list[Json]:
    """The currency list ccxt asks for when it has keys; no networks, since nothing can be moved out."""
    return [
        {
            "coin": asset,
            "name": asset,
            "depositAllEnable": False,
            "withdrawAllEnable": False,
            "free": fixed(balance.free),
            "locked": fixed(balance.locked),
            "freeze": "0",
            "withdrawing": "0",
            "ipoing": "0",
            "ipoable": "0",
            "storage": "0",
            "isLegalMoney": False,
            "trading": True,
            "networkList": [],
        }
        for asset, balance in owner.balances.items()
    ]


def levels(depth: Depth, limit: int) -> Json:
    """The book's sides as pairs of price and quantity."""
    return {
        "bids": [[fixed(level.price), fixed(level.quantity)] for level in depth.bids[:limit]],
        "asks": [[fixed(level.price), fixed(level.quantity)] for level in depth.asks[:limit]],
    }


def book_ticker(rules: SymbolRules, quote: Quote) -> Json:
    """Best bid and ask."""
    size = fixed(rules.lot)
    return {
        "symbol": rules.symbol,
        "bidPrice": fixed(quote.bid),
        "bidQty": size,
        "askPrice": fixed(quote.ask),
        "askQty": size,
    }


def day_ticker(rules: SymbolRules, mid: str, quote: Quote, now_ms: int) -> Json:
    """The 24-hour ticker of a market that keeps no history: everything is the current price, volumes are
    zero.
    """
    same = ("weightedAvgPrice", "prevClosePrice", "lastPrice", "openPrice", "highPrice", "lowPrice")
    return {
        **book_ticker(rules, quote),
        **dict.fromkeys(same, mid),
        "priceChange": "0.00000000",
        "priceChangePercent": "0.000",
        "lastQty": "0.00000000",
        "volume": "0.00000000",
        "quoteVolume": "0.00000000",
        "openTime": now_ms - 86_400_000,
        "closeTime": now_ms,
        "firstId": -1,
        "lastId": -1,
        "count": 0,
    }


def trades(orders: Iterable[Order], order_id: int, first_id: int, start_ms: int, limit: int) -> list[Json]:
    """The account's fills on a symbol, oldest first; the latest ``limit`` unless ``first_id`` says where to
    begin.
    """
    rows = [
        trade(order, fill)
        for order in orders
        if not order_id or order.order_id == order_id
        for fill in order.fills
        if fill.trade_id >= first_id and fill.time_ms >= start_ms
    ]
    rows.sort(key=lambda row: int(row["id"]))
    return rows[:limit] if first_id or start_ms else rows[-limit:]
