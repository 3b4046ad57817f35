"""`lua/buckets.lua` on a real server against a model in exact fractions, over time that the test makes pass."""

import math
from collections.abc import Iterator
from fractions import Fraction

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from common.buckets import Bucket
from common.claims import bucket_arguments
from common.redis_server import EmbeddedRedis
from common.scripts import load_script

START_MS = 1_700_000_000_000
# Time in these tests is not the server's, so nothing may expire by the server's: PERSIST undoes each expiry.
ACQUIRE = """
local wait = buckets_acquire(1, 2, tonumber(ARGV[1]))
for _, key in ipairs(KEYS) do redis.call('PERSIST', key) end
return wait
"""
LOWER = """
local n = {}
for i, text in ipairs(ARGV) do n[i] = tonumber(text) end
local lowered = buckets_lower(KEYS[2], n[2], n[3], n[4], n[5], buckets_shut_until(KEYS[1]), n[1])
redis.call('PERSIST', KEYS[2])
return lowered
"""
SHUT = """
local ends = buckets_shut(KEYS[1], tonumber(ARGV[2]), 60000, tonumber(ARGV[1]))
redis.call('PERSIST', KEYS[1])
return ends
"""
SCOPES = ("ip", "main")
BUCKETS = {
    "a": ("ip", Bucket(capacity=20, refill=3, refill_ms=70, reserve=4, window_ms=1_000)),
    "b": ("main", Bucket(capacity=5, refill=1, refill_ms=333, reserve=1, window_ms=2_000)),
    "c": ("main", Bucket(capacity=1, refill=1, refill_ms=1_001, reserve=0, window_ms=1_000)),
}
COSTS = st.dictionaries(st.sampled_from(sorted(BUCKETS)), st.integers(1, 4), min_size=1)


@pytest.fixture
def client(redis_server: EmbeddedRedis, redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, single_connection_client=True) as connection:
        yield connection


def run(client: redis.Redis, body: str, keys: list[str], arguments: list[int]) -> int:
    return int(client.eval(load_script("buckets").source + body, len(keys), *keys, *arguments))


def acquire(client: redis.Redis, costs: dict[str, int], now_ms: int, *, urgent: bool) -> int:
    keys = [f"{scope}:penalty" for scope in SCOPES] + sorted(costs)
    arguments = [now_ms, len(SCOPES), len(costs)]
    for name in sorted(costs):
        scope, bucket = BUCKETS[name]
        arguments += bucket_arguments(bucket, costs[name], urgent=urgent, penalty=SCOPES.index(scope) + 1)
    return run(client, ACQUIRE, keys, arguments)


class BucketModel(RuleBasedStateMachine):
    """Levels as fractions of tokens, brought forward in time at every rule."""

    client: redis.Redis

    @initialize()
    def begin(self) -> None:
        self.client.flushall()
        self.now_ms = START_MS
        self.levels = {name: Fraction(bucket.capacity) for name, (_, bucket) in BUCKETS.items()}
        self.open_at = dict.fromkeys(SCOPES, 0)
        self.granted: dict[str, list[tuple[int, int]]] = {name: [] for name in BUCKETS}

    @rule(ms=st.integers(0, 400) | st.integers(0, 10_000))
    def pass_time(self, ms: int) -> None:
        for name, (scope, bucket) in BUCKETS.items():
            open_ms = max(0, self.now_ms + ms - max(self.now_ms, self.open_at[scope]))
            gained = Fraction(bucket.refill * open_ms, bucket.refill_ms)
            self.levels[name] = min(Fraction(bucket.capacity), self.levels[name] + gained)
        self.now_ms += ms

    @rule(costs=COSTS, urgent=st.booleans())
    def acquire(self, costs: dict[str, int], urgent: bool) -> None:
        costs = {
            name: min(cost, BUCKETS[name][1].capacity - BUCKETS[name][1].reserve)
            for name, cost in costs.items()
        }
        wait_ms = max(self._wait_ms(name, cost, urgent) for name, cost in costs.items())
        wait_ms = max(wait_ms, *(ends - self.now_ms for ends in self.open_at.values()))
        assert acquire(self.client, costs, self.now_ms, urgent=urgent) == max(0, wait_ms)
        if wait_ms <= 0:
            for name, cost in costs.items():
                self.levels[name] -= cost
                self.granted[name].append((self.now_ms, cost))

    def _wait_ms(self, name: str, cost: int, urgent: bool) -> int:
        scope, bucket = BUCKETS[name]
        missing = cost + (0 if urgent else bucket.reserve) - self.levels[name]
        if missing <= 0:
            return 0
        refill_ms = math.ceil(missing * bucket.refill_ms / bucket.refill)
        return max(0, self.open_at[scope] - self.now_ms) + refill_ms

    @rule(name=st.sampled_from(sorted(BUCKETS)), tokens=st.integers(-6, 20))
    def lower(self, name: str, tokens: int) -> None:
        scope, bucket = BUCKETS[name]
        shut_ms = max(0, self.open_at[scope] - self.now_ms)
        held = self.levels[name] - Fraction(bucket.refill * shut_ms, bucket.refill_ms)
        arguments = [self.now_ms, tokens * bucket.refill_ms, bucket.capacity, bucket.refill, bucket.refill_ms]
        lowered = run(self.client, LOWER, [f"{scope}:penalty", name], arguments)
        assert lowered == (held > tokens)
        if lowered:
            # Counted from now on; what the scope's pause would refill meanwhile is gained as time passes it.
            self.levels[name] = min(
                self.levels[name], tokens + Fraction(bucket.refill * shut_ms, bucket.refill_ms)
            )

    @rule(scope=st.sampled_from(SCOPES), for_ms=st.integers(1, 3_000))
    def shut(self, scope: str, for_ms: int) -> None:
        ends = max(self.open_at[scope], self.now_ms + for_ms)
        assert run(self.client, SHUT, [f"{scope}:penalty"], [self.now_ms, for_ms]) == ends
        longer_ms = ends - max(self.open_at[scope], self.now_ms)
        self.open_at[scope] = ends
        for name, (owner, bucket) in BUCKETS.items():
            if owner == scope:
                # What a level below zero regains during the pause is counted now: time passes it by.
                regained = Fraction(bucket.refill * longer_ms, bucket.refill_ms)
                self.levels[name] = min(self.levels[name] + regained, Fraction(0))

    @invariant()
    def no_window_ever_held_more_than_planned(self) -> None:
        for name, granted in getattr(self, "granted", {}).items():
            bucket = BUCKETS[name][1]
            for i, (begins, _) in enumerate(granted):
                span = [(at, cost) for at, cost in granted[i:] if at <= begins + bucket.window_ms]
                assert sum(cost for _, cost in span) <= bucket.most_in(bucket.window_ms)


def test_the_script_does_what_exact_arithmetic_says(client: redis.Redis) -> None:
    class Machine(BucketModel):
        pass

    Machine.client = client
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_nothing_drifts_over_a_long_time_of_small_steps(client: redis.Redis) -> None:
    """One token each time the script says so, asked for each ms: as many as exact arithmetic allows, not one less."""
    now_ms, granted = START_MS, 0
    while now_ms <= START_MS + 100_000:
        wait_ms = acquire(client, {"b": 1}, now_ms, urgent=True)
        granted += wait_ms == 0
        now_ms += wait_ms
    assert granted == BUCKETS["b"][1].most_in(100_000)


def test_all_costs_are_taken_or_none(client: redis.Redis) -> None:
    assert acquire(client, {"c": 1}, START_MS, urgent=False) == 0
    before = {key: client.hgetall(key) for key in client.scan_iter()}
    assert acquire(client, {"a": 2, "b": 1, "c": 1}, START_MS, urgent=False) == 1_001
    assert {key: client.hgetall(key) for key in client.scan_iter()} == before


def test_the_wait_told_is_the_shortest_after_which_all_can_be_taken(client: redis.Redis) -> None:
    assert acquire(client, {"a": 16, "b": 4}, START_MS, urgent=False) == 0
    wait_ms = acquire(client, {"a": 3, "b": 1}, START_MS, urgent=False)
    assert acquire(client, {"a": 3, "b": 1}, START_MS + wait_ms - 1, urgent=False) == 1
    assert acquire(client, {"a": 3, "b": 1}, START_MS + wait_ms, urgent=False) == 0


def test_the_reserve_is_for_urgent_requests_alone(client: redis.Redis) -> None:
    assert acquire(client, {"a": 16}, START_MS, urgent=False) == 0
    assert acquire(client, {"a": 1}, START_MS, urgent=False) > 0
    assert acquire(client, {"a": 4}, START_MS, urgent=True) == 0
    assert acquire(client, {"a": 1}, START_MS, urgent=True) > 0


def test_a_clock_set_back_mints_nothing_and_freezes_nothing(client: redis.Redis) -> None:
    assert acquire(client, {"a": 20}, START_MS, urgent=True) == 0
    back_ms = START_MS - 3_600_000
    wait_ms = acquire(client, {"a": 3}, back_ms, urgent=True)
    assert wait_ms == 70
    assert acquire(client, {"a": 3}, back_ms + wait_ms, urgent=True) == 0


def test_a_changed_plan_keeps_the_level_in_tokens(client: redis.Redis) -> None:
    assert acquire(client, {"a": 12}, START_MS, urgent=True) == 0
    keys, block = ["ip:penalty", "a"], [START_MS, 1, 1, 1]
    assert run(client, ACQUIRE, keys, [*block, 9, 0, 20, 1, 1_000]) == 1_000
    assert run(client, ACQUIRE, keys, [*block, 8, 0, 20, 1, 1_000]) == 0


def test_a_scope_opens_with_empty_buckets_even_those_nobody_used(client: redis.Redis) -> None:
    assert run(client, SHUT, ["ip:penalty"], [START_MS, 500]) == START_MS + 500
    assert acquire(client, {"a": 3}, START_MS + 499, urgent=True) == 1 + 70
    assert acquire(client, {"a": 3}, START_MS + 500, urgent=True) == 70
    assert acquire(client, {"a": 3}, START_MS + 570, urgent=True) == 0
    assert acquire(client, {"a": 1}, START_MS + 570, urgent=True) > 0


def test_a_shut_scope_holds_claims_on_other_buckets_too_but_empties_only_its_own(client: redis.Redis) -> None:
    run(client, SHUT, ["ip:penalty"], [START_MS, 500])
    assert acquire(client, {"b": 1}, START_MS, urgent=True) == 500
    assert acquire(client, {"b": 5}, START_MS + 500, urgent=True) == 0


def test_shutting_again_for_less_does_not_open_earlier(client: redis.Redis) -> None:
    run(client, SHUT, ["ip:penalty"], [START_MS, 5_000])
    assert run(client, SHUT, ["ip:penalty"], [START_MS, 100]) == START_MS + 5_000


def test_lowering_twice_is_lowering_once_and_never_raises(client: redis.Redis) -> None:
    bucket = BUCKETS["a"][1]
    plan = [bucket.capacity, bucket.refill, bucket.refill_ms]
    assert run(client, LOWER, ["ip:penalty", "a"], [START_MS, 5 * 70, *plan]) == 1
    assert run(client, LOWER, ["ip:penalty", "a"], [START_MS, 5 * 70, *plan]) == 0
    assert run(client, LOWER, ["ip:penalty", "a"], [START_MS, 15 * 70, *plan]) == 0
    assert acquire(client, {"a": 6}, START_MS, urgent=True) > 0
    assert acquire(client, {"a": 5}, START_MS, urgent=True) == 0
