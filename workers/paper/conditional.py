"""USDⓈ-M conditional (algo) orders: they wait apart from the book and become an order when they trigger.

Source: Binance "New Algo Order" and "Algo Order Update"; margin is checked at the trigger, not before.
"""

from __future__ import annotations

from workers.paper import filters, margin_ledger, matching
from workers.paper.errors import Refusal
from workers.paper.exchange import Exchange
from workers.paper.orders import AlgoOrder, NewOrder
from workers.paper.trading import place

LIMIT_TYPES = frozenset({"STOP", "TAKE_PROFIT"})
MARKET_TYPES = frozenset({"STOP_MARKET", "TAKE_PROFIT_MARKET"})


def place_conditional(exchange: Exchange, new: NewOrder, now_ms: int) -> AlgoOrder:
    """Accept a conditional order, or raise :class:`Refusal`."""
    rules = exchange.rules("usdm", new.symbol)
    filters.check_open(rules)
    filters.check_numbers(rules, new, exchange.mid(rules))
    holder = exchange.register.find_algo(new.account, 0, new.client_order_id)
    if holder is not None and holder.status == "NEW":
        raise Refusal(-4116, "ClientOrderId is duplicated.")
    waiting = [order for order in exchange.register.algo_open_on(new.symbol) if order.account == new.account]
    filters.check_count(rules, 0, len(waiting), is_algo=True)
    filters.check_trigger(new, exchange.mid(rules))
    algo_id = exchange.register.next_algo_id()
    order = AlgoOrder(
        account=new.account,
        symbol=new.symbol,
        algo_id=algo_id,
        client_algo_id=new.client_order_id or f"paper{algo_id}",
        side=new.side,
        type=new.type,
        time_in_force=new.time_in_force,
        quantity=new.quantity,
        price=new.price,
        trigger_price=new.trigger_price,
        created_ms=now_ms,
        updated_ms=now_ms,
        reduce_only=new.reduce_only,
        close_position=new.close_position,
        working_type=new.working_type,
    )
    exchange.register.add_algo(order)
    exchange.store.put_algo_order(order)
    exchange.feed.algo(order, None, now_ms)
    return order


def trigger_conditionals(exchange: Exchange, symbol: str, now_ms: int) -> None:
    """Send every conditional order of ``symbol`` whose trigger is reached to the book."""
    last = exchange.mid(exchange.rules("usdm", symbol))
    for algo in exchange.register.algo_open_on(symbol):
        if matching.is_triggered(algo.side, algo.type, algo.trigger_price, last):
            _trigger(exchange, algo, now_ms)


def _trigger(exchange: Exchange, algo: AlgoOrder, now_ms: int) -> None:
    """The book accepts it (``TRIGGERED``) or refuses it (``REJECTED``, with the reason)."""
    algo.triggered_ms = now_ms
    try:
        order = place(exchange, _as_order(exchange, algo), now_ms)
    except Refusal as refusal:
        algo.reason = refusal.message
        exchange.keep_algo(algo, "REJECTED", now_ms)
        return
    algo.actual_order_id = order.order_id
    exchange.keep_algo(algo, "TRIGGERED", now_ms)


def _as_order(exchange: Exchange, algo: AlgoOrder) -> NewOrder:
    """The order a conditional one becomes; it keeps its client id unless an open order uses that already."""
    quantity = algo.quantity
    if algo.close_position:
        position = exchange.account(algo.account).position(algo.symbol)
        quantity = margin_ledger.reducible(position, algo.side)
    holder = exchange.register.with_client_id("usdm", algo.account, algo.client_algo_id)
    is_free = holder is None or not holder.is_open
    return NewOrder(
        product="usdm",
        account=algo.account,
        symbol=algo.symbol,
        client_order_id=algo.client_algo_id if is_free else "",
        side=algo.side,
        type="LIMIT" if algo.price else "MARKET",
        time_in_force=algo.time_in_force,
        quantity=quantity,
        price=algo.price,
        reduce_only=algo.reduce_only or algo.close_position,
        original_type=algo.type,
        working_type=algo.working_type,
    )
