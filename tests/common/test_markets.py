"""Market rules as ccxt's markets give them, and their way through Redis to the pool's other processes."""

from decimal import Decimal, Inexact
from typing import Any

import pytest
from msgspec.structs import replace

from common.market_rules import UnusableMarket, market_from_ccxt, markets_from_ccxt
from common.markets import Market, Markets, MarketType, PriceBand, SharedMarkets, UnknownSymbol, load, publish
from orderlane.connection import connect_async
from orderlane.intents import OrderType, TimeInForce
from orderlane.keys import Keys
from tests.common.captures import (
    TODAYS_BTCUSDT,
    Binance,
    BinanceUsdm,
    every_market,
    spot_market,
    usdm_market,
    venues,
)

KEYS = Keys("binance")
NOW_MS = 1_700_000_000_000


def captured(exchange_id: str, symbol: str) -> Market:
    return venues()[exchange_id].markets[symbol]


def ccxt_market(exchange_id: str, symbol: str) -> dict[str, Any]:
    market: dict[str, Any] = venues()[exchange_id].exchange.markets[symbol]
    return market


def test_a_swap_has_every_rule_of_its_filters() -> None:
    assert usdm_market("BTC/USDT:USDT") == Market(
        symbol="BTC/USDT:USDT",
        venue_id="BTCUSDT",
        type=MarketType.SWAP,
        base="BTC",
        quote="USDT",
        settle="USDT",
        active=True,
        contract_size=Decimal(1),
        tick_size=Decimal("0.01"),
        min_price=Decimal("556.72"),
        max_price=Decimal(1_000_000),
        lot_size=Decimal("0.001"),
        min_amount=Decimal("0.001"),
        max_amount=Decimal(1000),
        market_lot_size=Decimal("0.001"),
        market_min_amount=Decimal("0.001"),
        market_max_amount=Decimal(1000),
        min_notional=Decimal(5),
        market_min_notional=Decimal(5),
        reduce_only_exempt_from_notional=True,
        price_band=PriceBand(buy_up=Decimal("1.15"), sell_down=Decimal("0.85")),
        order_types=frozenset(OrderType),
        times_in_force=frozenset(TimeInForce),
        post_only_stops=True,
    )


def test_todays_spot_filters_are_read_with_a_band_for_each_side_and_notionals_for_each_kind_of_order() -> (
    None
):
    market = spot_market()
    assert market.price_band == PriceBand(
        buy_down=Decimal("0.2"), buy_up=Decimal(5), sell_down=Decimal("0.5"), sell_up=Decimal(4)
    )
    assert (market.min_notional, market.max_notional) == (Decimal(5), Decimal(9_000_000))
    assert (market.market_min_notional, market.market_max_notional) == (Decimal(5), None)
    assert not market.reduce_only_exempt_from_notional
    assert market.order_types == frozenset(OrderType)
    assert market.times_in_force == frozenset(TimeInForce)
    assert not market.post_only_stops


def test_a_minimum_that_spares_market_orders_is_read_as_such() -> None:
    rule = {"filterType": "MIN_NOTIONAL", "minNotional": "10", "applyToMarket": False, "avgPriceMins": 5}
    others = [one for one in TODAYS_BTCUSDT["filters"] if one["filterType"] != "NOTIONAL"]
    market = spot_market(filters=[*others, rule])
    assert (market.min_notional, market.market_min_notional) == (Decimal(10), None)


def test_the_tick_is_the_filters_and_not_the_precision() -> None:
    entry = venues()["binanceusdm"].entries["ADA/USDT:USDT"]
    assert entry["pricePrecision"] == 5
    assert usdm_market("ADA/USDT:USDT").tick_size == Decimal("0.0001")


def test_the_filter_is_right_where_ccxts_precision_is_wrong() -> None:
    blurred = ccxt_market("binanceusdm", "ADA/USDT:USDT") | {
        "precision": {"price": "0.00001", "amount": "0.1"},
        "limits": {},
    }
    assert market_from_ccxt("binanceusdm", blurred) == usdm_market("ADA/USDT:USDT")


def test_market_orders_keep_the_stricter_of_both_lot_size_filters() -> None:
    bitcoin = spot_market()
    assert (bitcoin.market_lot_size, bitcoin.market_min_amount) == (Decimal("0.00001"), Decimal("0.00001"))
    assert (bitcoin.max_amount, bitcoin.market_max_amount) == (Decimal(9000), Decimal("114.12693879"))
    coarse = {"filterType": "MARKET_LOT_SIZE", "minQty": "2", "maxQty": "90000", "stepSize": "0.00003"}
    others = [one for one in TODAYS_BTCUSDT["filters"] if one["filterType"] != "MARKET_LOT_SIZE"]
    market = spot_market(filters=[*others, coarse])
    assert (market.market_lot_size, market.market_min_amount) == (Decimal("0.00003"), Decimal(2))
    assert market.market_max_amount == 9000


def test_a_bound_of_zero_is_no_bound() -> None:
    rule = {"filterType": "PRICE_FILTER", "minPrice": "0.00", "maxPrice": "0.00", "tickSize": "0.01"}
    others = [one for one in TODAYS_BTCUSDT["filters"] if one["filterType"] != "PRICE_FILTER"]
    market = spot_market(filters=[*others, rule])
    assert (market.min_price, market.max_price) == (None, None)


def test_a_market_out_of_trading_is_inactive_and_one_that_does_not_say_is_not() -> None:
    assert not usdm_market("BTCST/USDT:USDT").active
    silent = ccxt_market("okx", "BTC/USDT:USDT") | {"active": None}
    assert market_from_ccxt("okx", silent).active


def test_amounts_on_contracts_are_in_base_and_turn_into_contracts_and_back() -> None:
    market = captured("okx", "BTC/USDT:USDT")
    assert market.contract_size == Decimal("0.01")
    assert (market.lot_size, market.min_amount, market.max_amount) == (
        Decimal("0.01"),
        Decimal("0.01"),
        Decimal(1_000_000),
    )
    assert str(market.contracts(Decimal("1.23"))) == "123"
    assert str(market.amount(Decimal(123))) == "1.23"
    thousand = captured("okx", "DOGE/USDT:USDT")
    assert str(thousand.contracts(Decimal(45_000))) == "45"
    with pytest.raises(Inexact):
        replace(market, contract_size=Decimal("0.03")).contracts(Decimal("0.01"))


def test_an_inverse_contract_is_named_as_unusable_with_the_reason() -> None:
    markets = venues()["okx"].markets
    assert "BTC/USD:BTC" not in markets
    with pytest.raises(
        UnknownSymbol, match="contracts of 100 USD are settled in BTC, so an amount in BTC is no"
    ):
        markets["BTC/USD:BTC"]


def test_a_pair_has_the_steps_and_minimum_that_ccxt_gives() -> None:
    market = captured("kraken", "ETH/USD")
    assert (market.tick_size, market.lot_size) == (Decimal("0.01"), Decimal("0.00000001"))
    assert (market.type, market.max_amount, market.order_types) == (MarketType.SPOT, None, None)
    assert market.min_amount is not None
    assert market.min_amount > 0


@pytest.mark.parametrize("given", ["0.00000123", 0.00000123])
def test_numbers_keep_every_digit_whether_ccxt_gives_text_or_floats(given: str | float) -> None:
    changed = ccxt_market("kraken", "ETH/USD") | {"precision": {"price": given, "amount": 1}}
    market = market_from_ccxt("kraken", changed)
    assert (str(market.tick_size), str(market.lot_size)) == ("0.00000123", "1")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"precision": {"price": None, "amount": "1"}}, "no tick size"),
        ({"precision": {"price": "0.1", "amount": "0"}}, "no lot size"),
        ({"precision": {"price": "a tenth", "amount": "1"}}, "'a tenth' is no number"),
        ({"precision": {"price": float("nan"), "amount": "1"}}, "not finite"),
        ({"precision": {"price": True, "amount": "1"}}, "True is a bool"),
        ({"precision": {"price": "-0.1", "amount": "1"}}, "expected 0 or more"),
        ({"type": "index"}, "its type is 'index'; expected one of spot, swap, future, option"),
        ({"contractSize": None}, "no contract size"),
        ({"linear": False}, "are settled in USDT"),
    ],
)
def test_a_market_whose_rules_cannot_be_told_is_left_out_and_named(
    changed: dict[str, Any], reason: str
) -> None:
    broken = ccxt_market("okx", "BTC/USDT:USDT") | changed
    with pytest.raises(UnusableMarket, match=reason):
        market_from_ccxt("okx", broken)
    good = ccxt_market("okx", "ETH/USDT:USDT")
    markets = markets_from_ccxt("okx", {"BTC/USDT:USDT": broken, "ETH/USDT:USDT": good})
    assert list(markets) == ["ETH/USDT:USDT"]
    assert list(markets.unusable) == ["BTC/USDT:USDT"]


def test_a_precision_that_is_no_step_size_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"precisionMode of kraken is 3; expected 4 \(TICK_SIZE\)"):
        markets_from_ccxt("kraken", {}, 3)


@pytest.mark.parametrize(
    ("exchange_id", "symbol", "hint"),
    [
        ("binanceusdm", "BTC/USDT", "did you mean BTC/USDT:USDT"),
        ("binanceusdm", "ADAUSDT", "did you mean ADA/USDT:USDT?"),
        ("binance", "btc/usdt", "did you mean BTC/USDT?"),
        ("binance", "ETH/BTC:BTC", "did you mean ETH/BTC?"),
        ("binance", "SHIBB/USDT", "did you mean SHIB/USDT"),
        ("okx", "BTC-USDT-SWAP", "did you mean BTC/USDT:USDT?"),
        ("kraken", "ZZZZZZ", "see the exchange's list of symbols"),
    ],
)
def test_an_unknown_symbol_is_answered_with_those_that_look_like_it(
    exchange_id: str, symbol: str, hint: str
) -> None:
    markets = venues()[exchange_id].markets
    assert symbol not in markets
    with pytest.raises(UnknownSymbol) as caught:
        markets[symbol]
    assert caught.value.message.startswith(f"symbol {symbol!r} is none of the exchange's {len(markets)}: ")
    assert hint in str(caught.value)
    assert markets.get(symbol) is None


async def test_what_was_published_is_loaded_whole(redis_url: str) -> None:
    async with connect_async(redis_url) as redis:
        assert await load(redis, KEYS) is None
        for captured_venue in venues().values():
            exchange, markets = captured_venue.exchange, captured_venue.markets
            await publish(redis, KEYS, markets, exchange.markets, NOW_MS)
            shared = await load(redis, KEYS)
            assert isinstance(shared, SharedMarkets)
            assert shared.loaded_at_ms == NOW_MS
            assert dict(shared.markets) == dict(markets)
            assert shared.markets.unusable == markets.unusable
        assert await redis.keys() == [KEYS.markets.encode()]


async def test_a_second_publish_replaces_the_first(redis_url: str) -> None:
    spot, usdm = venues()["binance"], venues()["binanceusdm"]
    async with connect_async(redis_url) as redis:
        await publish(redis, KEYS, spot.markets, spot.exchange.markets, NOW_MS)
        await publish(redis, KEYS, usdm.markets, usdm.exchange.markets, NOW_MS + 1)
        shared = await load(redis, KEYS)
    assert shared is not None
    assert shared.loaded_at_ms == NOW_MS + 1
    assert set(shared.markets) == set(usdm.markets)
    assert {market["symbol"] for market in shared.ccxt_markets} == set(usdm.exchange.markets)


@pytest.mark.parametrize(("exchange_id", "fresh"), [("binance", Binance), ("binanceusdm", BinanceUsdm)])
async def test_a_ccxt_exchange_set_from_redis_is_the_one_that_loaded_the_markets(
    redis_url: str, exchange_id: str, fresh: type
) -> None:
    loaded = venues()[exchange_id].exchange
    async with connect_async(redis_url) as redis:
        await publish(redis, KEYS, venues()[exchange_id].markets, loaded.markets, NOW_MS)
        shared = await load(redis, KEYS)
    assert shared is not None
    other = fresh()
    other.set_markets(shared.ccxt_markets)
    assert other.markets == loaded.markets
    assert set(other.markets_by_id) == set(loaded.markets_by_id)
    assert other.currencies == loaded.currencies
    symbol = loaded.symbols[0]
    arguments = (symbol, "limit", "buy", "3", "1", {"clientOrderId": "c1", "timeInForce": "GTC"})
    assert other.create_order_request(*arguments) == loaded.create_order_request(*arguments)


@pytest.mark.parametrize("field", ["loaded_at", "markets", "ccxt"])
@pytest.mark.parametrize("value", [None, b"", b"{}", b"\xff\x00nonsense"])
async def test_what_this_version_cannot_read_counts_as_not_published(
    redis_url: str, field: str, value: bytes | None
) -> None:
    usdm = venues()["binanceusdm"]
    async with connect_async(redis_url) as redis:
        await publish(redis, KEYS, usdm.markets, usdm.exchange.markets, NOW_MS)
        if value is None:
            await redis.hdel(KEYS.markets, field)
        else:
            await redis.hset(KEYS.markets, field, value)
        assert await load(redis, KEYS) is None


def test_every_captured_market_can_be_used_save_the_inverse_ones() -> None:
    for name, venue in venues().items():
        inverse = {symbol for symbol, market in venue.exchange.markets.items() if market["inverse"]}
        assert set(venue.markets.unusable) == inverse, name
    assert len(list(every_market())) > 40


def test_rules_without_any_market_answer_too() -> None:
    with pytest.raises(UnknownSymbol, match="none of the exchange's 0"):
        Markets([])["BTC/USDT"]
