"""The normaliser on every captured market, against a second reading of the venues' rules (`venue_filters`)."""

from decimal import ROUND_DOWN, Context, Decimal
from fractions import Fraction

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from common.exchange.base import OrderRequest
from common.markets import Market, MarketType
from common.normalizer import (
    FarLimit,
    Normalized,
    NormalizerPolicy,
    Refusal,
    RefusalCode,
    normalize,
    normalize_amend,
)
from orderlane.intents import AmendOrder, OrderType, PlaceOrder, Side, TimeInForce
from tests.common.captures import every_market
from tests.common.orders import limit
from tests.common.venue_filters import Filters, Order, broken, filters_of, on_grid

MARKETS = [(market, filters_of(name, entry)) for name, market, entry in every_market()]
WIDE = Context(prec=60, rounding=ROUND_DOWN)
FEW_TICKS = Decimal(30)
"""At so low a price rounding is most of it, and much is below the least price; above it a market is as usual."""
FINEST = Decimal("1e-18")
GREATEST = Decimal("999999999999999999")
PROPERTY = settings(max_examples=200, deadline=None, derandomize=True)
NO_POLICY = NormalizerPolicy()


class Wish(msgspec.Struct, frozen=True):
    """What a trader might ask for, in terms that mean something on every market."""

    side: Side
    type: OrderType
    time_in_force: TimeInForce | None
    reduce_only: bool
    amount_anchor: str
    amount_factor: Decimal
    price_anchor: str
    price_factor: Decimal
    trigger_factor: Decimal
    reference_ticks: Decimal
    reference_known: bool


def factors(low: str, high: str) -> st.SearchStrategy[Decimal]:
    """Numbers around 1, and exactly 1, at many scales and with many digits."""
    return st.one_of(
        st.just(Decimal(1)),
        st.sampled_from([Decimal("0.999999"), Decimal("1.000001")]),
        st.decimals(Decimal(low), Decimal(high), allow_nan=False, places=7).filter(bool),
    )


WISHES = st.builds(
    Wish,
    side=st.sampled_from(Side),
    type=st.sampled_from(OrderType),
    time_in_force=st.one_of(st.none(), st.sampled_from(TimeInForce)),
    reduce_only=st.sampled_from([False, False, True]),
    amount_anchor=st.sampled_from(["lot", "hundred lots", "minimum", "maximum", "notional", "notional"]),
    amount_factor=factors("0.001", "1000"),
    price_anchor=st.sampled_from(["reference"] * 4 + ["lowest", "highest", "band down", "band up"]),
    price_factor=factors("0.05", "8"),
    trigger_factor=factors("0.3", "3"),
    reference_ticks=st.one_of(
        st.decimals(Decimal("0.5"), FEW_TICKS, allow_nan=False, places=3),
        st.decimals(Decimal(100), Decimal(3_000_000), allow_nan=False, places=3),
    ),
    reference_known=st.sampled_from([True, True, False]),
)


def priced(value: Decimal) -> Decimal:
    """A number that an intent may carry."""
    return min(max(value.quantize(FINEST, context=WIDE), FINEST), GREATEST)


def asked(wish: Wish, market: Market) -> tuple[PlaceOrder, Decimal | None]:
    """The wish as an intent for one market, and the reference price to normalise it by."""
    reference = priced(WIDE.multiply(wish.reference_ticks, market.tick_size))
    if wish.reference_ticks > FEW_TICKS and market.min_price is not None:
        reference = max(reference, WIDE.multiply(market.min_price, Decimal(3)))
    price = price_near(wish, market, reference)
    trigger = priced(WIDE.multiply(reference, wish.trigger_factor))
    at = price if wish.type.has_price else trigger if wish.type.has_trigger else reference
    anchor = {
        "lot": market.lot_size,
        "hundred lots": WIDE.multiply(market.lot_size, Decimal(100)),
        "minimum": market.min_amount,
        "maximum": market.max_amount if wish.type.has_price else market.market_max_amount,
        "notional": WIDE.divide(market.min_notional or Decimal(7), at),
    }[wish.amount_anchor]
    intent = PlaceOrder(
        id="wish",
        exchange="venue",
        account="main",
        symbol=market.symbol,
        side=wish.side,
        type=wish.type,
        amount=priced(WIDE.multiply(anchor or market.lot_size, wish.amount_factor)),
        price=price if wish.type.has_price else None,
        trigger_price=trigger if wish.type.has_trigger else None,
        time_in_force=wish.time_in_force if wish.type.has_price else None,
        reduce_only=wish.reduce_only and (market.type is not MarketType.SPOT or wish.amount_anchor == "lot"),
    )
    return intent, reference if wish.reference_known else None


def price_near(wish: Wish, market: Market, reference: Decimal) -> Decimal:
    down, up = market.price_band.multipliers(wish.side)
    anchor = {
        "reference": reference,
        "lowest": market.min_price,
        "highest": market.max_price,
        "band down": WIDE.multiply(reference, down or Decimal(1)),
        "band up": WIDE.multiply(reference, up or Decimal(1)),
    }[wish.price_anchor]
    return priced(WIDE.multiply(anchor or reference, wish.price_factor))


def as_order(order: PlaceOrder | Normalized | OrderRequest, time_in_force: TimeInForce | None) -> Order:
    return Order(
        side=order.side,
        type=order.type,
        amount=Fraction(order.amount),
        price=None if order.price is None else Fraction(order.price),
        trigger_price=None if order.trigger_price is None else Fraction(order.trigger_price),
        time_in_force=time_in_force,
        reduce_only=order.reduce_only,
    )


def again(order: Normalized, market: Market) -> PlaceOrder:
    """The intent that asks for exactly what the normaliser gave."""
    return PlaceOrder(
        id="again",
        exchange="venue",
        account="main",
        symbol=market.symbol,
        side=order.side,
        type=order.type,
        amount=order.amount,
        price=order.price,
        trigger_price=order.trigger_price,
        time_in_force=order.time_in_force,
        reduce_only=order.reduce_only,
    )


def check_against_the_venue(wish: Wish, market: Market, filters: Filters) -> None:
    intent, reference = asked(wish, market)
    default = TimeInForce.GTC if intent.type.has_price else None
    expected = on_grid(filters, as_order(intent, intent.time_in_force or default))
    faults = broken(filters, expected, None if reference is None else Fraction(reference))
    result = normalize(intent, market, NO_POLICY, reference)
    if isinstance(result, Refusal):
        assert result.reason.code in faults, (market.symbol, intent, reference, result, faults)
    else:
        assert faults == set(), (market.symbol, intent, reference, result)
        assert as_order(result, result.time_in_force) == expected, (market.symbol, intent, result)


@PROPERTY
@given(WISHES)
def test_on_every_market_an_order_comes_out_as_the_venue_demands_or_is_refused_for_a_rule_it_breaks(
    wish: Wish,
) -> None:
    for market, filters in MARKETS:
        check_against_the_venue(wish, market, filters)


@PROPERTY
@given(WISHES)
def test_on_every_market_nothing_comes_out_worse_or_other_than_asked(wish: Wish) -> None:
    for market, _ in MARKETS:
        check_not_worse(wish, market)


def check_not_worse(wish: Wish, market: Market) -> None:
    intent, reference = asked(wish, market)
    result = normalize(intent, market, NO_POLICY, reference)
    if isinstance(result, Refusal):
        return
    said = (market.symbol, intent, result)
    kept = ("side", "type", "reduce_only", "params")
    assert all(getattr(result, field) == getattr(intent, field) for field in kept), said
    assert 0 < result.amount <= intent.amount, said
    for given_price, wanted in ((result.price, intent.price), (result.trigger_price, intent.trigger_price)):
        assert (given_price is None) == (wanted is None), said
        if given_price is not None and wanted is not None:
            assert given_price <= wanted if intent.side is Side.BUY else given_price >= wanted, said
            assert abs(Fraction(given_price) - Fraction(wanted)) < Fraction(market.tick_size), said
    altered = {
        field
        for field in ("amount", "price", "trigger_price")
        if getattr(result, field) != getattr(intent, field)
    }
    assert set(result.changes) == altered, said


@PROPERTY
@given(WISHES)
def test_on_every_market_normalising_what_came_out_changes_nothing(wish: Wish) -> None:
    policy = NormalizerPolicy(max_distance_percent=Decimal(20), far_limit=FarLimit.MARKET)
    for market, _ in MARKETS:
        intent, reference = asked(wish, market)
        result = normalize(intent, market, policy, reference)
        if isinstance(result, Normalized):
            repeated = normalize(again(result, market), market, policy, reference)
            assert repeated == replace(result, changes={}), (market.symbol, intent, result)


@PROPERTY
@given(WISHES, WISHES, st.sampled_from([("amount", "price"), ("amount",), ("price",)]))
def test_on_every_market_an_amended_order_keeps_the_venues_rules_and_is_not_worse_than_the_amend_asked(
    wish: Wish, new_wish: Wish, fields: tuple[str, ...]
) -> None:
    for market, filters in MARKETS:
        intent, reference = asked(wish, market)
        first = normalize(intent, market, NO_POLICY, reference)
        if isinstance(first, Refusal):
            continue
        wanted, _ = asked(replace(new_wish, side=wish.side, type=OrderType.LIMIT), market)
        amend = AmendOrder(
            id="amend",
            exchange="venue",
            account="main",
            symbol=market.symbol,
            target="wish",
            **{field: getattr(wanted, field) for field in fields},
        )
        target = first.request("main", market.symbol, "c1")
        check_amended(amend, target, market, filters, reference)


def check_amended(
    amend: AmendOrder, target: OrderRequest, market: Market, filters: Filters, reference: Decimal | None
) -> None:
    result = normalize_amend(amend, target, market, NO_POLICY, reference)
    said = (market.symbol, amend, target, result)
    if amend.price is not None and target.price is None:
        assert isinstance(result, Refusal), said
        assert result.reason.code == RefusalCode.AMEND_WITHOUT_PRICE, said
        return
    asked_for = replace(target, amount=amend.amount or target.amount, price=amend.price or target.price)
    expected = on_grid(filters, as_order(asked_for, target.time_in_force))
    faults = broken(filters, expected, None if reference is None else Fraction(reference))
    if (expected.amount, expected.price) == (
        Fraction(target.amount),
        None if target.price is None else Fraction(target.price),
    ):
        faults.add(RefusalCode.AMEND_CHANGES_NOTHING)
    if isinstance(result, Refusal):
        assert result.reason.code in faults, said
    else:
        assert faults == set(), said
        assert as_order(result, result.time_in_force) == expected, said


@PROPERTY
@given(WISHES)
def test_a_far_limit_turns_into_market_only_where_the_market_is_better_than_the_price_asked(
    wish: Wish,
) -> None:
    percent = Decimal(20)
    policy = NormalizerPolicy(max_distance_percent=percent, far_limit=FarLimit.MARKET)
    for market, filters in MARKETS:
        intent, reference = asked(replace(wish, type=OrderType.LIMIT), market)
        plainly = on_grid(filters, as_order(intent, intent.time_in_force))
        result = normalize(intent, market, policy, reference)
        said = (market.symbol, intent, reference, result)
        if reference is None or plainly.price is None:
            assert isinstance(result, Refusal), said
            continue
        gap = plainly.price / Fraction(reference) - 1
        far = abs(gap) * 100 > Fraction(percent)
        better = gap > 0 if intent.side is Side.BUY else gap < 0
        if isinstance(result, Refusal):
            assert far or result.reason.code != RefusalCode.LIMIT_TOO_FAR, said
        elif result.type is OrderType.MARKET:
            assert far, said
            assert better, said
            assert intent.time_in_force in (None, TimeInForce.GTC, TimeInForce.IOC), said
            assert set(result.changes) >= {"type"}, said
        else:
            assert not far, said


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    tick=st.sampled_from(["0.05", "0.5", "0.25", "2.5", "5", "0.003"]),
    lot=st.sampled_from(["1", "5", "1000", "0.02", "0.3"]),
    side=st.sampled_from(Side),
    amount=st.decimals(Decimal("0.01"), Decimal(100_000), allow_nan=False, places=6).filter(bool),
    price=st.decimals(Decimal("0.01"), Decimal(100_000), allow_nan=False, places=6).filter(bool),
)
def test_steps_that_are_no_power_of_ten_are_kept_as_exactly(
    tick: str, lot: str, side: Side, amount: Decimal, price: Decimal
) -> None:
    market = Market(
        symbol="X/Y",
        venue_id="XY",
        type=MarketType.SPOT,
        base="X",
        quote="Y",
        tick_size=Decimal(tick),
        lot_size=Decimal(lot),
        market_lot_size=Decimal(lot),
    )
    result = normalize(limit("X/Y", side, str(amount), str(price)), market, NO_POLICY, None)
    if isinstance(result, Refusal):
        assert result.reason.code in ("amount_below_minimum", "price_below_minimum")
        assert amount < Decimal(lot) or price < Decimal(tick)
        return
    assert result.price is not None
    assert result.amount % Decimal(lot) == 0
    assert result.price % Decimal(tick) == 0
    assert 0 <= amount - result.amount < Decimal(lot)
    gain = price - result.price if side is Side.BUY else result.price - price
    assert 0 <= gain < Decimal(tick)
