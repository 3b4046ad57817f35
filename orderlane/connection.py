"""The one place that builds Redis connections.

redis-py retries ten times by default and says nothing: one lost reply then adds a stream entry twice and runs
a script twice. Here retries are off; callers repeat only what is safe to run twice.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from orderlane import sentinel
from orderlane.closed_transports import mended
from orderlane.cluster import is_cluster
from orderlane.cluster_clients import open_cluster, open_cluster_async

SOCKET_TIMEOUT_SECONDS: Final = 5.0
"""How long a reply may take before the connection counts as lost. A blocking read needs more: pass its own."""
CONNECT_TIMEOUT_SECONDS: Final = 3.0

_DATABASE = re.compile(r"/?|/\d+/?", re.ASCII)


def connect(
    url: str, *, socket_timeout_seconds: float = SOCKET_TIMEOUT_SECONDS, home: str = "", **options: Any
) -> redis.Redis:
    """A blocking client: bytes in, bytes out, RESP3, no silent retries.

    url: `redis://`, `rediss://` or `unix://`, or of Sentinels that know where the master is (`orderlane/sentinel.py`),
        or nodes of a cluster (`orderlane/cluster.py`).
    home: a key; in a cluster, `connection_pool`, `options` and commands without a key are for the master of its slot.

    Raises:
        ValueError: the URL has another scheme, a database that is no number, or Sentinels that can't be read.
    """
    if is_cluster(url):
        return open_cluster(url, _options(socket_timeout_seconds), home=home, **options)
    retry, chosen = Retry(NoBackoff(), 0), _options(socket_timeout_seconds) | options
    if sentinel.names_sentinels(url):
        return sentinel.connect(url, retry=retry, **chosen)
    _check_database(url)
    return redis.Redis.from_url(url, retry=retry, **chosen)


def connect_async(
    url: str, *, socket_timeout_seconds: float = SOCKET_TIMEOUT_SECONDS, home: str = "", **options: Any
) -> redis.asyncio.Redis:
    """The asyncio counterpart of `connect`."""
    if is_cluster(url):
        return open_cluster_async(url, _options(socket_timeout_seconds), home=home, **options)
    retry, chosen = AsyncRetry(NoBackoff(), 0), _options(socket_timeout_seconds) | options
    if sentinel.names_sentinels(url):
        return mended(sentinel.connect_async(url, retry=retry, **chosen))
    _check_database(url)
    return mended(redis.asyncio.Redis.from_url(url, retry=retry, **chosen))


def redacted(url: str) -> str:
    """The URL without its password, fit for logs and messages.

    Options after `?` are left out, as redis-py takes a password there too. A password with an unescaped `/`,
    `?` or `#` breaks the URL apart: then nothing but the scheme is safe to show.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    if "@" in url.removeprefix(f"{parts.scheme}://{parts.netloc}"):
        return f"{parts.scheme}://***"
    address = url.partition("?")[0].partition("#")[0]
    user, at, _ = parts.netloc.rpartition("@")
    return address.replace(f"{user}{at}", f"{parts.username or ''}:***@", 1) if at else address


def _check_database(url: str) -> None:
    """redis-py takes a path that is no number for database 0, where others may keep their keys."""
    parts = urlsplit(url)
    if parts.scheme in ("redis", "rediss") and not _DATABASE.fullmatch(unquote(parts.path)):
        raise ValueError(
            f"the database in {redacted(url)} is no number: expected {parts.scheme}://host:port/0, "
            "with special characters in the password percent-encoded"
        )


def _options(socket_timeout_seconds: float) -> dict[str, Any]:
    return {
        "protocol": 3,
        "decode_responses": False,
        "socket_timeout": socket_timeout_seconds,
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": 0,
    }
