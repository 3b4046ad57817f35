"""Placing, cancelling, amending and matching orders on an :class:`Exchange`.

Each function first makes every check, raising :class:`Refusal` with nothing changed, and only then changes
state.
"""

from __future__ import annotations

from decimal import Decimal

from workers.paper import filters, margin_ledger, matching, spot_ledger
from workers.paper.amounts import ZERO
from workers.paper.book import Quote, draw
from workers.paper.errors import Refusal, filter_failure, rejected
from workers.paper.exchange import Exchange
from workers.paper.matching import Take
from workers.paper.orders import NewOrder, Order
from workers.paper.rules import Product, SymbolRules

GREATEST_AMENDMENTS = 10_000


def place(exchange: Exchange, new: NewOrder, now_ms: int) -> Order:
    """Accept a new order, executing at once what the book gives, or raise :class:`Refusal`."""
    rules = exchange.rules(new.product, new.symbol)
    filters.check_open(rules)
    filters.check_numbers(rules, new, exchange.mid(rules))
    exchange.refuse_duplicate(new.product, new.account, new.client_order_id)
    waiting = bool(new.trigger_price)
    open_orders = exchange.register.open_of(new.product, new.account, new.symbol)
    stops = sum(1 for order in open_orders if not order.is_working)
    filters.check_count(rules, len(open_orders), stops, is_algo=waiting)
    filters.check_trigger(new, exchange.mid(rules))
    takes = [] if waiting else _takes(exchange, rules, new)
    _check_time_in_force(new, takes)
    if new.product == "spot":
        _check_spot_money(exchange, rules, new, takes)
    else:
        _check_usdm_money(exchange, rules, new)
    order = _accept(exchange, rules, new, takes, now_ms)
    if not waiting:
        _take(exchange, rules, order, takes, now_ms)
    return order


def _takes(exchange: Exchange, rules: SymbolRules, new: NewOrder) -> list[Take]:
    """What the book gives a new order at once."""
    levels = exchange.levels(rules, new.side)
    if new.quote_order_quantity and not new.quantity:
        takes = matching.take_for_quote(levels, new.quote_order_quantity, rules.lot)
        if not takes:
            raise filter_failure("LOT_SIZE")
        return takes
    if new.product == "usdm" and not new.price:
        _check_counterparty(rules, new.side, exchange.quote(rules), exchange.mid(rules))
    quantity = new.quantity
    if new.reduce_only:
        position = exchange.account(new.account).position(new.symbol)
        quantity = min(quantity, margin_ledger.reducible(position, new.side))
    return matching.take(levels, new.side, quantity, new.price)


def _check_counterparty(rules: SymbolRules, side: str, quote: Quote, mid: Decimal) -> None:
    buys = side == "BUY"
    within = quote.ask <= mid * rules.percent_up if buys else quote.bid >= mid * rules.percent_down
    if not within:
        raise Refusal(-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit.")


def _check_time_in_force(new: NewOrder, takes: list[Take]) -> None:
    """Post-only orders that would take, and USDⓈ-M fill-or-kill orders that can't fill, are refused."""
    if new.type == "LIMIT_MAKER" and takes:
        raise rejected("Order would immediately match and take.")
    if new.product == "usdm" and new.time_in_force == "GTX" and takes:
        raise Refusal(
            -5022,
            "Due to the order could not be executed as maker, the Post Only order will be rejected. "
            "The order will not be recorded in the order history",
        )
    short = new.time_in_force == "FOK" and matching.taken(takes) < new.quantity
    if new.product == "usdm" and short:
        raise Refusal(
            -5021,
            "Due to the order could not be filled immediately, the FOK order has been rejected. "
            "The order will not be recorded in the order history",
        )


def _check_spot_money(exchange: Exchange, rules: SymbolRules, new: NewOrder, takes: list[Take]) -> None:
    if new.quantity:
        price = new.price or new.trigger_price
        amount = spot_ledger.needed(new.side, new.quantity, price) if price else matching.cost(takes)
        amount = new.quantity if new.side == "SELL" else amount
    else:
        amount = matching.cost(takes) if new.side == "BUY" else matching.taken(takes)
    spot_ledger.check_free(exchange.account(new.account), rules, new.side, amount)


def _check_usdm_money(exchange: Exchange, rules: SymbolRules, new: NewOrder) -> None:
    account = exchange.account(new.account)
    reducible = margin_ledger.reducible(account.position(new.symbol), new.side)
    if new.reduce_only:
        if not reducible:
            raise Refusal(-2022, "ReduceOnly Order is rejected.")
        return
    opening = max(ZERO, new.quantity - reducible) * (new.price or exchange.mid(rules))
    margin_ledger.check_margin(account, new.symbol, opening, exchange.margin(account).available)


def _accept(exchange: Exchange, rules: SymbolRules, new: NewOrder, takes: list[Take], now_ms: int) -> Order:
    """Register the order; a waiting spot stop locks its money now, and works from its trigger on."""
    order_id = exchange.register.next_order_id(new.product)
    order = Order(
        product=new.product,
        account=new.account,
        symbol=new.symbol,
        order_id=order_id,
        client_order_id=new.client_order_id or f"paper{order_id}",
        side=new.side,
        type=new.type,
        time_in_force=new.time_in_force,
        quantity=new.quantity or matching.taken(takes),
        price=new.price,
        created_ms=now_ms,
        updated_ms=now_ms,
        trigger_price=new.trigger_price,
        quote_order_quantity=new.quote_order_quantity,
        reduce_only=new.reduce_only,
        close_position=new.close_position,
        original_type=new.original_type or new.type,
        working_type=new.working_type,
        is_working=not new.trigger_price,
    )
    exchange.register.add(order)
    exchange.store.put_order(order)
    if new.trigger_price:
        _lock_rest(exchange, rules, order)
    exchange.feed.order(exchange, order, "NEW", now_ms)
    return order


def _lock_rest(exchange: Exchange, rules: SymbolRules, order: Order) -> None:
    if order.product != "spot":
        return
    account = exchange.account(order.account)
    amount = spot_ledger.needed(order.side, order.remaining, order.price or order.trigger_price)
    spot_ledger.lock(account, rules, order, amount)
    exchange.store.put_account(account)


def _take(exchange: Exchange, rules: SymbolRules, order: Order, takes: list[Take], now_ms: int) -> None:
    """Execute what an order takes, then let the rest stand or expire as its time in force says."""
    if order.time_in_force == "FOK" and matching.taken(takes) < order.quantity:
        exchange.end(order, "EXPIRED", now_ms)
        return
    for piece in takes:
        exchange.execute(order, piece.price, piece.quantity, False, now_ms)
    if not order.is_open:
        return
    if order.order_class == "MARKET" or order.time_in_force == "IOC":
        exchange.end(order, "EXPIRED", now_ms)
    elif not order.locked:
        _lock_rest(exchange, rules, order)


def cancel(exchange: Exchange, order: Order, now_ms: int, cancel_id: str = "") -> Order:
    """Cancel an open order; a spot cancel has a client id of its own."""
    exchange.end(order, "CANCELED", now_ms, cancel_id)
    return order


def amend(exchange: Exchange, order: Order, quantity: Decimal, price: Decimal, now_ms: int) -> Order:
    """Change the price and quantity of an open USDⓈ-M limit order, which keeps its ids.

    As Binance documents: one whose new quantity is already executed, and a post-only one whose new price
    would take, is cancelled instead.
    """
    rules = exchange.rules("usdm", order.symbol)
    if order.type != "LIMIT":
        raise Refusal(-5025, "Only limit order is supported.")
    if order.amendments >= GREATEST_AMENDMENTS:
        raise Refusal(-5026, "Exceed maximum modify order limit.")
    if quantity == order.quantity and price == order.price:
        raise Refusal(-5027, "No need to modify the order.")
    asked = NewOrder(
        product="usdm",
        account=order.account,
        symbol=order.symbol,
        client_order_id="",
        side=order.side,
        type="LIMIT",
        time_in_force=order.time_in_force,
        quantity=quantity,
        price=price,
        reduce_only=order.reduce_only,
    )
    filters.check_numbers(rules, asked, exchange.mid(rules))
    _check_amended_margin(exchange, order, quantity, price)
    order.amendments += 1
    takes = _amended_takes(exchange, rules, order, quantity, price)
    if quantity <= order.executed_quantity or (order.time_in_force == "GTX" and takes):
        exchange.end(order, "CANCELED", now_ms)
        return order
    order.quantity, order.price, order.updated_ms = quantity, price, now_ms
    exchange.store.put_order(order)
    exchange.feed.order(exchange, order, "AMENDMENT", now_ms)
    for piece in takes:
        exchange.execute(order, piece.price, piece.quantity, False, now_ms)
    return order


def _check_amended_margin(exchange: Exchange, order: Order, quantity: Decimal, price: Decimal) -> None:
    if order.reduce_only:
        return
    account = exchange.account(order.account)
    more = (quantity - order.executed_quantity) * price - order.remaining * order.price
    if more > 0:
        margin_ledger.check_margin(account, order.symbol, more, exchange.margin(account).available)


def _amended_takes(
    exchange: Exchange, rules: SymbolRules, order: Order, quantity: Decimal, price: Decimal
) -> list[Take]:
    left = quantity - order.executed_quantity
    if order.reduce_only:
        position = exchange.account(order.account).position(order.symbol)
        left = min(left, margin_ledger.reducible(position, order.side))
    levels = exchange.levels(rules, order.side)
    return matching.take(levels, order.side, left, price)


def match(exchange: Exchange, product: Product, symbol: str, now_ms: int) -> None:
    """Trigger the spot stops of a symbol and fill the resting orders its market has reached."""
    rules = exchange.rules(product, symbol)
    quote, last = exchange.quote(rules), exchange.mid(rules)
    for order in exchange.register.open_on(product, symbol):
        if not order.is_working:
            if matching.is_triggered(order.side, order.type, order.trigger_price, last):
                _trigger(exchange, rules, order, now_ms)
        elif matching.crosses(order.side, order.price, quote):
            _fill_resting(exchange, rules, order, now_ms)


def _trigger(exchange: Exchange, rules: SymbolRules, order: Order, now_ms: int) -> None:
    """A spot stop starts to work: it takes what the book gives, and a limit rests with what is left."""
    order.is_working, order.updated_ms = True, now_ms
    exchange.feed.order(exchange, order, "NEW", now_ms)
    levels = exchange.levels(rules, order.side)
    takes = matching.take(levels, order.side, order.remaining, order.price)
    if order.side == "BUY" and not order.price:
        takes = _affordable(exchange, rules, order, takes)
    exchange.store.put_order(order)
    _take(exchange, rules, order, takes, now_ms)


def _affordable(exchange: Exchange, rules: SymbolRules, order: Order, takes: list[Take]) -> list[Take]:
    """The first pieces a triggered market buy can pay from what it locked and what is free."""
    budget = order.locked + exchange.account(order.account).balance(rules.quote).free
    paid: list[Take] = []
    for piece in takes:
        budget -= piece.price * piece.quantity
        if budget < 0:
            break
        paid.append(piece)
    return paid


def _fill_resting(exchange: Exchange, rules: SymbolRules, order: Order, now_ms: int) -> None:
    """Fill a resting order at its own price, wholly or in part."""
    order.match_round += 1
    seed = exchange.behaviour.seed
    remaining = order.remaining
    if order.reduce_only:
        position = exchange.account(order.account).position(order.symbol)
        remaining = min(remaining, margin_ledger.reducible(position, order.side))
        if not remaining:
            exchange.end(order, "EXPIRED", now_ms)
            return
    quantity = matching.resting_quantity(
        remaining,
        rules.lot,
        exchange.behaviour.partial_fill_probability,
        draw(seed, order.product, order.order_id, order.match_round, "chance"),
        draw(seed, order.product, order.order_id, order.match_round, "share"),
    )
    exchange.execute(order, order.price, quantity, True, now_ms)
