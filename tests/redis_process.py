"""Real redis-server processes for the tests, and a watch over what tests leave behind in them.

`redis_server`  one server for the session (for each pytest-xdist worker); its data may be anyone's
`redis_url`     that server's address, emptied before the test; connections left open fail the test
`fresh_redis`   a server for one test alone, with an append-only file: free to kill and restart
"""

import time
from collections.abc import Iterator

import pytest
import redis

from common.redis_server import EmbeddedRedis

CLOSING_SECONDS = 5.0
"""How long the server may need to notice a connection that was closed, on a busy machine."""


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """A running redis-server shared by the tests of this process. To kill one, take `fresh_redis`."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> Iterator[str]:
    """The address of an empty Redis: no keys, no scripts. Fails a test that leaves a connection open."""
    with redis.Redis.from_url(redis_server.url, single_connection_client=True) as admin:
        admin.flushall()
        admin.script_flush()  # so that a test meets NOSCRIPT as a new server's user would
        yield redis_server.url
        left = _connections_left(admin)
    assert not left, "the test left connections open: " + "; ".join(left)


@pytest.fixture
def fresh_redis() -> Iterator[EmbeddedRedis]:
    """A running redis-server for this test alone, on files: `kill()`, `stop()` and `restart()` are yours."""
    with EmbeddedRedis(append_only=True) as server:
        yield server


def _connections_left(admin: "redis.Redis") -> list[str]:
    """Say whose connections other than `admin` stay open, and close them, for the next test's sake."""
    own_id = str(admin.client_id())
    deadline = time.monotonic() + CLOSING_SECONDS
    while others := [client for client in admin.client_list() if client["id"] != own_id]:
        if time.monotonic() > deadline:
            for client in others:
                admin.client_kill_filter(_id=client["id"])
            return [f"{one['addr']} name={one['name']!r} last command {one['cmd']}" for one in others]
        time.sleep(0.01)
    return []
