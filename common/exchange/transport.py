"""How a request reaches the venue: one HTTP attempt, never a second, and what became of it.

ccxt builds and signs requests; its `fetch`, which sends them, is replaced by ours. It sends once, follows no
redirect, and raises `ExchangeFailure` before ccxt's own error mapping could blur what the venue said. An adapter that
writes its requests itself hands them to the same `Wire`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Protocol, TypeVar

import msgspec

from common import failpoints
from common.exchange.base import ExchangeFailure, Outcome
from common.exchange.classify import Operation, Reply
from common.exchange.clock import ExchangeClock
from common.exchange.http_connection import HttpConnection, ReplyLost
from common.exchange.http_pool import HttpConnections, NotConnected
from common.exchange.http_request import Origin, request_bytes, split_url
from common.exchange.settings import ExchangeSettings
from common.secrets import scrub

Answer = TypeVar("Answer")
OnOutcome = Callable[[str, Operation, ExchangeFailure | None], None]
"""Told of each call that sent something: the account it was for, what kind it was, and how it failed, if it did."""


def transport_failure(error: NotConnected | ReplyLost, host: str) -> ExchangeFailure:
    """What a failed attempt means: without a connection nothing was sent, and all else may have arrived."""
    if isinstance(error, NotConnected):
        return ExchangeFailure(Outcome.NOT_SENT, error.code, f"no connection to {host}: {error}")
    if error.code == "timeout":
        return ExchangeFailure(Outcome.UNKNOWN, "timeout", f"no reply from {host} in time")
    return ExchangeFailure(
        Outcome.UNKNOWN, error.code, f"the connection to {host} broke before the reply was read"
    )


class Call:
    """One call of the exchange's interface, for everything sent within it (`with Call(…):`).

    `at_ms` is the time stamp signed into its requests; 0 takes the clock's. On the way out, whatever is not an
    ExchangeFailure becomes one: before anything was sent it is a refusal of ours, afterwards nothing is known. Then
    `on_outcome` is told, if something was sent.
    """

    __slots__ = ("_on_outcome", "_token", "account", "at_ms", "operation", "sent")

    def __init__(
        self, operation: Operation, at_ms: int = 0, account: str = "", on_outcome: OnOutcome | None = None
    ) -> None:
        self.operation = operation
        self.at_ms = at_ms
        self.account = account
        self._on_outcome = on_outcome
        self.sent = False
        self._token: Token[Call | None] | None = None

    def __enter__(self) -> Call:
        self._token = _current_call.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _current_call.reset(self._token)
        failure = error if isinstance(error, ExchangeFailure) else None
        if isinstance(error, Exception) and failure is None:
            outcome = Outcome.UNKNOWN if self.sent else Outcome.REFUSED
            what = "the reply can't be read" if self.sent else "the request can't be made"
            failure = ExchangeFailure(outcome, type(error).__name__, scrub(f"{what}: {error}")[:300])
        if self._on_outcome is not None and self.sent and (error is None or failure is not None):
            self._on_outcome(self.account, self.operation, failure)
        if failure is not None and failure is not error:
            raise failure from error


_current_call: ContextVar[Call | None] = ContextVar("orderlane_exchange_call", default=None)


def current_call() -> Call:
    """The call under way in this task; outside of one, a query."""
    return _current_call.get() or Call(Operation.QUERY)


class Reader(Protocol):
    """Turns replies into what they say, or raises the ExchangeFailure they report."""

    def read(self, client: Any, account: str, reply: Reply, call: Call, request: dict[str, Any]) -> Any:
        """The decoded JSON of a reply to a request of ccxt's."""
        ...

    def read_as(
        self, decoder: msgspec.json.Decoder[Answer], client: Any, account: str, reply: Reply, call: Call
    ) -> Answer:
        """What a reply to a request of our own says, as the type it must have."""
        ...

    def after_sign(self, path: str, method: str, signed: dict[str, Any], call: Call) -> None:
        """Add to a signed request what ccxt doesn't send (a header that the signature doesn't cover)."""
        ...


class Wire:
    """One account's connections, and how long to wait on them. Nothing is opened before its first request."""

    def __init__(
        self, settings: ExchangeSettings, account: str, clock: ExchangeClock, reader: Reader
    ) -> None:
        self.account = account
        self.clock = clock
        self.reader = reader
        self.last_origin: Origin | None = None
        """Where the last reply came from."""
        self._timeout_seconds = settings.timeout_ms / 1000
        self._pool = HttpConnections(settings.connect_timeout_ms / 1000, settings.keep_alive_seconds)

    async def send(self, origin: Origin, request: bytes, call: Call) -> Reply:
        """Send one request, once, and read the whole reply.

        Raises:
            ExchangeFailure: NOT_SENT or UNKNOWN, see `transport_failure`.
        """
        call.sent = True
        pool, seconds = self._pool, self._timeout_seconds
        try:
            connection = pool.warm(origin)
            if connection is None:
                loop = asyncio.get_running_loop()
                asked_at = loop.time()
                connection = await pool.connect(origin, seconds)
                seconds -= loop.time() - asked_at
            try:
                waiting = connection.send(request, seconds)
                if failpoints.armed():
                    await _announce(connection, call.operation)
                reply = await waiting
            except BaseException:  # cancelled, or a failpoint: a reply that comes now must find nobody
                connection.abort()
                raise
            finally:
                pool.give_back(origin, connection)
        except (NotConnected, ReplyLost) as error:
            raise transport_failure(error, origin.authority) from None
        failpoints.reach("exchange.reply_arrived", call.operation)
        self.last_origin = origin
        return reply

    async def warm(self, origin: Origin, connections: int) -> None:
        """Open so many connections, and send nothing on them. One that can't be opened is left out."""
        pool, seconds = self._pool, self._timeout_seconds
        asked = [pool.connect(origin, seconds) for _ in range(connections)]
        for found in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(found, HttpConnection):
                pool.give_back(origin, found)
            elif not isinstance(found, NotConnected):
                raise found

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        await self._pool.close()


async def _announce(connection: HttpConnection, operation: Operation) -> None:
    await connection.left()
    failpoints.reach("exchange.request_sent", operation)
    connection.read_on()


def milliseconds(wire: Wire) -> int:
    """The time stamp for what is signed now: the call's own, else the exchange's clock."""
    return current_call().at_ms or wire.clock.now_ms()


async def ask(
    client: Any, wire: Wire, origin: Origin, request: bytes, decoder: msgspec.json.Decoder[Answer]
) -> Answer:
    """Send a request that was written and signed without ccxt; its reply, which must be of the decoder's type.

    Args:
        client: who asks, for the reading of a reply that reports an error.
    """
    call = current_call()
    reply = await wire.send(origin, request, call)
    return wire.reader.read_as(decoder, client, wire.account, reply, call)


class WiredClient:
    """Stands before a ccxt class in the order of methods, and takes sending and the clock away from it."""

    number = str  # ccxt turns every number it parses into this: exact text
    wire: Wire
    headers: dict[str, str] | None
    userAgent: str | dict[str, str] | None

    def milliseconds(self) -> int:
        return milliseconds(self.wire)

    def sign(self, path: str, api: Any = "public", method: str = "GET", params: Any = {}, *rest: Any) -> Any:  # noqa: B006
        signed = super().sign(path, api, method, params, *rest)  # type: ignore[misc]
        self.wire.reader.after_sign(path, method, signed, current_call())
        return signed

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        wire, call, sent_headers = self.wire, current_call(), self.all_headers(headers)
        origin, target = split_url(url)
        reply = await wire.send(origin, request_bytes(method, target, origin, sent_headers, body), call)
        request = {"url": url, "method": method, "headers": sent_headers, "body": body}
        return wire.reader.read(self, wire.account, reply, call, request)

    def all_headers(self, signed: Mapping[str, str] | None) -> dict[str, str]:
        """A signed request's headers with those that the client adds to every request."""
        headers = {**(signed or {}), **(self.headers or {})}
        if isinstance(self.userAgent, str):
            headers["User-Agent"] = self.userAgent
        elif self.userAgent:
            headers.update(self.userAgent)
        return headers

    async def ask(self, origin: Origin, request: bytes, decoder: msgspec.json.Decoder[Answer]) -> Answer:
        return await ask(self, self.wire, origin, request, decoder)
