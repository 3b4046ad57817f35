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

SOCKET_TIMEOUT_SECONDS: Final = 5.0
"""How long a reply may take before the connection counts as lost. A blocking read needs more: pass its own."""
CONNECT_TIMEOUT_SECONDS: Final = 3.0

_DATABASE = re.compile(r"/?|/\d+/?", re.ASCII)


def connect(
    url: str, *, socket_timeout_seconds: float = SOCKET_TIMEOUT_SECONDS, **options: Any
) -> redis.Redis:
    """A blocking client (bytes in, bytes out, RESP3, no silent retries) for a `redis://`, `rediss://` or `unix://` URL.

    Raises:
        ValueError: the URL has another scheme, or a database that is no number.
    """
    _check_database(url)
    return redis.Redis.from_url(
        url, retry=Retry(NoBackoff(), 0), **_options(socket_timeout_seconds), **options
    )


def connect_async(
    url: str, *, socket_timeout_seconds: float = SOCKET_TIMEOUT_SECONDS, **options: Any
) -> redis.asyncio.Redis:
    """The asyncio counterpart of `connect`."""
    _check_database(url)
    return redis.asyncio.Redis.from_url(
        url, retry=AsyncRetry(NoBackoff(), 0), **_options(socket_timeout_seconds), **options
    )


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
