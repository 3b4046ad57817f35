import re

import pytest

from common.claims import Claims
from common.venue_limits import VENUES, Operation, Scope, VenueLimits, cost_of, venue_limits
from orderlane.keys import KNOWN, Keys

EVERY = pytest.mark.parametrize("venue", VENUES.values(), ids=VENUES)


@EVERY
def test_every_venue_charges_every_operation_for_limits_it_has(venue: VenueLimits) -> None:
    assert set(venue.charges) == set(Operation)
    assert all(
        venue.charges[operation] for operation in Operation if operation is not Operation.PLACE_TOGETHER
    )
    assert all(venue.conditional_charges.values())
    for charges in (*venue.charges.values(), *venue.conditional_charges.values()):
        for charge in charges:
            assert charge.cost > 0
            assert venue.limits[charge.limit_name].scope is charge.scope


@EVERY
def test_every_limit_is_charged_by_something_and_has_a_name_fit_for_a_key(venue: VenueLimits) -> None:
    charged = {
        charge.limit_name
        for charges in (*venue.charges.values(), *venue.conditional_charges.values())
        for charge in charges
    }
    assert charged == set(venue.limits)
    assert all(
        re.fullmatch("[a-z0-9_]+", name) and name == limit.name for name, limit in venue.limits.items()
    )


@EVERY
def test_every_request_can_be_claimed_and_all_its_keys_are_known(venue: VenueLimits) -> None:
    claims = Claims(Keys(venue.venue), venue)
    for operation in Operation:
        for conditional in (False, True):
            for urgency in (0, 5):
                claim = claims.claim(
                    operation, "main.sub-1", "BTC/USDT:USDT-250926", urgency=urgency, conditional=conditional
                )
                assert all(KNOWN.match(key) for key in claim.keys)


@EVERY
def test_what_needs_no_account_is_charged_to_none(venue: VenueLimits) -> None:
    for operation in (Operation.MARKETS, Operation.TIME):
        assert {charge.scope for charge in venue.cost_of(operation)} == {Scope.IP}


@pytest.mark.parametrize("venue", ["binance", "binanceusdm"])
def test_binance_does_not_count_cancels_and_lookups_as_orders(venue: str) -> None:
    for operation in (Operation.CANCEL, Operation.CANCEL_ALL, Operation.FIND, Operation.OPEN_ORDERS):
        assert {charge.limit_name for charge in cost_of(venue, operation)} == {"weight_1m"}
    for operation in (Operation.PLACE, Operation.AMEND):
        assert "orders_10s" in {charge.limit_name for charge in cost_of(venue, operation)}


def test_a_configured_notation_replaces_the_one_that_is_built_in_and_no_other() -> None:
    changed = venue_limits("binanceusdm", {"orders_10s": "1000/10 seconds"})
    assert changed.limits["orders_10s"].notation == "1000/10 seconds"
    assert changed.limits["orders_10s"].header == "x-mbx-order-count-10s"
    assert changed.limits["weight_1m"] == VENUES["binanceusdm"].limits["weight_1m"]
    assert VENUES["binanceusdm"].limits["orders_10s"].notation == "300/10 seconds"


def test_a_limit_or_venue_nobody_knows_is_refused_with_those_known() -> None:
    with pytest.raises(ValueError, match="orders_10s"):
        venue_limits("binance", {"orders": "1/second"})
    with pytest.raises(ValueError, match="binanceusdm"):
        venue_limits("mtgox")


def test_a_bad_notation_is_refused_with_venue_and_limit() -> None:
    with pytest.raises(ValueError, match=r"binance, limit 'weight_1m'.*'many'"):
        venue_limits("binance", {"weight_1m": "many"})


def test_a_limit_too_small_for_an_operation_is_refused_when_claims_are_built() -> None:
    with pytest.raises(ValueError, match=r"binance, limit 'weight_1m'.* 80"):
        Claims(Keys("binance"), venue_limits("binance", {"weight_1m": "60/minute"}))
