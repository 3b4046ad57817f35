"""How a request reaches the venue: one HTTP attempt, never a second, and what became of it.

ccxt builds and signs requests; its `fetch`, which sends them, is replaced by ours. It sends once, follows no
redirect, and raises `ExchangeFailure` before ccxt's own error mapping could blur what the venue said.
"""

from __future__ import annotations

import asyncio
import ssl
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import aiohttp
import certifi
import yarl
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.connector import Connection

from common import failpoints
from common.exchange.base import ExchangeFailure, Outcome
from common.exchange.classify import Operation, Reply
from common.exchange.clock import ExchangeClock
from common.exchange.settings import ExchangeSettings
from common.secrets import scrub

_DNS_CACHE_SECONDS: Final = 300


class AnnouncedResponse(ClientResponse):
    """Tells the failpoints when a request has left; in use only while they are armed."""

    async def start(self, connection: Connection) -> ClientResponse:
        for _ in range(3):  # the body's writer runs, then the loop hands what it wrote to the kernel
            await asyncio.sleep(0)
        failpoints.reach("exchange.request_sent", current_call().operation)
        return await super().start(connection)


class ConnectionLost(aiohttp.ClientError):
    """The connection broke after it was there: the request may have arrived."""


async def send_once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """A client middleware that keeps aiohttp from sending a request again on its own.

    aiohttp repeats GET, PUT and DELETE when a kept-alive connection breaks (`ClientSession._request`, the branch
    for ClientOSError and ServerDisconnectedError). Errors of another class pass that branch.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise ConnectionLost(type(error).__name__) from None


def transport_failure(error: Exception, host: str) -> ExchangeFailure:
    """What a failed attempt means. Only failures to connect are certain to have sent nothing.

    aiohttp raises `ClientConnectorError` (refused, DNS, TLS and certificate among its subclasses) and
    `ConnectionTimeoutError` from making a connection alone, before the first byte of a request.
    """
    kind = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError):
        return ExchangeFailure(Outcome.NOT_SENT, kind, f"no connection to {host}: {_reason(error)}")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ExchangeFailure(Outcome.NOT_SENT, kind, f"no connection to {host} in time")
    if isinstance(error, TimeoutError):
        return ExchangeFailure(Outcome.UNKNOWN, "timeout", f"no reply from {host} in time")
    if isinstance(error, ConnectionLost):
        kind = str(error)
    return ExchangeFailure(Outcome.UNKNOWN, kind, f"the connection to {host} broke before the reply was read")


def _reason(error: Exception) -> str:
    cause = getattr(error, "os_error", None)
    return str(cause) if cause is not None else type(error).__name__


class Call:
    """One call of the exchange's interface, for everything sent within it (`with Call(…):`).

    `at_ms` is the time stamp signed into its requests; 0 takes the clock's. On the way out, whatever is not an
    ExchangeFailure becomes one: before anything was sent it is a refusal of ours, afterwards nothing is known.
    """

    __slots__ = ("_token", "at_ms", "operation", "sent")

    def __init__(self, operation: Operation, at_ms: int = 0) -> None:
        self.operation = operation
        self.at_ms = at_ms
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
        if isinstance(error, Exception) and not isinstance(error, ExchangeFailure):
            outcome = Outcome.UNKNOWN if self.sent else Outcome.REFUSED
            what = "the reply can't be read" if self.sent else "the request can't be made"
            raise ExchangeFailure(outcome, type(error).__name__, scrub(f"{what}: {error}")[:300]) from error


_current_call: ContextVar[Call | None] = ContextVar("orderlane_exchange_call", default=None)


def current_call() -> Call:
    """The call under way in this task; outside of one, a query."""
    return _current_call.get() or Call(Operation.QUERY)


class Reader(Protocol):
    """Turns replies into decoded JSON, or raises the ExchangeFailure they report."""

    def read(self, client: Any, account: str, reply: Reply, call: Call, request: dict[str, Any]) -> Any: ...

    def after_sign(self, path: str, method: str, signed: dict[str, Any], call: Call) -> None:
        """Add to a signed request what ccxt doesn't send (a header that the signature doesn't cover)."""
        ...


class Wire:
    """One account's HTTP session: its connections, and how long to wait on them. Opened by its first request."""

    def __init__(
        self, settings: ExchangeSettings, account: str, clock: ExchangeClock, reader: Reader
    ) -> None:
        self.account = account
        self.clock = clock
        self.reader = reader
        self._keep_alive_seconds = settings.keep_alive_seconds
        self._timeout = aiohttp.ClientTimeout(
            total=settings.timeout_ms / 1000, sock_connect=settings.connect_timeout_ms / 1000
        )
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(self, url: str, method: str, headers: dict[str, str], body: str | None) -> Reply:
        """Send one request, once, and read the whole reply.

        Raises:
            ExchangeFailure: NOT_SENT or UNKNOWN, see `transport_failure`.
        """
        session = self._session or self._open()
        try:
            async with session.request(
                method,
                yarl.URL(url, encoded=True),
                data=body.encode() if body else None,
                headers=headers,
                allow_redirects=False,
            ) as response:
                payload = await response.read()
                failpoints.reach("exchange.reply_arrived", current_call().operation)
                found = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status, found, payload)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Without the chain: aiohttp's words may hold the whole URL, its signature included.
            raise transport_failure(error, urlsplit(url).netloc) from None

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ExchangeFailure(
                Outcome.NOT_SENT, "closed", f"account {self.account}: its exchange was closed"
            )
        connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=self._keep_alive_seconds,
            ttl_dns_cache=_DNS_CACHE_SECONDS,
            ssl=ssl.create_default_context(cafile=certifi.where()),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            middlewares=(send_once,),
            response_class=AnnouncedResponse if failpoints.armed() else ClientResponse,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "gzip, deflate"},
        )
        return self._session

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        self._closed = True
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()
            await asyncio.sleep(0)  # the loop still has to tell the transports that they are closed


class WiredClient:
    """Stands before a ccxt class in the order of methods, and takes sending and the clock away from it."""

    number = str  # ccxt turns every number it parses into this: exact text
    wire: Wire
    headers: dict[str, str] | None
    userAgent: str | dict[str, str] | None

    def milliseconds(self) -> int:
        """The time stamp for what is signed now: the call's own, else the exchange's clock."""
        return current_call().at_ms or self.wire.clock.now_ms()

    def sign(self, path: str, api: Any = "public", method: str = "GET", params: Any = {}, *rest: Any) -> Any:  # noqa: B006
        signed = super().sign(path, api, method, params, *rest)  # type: ignore[misc]
        self.wire.reader.after_sign(path, method, signed, current_call())
        return signed

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        wire, call = self.wire, current_call()
        sent_headers = {**(headers or {}), **(self.headers or {})}
        if isinstance(self.userAgent, str):
            sent_headers["User-Agent"] = self.userAgent
        elif self.userAgent:
            sent_headers.update(self.userAgent)
        call.sent = True
        reply = await wire.send(url, method, sent_headers, body)
        request = {"url": url, "method": method, "headers": sent_headers, "body": body}
        return wire.reader.read(self, wire.account, reply, call, request)
