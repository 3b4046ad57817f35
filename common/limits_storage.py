"""The token buckets for the library `limits`: a storage with its own scheme, and the strategy for it.

For code that isn't asyncio, and for whoever knows `limits`: the same buckets in Redis, the same scripts.

    storage = storage_from_string("orderlane+redis://127.0.0.1:6379/0", exchange="binance")
    limiter = TokenBucketRateLimiter(storage)
    limiter.hit(parse("6000/minute"), "ip", "weight_1m", cost=20)
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

import redis
from limits import RateLimitItem, WindowStats
from limits.storage import Storage
from limits.strategies import RateLimiter

from common.buckets import Bucket, Margins, plan_bucket
from common.claims import bucket_arguments
from common.scripts import load_script
from orderlane.connection import connect
from orderlane.keys import Keys
from orderlane.published_limits import PENALTY

SCHEMES: Final = [
    "orderlane+redis", "orderlane+rediss", "orderlane+unix", "orderlane+redis+sentinel", "orderlane+rediss+sentinel",
    "orderlane+redis+cluster", "orderlane+rediss+cluster",
]  # fmt: skip


class BucketStorage(Storage):
    """Token buckets of one exchange in one pool, in the Redis that the URL names after `orderlane+`.

    It counts no windows: the strategies that `limits` brings raise NotImplementedError on it.
    """

    STORAGE_SCHEME = SCHEMES

    def __init__(
        self, uri: str, wrap_exceptions: bool = False, *, exchange: str, pool: str = "orderlane"
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self.keys = Keys(exchange, pool)
        self.client = connect(uri.removeprefix("orderlane+"))

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        return redis.RedisError

    def run(self, name: str, scope: str, bucket_name: str, bucket: Bucket, cost: int) -> list[int]:
        """Run a script on one bucket, as one that isn't urgent."""
        keys = (self.keys.bucket(scope, PENALTY), self.keys.bucket(scope, bucket_name))
        arguments = (1, 1, *bucket_arguments(bucket, cost, urgent=False, penalty=1))
        script = load_script(name)
        try:
            reply: Any = self.client.evalsha(script.sha1, len(keys), *keys, *arguments)
        except redis.exceptions.NoScriptError:
            reply = self.client.eval(script.source, len(keys), *keys, *arguments)
        return [int(number) for number in reply]

    def check(self) -> bool:
        return bool(self.client.ping())

    def clear(self, key: str) -> None:
        """Delete a bucket by its key in Redis: it is full again."""
        self.client.delete(key)

    def reset(self) -> int | None:
        """Delete every bucket of the exchange, and what shuts scopes; returns how many keys."""
        found = list(self.client.scan_iter(match=self.keys.bucket("*", "*"), count=1000))
        return int(self.client.delete(*found)) if found else 0

    def close(self) -> None:
        self.client.close()

    def incr(self, key: str, expiry: int, amount: int = 1) -> NoReturn:
        raise self._no_windows()

    def get(self, key: str) -> NoReturn:
        raise self._no_windows()

    def get_expiry(self, key: str) -> NoReturn:
        raise self._no_windows()

    def _no_windows(self) -> NotImplementedError:
        return NotImplementedError(
            f"{type(self).__name__} keeps token buckets, no windows: use TokenBucketRateLimiter with it"
        )


class TokenBucketRateLimiter(RateLimiter):
    """Keeps limits by token buckets, over a BucketStorage.

    Identifiers are two: the scope (`ip` or an account) and the limit's name. What `limits` calls an item is
    turned into a bucket by `plan_bucket`, so no window of the item's length ever holds more than its
    amount.
    """

    storage: BucketStorage

    def __init__(self, storage: BucketStorage, margins: Margins | None = None) -> None:
        if not isinstance(storage, BucketStorage):
            raise NotImplementedError(f"token buckets need a BucketStorage, not a {type(storage).__name__}")
        super().__init__(storage)
        self._margins = margins
        self._buckets: dict[RateLimitItem, Bucket] = {}

    def hit(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Take `cost` tokens; False, and none taken, when they aren't there or the scope is shut.

        Raises ValueError if `cost` is more than the bucket ever lends.
        """
        return self._run("acquire", item, identifiers, cost)[0] == 0

    def test(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Whether `hit` would succeed now."""
        _, tokens, _ = self._run("bucket_levels", item, identifiers, cost)
        return tokens >= cost + self._bucket(item).reserve

    def get_window_stats(self, item: RateLimitItem, *identifiers: str) -> WindowStats:
        """When the bucket will be full (seconds since 1970, by Redis' clock), and what can be taken now."""
        now_ms, tokens, full_in_ms = self._run("bucket_levels", item, identifiers, 1)
        return WindowStats((now_ms + full_in_ms) / 1_000, max(0, tokens - self._bucket(item).reserve))

    def clear(self, item: RateLimitItem, *identifiers: str) -> None:
        """Make the bucket full again."""
        self.storage.clear(self.storage.keys.bucket(*_scope_and_name(identifiers)))

    def _run(self, script: str, item: RateLimitItem, identifiers: tuple[str, ...], cost: int) -> list[int]:
        bucket = self._bucket(item)
        if not 0 < cost <= bucket.capacity - bucket.reserve:
            raise ValueError(
                f"cost is {cost}: the bucket for {item} holds {bucket.capacity}, {bucket.reserve} reserved; "
                f"give 1 to {bucket.capacity - bucket.reserve}"
            )
        scope, name = _scope_and_name(identifiers)
        return self.storage.run(script, scope, name, bucket, cost)

    def _bucket(self, item: RateLimitItem) -> Bucket:
        if item not in self._buckets:
            self._buckets[item] = plan_bucket(item, margins=self._margins)
        return self._buckets[item]


def _scope_and_name(identifiers: tuple[str, ...]) -> tuple[str, str]:
    if len(identifiers) != 2:
        raise ValueError(
            f"identifiers are {identifiers!r}: expected a scope (`ip` or an account) and a limit's name"
        )
    return identifiers[0], identifiers[1]
