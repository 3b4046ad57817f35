"""When placements stop and how they start again, decided from counts and from what stands."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.exchange.base import ExchangeFailure, Outcome
from common.health import (
    SPREAD_MS,
    Counts,
    DegradedPolicy,
    Tally,
    after_probe,
    after_step,
    ban,
    closed,
    has_returned,
    is_ban,
    is_due,
    is_failure,
    policy_flaws,
    probing,
    returned,
    too_many,
)
from orderlane.orders import Reason
from orderlane.standing import WHOLE_EXCHANGE, Cause, StandingState

POLICY = DegradedPolicy(failures=5, min_requests=10, probe_seconds=1, probe_cap_seconds=10)
TIMEOUT = ExchangeFailure(Outcome.UNKNOWN, "timeout", "no reply")
WHY = Reason(code="failures_in_a_row", message="5 requests failed")


def counted(*outcomes: tuple[int, bool], at: int | None = None) -> Counts:
    tally = Tally(window_seconds=30)
    for moment, failed in outcomes:
        tally.note(failed, moment)
    return tally.counts(outcomes[-1][0] if at is None else at)


@pytest.mark.parametrize(
    ("failure", "counts"),
    [
        (TIMEOUT, True),
        (ExchangeFailure(Outcome.UNKNOWN, "http_503", "", status=503), True),
        (ExchangeFailure(Outcome.NOT_SENT, "refused", ""), True),
        (ExchangeFailure(Outcome.THROTTLED, "-1003", "", status=429), True),
        (ExchangeFailure(Outcome.REFUSED, "-2015", "Invalid API-key", per_account=True), True),
        (ExchangeFailure(Outcome.REFUSED, "-2010", "insufficient balance"), False),
        (ExchangeFailure(Outcome.NOT_FOUND, "-2013", ""), False),
        (ExchangeFailure(Outcome.DUPLICATE, "-4116", ""), False),
        (ExchangeFailure(Outcome.LATE, "-1021", ""), False),
    ],
)
def test_verdicts_on_one_order_are_no_failures(failure: ExchangeFailure, counts: bool) -> None:
    assert is_failure(failure) is counts


def test_only_being_told_to_stay_away_is_a_ban() -> None:
    assert is_ban(ExchangeFailure(Outcome.THROTTLED, "-1003", "banned", status=418))
    assert is_ban(ExchangeFailure(Outcome.THROTTLED, "http_403", "", status=403, retry_after_ms=600_000))
    assert not is_ban(ExchangeFailure(Outcome.THROTTLED, "-1003", "", status=429, retry_after_ms=60_000))
    assert not is_ban(ExchangeFailure(Outcome.UNKNOWN, "http_418", "", status=418))


def test_failures_in_a_row_stop_placements_once_they_have_gone_on_for_a_while() -> None:
    at_once = [(0, True)] * 64
    assert too_many(counted(*at_once), POLICY, TIMEOUT) is None  # one cut ends whatever is under way
    reason = too_many(counted(*at_once, (SPREAD_MS, True)), POLICY, TIMEOUT)
    assert reason is not None
    assert (reason.code, reason.numbers["failures"]) == ("failures_in_a_row", "65")
    assert "timeout: no reply" in reason.message
    assert too_many(counted(*at_once, (500, False), (SPREAD_MS, True)), POLICY, TIMEOUT) is None


def test_a_rate_of_failures_stops_placements_though_some_succeed() -> None:
    half = [(number * 1000, number % 2 == 0) for number in range(11)]
    reason = too_many(counted(*half), POLICY, TIMEOUT)
    assert reason is not None
    assert (reason.code, reason.numbers["requests"]) == ("error_rate", "11")
    assert too_many(counted(*half[:9]), POLICY, TIMEOUT) is None, "too few to speak of a rate"
    third = [(number * 1000, number % 3 == 0) for number in range(12)]
    assert too_many(counted(*third), POLICY, TIMEOUT) is None
    assert too_many(counted(*half, at=60_000), POLICY, TIMEOUT) is None, "long ago"


@given(st.lists(st.tuples(st.integers(0, 2_000), st.booleans()), min_size=1, max_size=200))
def test_a_tally_never_counts_more_than_there_was(steps: list[tuple[int, bool]]) -> None:
    tally, now, since = Tally(window_seconds=5), 0, []
    for wait, failed in steps:
        now += wait
        since.append((now, failed))
        tally.note(failed, now)
    counts = tally.counts(now)
    row = 0
    for _, failed in reversed(since):
        if not failed:
            break
        row += 1
    assert counts.in_row == row
    inside = [failed for at, failed in since if at > now - 4_500]
    outside = [failed for at, failed in since if at > now - 5_000]
    assert len(inside) <= counts.asked <= len(outside)
    assert sum(inside) <= counts.failed <= sum(outside)


def test_each_probe_that_fails_doubles_the_wait_for_the_next_up_to_the_cap() -> None:
    standing, waits = closed(WHOLE_EXCHANGE, WHY, 1_000, POLICY), []
    for _ in range(6):
        waits.append(standing.until_ms - 1_000)
        assert not is_due(standing, standing.until_ms - 1)
        assert is_due(standing, standing.until_ms)
        mine = probing(standing, 1_000, 500)
        assert (mine.state, mine.until_ms, mine.holds(1_000)) == (StandingState.PROBING, 1_500, True)
        following = after_probe(mine, TIMEOUT, 1_000, POLICY)
        assert following is not None
        assert (following.state, following.since_ms) == (StandingState.CLOSED, standing.since_ms)
        assert following.reason.numbers["last_probe"] == "timeout"
        standing = following
    assert waits == [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]
    assert DegradedPolicy().probe_wait_ms(10_000) == 60_000


def test_after_a_probe_that_is_answered_a_growing_share_goes_through_and_then_everything() -> None:
    following = after_probe(closed("main", WHY, 0, POLICY), None, 100, POLICY)
    shares = []
    while following is not None:
        assert following.state is StandingState.RECOVERING
        shares.append(following.share)
        passing = [not following.holds(100, draw / 100) for draw in range(100)]
        assert sum(passing) == round(following.share * 100)
        following = after_step(following, 100, POLICY)
    assert shares == list(POLICY.recovery_shares)
    assert all(one < other for one, other in pairwise(shares))
    at_once = DegradedPolicy(recovery_shares=())
    assert after_probe(closed("main", WHY, 0, at_once), None, 100, at_once) is None


def test_failures_that_return_close_again_with_a_longer_wait() -> None:
    recovering = after_probe(closed("main", WHY, 0, POLICY), None, 100, POLICY)
    assert recovering is not None
    counts = counted((100, True))
    assert has_returned(counts, POLICY)
    again = closed("main", returned(counts, TIMEOUT), 200, POLICY, recovering)
    assert (again.state, again.probes, again.since_ms, again.share) == (StandingState.CLOSED, 1, 0, 0.0)
    assert again.until_ms == 2_200


def test_a_ban_holds_until_its_end_and_no_longer() -> None:
    failure = ExchangeFailure(Outcome.THROTTLED, "-1003", "banned until 5000", status=418)
    standing = ban(WHOLE_EXCHANGE, failure, until_ms=5_000, now_ms=1_000)
    assert (standing.cause, standing.holds(4_999), standing.holds(5_000)) == (Cause.BAN, True, False)
    assert is_due(standing, 5_000)
    assert "banned until 5000" in standing.reason.message


def test_settings_that_contradict_each_other_are_named() -> None:
    assert policy_flaws(DegradedPolicy()) == []
    flawed = DegradedPolicy(probe_seconds=5, probe_cap_seconds=1, recovery_shares=(0.5, 0.2))
    assert [setting for setting, _ in policy_flaws(flawed)] == ["probe_cap_seconds", "recovery_shares"]
