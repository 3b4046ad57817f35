"""USDⓈ-M replies, field by field as Binance writes them."""

from __future__ import annotations

from typing import Any

from workers.paper import margin_ledger
from workers.paper.accounts import Account, Position
from workers.paper.amounts import ZERO, fixed, plain
from workers.paper.exchange import Exchange
from workers.paper.margin_ledger import Margin
from workers.paper.orders import AlgoOrder, Fill, Order, average_of, status_of
from workers.paper.rules import SymbolRules

Json = dict[str, Any]
MOST_LEVERAGE = 125


def order(shown: Order) -> Json:
    """An order, as placing, querying, amending and cancelling show it."""
    return {
        "orderId": shown.order_id,
        "symbol": shown.symbol,
        "status": shown.status,
        "clientOrderId": shown.client_order_id,
        "price": plain(shown.price),
        "avgPrice": plain(shown.average_price),
        "origQty": plain(shown.quantity),
        "executedQty": plain(shown.executed_quantity),
        "cumQty": plain(shown.executed_quantity),
        "cumQuote": plain(shown.executed_quote),
        "timeInForce": shown.time_in_force,
        "type": shown.type,
        "reduceOnly": shown.reduce_only,
        "closePosition": shown.close_position,
        "side": shown.side,
        "positionSide": "BOTH",
        "stopPrice": "0",
        "workingType": shown.working_type,
        "priceProtect": False,
        "origType": shown.original_type,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "NONE",
        "goodTillDate": 0,
        "time": shown.created_ms,
        "updateTime": shown.updated_ms,
    }


def algo_order(shown: AlgoOrder, actual: Order | None) -> Json:
    """A conditional order, with the order it became once it triggered."""
    return {
        "algoId": shown.algo_id,
        "clientAlgoId": shown.client_algo_id,
        "algoType": "CONDITIONAL",
        "orderType": shown.type,
        "symbol": shown.symbol,
        "side": shown.side,
        "positionSide": "BOTH",
        "timeInForce": shown.time_in_force,
        "quantity": plain(shown.quantity),
        "algoStatus": status_of(shown, actual),
        "actualOrderId": str(shown.actual_order_id) if shown.actual_order_id else "",
        "actualPrice": average_of(actual),
        "triggerPrice": plain(shown.trigger_price),
        "price": plain(shown.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingType": shown.working_type,
        "priceMatch": "NONE",
        "closePosition": shown.close_position,
        "priceProtect": False,
        "reduceOnly": shown.reduce_only,
        "createTime": shown.created_ms,
        "updateTime": shown.updated_ms,
        "triggerTime": shown.triggered_ms,
        "goodTillDate": 0,
    }


def trade(owner: Order, fill: Fill) -> Json:
    """One fill as ``userTrades`` shows it."""
    return {
        "symbol": owner.symbol,
        "id": fill.trade_id,
        "orderId": owner.order_id,
        "side": owner.side,
        "price": plain(fill.price),
        "qty": plain(fill.quantity),
        "realizedPnl": plain(fill.realised),
        "quoteQty": plain(fill.quote),
        "commission": plain(fill.commission),
        "commissionAsset": fill.commission_asset,
        "time": fill.time_ms,
        "positionSide": "BOTH",
        "buyer": owner.side == "BUY",
        "maker": fill.maker,
    }


def balances(exchange: Exchange, owner: Account, now_ms: int) -> list[Json]:
    """The wallet, one row for each asset."""
    margin = exchange.margin(owner)
    rows = []
    for asset, wallet in owner.wallet.items():
        is_margin = asset == "USDT"
        rows.append(
            {
                "accountAlias": owner.name,
                "asset": asset,
                "balance": fixed(wallet),
                "crossWalletBalance": fixed(wallet),
                "crossUnPnl": fixed(margin.unrealised if is_margin else ZERO),
                "availableBalance": fixed(margin.available if is_margin else wallet),
                "maxWithdrawAmount": fixed(margin.available if is_margin else wallet),
                "marginAvailable": True,
                "updateTime": now_ms,
            }
        )
    return rows


def _asset(asset: str, wallet: Margin, now_ms: int) -> Json:
    return {
        "asset": asset,
        "walletBalance": fixed(wallet.wallet),
        "unrealizedProfit": fixed(wallet.unrealised),
        "marginBalance": fixed(wallet.wallet + wallet.unrealised),
        "maintMargin": fixed(wallet.maintenance),
        "initialMargin": fixed(wallet.position_margin + wallet.order_margin),
        "positionInitialMargin": fixed(wallet.position_margin),
        "openOrderInitialMargin": fixed(wallet.order_margin),
        "crossWalletBalance": fixed(wallet.wallet),
        "crossUnPnl": fixed(wallet.unrealised),
        "availableBalance": fixed(wallet.available),
        "maxWithdrawAmount": fixed(wallet.available),
        "marginAvailable": True,
        "updateTime": now_ms,
    }


def _account_position(exchange: Exchange, owner: Account, symbol: str) -> Json:
    risk = position_risk(exchange, owner, symbol)
    return {
        "symbol": symbol,
        "positionSide": "BOTH",
        "positionAmt": risk["positionAmt"],
        "entryPrice": risk["entryPrice"],
        "breakEvenPrice": risk["breakEvenPrice"],
        "unrealizedProfit": risk["unRealizedProfit"],
        "isolated": risk["isolated"],
        "isolatedMargin": "0",
        "notional": risk["notional"],
        "isolatedWallet": "0",
        "initialMargin": risk["initialMargin"],
        "maintMargin": risk["maintMargin"],
        "positionInitialMargin": risk["positionInitialMargin"],
        "openOrderInitialMargin": "0",
        "leverage": risk["leverage"],
        "maxNotional": risk["maxNotionalValue"],
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": risk["updateTime"],
    }


def account(exchange: Exchange, owner: Account, now_ms: int, every_symbol: bool) -> Json:
    """The account: totals, assets, and positions (only those held unless ``every_symbol``, as v3 and v2
    differ).
    """
    margin = exchange.margin(owner)
    total = _asset("USDT", margin, now_ms)
    total.pop("asset")
    symbols = exchange.markets["usdm"].symbols if every_symbol else held_symbols(owner)
    none = Margin(ZERO, ZERO, ZERO, ZERO, ZERO)
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": False,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "totalInitialMargin": total["initialMargin"],
        "totalMaintMargin": total["maintMargin"],
        "totalWalletBalance": total["walletBalance"],
        "totalUnrealizedProfit": total["unrealizedProfit"],
        "totalMarginBalance": total["marginBalance"],
        "totalPositionInitialMargin": total["positionInitialMargin"],
        "totalOpenOrderInitialMargin": total["openOrderInitialMargin"],
        "totalCrossWalletBalance": total["crossWalletBalance"],
        "totalCrossUnPnl": total["crossUnPnl"],
        "availableBalance": total["availableBalance"],
        "maxWithdrawAmount": total["maxWithdrawAmount"],
        "assets": [
            _asset(asset, margin if asset == "USDT" else none._replace(wallet=wallet), now_ms)
            for asset, wallet in owner.wallet.items()
        ],
        "positions": [_account_position(exchange, owner, symbol) for symbol in symbols],
    }


def held_symbols(owner: Account) -> list[str]:
    """Symbols on which the account has a position."""
    return [symbol for symbol, position in owner.positions.items() if position.amount]


def position_risk(exchange: Exchange, owner: Account, symbol: str) -> Json:
    """One position, with the fields of both v2 and v3. The account isn't liquidated, so that price is zero."""
    mark = exchange.mid(exchange.rules("usdm", symbol))
    position = owner.positions.get(symbol, Position())
    notional = position.amount * mark
    leverage = owner.leverage_of(symbol)
    initial = fixed(abs(notional) / leverage)
    margin_type = owner.margin_type.get(symbol, "cross")
    return {
        "symbol": symbol,
        "positionSide": "BOTH",
        "positionAmt": plain(position.amount),
        "entryPrice": plain(position.entry_price),
        "breakEvenPrice": plain(position.entry_price),
        "markPrice": fixed(mark),
        "unRealizedProfit": fixed(margin_ledger.unrealised(position, mark)),
        "liquidationPrice": "0",
        "isolatedMargin": "0",
        "notional": fixed(notional),
        "marginAsset": "USDT",
        "isolatedWallet": "0",
        "initialMargin": initial,
        "maintMargin": fixed(abs(notional) * margin_ledger.MAINTENANCE_RATE),
        "positionInitialMargin": initial,
        "openOrderInitialMargin": "0",
        "adl": 0,
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": position.updated_ms,
        "leverage": str(leverage),
        "maxNotionalValue": "100000000",
        "marginType": margin_type,
        "isolated": margin_type == "isolated",
        "isAutoAddMargin": "false",
        "adlQuantile": 0,
    }


def leverage_bracket(symbol: str) -> Json:
    """A symbol's only bracket: any notional, up to 125 times, maintenance 2.5 %."""
    return {
        "symbol": symbol,
        "notionalCoef": 1.0,
        "brackets": [
            {
                "bracket": 1,
                "initialLeverage": MOST_LEVERAGE,
                "notionalCap": 100_000_000,
                "notionalFloor": 0,
                "maintMarginRatio": float(margin_ledger.MAINTENANCE_RATE),
                "cum": 0.0,
            }
        ],
    }


def premium(rules: SymbolRules, mark: str, now_ms: int) -> Json:
    """Mark price and funding, which is always zero."""
    return {
        "symbol": rules.symbol,
        "markPrice": mark,
        "indexPrice": mark,
        "estimatedSettlePrice": mark,
        "lastFundingRate": "0.00000000",
        "interestRate": "0.00000000",
        "nextFundingTime": now_ms - now_ms % 28_800_000 + 28_800_000,
        "time": now_ms,
    }
