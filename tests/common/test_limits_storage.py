from collections.abc import Iterator

import pytest
import redis
from limits import parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from common.buckets import plan_bucket
from common.limits_storage import BucketStorage, TokenBucketRateLimiter
from common.scripts import load_script
from orderlane.keys import KNOWN, Keys

ITEM = parse("100/day")
BUCKET = plan_bucket(ITEM)
KEYS = Keys("binance", "pool")


@pytest.fixture
def storage(redis_url: str) -> Iterator[BucketStorage]:
    made = storage_from_string(f"orderlane+{redis_url}", exchange="binance", pool="pool")
    assert isinstance(made, BucketStorage)
    yield made
    made.close()


@pytest.fixture
def limiter(storage: BucketStorage) -> TokenBucketRateLimiter:
    return TokenBucketRateLimiter(storage)


def test_hits_pass_until_the_bucket_is_down_to_its_reserve(limiter: TokenBucketRateLimiter) -> None:
    hits = 0
    while limiter.test(ITEM, "ip", "requests"):
        assert limiter.hit(ITEM, "ip", "requests")
        hits += 1
    assert hits == BUCKET.capacity - BUCKET.reserve
    assert not limiter.hit(ITEM, "ip", "requests")


def test_a_hit_that_costs_more_than_is_left_takes_nothing(limiter: TokenBucketRateLimiter) -> None:
    assert limiter.hit(ITEM, "ip", "requests", cost=10)
    left = limiter.get_window_stats(ITEM, "ip", "requests").remaining
    assert left == BUCKET.capacity - BUCKET.reserve - 10
    assert not limiter.hit(ITEM, "ip", "requests", cost=left + 1)
    assert not limiter.test(ITEM, "ip", "requests", cost=left + 1)
    assert limiter.get_window_stats(ITEM, "ip", "requests").remaining == left


def test_testing_takes_nothing(limiter: TokenBucketRateLimiter, storage: BucketStorage) -> None:
    assert limiter.test(ITEM, "ip", "requests")
    assert storage.client.keys() == []


def test_the_stats_say_when_the_bucket_will_be_full(
    limiter: TokenBucketRateLimiter, storage: BucketStorage
) -> None:
    assert limiter.hit(ITEM, "ip", "requests", cost=4)
    seconds, _ = storage.client.time()
    full_in = limiter.get_window_stats(ITEM, "ip", "requests").reset_time - seconds
    assert full_in == pytest.approx(4 * BUCKET.refill_ms / BUCKET.refill / 1_000, abs=30)


def test_it_is_the_workers_bucket_and_heeds_their_pauses(
    limiter: TokenBucketRateLimiter, storage: BucketStorage
) -> None:
    assert limiter.hit(ITEM, "ip", "requests")
    key = KEYS.bucket("ip", "requests")
    assert storage.client.keys() == [key.encode()]
    assert KNOWN.match(key)
    storage.client.eval(load_script("penalty").source, 1, KEYS.bucket("ip", "penalty"), 60_000, 1_000)
    assert not limiter.hit(ITEM, "ip", "requests")
    assert limiter.hit(ITEM, "main", "requests")


def test_clear_fills_one_bucket_and_reset_all_of_the_exchange(
    limiter: TokenBucketRateLimiter, storage: BucketStorage
) -> None:
    storage.client.set("another", 1)
    for scope in ("ip", "main"):
        assert limiter.hit(ITEM, scope, "requests", cost=10)
    limiter.clear(ITEM, "ip", "requests")
    assert limiter.get_window_stats(ITEM, "ip", "requests").remaining == BUCKET.capacity - BUCKET.reserve
    assert storage.reset() == 1
    assert storage.reset() == 0
    assert storage.client.keys() == [b"another"]


@pytest.mark.parametrize("cost", [0, -1, BUCKET.capacity])
def test_a_cost_no_bucket_can_ever_lend_is_an_error(limiter: TokenBucketRateLimiter, cost: int) -> None:
    with pytest.raises(ValueError, match=f"cost is {cost}"):
        limiter.hit(ITEM, "ip", "requests", cost=cost)


def test_identifiers_that_name_no_bucket_are_an_error(limiter: TokenBucketRateLimiter) -> None:
    with pytest.raises(ValueError, match="scope"):
        limiter.hit(ITEM, "requests")


def test_other_strategies_and_storages_say_that_they_do_not_fit(storage: BucketStorage) -> None:
    with pytest.raises(NotImplementedError, match="TokenBucketRateLimiter"):
        FixedWindowRateLimiter(storage).hit(ITEM, "ip", "requests")
    with pytest.raises(NotImplementedError, match="MemoryStorage"):
        TokenBucketRateLimiter(MemoryStorage())  # type: ignore[arg-type]


def test_a_redis_that_is_away_is_an_error_and_not_a_pass() -> None:
    away = BucketStorage("orderlane+redis://127.0.0.1:1/0", wrap_exceptions=True, exchange="binance")
    with pytest.raises(StorageError):
        away.check()
    with pytest.raises(redis.ConnectionError):
        TokenBucketRateLimiter(away).hit(ITEM, "ip", "requests")
    away.close()
