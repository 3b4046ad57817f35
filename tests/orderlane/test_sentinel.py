"""Sentinel: its URL is read exactly, every kind of client follows a failover, and only a master is written to."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import ConnectionError as RedisConnectionError

from common.redis_server import EmbeddedRedis
from orderlane import sentinel
from orderlane.async_client import AsyncClient
from orderlane.client import Client
from orderlane.connection import connect, connect_async, redacted
from orderlane.errors import Unreachable
from orderlane.intents import OrderType, PlaceOrder, Side
from scripts.harness.sentinels import SERVICE, Sentinels


def place(name: str) -> PlaceOrder:
    return PlaceOrder(
        id=name, exchange="binance", account="main", symbol="BTC/USDT:USDT", side=Side.BUY, type=OrderType.MARKET,
        amount=Decimal("0.003"),
    )  # fmt: skip


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[EmbeddedRedis, EmbeddedRedis]]:
    """A master and its replica."""
    with EmbeddedRedis(tmp_path / "master") as master, EmbeddedRedis(tmp_path / "replica") as replica:
        with connect(replica.url) as client:
            client.execute_command("REPLICAOF", "127.0.0.1", str(master.port))
        yield master, replica


@pytest.mark.parametrize(
    ("url", "sentinels", "service", "database"),
    [
        ("redis+sentinel://one/prod", [("one", 26379)], "prod", 0),
        ("redis+sentinel://one:1,two:2,three/prod/3", [("one", 1), ("two", 2), ("three", 26379)], "prod", 3),
        ("redis+sentinel://[::1]:5,10.0.0.2/a%20b/", [("::1", 5), ("10.0.0.2", 26379)], "a b", 0),
        ("rediss+sentinel://me:p%40ss@one:1/prod/0?ssl_cert_reqs=none", [("one", 1)], "prod", 0),
    ],
)
def test_a_url_names_sentinels_service_and_database(
    url: str, sentinels: list[tuple[str, int]], service: str, database: int
) -> None:
    named = sentinel.parse(url)
    assert (list(named.sentinels), named.service, named.options["db"]) == (sentinels, service, database)
    assert named.tls is url.startswith("rediss")


def test_redis_and_its_sentinels_have_passwords_of_their_own() -> None:
    named = sentinel.parse(
        "rediss+sentinel://me:p%40ss@one/prod?sentinel_password=other&ssl_cert_reqs=none&max_connections=7"
    )
    assert named.options == {
        "username": "me", "password": "p@ss", "db": 0, "ssl_cert_reqs": "none", "max_connections": 7,
    }  # fmt: skip
    assert named.sentinel_options == {"password": "other", "ssl_cert_reqs": "none"}


@pytest.mark.parametrize("make", [connect, connect_async])
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis+sentinel://one:1", "names no master"),
        ("redis+sentinel:///prod", "a Sentinel in the redis[+]sentinel URL is ''"),
        ("redis+sentinel://one:1,/prod", "is ''"),
        ("redis+sentinel://one:port/prod", "'one:port'"),
        ("redis+sentinel://one:70000/prod", "'one:70000'"),
        ("rediss+sentinel://:hun/ter2@one/prod", "an @ or # behind the hosts"),
        ("redis+sentinel://:hun#ter2@one/prod", "an @ or # behind the hosts"),
        ("redis+sentinel://:hunter2@one/prod/x", "the database 'x'"),
        ("redis+sentinel://:hunter2@one/prod/1/2", "the database '1/2'"),
    ],
)
def test_a_url_that_can_not_be_read_is_refused_without_its_password(
    make: Callable[[str], Any], url: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make(url)
    assert "ter2" not in str(caught.value)
    assert "redis+sentinel://[user:password@]host:26379" in str(caught.value)


def test_a_url_of_sentinels_is_shown_without_passwords() -> None:
    url = "redis+sentinel://me:hunter2@one:1,two:2/prod/0?sentinel_password=hunter3"
    assert redacted(url) == "redis+sentinel://me:***@one:1,two:2/prod/0"


def test_clients_and_command_follow_a_failover_by_themselves(
    servers: tuple[EmbeddedRedis, EmbeddedRedis], tmp_path: Path
) -> None:
    master, replica = servers

    async def follow(url: str) -> None:
        async with AsyncClient(url, retry_seconds=60) as client:
            await client.submit(place("async-before"))
            with Client(url, retry_seconds=60) as blocking:
                blocking.submit(place("before"))
                await asyncio.to_thread(_await_replica, master, replica)
                master.kill()
                await client.submit(place("async-after"))
                blocking.submit(place("after"))

    with Sentinels(tmp_path / "sentinels", master.port) as sentinels:
        sentinels.wait_until_ready()
        asyncio.run(follow(sentinels.url))
        shown = subprocess.run(
            [sys.executable, "-m", "orderlane.cli", "--redis-url", sentinels.url, "--json", "get", "after",
             "--exchange", "binance", "--account", "main"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        with connect(replica.url) as promoted:
            assert promoted.xlen("orderlane:{binance}:intents") == 4
    assert shown.returncode == 0, shown.stderr.decode()


def test_a_master_unknown_to_the_sentinels_is_named_in_the_error_and_the_password_is_not(
    servers: tuple[EmbeddedRedis, EmbeddedRedis], tmp_path: Path
) -> None:
    with Sentinels(tmp_path / "sentinels", servers[0].port, count=1) as sentinels:
        url = sentinels.url.replace("://", "://:hunter2@").replace(f"/{SERVICE}/", "/other/")
        with (
            Client(url, exchange="binance", retry_seconds=0) as client,
            pytest.raises(
                Unreachable, match=f"no Sentinel names a master 'other'.*it watches {SERVICE}"
            ) as caught,
        ):
            client.submit(place("lost"))
    assert "hunter2" not in str(caught.value)


def test_a_server_that_says_it_is_no_master_is_not_taken_for_one(
    servers: tuple[EmbeddedRedis, EmbeddedRedis], monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = ("127.0.0.1", servers[1].port)

    async def stale(*_: object) -> tuple[str, int]:
        return replica

    monkeypatch.setattr(sentinel._Sentinels, "discover_master", lambda *_: replica)
    monkeypatch.setattr(sentinel._AsyncSentinels, "discover_master", stale)
    url = f"redis+sentinel://127.0.0.1:1/{SERVICE}"
    with connect(url) as client, pytest.raises(RedisConnectionError, match="says it is a slave"):
        client.ping()

    async def ping() -> None:
        client = connect_async(url)
        try:
            await client.ping()
        finally:
            await client.aclose()

    with pytest.raises(RedisConnectionError, match="says it is a slave"):
        asyncio.run(ping())


def test_sentinels_are_asked_in_turn_and_none_is_forgotten(
    servers: tuple[EmbeddedRedis, EmbeddedRedis], tmp_path: Path
) -> None:
    with Sentinels(tmp_path / "sentinels", servers[0].port, count=1) as sentinels:
        gone = "127.0.0.1:1"
        with connect(f"redis+sentinel://{gone},127.0.0.1:{sentinels.ports[0]}/{SERVICE}") as client:
            with ThreadPoolExecutor(8) as threads:
                assert all(threads.map(lambda _: _new_connection(client), range(64)))
            manager: Any = client.connection_pool
            asked = {sentinel._address(one) for one in manager.sentinel_manager.sentinels}
    assert asked == {gone, f"127.0.0.1:{sentinels.ports[0]}"}


def _new_connection(client: redis.Redis) -> bool:
    connection: Any = client.connection_pool.make_connection()
    connection.connect()
    connection.disconnect()
    return bool(connection.port)


def _await_replica(master: EmbeddedRedis, replica: EmbeddedRedis) -> None:
    """Return once the replica has all that the master has."""
    with connect(master.url) as first, connect(replica.url) as second:
        first.wait(1, 20_000)
        while first.execute_command("DEBUG", "DIGEST") != second.execute_command("DEBUG", "DIGEST"):
            pass
