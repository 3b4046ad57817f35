"""The exchange's own checks of an order's numbers against its symbol. Pure; each raises :class:`Refusal`.

Sources: Binance "Filters" (spot) and the USDⓈ-M "Error Codes" page.
"""

from __future__ import annotations

from decimal import Decimal

from workers.paper.amounts import is_multiple, places, plain
from workers.paper.errors import Refusal, filter_failure, rejected
from workers.paper.matching import is_triggered
from workers.paper.orders import NewOrder
from workers.paper.rules import SymbolRules

SPOT_PLACES = 8


def check_open(rules: SymbolRules) -> None:
    """The symbol is in trading."""
    if rules.status == "TRADING":
        return
    if rules.product == "spot":
        raise Refusal(-1013, "Market is closed.")
    raise Refusal(-4108, "Symbol is on delivering or delivered or settling or closed or pre-trading.")


def check_numbers(rules: SymbolRules, order: NewOrder, mid: Decimal) -> None:
    """Price, quantity, trigger and notional of a new order against ``rules`` at the current ``mid``."""
    if rules.product == "spot":
        _check_spot(rules, order, mid)
    else:
        _check_usdm(rules, order, mid)


def _check_spot(rules: SymbolRules, order: NewOrder, mid: Decimal) -> None:
    named = {
        "price": order.price,
        "quantity": order.quantity,
        "stopPrice": order.trigger_price,
        "quoteOrderQty": order.quote_order_quantity,
    }
    for name, value in named.items():
        if places(value) > SPOT_PLACES:
            raise Refusal(-1111, f"Parameter '{name}' has too much precision.")
    for price in (order.price, order.trigger_price):
        if price:
            _check_spot_price(rules, price)
    is_market = not order.price
    if order.price and not mid * rules.percent_down <= order.price <= mid * rules.percent_up:
        raise filter_failure("PERCENT_PRICE")
    if order.quantity or not order.quote_order_quantity:
        _check_spot_quantity(rules, order.quantity, is_market)
    notional = order.quote_order_quantity or order.quantity * (order.price or order.trigger_price or mid)
    if (not is_market or rules.notional_applies_to_market) and notional < rules.min_notional:
        raise filter_failure("MIN_NOTIONAL")


def _check_spot_price(rules: SymbolRules, price: Decimal) -> None:
    too_high = rules.max_price and price > rules.max_price
    if too_high or price < rules.min_price or not is_multiple(price, rules.tick):
        raise filter_failure("PRICE_FILTER")


def _check_spot_quantity(rules: SymbolRules, quantity: Decimal, is_market: bool) -> None:
    too_great = rules.max_quantity and quantity > rules.max_quantity
    if quantity <= 0 or too_great or quantity < rules.min_quantity or not is_multiple(quantity, rules.lot):
        raise filter_failure("LOT_SIZE")
    if not is_market:
        return
    too_great = rules.market_max_quantity and quantity > rules.market_max_quantity
    below = quantity < rules.market_min_quantity
    if too_great or below or not is_multiple(quantity, rules.market_lot):
        raise filter_failure("MARKET_LOT_SIZE")


def _check_usdm(rules: SymbolRules, order: NewOrder, mid: Decimal) -> None:
    prices = [price for price in (order.price, order.trigger_price) if price]
    too_precise = places(order.quantity) > rules.quantity_places or any(
        places(price) > rules.price_places for price in prices
    )
    if too_precise:
        raise Refusal(-1111, "Precision is over the maximum defined for this asset.")
    for price in prices:
        _check_usdm_price(rules, price)
    if not order.close_position:
        _check_usdm_quantity(rules, order.quantity, is_market=not order.price)
    if order.price and not order.trigger_price:
        check_usdm_band(rules, order.side, order.price, mid)
    notional = order.quantity * (order.price or order.trigger_price or mid)
    exempt = order.reduce_only or order.close_position
    if not exempt and notional < rules.min_notional:
        raise Refusal(
            -4164,
            f"Order's notional must be no smaller than {plain(rules.min_notional)} "
            "(unless you choose reduce only).",
        )


def _check_usdm_price(rules: SymbolRules, price: Decimal) -> None:
    if rules.max_price and price > rules.max_price:
        raise Refusal(-4002, "Price greater than max price.")
    if price < rules.min_price:
        raise Refusal(-4013, "Price less than min price.")
    if not is_multiple(price, rules.tick):
        raise Refusal(-4014, "Price not increased by tick size.")


def _check_usdm_quantity(rules: SymbolRules, quantity: Decimal, is_market: bool) -> None:
    least = rules.market_min_quantity if is_market else rules.min_quantity
    most = rules.market_max_quantity if is_market else rules.max_quantity
    step = rules.market_lot if is_market else rules.lot
    if quantity <= 0:
        raise Refusal(-4003, "Quantity less than or equal to zero.")
    if quantity < least:
        raise Refusal(-4004, "Quantity less than min quantity.")
    if most and quantity > most:
        raise Refusal(-4005, "Quantity greater than max quantity.")
    if not is_multiple(quantity, step):
        raise Refusal(-4023, "Qty not increased by step size.")


def check_usdm_band(rules: SymbolRules, side: str, price: Decimal, mid: Decimal) -> None:
    """PERCENT_PRICE of USDⓈ-M: a buy may not be priced too high above the mark, a sell not too far below
    it.
    """
    highest, lowest = mid * rules.percent_up, mid * rules.percent_down
    if side == "BUY" and price > highest:
        raise Refusal(-4016, f"Limit price can't be higher than {plain(highest)}.")
    if side == "SELL" and price < lowest:
        raise Refusal(-4024, f"Limit price can't be lower than {plain(lowest)}.")


def check_trigger(order: NewOrder, last: Decimal) -> None:
    """A stop that would fire at once is refused."""
    if not order.trigger_price or not is_triggered(order.side, order.type, order.trigger_price, last):
        return
    if order.product == "spot":
        raise rejected("Stop price would trigger immediately.")
    raise Refusal(-2021, "Order would immediately trigger.")


def check_count(rules: SymbolRules, open_orders: int, open_algo_orders: int, is_algo: bool) -> None:
    """MAX_NUM_ORDERS and MAX_NUM_ALGO_ORDERS: how many orders of one symbol an account may have open."""
    if rules.max_orders and open_orders >= rules.max_orders:
        if rules.product == "spot":
            raise filter_failure("MAX_NUM_ORDERS")
        raise Refusal(-2025, "Reach max open order limit.")
    if is_algo and rules.max_algo_orders and open_algo_orders >= rules.max_algo_orders:
        if rules.product == "spot":
            raise filter_failure("MAX_NUM_ALGO_ORDERS")
        raise Refusal(-4045, "Reach max stop order limit.")
