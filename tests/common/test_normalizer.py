"""The normaliser against a venue's rules, in examples that a trader would recognise."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from common.normalizer import Normalized, NormalizerPolicy, Refusal, RefusalCode, normalize
from orderlane.intents import TimeInForce
from tests.common.captures import TODAYS_BTCUSDT, spot_market, usdm_market, venues
from tests.common.orders import BTC, limit, ordered, place, refused

NO_POLICY = NormalizerPolicy()


def test_an_amount_goes_down_to_the_lot_and_a_buy_price_down_to_the_tick_and_both_are_said() -> None:
    result = ordered(limit(BTC, "buy", "0.12399", "64000.019"))
    assert (str(result.amount), str(result.price)) == ("0.123", "64000.01")
    assert result.changes == {
        "amount": "0.12399 -> 0.123 (lot size 0.001)",
        "price": "64000.019 -> 64000.01 (tick size 0.01)",
    }


def test_a_sell_price_goes_up_to_the_tick() -> None:
    assert ordered(limit(BTC, "sell", "0.1", "64000.011")).price == Decimal("64000.02")


def test_an_order_on_the_grid_is_left_alone() -> None:
    assert ordered(limit(BTC, "buy", "0.100", "64000.00")).changes == {}


def test_numbers_come_out_without_exponent_or_trailing_zeros() -> None:
    result = ordered(limit("DOGE/USDT:USDT", "buy", "1E+3", "0.20000"))
    assert (str(result.amount), str(result.price)) == ("1000", "0.2")


@pytest.mark.parametrize(
    ("type_", "side", "trigger", "expected"),
    [
        ("stop_market", "sell", "60000.003", "60000.01"),
        ("stop_market", "buy", "70000.007", "70000"),
        ("take_profit_market", "sell", "70000.003", "70000.01"),
        ("take_profit_market", "buy", "60000.007", "60000"),
    ],
)
def test_a_stop_fires_no_later_and_a_take_profit_takes_no_less_than_asked(
    type_: str, side: str, trigger: str, expected: str
) -> None:
    result = ordered(place(BTC, side, type_, "0.1", trigger_price=trigger, reduce_only=True))
    assert result.trigger_price == Decimal(expected)


def test_the_limit_of_a_stop_limit_is_rounded_as_any_limit_price() -> None:
    intent = place(BTC, "sell", "stop_limit", "0.1", trigger_price="60000.001", price="59900.001")
    result = ordered(intent)
    assert (result.trigger_price, result.price) == (Decimal("60000.01"), Decimal("59900.01"))


def test_an_amount_below_one_lot_is_refused_and_not_sent_as_zero() -> None:
    reason = refused(limit(BTC, "buy", "0.0009", "64000"))
    assert reason.code == RefusalCode.AMOUNT_BELOW_MINIMUM
    assert reason.numbers == {"amount": "0", "minimum": "0.001", "lot_size": "0.001"}
    assert reason.message == (
        "amount 0.0009 -> 0 (lot size 0.001) is below the least a limit order in BTC/USDT:USDT may have, 0.001: "
        "ask for more"
    )


def test_a_notional_below_the_minimum_is_refused_with_the_amount_that_would_do() -> None:
    reason = refused(limit("DOGE/USDT:USDT", "buy", "24.9", "0.2"))
    assert reason.code == RefusalCode.NOTIONAL_BELOW_MINIMUM
    assert reason.numbers == {"notional": "4.8", "minimum": "5", "amount": "24", "price": "0.2"}
    assert reason.message.endswith(
        "below the least an order in DOGE/USDT:USDT may be worth, 5: ask for 25 or more at this price"
    )
    assert ordered(limit("DOGE/USDT:USDT", "buy", "25", "0.2")).amount == 25


def test_closing_dust_with_a_reduce_only_order_is_exempt_from_the_notional() -> None:
    assert ordered(limit("DOGE/USDT:USDT", "sell", "3", "0.2", reduce_only=True)).amount == 3


def test_a_reduce_only_order_keeps_the_notional_where_the_venue_exempts_none() -> None:
    market = replace(usdm_market("DOGE/USDT:USDT"), reduce_only_exempt_from_notional=False)
    intent = limit("DOGE/USDT:USDT", "sell", "3", "0.2", reduce_only=True)
    result = normalize(intent, market, NO_POLICY, None)
    assert isinstance(result, Refusal)
    assert result.reason.code == RefusalCode.NOTIONAL_BELOW_MINIMUM


def test_a_stop_is_worth_what_it_trades_for_at_its_trigger() -> None:
    stop = place("DOGE/USDT:USDT", "sell", "stop_market", "24", trigger_price="0.2")
    assert refused(stop, reference="0.3").numbers["price"] == "0.2"
    ordered(place("DOGE/USDT:USDT", "buy", "stop_market", "24", trigger_price="0.3"), reference="0.2")


def test_a_market_order_is_judged_by_the_reference_price_if_there_is_one() -> None:
    intent = place("DOGE/USDT:USDT", "buy", "market", "24")
    assert refused(intent, reference="0.2").code == RefusalCode.NOTIONAL_BELOW_MINIMUM
    assert ordered(intent).amount == 24
    assert ordered(intent, reference="0.21").amount == 24


def test_market_orders_have_their_own_greatest_amount() -> None:
    assert ordered(limit("BTC/USDT", "buy", "120", "60000")).amount == 120
    reason = refused(place("BTC/USDT", "buy", "market", "120"))
    assert (reason.code, reason.numbers["maximum"]) == (RefusalCode.AMOUNT_ABOVE_MAXIMUM, "114.12693879")
    assert refused(place("BTC/USDT", "sell", "stop_market", "120", trigger_price="50000")).code == reason.code


def test_a_notional_above_the_maximum_is_refused_for_limits_where_market_orders_are_exempt() -> None:
    reason = refused(limit("BTC/USDT", "buy", "1000", "60000"), reference="60000")
    assert reason.code == RefusalCode.NOTIONAL_ABOVE_MAXIMUM
    wide = spot_market(
        filters=[one for one in TODAYS_BTCUSDT["filters"] if one["filterType"] != "MARKET_LOT_SIZE"]
    )
    result = normalize(place("BTC/USDT", "buy", "market", "1000"), wide, NO_POLICY, Decimal(60_000))
    assert isinstance(result, Normalized)


def test_futures_bound_a_buy_from_above_and_a_sell_from_below_only() -> None:
    reason = refused(limit(BTC, "buy", "0.1", "69000.01"), reference="60000")
    assert reason.code == RefusalCode.PRICE_OUTSIDE_BAND
    assert reason.numbers == {"price": "69000.01", "reference_price": "60000", "highest": "69000"}
    assert "while its reference price is 60000 (highest 69000): price it nearer" in reason.message
    ordered(limit(BTC, "buy", "0.1", "69000"), reference="60000")
    ordered(limit(BTC, "buy", "0.1", "6000"), reference="60000")
    assert refused(limit(BTC, "sell", "0.1", "50999.99"), reference="60000").numbers["lowest"] == "51000"
    ordered(limit(BTC, "sell", "0.1", "600000"), reference="60000")


def test_a_protective_stop_limit_may_stand_outside_todays_band_on_futures() -> None:
    intent = place(BTC, "sell", "stop_limit", "0.1", trigger_price="45000", price="44900", reduce_only=True)
    assert ordered(intent, reference="60000").price == Decimal(44_900)


def test_spot_bounds_each_side_by_its_own_multipliers() -> None:
    ordered(limit("BTC/USDT", "buy", "0.1", "300000"), reference="60000")
    assert (
        refused(limit("BTC/USDT", "sell", "0.1", "300000"), reference="60000").numbers["highest"] == "240000"
    )
    ordered(limit("BTC/USDT", "buy", "0.1", "12000"), reference="60000")
    assert refused(limit("BTC/USDT", "sell", "0.1", "12000"), reference="60000").numbers["lowest"] == "30000"


def test_a_buy_below_the_first_tick_is_refused_and_not_sent_at_zero() -> None:
    reason = refused(limit("BTC/USDT", "buy", "100", "0.004"))
    assert (reason.code, reason.numbers) == (
        RefusalCode.PRICE_BELOW_MINIMUM,
        {"price": "0", "minimum": "0.01"},
    )


def test_a_trigger_outside_the_price_range_is_refused_under_its_own_name() -> None:
    low = place(BTC, "sell", "stop_market", "0.1", trigger_price="500")
    high = place(BTC, "buy", "stop_market", "0.1", trigger_price="1000001")
    assert refused(low).code == RefusalCode.TRIGGER_PRICE_BELOW_MINIMUM
    assert refused(high).code == RefusalCode.TRIGGER_PRICE_ABOVE_MAXIMUM


def test_a_market_that_is_not_in_trading_is_refused() -> None:
    reason = refused(limit("BTCST/USDT:USDT", "buy", "10", "40"))
    assert reason.code == RefusalCode.MARKET_INACTIVE
    assert "BTCST/USDT:USDT is not in trading" in reason.message


def test_an_order_type_the_market_does_not_take_is_refused_with_those_it_takes() -> None:
    market = venues()["binance"].markets["BTC/USDT"]
    intent = place("BTC/USDT", "sell", "stop_market", "0.1", trigger_price="30000")
    result = normalize(intent, market, NO_POLICY, None)
    assert isinstance(result, Refusal)
    assert result.reason.code == RefusalCode.ORDER_TYPE_NOT_ALLOWED
    assert result.reason.message == (
        "BTC/USDT takes no stop_market orders: use one of limit, market, stop_limit, take_profit_limit"
    )


def test_a_post_only_stop_is_refused_on_spot_and_taken_on_futures() -> None:
    spot, futures = (
        place(
            symbol,
            "sell",
            "stop_limit",
            "0.1",
            trigger_price="50000",
            price="49000",
            time_in_force=TimeInForce.PO,
        )
        for symbol in ("BTC/USDT", BTC)
    )
    assert refused(spot).code == RefusalCode.TIME_IN_FORCE_NOT_ALLOWED
    assert ordered(futures).time_in_force is TimeInForce.PO


def test_a_time_in_force_the_market_lacks_is_refused_with_those_it_has() -> None:
    market = spot_market(orderTypes=["LIMIT", "MARKET"])
    intent = limit("BTC/USDT", "buy", "0.1", "60000", time_in_force=TimeInForce.PO)
    result = normalize(intent, market, NO_POLICY, None)
    assert isinstance(result, Refusal)
    assert result.reason.message == "BTC/USDT has no time in force PO: use one of FOK, GTC, IOC"


def test_reduce_only_is_refused_on_spot_rather_than_forgotten() -> None:
    intent = limit("BTC/USDT", "sell", "0.1", "60000", reduce_only=True)
    assert refused(intent).code == RefusalCode.REDUCE_ONLY_ON_SPOT


def test_the_rules_of_another_symbol_are_not_taken() -> None:
    with pytest.raises(ValueError, match="the rules given are those of BTC/USDT:USDT"):
        normalize(limit("ETH/USDT:USDT", "buy", "1", "3000"), usdm_market(BTC), NO_POLICY, None)
