"""What a client is told when it is made, and how patient it is with Redis. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    ReadOnlyError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from orderlane.admission import Batch, Submission, batches, prepare
from orderlane.connection import redacted
from orderlane.errors import Unreachable
from orderlane.identity import client_order_id
from orderlane.intents import Intent
from orderlane.keys import Keys

RETRY_SECONDS: Final = 10.0
FIRST_WAIT_SECONDS: Final = 0.05
LONGEST_WAIT_SECONDS: Final = 2.0

NO_ANSWER: Final = (
    RedisConnectionError,
    RedisTimeoutError,
    ReadOnlyError,
    MasterDownError,
    ClusterDownError,
    TryAgainError,
    NoScriptError,
)
"""After these a command may or may not have been executed, or will be once a failover is over or the script, which
was just loaded, is there again."""
REFUSED_LOGIN: Final = (AuthenticationError, AuthorizationError)
"""redis-py counts these as connection errors, but asking again won't help."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}\Z", re.ASCII)


class ClientSettings(Struct, frozen=True, kw_only=True):
    """The arguments of a client, checked. `exchange` and `account` are what its calls mean when they name none."""

    url: str
    exchange: str | None = None
    account: str | None = None
    pool: str = "orderlane"
    backlog_limit: int | None = None
    retry_seconds: float = RETRY_SECONDS

    def __post_init__(self) -> None:
        for field in ("pool", "exchange", "account"):
            value = getattr(self, field)
            if value is not None and not (isinstance(value, str) and _NAME.match(value)):
                raise ValueError(f"{field} is {value!r}; expected 1 to 64 of A-Z a-z 0-9 . _ -")
        if self.backlog_limit is not None and self.backlog_limit < 1:
            raise ValueError(f"backlog_limit is {self.backlog_limit!r}; expected a whole number from 1")
        if not self.retry_seconds >= 0:
            raise ValueError(f"retry_seconds is {self.retry_seconds!r}; expected seconds, 0 or more")

    @property
    def address(self) -> str:
        """Redis' URL, without its password."""
        return redacted(self.url)

    def keys(self, exchange: str) -> Keys:
        return Keys(exchange, self.pool)

    def order_key(self, exchange: str, account: str, intent_id: str) -> str:
        """The key of the order of one intent."""
        return self.keys(exchange).order(client_order_id(self.pool, exchange, account, intent_id))

    def submission(self, intent: Intent, receipt: str) -> Submission:
        """The intent, checked and ready to be sent; see `prepare`."""
        return prepare(intent, pool=self.pool, backlog_limit=self.backlog_limit, receipt=receipt)

    def batches(self, intents: Iterable[Intent], receipts: Iterator[str]) -> Iterator[Batch]:
        """The intents, checked and ready to be sent in pipelines."""
        return batches(intents, pool=self.pool, backlog_limit=self.backlog_limit, receipts=receipts)

    def unreachable(self, error: Exception, seconds: float) -> Unreachable:
        """What to raise when Redis did not answer; a refused login is raised as it came."""
        if isinstance(error, REFUSED_LOGIN):
            raise error
        return Unreachable(self.address, seconds, str(error).strip().rstrip(".") or type(error).__name__)


class Patience:
    """How one call is repeated: after waits that double, from 50 ms to 2 s, until `seconds` have passed."""

    def __init__(self, seconds: float, now: float) -> None:
        self._seconds = seconds
        self._started = now
        self._wait = FIRST_WAIT_SECONDS

    def wait_after(self, error: Exception, now: float) -> float | None:
        """Seconds to wait before the next attempt; None: give up. Times are those of a monotonic clock."""
        wait, self._wait = self._wait, min(self._wait * 2, LONGEST_WAIT_SECONDS)
        if isinstance(error, REFUSED_LOGIN) or self.spent(now) + wait > self._seconds:
            return None
        return wait

    def spent(self, now: float) -> float:
        """Seconds since the first attempt."""
        return now - self._started
