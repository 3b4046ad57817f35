"""Which extra parameters an intent may carry, and what settings never show."""

from __future__ import annotations

import msgspec
import pytest

from common.exchange import ExchangeSettings, forbidden_params, open_exchange
from common.exchange.params import ALLOWED, NEVER_ALLOWED
from common.exchange.urls import redirected
from tests.common.exchange.venues import CREDENTIALS, EVERY, VenueUnderTest, settings_on

OWN_FIELDS = {
    "binance": "symbol side type quantity price stopPrice timeInForce newClientOrderId newOrderRespType timestamp",
    "binanceusdm": "clientAlgoId triggerPrice algoType reduceOnly closePosition priceMatch goodTillDate recvWindow",
    "bybit": "category orderLinkId orderType qty price triggerPrice triggerDirection marketUnit reduceOnly orderFilter",
    "okx": "instId clOrdId ordType sz px tgtCcy reduceOnly attachAlgoOrds",
    "kraken": "pair ordertype volume price price2 cl_ord_id userref oflags timeinforce deadline starttm expiretm nonce",
}


@pytest.mark.parametrize("venue", ALLOWED)
def test_a_venues_own_list_is_allowed_and_nothing_else(venue: str) -> None:
    assert forbidden_params(venue, ALLOWED[venue]) == ()
    assert forbidden_params(venue, ["somethingElse"]) == ("somethingElse",)
    assert not {name.lower() for name in ALLOWED[venue]} & NEVER_ALLOWED


@pytest.mark.parametrize("venue", OWN_FIELDS)
def test_what_an_intents_fields_say_no_configuration_lets_params_say(venue: str) -> None:
    names = OWN_FIELDS[venue].split()
    checked = [name for name in names if name != "newOrderRespType"]
    assert forbidden_params(venue, checked, frozenset(checked)) == tuple(sorted(checked))


def test_a_configured_list_replaces_the_venues_own() -> None:
    assert forbidden_params("binance", ["custom"], frozenset({"custom"})) == ()
    assert forbidden_params("binance", ["strategyId"], frozenset({"custom"})) == ("strategyId",)


def test_an_unknown_venue_takes_no_params() -> None:
    assert forbidden_params("gate", ["anything"]) == ("anything",)


def test_credentials_are_never_shown() -> None:
    settings = settings_on("http://127.0.0.1:9", "binance")
    for shown in (repr(settings), str(settings), f"{settings.accounts}", repr(CREDENTIALS)):
        for secret in (CREDENTIALS.key, CREDENTIALS.secret, CREDENTIALS.password):
            assert secret is not None
            assert secret.reveal() not in shown
    with pytest.raises(TypeError):
        msgspec.json.encode(settings)


@pytest.mark.parametrize("endpoint", ["", "paper", "ftp://127.0.0.1", "http://", "http://h/?a=b"])
def test_an_endpoint_that_is_none_is_refused_by_name(endpoint: str) -> None:
    with pytest.raises(ValueError, match="expected live, testnet, or a base URL"):
        ExchangeSettings(name="x", venue="binance", accounts={}, endpoint=endpoint)


def test_an_unknown_venue_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a ccxt id"):
        open_exchange(ExchangeSettings(name="x", venue="nowhere", accounts={}))


def test_a_venue_without_a_testnet_says_so() -> None:
    with pytest.raises(ValueError, match="no testnet"):
        open_exchange(ExchangeSettings(name="x", venue="kraken", accounts={}, endpoint="testnet"))


@pytest.mark.parametrize("venue", ["binance", "binanceusdm", "bybit", "okx"])
def test_testnet_leaves_the_live_hosts(venue: str) -> None:
    live = open_exchange(ExchangeSettings(name="x", venue=venue, accounts={}))._public
    test = open_exchange(ExchangeSettings(name="x", venue=venue, accounts={}, endpoint="testnet"))._public
    assert live.urls["api"] != test.urls["api"] or test.headers.get("x-simulated-trading") == "1"


@pytest.mark.parametrize(("venue", "window"), [("kraken", 1_000), ("binance", 60_001), ("bybit", 0)])
def test_a_receive_window_that_the_venue_refuses_is_refused_at_once(venue: str, window: int) -> None:
    with pytest.raises(ValueError, match="receive_window_ms"):
        open_exchange(ExchangeSettings(name="x", venue=venue, accounts={}, receive_window_ms=window))


@pytest.mark.parametrize("venue", EVERY, ids=lambda venue: venue.venue)
def test_a_base_url_takes_every_host_and_keeps_every_path(venue: VenueUnderTest) -> None:
    urls = open_exchange(settings_on("http://127.0.0.1:9/", venue.venue))._public.urls["api"]
    for url in urls.values():
        assert url.startswith("http://127.0.0.1:9")
        assert "//" not in url.removeprefix("http://")
    assert redirected("https://api.{hostname}/v5", "http://127.0.0.1:9") == "http://127.0.0.1:9/v5"
