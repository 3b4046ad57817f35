import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from limits import RateLimitItem, RateLimitItemPerSecond, parse

from common.buckets import (
    EXACT_INTEGERS,
    SYNC_BLIND_MS,
    Bucket,
    Margins,
    ceiling_after_usage,
    parse_notation,
    plan_bucket,
)

MARGINS = st.builds(
    Margins,
    safety=st.floats(0.05, 1.0),
    burst=st.floats(0.0, 0.9),
    reserve=st.floats(0.0, 0.9),
    arrival_spread_ms=st.integers(0, 60_000),
)
ITEMS = st.builds(RateLimitItemPerSecond, st.integers(1, 10_000), st.integers(1, 86_400))


def planned(item: RateLimitItem, cost: int, margins: Margins) -> Bucket:
    try:
        return plan_bucket(item, greatest_cost=cost, margins=margins)
    except ValueError:
        assume(False)
        raise


@given(ITEMS, st.integers(1, 100), MARGINS)
def test_no_window_even_widened_by_the_arrival_spread_can_hold_more_than_the_limit(
    item: RateLimitItem, cost: int, margins: Margins
) -> None:
    bucket = planned(item, cost, margins)
    most = bucket.most_in(bucket.window_ms + margins.arrival_spread_ms)
    assert most <= item.amount
    assert most <= max(1, item.amount * margins.safety)


@given(ITEMS, st.integers(1, 100), MARGINS)
def test_a_planned_bucket_lets_every_request_through_sometime(
    item: RateLimitItem, cost: int, margins: Margins
) -> None:
    bucket = planned(item, cost, margins)
    assert bucket.refill > 0
    assert 0 <= bucket.reserve <= bucket.capacity - cost
    assert math.gcd(bucket.refill, bucket.refill_ms) == 1
    assert bucket.capacity * bucket.refill_ms < EXACT_INTEGERS


def test_the_default_margins_use_most_of_a_limit() -> None:
    bucket = plan_bucket(parse("300/10 seconds"))
    assert (bucket.capacity, bucket.reserve) == (57, 5)
    assert bucket.most_in(10_250) == 285


@given(ITEMS, st.integers(1, 100), MARGINS)
def test_whatever_can_hold_one_token_beside_its_greatest_request_keeps_one_for_the_urgent(
    item: RateLimitItem, cost: int, margins: Margins
) -> None:
    bucket = planned(item, cost, margins)
    assert (bucket.reserve >= 1) is (margins.reserve > 0 and bucket.capacity > cost)


@pytest.mark.parametrize(
    ("notation", "cost", "capacity", "reserve"),
    [("40/10 seconds", 1, 7, 1), ("10/second", 1, 2, 1), ("10/second", 2, 2, 0), ("5/second", 1, 1, 0)],
)
def test_a_small_limit_has_a_reserve_too(notation: str, cost: int, capacity: int, reserve: int) -> None:
    bucket = plan_bucket(parse(notation), greatest_cost=cost)
    assert (bucket.capacity, bucket.reserve) == (capacity, reserve)


def test_without_a_reserve_no_bucket_is_made_larger_for_it() -> None:
    assert plan_bucket(parse("10/second"), margins=Margins(reserve=0)).capacity == 1


def test_a_limit_of_one_lets_one_through_in_each_window() -> None:
    bucket = plan_bucket(parse("1/second"))
    assert (bucket.capacity, bucket.refill, bucket.refill_ms) == (1, 1, 1_251)


def test_a_counter_that_decays_is_a_bucket_of_its_own_burst_and_rate() -> None:
    item, burst = parse_notation("1/3 seconds burst 15")
    bucket = plan_bucket(item, burst=burst, greatest_cost=2)
    assert (bucket.capacity, bucket.refill, bucket.refill_ms, bucket.reserve) == (14, 1, 3_000, 1)


@pytest.mark.parametrize(
    ("notation", "cost"),
    [("10/second", 9), ("1/second", 2), ("1/second burst 5", 5), ("100000000/365 days", 1)],
)
def test_a_limit_that_can_not_serve_its_requests_is_refused_when_planned(notation: str, cost: int) -> None:
    item, burst = parse_notation(notation)
    with pytest.raises(ValueError, match="limit"):
        plan_bucket(item, burst=burst, greatest_cost=cost)


@pytest.mark.parametrize(
    ("notation", "amount", "seconds", "burst"),
    [
        ("300/10 seconds", 300, 10, None),
        ("6000/minute", 6000, 60, None),
        (" 20 per 2 second ", 20, 2, None),
        ("200000/day", 200_000, 86_400, None),
        ("1/3 seconds burst 15", 1, 3, 15),
    ],
)
def test_notations_are_read(notation: str, amount: int, seconds: int, burst: int | None) -> None:
    item, read = parse_notation(notation)
    assert (item.amount, item.get_expiry(), read) == (amount, seconds, burst)


@pytest.mark.parametrize(
    "notation",
    [
        "",
        "fast",
        "0/second",
        "10/fortnight",
        "1/second; 2/minute",
        "1.5/second",
        "-1/second",
        "1/second burst 0",
        "5",
    ],
)
def test_what_is_no_notation_is_refused_and_shown(notation: str) -> None:
    with pytest.raises(ValueError, match="expected such as"):
        parse_notation(notation)


@pytest.mark.parametrize(
    "bad",
    [{"safety": 1.1}, {"safety": 0.0}, {"burst": 1.0}, {"reserve": -0.1}, {"arrival_spread_ms": 60_001}],
)
def test_margins_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Margins(**bad)  # type: ignore[arg-type]


WEIGHT = plan_bucket(parse("6000/minute"))


@given(st.integers(0, 5_700), st.integers(0, 59_999))
def test_what_a_venue_counts_and_what_the_bucket_may_still_give_stay_within_the_limit(
    used: int, elapsed_ms: int
) -> None:
    ceiling = ceiling_after_usage(WEIGHT, used, elapsed_ms)
    if ceiling is None:  # no bound beyond the bucket's own: it is not fuller than full
        full = WEIGHT.capacity * WEIGHT.refill_ms
        assert elapsed_ms < SYNC_BLIND_MS or used * WEIGHT.refill_ms <= WEIGHT.refill * elapsed_ms
        ceiling, used = full, 0 if elapsed_ms < SYNC_BLIND_MS else used
    still_to_come = ceiling + WEIGHT.refill * (60_000 - elapsed_ms)
    assert used * WEIGHT.refill_ms + still_to_come <= 5_700 * WEIGHT.refill_ms


@given(st.integers(0, 10**9), st.integers(0, 59_999))
def test_no_claim_of_a_venue_holds_the_bucket_below_zero_beyond_the_end_of_its_window(
    used: int, elapsed_ms: int
) -> None:
    ceiling = ceiling_after_usage(WEIGHT, used, elapsed_ms)
    assert ceiling is None or ceiling + WEIGHT.refill * (60_000 - elapsed_ms) >= 0


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 200)), max_size=60))
def test_a_pool_that_is_alone_is_never_slowed_by_its_own_count(steps: list[tuple[int, int]]) -> None:
    """From a full bucket at the window's start: any spending the bucket allows, then the venue's true count."""
    level = full = WEIGHT.capacity * WEIGHT.refill_ms
    elapsed_ms = used = 0
    for pause_ms, wanted in steps:
        elapsed_ms += pause_ms
        level = min(full, level + pause_ms * WEIGHT.refill)
        spent = min(wanted, level // WEIGHT.refill_ms)
        used, level = used + spent, level - spent * WEIGHT.refill_ms
        if elapsed_ms < 60_000:
            ceiling = ceiling_after_usage(WEIGHT, used, elapsed_ms)
            assert ceiling is None or ceiling >= level


@given(st.integers(1_000, 59_999), st.integers(0, 6_000), st.integers(0, 6_000))
def test_an_older_count_of_the_same_window_never_bounds_more_than_a_newer_one(
    elapsed_ms: int, older: int, more: int
) -> None:
    late = ceiling_after_usage(WEIGHT, older, elapsed_ms)
    current = ceiling_after_usage(WEIGHT, older + more, elapsed_ms)
    assert late is None or (current is not None and current <= late)


@pytest.mark.parametrize(("notation", "elapsed_ms"), [("6000/minute", 999), ("100/second", 99)])
def test_a_count_that_may_be_the_last_windows_is_not_believed(notation: str, elapsed_ms: int) -> None:
    bucket = plan_bucket(parse(notation))
    assert ceiling_after_usage(bucket, 10**6, elapsed_ms) is None
    assert ceiling_after_usage(bucket, 10**6, elapsed_ms + 1) is not None
