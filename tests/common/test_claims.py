import pytest

from common.claims import Claims
from common.exchange.base import Usage
from common.venue_limits import Operation, venue_limits
from orderlane.keys import Keys

KEYS = Keys("binanceusdm", "pool")
CLAIMS = Claims(KEYS, venue_limits("binanceusdm"))
OKX = Claims(Keys("okx"), venue_limits("okx"))
MINUTE_MS = 60_000


def test_a_claim_lists_the_penalties_of_its_scopes_and_then_its_buckets() -> None:
    claim = CLAIMS.claim(Operation.PLACE, "main", "BTC/USDT:USDT", urgency=5)
    assert claim.keys == (
        KEYS.bucket("ip", "penalty"),
        KEYS.bucket("main", "penalty"),
        KEYS.bucket("ip", "weight_1m"),
        KEYS.bucket("main", "orders_10s"),
        KEYS.bucket("main", "orders_1m"),
    )
    assert claim.arguments[:2] == (2, 3)
    assert len(claim.arguments) == 2 + 3 * 6
    assert [claim.arguments[2 + 6 * i] for i in range(3)] == [1, 2, 2]


def test_only_urgent_claims_reach_the_reserve() -> None:
    ordinary = CLAIMS.claim(Operation.PLACE, "main", "X/Y", urgency=3)
    urgent = CLAIMS.claim(Operation.PLACE, "main", "X/Y", urgency=2)
    assert not ordinary.urgent
    assert urgent.urgent
    assert all(ordinary.arguments[4::6])
    assert not any(urgent.arguments[4::6])


@pytest.mark.parametrize("venue", ["binance", "binanceusdm", "bybit", "okx", "kraken"])
def test_orders_leave_a_share_of_every_limit_to_what_is_urgent(venue: str) -> None:
    """Of the counts of orders as well as of weights and requests."""
    claims = Claims(Keys(venue), venue_limits(venue))
    ordinary = claims.claim(Operation.PLACE, "main", "X/Y", urgency=5)
    urgent = claims.claim(Operation.PLACE, "main", "X/Y", urgency=2)
    assert all(reserve >= 1 for reserve in ordinary.arguments[4::6])
    assert not any(urgent.arguments[4::6])
    assert ordinary.keys == urgent.keys


def test_accounts_wait_at_gates_of_their_own_and_cancels_do_not_queue_behind_orders() -> None:
    place = CLAIMS.claim(Operation.PLACE, "main", "X/Y", urgency=5)
    gates = {
        place.gate,
        CLAIMS.claim(Operation.PLACE, "other", "X/Y", urgency=5).gate,
        CLAIMS.claim(Operation.CANCEL, "main", "X/Y", urgency=2).gate,
    }
    assert len(gates) == 3
    assert CLAIMS.claim(Operation.PLACE, "main", "X/Y", urgency=1).gate == place.gate


def test_a_limit_by_symbol_gives_each_symbol_its_own_bucket() -> None:
    one, other = (OKX.claim(Operation.PLACE, "main", symbol, urgency=5) for symbol in ("A/B", "C/B:B"))
    assert Keys("okx").bucket("main", "orders_a_b") in one.keys
    assert Keys("okx").bucket("main", "orders_c_b_b") in other.keys


def test_a_long_bucket_is_not_emptied_by_a_pause_but_still_waits_for_its_end() -> None:
    claims = Claims(Keys("binance"), venue_limits("binance"))
    claim = claims.claim(Operation.PLACE, "main", "X/Y", urgency=5)
    names = [key.rpartition(":")[2] for key in claim.keys[2:]]
    ruled_by = dict(zip(names, claim.arguments[2::6], strict=True))
    assert ruled_by == {"weight_1m": 1, "orders_10s": 2, "orders_1d": 0}
    assert claim.arguments[0] == 2


def test_the_same_request_is_claimed_once() -> None:
    first = CLAIMS.claim(Operation.FIND, "main", "X/Y", urgency=5)
    assert CLAIMS.claim(Operation.FIND, "main", "X/Y", urgency=7) is first


def test_a_charge_by_account_or_symbol_needs_one() -> None:
    with pytest.raises(ValueError, match="account"):
        CLAIMS.claim(Operation.PLACE, urgency=5)
    with pytest.raises(ValueError, match="symbol"):
        OKX.claim(Operation.PLACE, "main", urgency=5)


def test_an_account_called_like_the_address_scope_is_refused() -> None:
    with pytest.raises(ValueError, match="'ip'"):
        CLAIMS.claim(Operation.PLACE, "ip", "X/Y", urgency=5)


def test_a_count_that_leaves_a_full_bucket_asks_for_nothing() -> None:
    assert CLAIMS.ceiling(Usage("ip", "weight_1m", 100), "main", MINUTE_MS + 30_000) is None


def test_a_count_above_the_even_pace_lowers_the_bucket_it_names() -> None:
    ceiling = CLAIMS.ceiling(Usage("account", "orders_10s", 250), "main", 1_700_000_000_000 + 5_000)
    assert ceiling is not None
    assert ceiling.keys == (KEYS.bucket("main", "penalty"), KEYS.bucket("main", "orders_10s"))


def test_an_accounts_count_without_an_account_is_passed_over() -> None:
    assert CLAIMS.ceiling(Usage("account", "orders_10s", 250), "", 5_000) is None


@pytest.mark.parametrize("name", ["raw_requests", "requests"])
def test_a_count_of_a_limit_that_is_not_ours_is_passed_over(name: str) -> None:
    assert CLAIMS.ceiling(Usage("ip", name, 10**6), "main", 30_000) is None


def test_a_count_where_the_venue_keeps_no_aligned_windows_is_passed_over() -> None:
    bybit = Claims(Keys("bybit"), venue_limits("bybit"))
    assert bybit.ceiling(Usage("ip", "requests", 10**6), "main", 3_000) is None
