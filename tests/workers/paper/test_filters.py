"""An order that keeps every rule of its symbol is accepted, and one step beyond any rule is refused."""

from decimal import Decimal

import pytest

from workers.paper.errors import Refusal
from workers.paper.filters import check_numbers
from workers.paper.orders import NewOrder
from workers.paper.rules import PRODUCTS, SymbolRules, load_market

EVERY = [rules for product in PRODUCTS for rules in load_market(product).symbols.values()]
IDS = [f"{rules.product}-{rules.symbol}" for rules in EVERY]


def limit(rules: SymbolRules, quantity: Decimal, price: Decimal) -> NewOrder:
    return NewOrder(
        product=rules.product, account="main", symbol=rules.symbol, client_order_id="", side="BUY",
        type="LIMIT", time_in_force="GTC", quantity=quantity, price=price,
    )  # fmt: skip


def least(rules: SymbolRules) -> Decimal:
    """The smallest quantity that keeps the minimum notional at the starting price."""
    lots = (rules.min_notional / rules.start_price / rules.lot).to_integral_value("ROUND_CEILING")
    return max(rules.min_quantity, lots * rules.lot)


def refused(rules: SymbolRules, order: NewOrder) -> str:
    try:
        check_numbers(rules, order, rules.start_price)
    except Refusal as refusal:
        return f"{refusal.code} {refusal.message}"
    return ""


@pytest.mark.parametrize("rules", EVERY, ids=IDS)
def test_the_smallest_allowed_limit_order_is_accepted_and_one_lot_less_is_not(rules: SymbolRules) -> None:
    assert refused(rules, limit(rules, least(rules), rules.start_price)) == ""
    too_small = refused(rules, limit(rules, least(rules) - rules.lot, rules.start_price))
    assert too_small.split()[0] in ("-1013", "-4003", "-4004", "-4164")


@pytest.mark.parametrize("rules", EVERY, ids=IDS)
def test_a_price_off_its_tick_and_a_quantity_off_its_lot_are_refused(rules: SymbolRules) -> None:
    off_tick = limit(rules, least(rules), rules.start_price + rules.tick / 2)
    off_lot = limit(rules, least(rules) + rules.lot / 2, rules.start_price)
    prices = ("-1013 Filter failure: PRICE_FILTER", "-4014", "-1111")
    quantities = ("-1013 Filter failure: LOT_SIZE", "-4023", "-1111")
    assert refused(rules, off_tick).startswith(prices)
    assert refused(rules, off_lot).startswith(quantities)


@pytest.mark.parametrize("rules", EVERY, ids=IDS)
def test_a_quantity_above_the_maximum_is_refused_and_a_market_order_has_its_own(rules: SymbolRules) -> None:
    above = limit(rules, rules.max_quantity + rules.lot, rules.start_price)
    assert refused(rules, above).startswith(("-1013 Filter failure: LOT_SIZE", "-4005"))
    step = rules.market_lot or rules.lot
    most = rules.market_max_quantity // step * step
    market = NewOrder(
        product=rules.product, account="main", symbol=rules.symbol, client_order_id="", side="BUY",
        type="MARKET", time_in_force="GTC", quantity=most + step,
    )  # fmt: skip
    assert refused(rules, market).startswith(("-1013 Filter failure: ", "-4005"))


@pytest.mark.parametrize("rules", EVERY, ids=IDS)
def test_a_price_beyond_the_percent_band_is_refused(rules: SymbolRules) -> None:
    beyond = (rules.start_price * rules.percent_up // rules.tick + 1) * rules.tick
    answer = refused(rules, limit(rules, least(rules), beyond))
    assert answer.startswith(("-1013 Filter failure: P", "-4016", "-4002"))
