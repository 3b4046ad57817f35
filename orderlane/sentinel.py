"""Redis behind Sentinel: who the master is, is asked anew for every connection, and the server found must say so too.

    redis+sentinel://[user:password@]host[:26379][,host[:26379]…]/service[/database]

`rediss+sentinel://` speaks TLS with the Sentinels and with Redis. `service` is the name under which the Sentinels know
the master. User and password are Redis' own; Sentinels that ask for one get `?sentinel_username=…&sentinel_password=…`.
Other options after `?` mean what they mean in a `redis://` URL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote

import redis.asyncio.sentinel
import redis.sentinel
from msgspec import Struct
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

SCHEMES: Final = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}
FORM: Final = "redis+sentinel://[user:password@]host:26379[,host:26379]/service/0"
DEFAULT_PORT: Final = 26_379
"""Where Sentinel listens unless told otherwise (Redis' documentation, "High availability with Redis Sentinel")."""
TIMEOUT_SECONDS: Final = 1.0
"""How long a Sentinel may take to accept a connection, and to answer, before the next one is asked."""

_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]]+)(?::(?P<port>\d{1,5}))?", re.ASCII)
_UNREADABLE: Final = (RedisConnectionError, RedisTimeoutError)

Address = tuple[str, int]


class SentinelUrl(Struct, frozen=True, kw_only=True):
    """What a URL of this kind names; `options` are redis-py's for the connections to Redis, `database` (`db`) and
    password among them, `sentinel_options` those for the connections to the Sentinels."""

    sentinels: tuple[Address, ...]
    service: str
    tls: bool
    options: dict[str, Any]
    sentinel_options: dict[str, Any]


def names_sentinels(url: str) -> bool:
    """Whether a URL is one of Sentinels."""
    return url.partition("://")[0] in SCHEMES


def parse(url: str) -> SentinelUrl:
    """Read a URL.

    Raises:
        ValueError: a part is missing or can't be read; the message shows neither user nor password.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES:
        raise ValueError(f"a URL of Sentinels begins with {' or '.join(SCHEMES)}: expected {FORM}")
    address, _, query = rest.partition("?")
    network, _, path = address.partition("/")
    if "@" in path + query or "#" in rest:
        raise ValueError(
            f"the {scheme} URL has an @ or # behind the hosts: expected {FORM}, with special characters in the "
            "password percent-encoded"
        )
    credentials, at, hosts = network.rpartition("@")
    service, database = _service_and_database(scheme, path)
    # The rest is what redis-py reads in any URL; the host in it stands for the one that the Sentinels will name.
    options: dict[str, Any] = redis.connection.parse_url(  # type: ignore[no-untyped-call]
        f"{SCHEMES[scheme]}://{credentials}{at}master/{database}?{query}"
    )
    for name in ("host", "port", "connection_class"):
        options.pop(name, None)
    sentinel_options = {
        name: options.pop(f"sentinel_{name}")
        for name in ("username", "password")
        if f"sentinel_{name}" in options
    } | {name: value for name, value in options.items() if name.startswith("ssl_")}
    return SentinelUrl(
        sentinels=tuple(_host(scheme, one) for one in hosts.split(",")),
        service=service,
        tls=SCHEMES[scheme] == "rediss",
        options=options,
        sentinel_options=sentinel_options,
    )


def _host(scheme: str, text: str) -> Address:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found["port"] or DEFAULT_PORT) < 65_536:
        raise ValueError(
            f"a Sentinel in the {scheme} URL is {text!r}: expected host or host:port, the port from 1 to 65535, "
            f"as in {FORM}"
        )
    return unquote(found["host"]).strip("[]"), int(found["port"] or DEFAULT_PORT)


def _service_and_database(scheme: str, path: str) -> tuple[str, int]:
    service, _, database = path.partition("/")
    if not service:
        raise ValueError(
            f"the {scheme} URL names no master: expected the name by which the Sentinels know it, as in {FORM}"
        )
    database = database.removesuffix("/")
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError(f"the database {database!r} in the {scheme} URL is no number: expected {FORM}")
    return unquote(service), int(database or 0)


def connect(url: str, *, retry: Any, **options: Any) -> redis.Redis:
    """A blocking client of the master; `options` are those of redis-py's connections, `retry` its rule.

    Raises:
        ValueError: see `parse`.
    """
    named = parse(url)
    sentinels = _Sentinels(  # type: ignore[no-untyped-call]
        named.sentinels, sentinel_kwargs=_to_sentinels(named, retry=retry, protocol=options.get("protocol"))
    )
    return redis.Redis.from_pool(
        redis.sentinel.SentinelConnectionPool(
            named.service,
            sentinels,
            connection_class=_TlsMasterConnection if named.tls else _MasterConnection,
            retry=retry,
            **{**options, **named.options},
        )  # type: ignore[no-untyped-call]
    )


def connect_async(url: str, *, retry: Any, **options: Any) -> redis.asyncio.Redis:
    """The asyncio counterpart of `connect`."""
    named = parse(url)
    sentinels = _AsyncSentinels(  # type: ignore[no-untyped-call]
        named.sentinels, sentinel_kwargs=_to_sentinels(named, retry=retry, protocol=options.get("protocol"))
    )
    return redis.asyncio.Redis.from_pool(
        redis.asyncio.sentinel.SentinelConnectionPool(
            named.service,
            sentinels,
            connection_class=_AsyncTlsMasterConnection if named.tls else _AsyncMasterConnection,
            retry=retry,
            **{**options, **named.options},
        )  # type: ignore[no-untyped-call]
    )


def _to_sentinels(named: SentinelUrl, **options: Any) -> dict[str, Any]:
    times = {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}
    return {**options, **times, "ssl": named.tls, **named.sentinel_options}


class _Sentinels(redis.sentinel.Sentinel):
    """redis-py's, but for how the master is found: its own way reorders its list, and loses a Sentinel when two threads
    do so at once. No connection to a Sentinel stays open: one that died in silence would cost a timeout, later."""

    _answered: Any = None

    def discover_master(self, service_name: str) -> Address:
        """The master's address; whichever Sentinel answered last is asked first."""
        failures = []
        for sentinel in sorted(self.sentinels, key=lambda one: one is not self._answered):
            try:
                found = _master(sentinel.sentinel_masters(), service_name)
            except _UNREADABLE as error:
                found = str(error)
            finally:
                sentinel.connection_pool.disconnect(inuse_connections=False)
            if not isinstance(found, str):
                self._answered = sentinel
                return found
            failures.append(f"{_address(sentinel)}: {found}")
        raise redis.sentinel.MasterNotFoundError(_not_found(service_name, failures))


class _AsyncSentinels(redis.asyncio.sentinel.Sentinel):
    """The asyncio counterpart of `_Sentinels`."""

    _answered: Any = None

    async def discover_master(self, service_name: str) -> Address:
        """The master's address; whichever Sentinel answered last is asked first."""
        failures = []
        for sentinel in sorted(self.sentinels, key=lambda one: one is not self._answered):
            try:
                found = _master(await sentinel.sentinel_masters(), service_name)
            except _UNREADABLE as error:
                found = str(error)
            finally:
                await sentinel.connection_pool.disconnect(inuse_connections=False)
            if not isinstance(found, str):
                self._answered = sentinel
                return found
            failures.append(f"{_address(sentinel)}: {found}")
        raise redis.asyncio.sentinel.MasterNotFoundError(_not_found(service_name, failures))


def _master(masters: Any, service: str) -> Address | str:
    """The address among what one Sentinel answered, or why there is none."""
    state = masters.get(service)
    if state is None:
        return f"it watches {', '.join(sorted(masters)) or 'no master'}"
    if state["is_sdown"] or state["is_odown"]:
        return f"the master at {state['ip']}:{state['port']} is down, and no other is promoted yet"
    return str(state["ip"]), int(state["port"])


def _address(sentinel: Any) -> str:
    options = sentinel.connection_pool.connection_kwargs
    return f"{options['host']}:{options['port']}"


def _not_found(service: str, failures: Sequence[str]) -> str:
    return f"no Sentinel names a master {service!r} that is up: {'; '.join(failures)}"


def _must_be_master(role: Any, host: Any, port: Any) -> None:
    """A Sentinel that was cut off names yesterday's master (Redis' "Guidelines for Sentinel clients", step 3: ROLE)."""
    if bytes(role[0]) != b"master":
        raise RedisConnectionError(
            f"Redis at {host}:{port}, which a Sentinel names as the master, says it is a {bytes(role[0]).decode()}: "
            "a failover is under way"
        )


class _MasterConnection(redis.sentinel.SentinelManagedConnection):
    """A connection that is only made to a server that is a master."""

    def on_connect_check_health(self, check_health: bool = True) -> None:
        super().on_connect_check_health(check_health=check_health)
        self.send_command("ROLE")  # type: ignore[no-untyped-call]
        _must_be_master(self.read_response(), self.host, self.port)


class _TlsMasterConnection(_MasterConnection, redis.sentinel.SentinelManagedSSLConnection):
    """The same, over TLS."""


class _AsyncMasterConnection(redis.asyncio.sentinel.SentinelManagedConnection):
    """The asyncio counterpart of `_MasterConnection`."""

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health=check_health)
        await self.send_command("ROLE")
        _must_be_master(await self.read_response(), self.host, self.port)


class _AsyncTlsMasterConnection(_AsyncMasterConnection, redis.asyncio.sentinel.SentinelManagedSSLConnection):
    """The same, over TLS."""
