"""What an operator's policy makes of orders: defaults, far limits, and amends of what rests on the book."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from common.exchange.base import OrderRequest
from common.normalizer import (
    FarLimit,
    Normalized,
    NormalizerPolicy,
    Refusal,
    RefusalCode,
    normalize,
    normalize_amend,
)
from orderlane.intents import AmendOrder, OrderType, Side, TimeInForce
from tests.common.captures import usdm_market
from tests.common.orders import BTC, limit, ordered, place, refused

GUARD = NormalizerPolicy(max_distance_percent=Decimal(10))
TO_MARKET = NormalizerPolicy(max_distance_percent=Decimal(10), far_limit=FarLimit.MARKET)


def test_the_default_time_in_force_goes_to_orders_with_a_limit_price_alone() -> None:
    assert ordered(limit(BTC, "buy", "0.1", "60000")).time_in_force is TimeInForce.GTC
    post_only = NormalizerPolicy(default_time_in_force=TimeInForce.PO)
    assert ordered(limit(BTC, "buy", "0.1", "60000"), policy=post_only).time_in_force is TimeInForce.PO
    own = limit(BTC, "buy", "0.1", "60000", time_in_force=TimeInForce.IOC)
    assert ordered(own, policy=post_only).time_in_force is TimeInForce.IOC
    assert ordered(place(BTC, "buy", "market", "0.1"), policy=post_only).time_in_force is None


def test_a_slip_of_the_finger_is_refused_on_either_side_of_the_market() -> None:
    for price in ("66000.01", "53999.99"):
        reason = refused(limit(BTC, "buy", "0.1", price), "60000", GUARD)
        assert reason.code == RefusalCode.LIMIT_TOO_FAR
        assert reason.message == (
            f"price {price} is farther than 10 percent (max_distance_percent) from the market of BTC/USDT:USDT, "
            "60000: check the price, or raise max_distance_percent"
        )
    ordered(limit(BTC, "buy", "0.1", "66000"), "60000", GUARD)


def test_the_distance_holds_for_limit_orders_alone() -> None:
    ordered(place(BTC, "buy", "market", "0.1"), "60000", GUARD)
    ordered(place(BTC, "sell", "stop_limit", "0.1", trigger_price="45000", price="44900"), "60000", GUARD)


def test_a_guard_without_a_reference_price_lets_no_limit_pass() -> None:
    for unknown in (None, "-1"):
        reason = refused(limit(BTC, "buy", "0.1", "60000"), unknown, GUARD)
        assert reason.code == RefusalCode.REFERENCE_PRICE_UNKNOWN


def test_a_far_marketable_limit_turns_into_market_where_the_policy_says_so() -> None:
    result = ordered(limit(BTC, "buy", "0.1239", "70000"), "60000", TO_MARKET)
    assert (result.type, result.price, result.time_in_force) == (OrderType.MARKET, None, None)
    assert result.changes == {
        "type": "limit at 70000 -> market (far_limit, reference price 60000)",
        "amount": "0.1239 -> 0.123 (lot size 0.001)",
    }
    assert ordered(limit(BTC, "sell", "0.1", "50000"), "60000", TO_MARKET).type is OrderType.MARKET


@pytest.mark.parametrize("time_in_force", [TimeInForce.PO, TimeInForce.FOK])
def test_a_far_limit_that_a_market_order_cannot_stand_for_is_refused(time_in_force: TimeInForce) -> None:
    intent = limit(BTC, "buy", "0.1", "70000", time_in_force=time_in_force)
    assert refused(intent, "60000", TO_MARKET).code == RefusalCode.LIMIT_TOO_FAR


def test_a_far_limit_that_would_rest_is_refused_never_sent_as_market() -> None:
    assert refused(limit(BTC, "buy", "0.1", "50000"), "60000", TO_MARKET).code == RefusalCode.LIMIT_TOO_FAR
    assert refused(limit(BTC, "sell", "0.1", "70000"), "60000", TO_MARKET).code == RefusalCode.LIMIT_TOO_FAR


def test_a_far_limit_stays_refused_where_the_market_takes_no_market_orders() -> None:
    market = replace(usdm_market(BTC), order_types=frozenset({OrderType.LIMIT}))
    result = normalize(limit(BTC, "buy", "0.1", "70000"), market, TO_MARKET, Decimal(60_000))
    assert isinstance(result, Refusal)
    assert result.reason.code == RefusalCode.LIMIT_TOO_FAR


def test_a_far_limit_turned_into_market_is_held_to_the_market_lot_sizes() -> None:
    market = replace(usdm_market(BTC), market_lot_size=Decimal("0.01"), market_max_amount=Decimal(1))
    result = normalize(limit(BTC, "buy", "0.1239", "70000"), market, TO_MARKET, Decimal(60_000))
    assert isinstance(result, Normalized)
    assert result.changes["amount"] == "0.1239 -> 0.12 (lot size 0.01)"
    too_much = normalize(limit(BTC, "buy", "2", "70000"), market, TO_MARKET, Decimal(60_000))
    assert isinstance(too_much, Refusal)
    assert too_much.reason.code == RefusalCode.AMOUNT_ABOVE_MAXIMUM


def amend(**fields: str) -> AmendOrder:
    decimals: Any = {name: Decimal(value) for name, value in fields.items()}
    return AmendOrder(id="a1", exchange="binance", account="main", symbol=BTC, target="i1", **decimals)


RESTING = OrderRequest(
    account="main",
    symbol=BTC,
    side=Side.SELL,
    type=OrderType.LIMIT,
    amount=Decimal("0.5"),
    client_order_id="c1",
    price=Decimal(61_000),
    time_in_force=TimeInForce.PO,
    reduce_only=True,
)


def amended(
    intent: AmendOrder,
    target: OrderRequest = RESTING,
    *,
    filled: str = "0",
    policy: NormalizerPolicy | None = None,
) -> Normalized | Refusal:
    return normalize_amend(
        intent, target, usdm_market(BTC), policy or NormalizerPolicy(), Decimal(60_000), Decimal(filled)
    )


def refusal_code(result: Normalized | Refusal) -> str:
    assert isinstance(result, Refusal), result
    return result.reason.code


def test_an_amend_keeps_what_it_does_not_name_and_rounds_what_it_names() -> None:
    result = amended(amend(price="61500.001"))
    assert isinstance(result, Normalized)
    assert (result.amount, result.price) == (Decimal("0.5"), Decimal("61500.01"))
    assert (result.side, result.time_in_force, result.reduce_only) == (Side.SELL, TimeInForce.PO, True)
    assert result.changes == {"price": "61500.001 -> 61500.01 (tick size 0.01)"}
    assert result.request("main", BTC, "c1") == replace(RESTING, price=Decimal("61500.01"))


def test_an_amend_that_comes_to_the_same_order_is_refused() -> None:
    assert refusal_code(amended(amend(amount="0.5009"))) == RefusalCode.AMEND_CHANGES_NOTHING


def test_an_amend_to_no_more_than_is_filled_is_refused_as_it_would_cancel() -> None:
    assert refusal_code(amended(amend(amount="0.2"), filled="0.2")) == RefusalCode.AMEND_BELOW_FILLED
    assert isinstance(amended(amend(amount="0.201"), filled="0.2"), Normalized)


def test_a_price_for_an_order_without_one_is_refused() -> None:
    stop = replace(
        RESTING, type=OrderType.STOP_MARKET, price=None, trigger_price=Decimal(50_000), time_in_force=None
    )
    assert refusal_code(amended(amend(price="49000"), stop)) == RefusalCode.AMEND_WITHOUT_PRICE
    assert isinstance(amended(amend(amount="0.4"), stop), Normalized)


def test_an_amended_price_too_far_is_refused_even_where_a_new_order_would_turn_into_market() -> None:
    assert refusal_code(amended(amend(price="53000"), policy=TO_MARKET)) == RefusalCode.LIMIT_TOO_FAR
    old = replace(RESTING, price=Decimal(80_000))
    assert isinstance(amended(amend(amount="0.4"), old, policy=TO_MARKET), Normalized)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_distance_percent": Decimal(0)}, "max_distance_percent is 0: expected a percentage above 0"),
        ({"max_distance_percent": Decimal("NaN")}, "max_distance_percent is NaN: expected"),
        ({"far_limit": FarLimit.MARKET}, "far_limit is market, which does nothing alone"),
    ],
)
def test_a_senseless_policy_is_refused_by_field_value_and_expectation(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        NormalizerPolicy(**fields)


def test_a_policy_reads_from_plain_configuration_and_knows_no_other_field() -> None:
    raw = {"default_time_in_force": "IOC", "max_distance_percent": 2.5, "far_limit": "market"}
    policy = msgspec.convert(raw, NormalizerPolicy)
    assert (policy.max_distance_percent, policy.far_limit) == (Decimal("2.5"), FarLimit.MARKET)
    with pytest.raises(msgspec.ValidationError, match="max_distance"):
        msgspec.convert({"max_distance": 3}, NormalizerPolicy)
