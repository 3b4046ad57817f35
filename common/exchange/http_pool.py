"""The connections of one account: made when needed, kept while they are warm, the one used last first.

Whatever fails in here has sent nothing: a request is handed to a connection only after it was made, TLS included.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import lru_cache
from typing import Final, cast

import aiohappyeyeballs
import certifi
from aiohappyeyeballs import AddrInfoType
from msgspec import Struct

from common.exchange.http_connection import HttpConnection
from common.exchange.http_request import Origin

DNS_CACHE_SECONDS: Final = 300
HEAD_START_SECONDS: Final = 0.25
"""How long one address has to answer before the next is tried beside it (RFC 8305, Connection Attempt Delay)."""
SWEEPS: Final = 4
"""How often, in the time a connection may idle, those that idle too long are looked for."""


class NotConnected(Exception):
    """There is no connection, so nothing was sent. `code` is the kind of failure, the text its reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class _Idle(Struct, frozen=True):
    connection: HttpConnection
    since: float


class _Found(Struct, frozen=True):
    addresses: list[AddrInfoType]
    at: float


class HttpConnections:
    """Connections by origin, as many at once as there are requests.

    `connect_timeout_seconds` bounds the making of one, name and TLS included; after `keep_alive_seconds` without a
    request it is closed.
    """

    def __init__(self, connect_timeout_seconds: float, keep_alive_seconds: float) -> None:
        self._connect_timeout_seconds = connect_timeout_seconds
        self._keep_alive_seconds = keep_alive_seconds
        self._idle: dict[Origin, list[_Idle]] = {}
        self._under_way: set[HttpConnection] = set()
        self._found: dict[Origin, _Found] = {}
        self._looking_up = asyncio.Lock()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def warm(self, origin: Origin) -> HttpConnection | None:
        """Take the warm connection that was used last, or None. `give_back` ends its use."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop().connection
            if connection.usable:
                self._under_way.add(connection)
                return connection
        return None

    def give_back(self, origin: Origin, connection: HttpConnection) -> None:
        """A request is over. The connection is kept if it can carry another."""
        self._under_way.discard(connection)
        if self._closed:
            connection.abort()
        elif connection.usable:
            loop = asyncio.get_running_loop()
            self._idle.setdefault(origin, []).append(_Idle(connection, loop.time()))
            if self._sweep is None:
                self._sweep = loop.call_later(self._keep_alive_seconds / SWEEPS, self._close_idle)

    async def connect(self, origin: Origin, timeout_seconds: float) -> HttpConnection:
        """Make a connection.

        Raises:
            NotConnected: refused, no such name, a certificate that isn't trusted, no time left …: nothing was sent.
        """
        try:
            async with asyncio.timeout(min(timeout_seconds, self._connect_timeout_seconds)):
                connection = await self._connect(origin)
        except (OSError, UnicodeError) as error:  # UnicodeError: the host can't be a name
            self._found.pop(origin, None)
            if isinstance(error, TimeoutError) and error.errno is None:  # our time, not the kernel's
                raise NotConnected("connect_timeout", "not in time") from None
            raise NotConnected(type(error).__name__, str(error)) from None
        if self._closed:
            connection.abort()
        self._refuse_if_closed()
        self._under_way.add(connection)
        return connection

    async def close(self) -> None:
        """End every connection, those with a request under way as well; safe to call twice."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in [one.connection for idle in self._idle.values() for one in idle] + [
            *self._under_way
        ]:
            connection.abort()
        self._idle.clear()
        self._under_way.clear()
        await asyncio.sleep(0)  # the loop still has to tell the transports that they are closed

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise NotConnected("closed", "the exchange was closed")

    async def _connect(self, origin: Origin) -> HttpConnection:
        self._refuse_if_closed()
        loop = asyncio.get_running_loop()
        addresses = await self._addresses(origin)
        connected = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=HEAD_START_SECONDS, interleave=1, loop=loop
        )
        secure = trusting(certifi.where()) if origin.secure else None
        try:
            _, connection = await loop.create_connection(
                HttpConnection, sock=connected, ssl=secure, server_hostname=origin.host if secure else None
            )
        except BaseException:
            connected.close()  # cancelled, or no TLS: a loop that has not taken it over leaves it open
            raise
        return connection

    async def _addresses(self, origin: Origin) -> list[AddrInfoType]:
        loop = asyncio.get_running_loop()
        async with self._looking_up:  # those that ask together are answered together
            known = self._found.get(origin)
            if known is None or loop.time() - known.at > DNS_CACHE_SECONDS:
                addresses = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
                self._found[origin] = known = _Found(cast(list[AddrInfoType], addresses), loop.time())
        return known.addresses

    def _close_idle(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._keep_alive_seconds
        for idle in self._idle.values():
            while idle and (idle[0].since <= oldest or not idle[0].connection.usable):
                idle.pop(0).connection.abort()
        waiting = any(self._idle.values())
        self._sweep = (
            loop.call_later(self._keep_alive_seconds / SWEEPS, self._close_idle) if waiting else None
        )


@lru_cache(maxsize=4)
def trusting(authorities: str) -> ssl.SSLContext:
    """TLS as a client that trusts the certificate authorities of this file; made once, which takes some 20 ms."""
    return ssl.create_default_context(cafile=authorities)
