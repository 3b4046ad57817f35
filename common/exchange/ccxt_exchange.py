"""The exchange interface over ccxt: a client, and connections of its own, for each account of one venue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from ssl import SSLContext, create_default_context
from typing import Any, Final

import msgspec
from msgspec import UNSET

from common.exchange.account_client import AccountClient
from common.exchange.account_figures import AccountFigures, BalanceReport, PositionReport
from common.exchange.base import (
    Exchange,
    ExchangeFailure,
    OrderReference,
    OrderReport,
    OrderRequest,
    TradeReport,
    Usage,
    UserStream,
)
from common.exchange.ccxt_package import streaming_class, venue_class
from common.exchange.classify import Operation, Reply, decode, foreign_reply
from common.exchange.clock import ExchangeClock
from common.exchange.fields import unreadable
from common.exchange.params import forbidden_params
from common.exchange.settings import ExchangeSettings
from common.exchange.transport import Answer, Call, OnOutcome, Wire, WiredClient
from common.exchange.urls import redirected
from common.exchange.user_stream import CcxtUserStream, Inbox
from common.exchange.venue import refused
from common.exchange.venues import venue_type
from common.secrets import scrub

OnUsage = Callable[[tuple[Usage, ...], str], None]
"""Told, for each reply whose headers speak of limits, what they say and which account had asked."""

CLOCK_SAMPLES: Final = 5
MOST_WARMED: Final = 64
"""Connections opened ahead of need, over all accounts."""
WARMED_AT_ONCE: Final = 8
"""Accounts whose connections are opened together."""
PUBLIC: Final = ""
"""The account of questions that need no key."""


class CcxtExchange:
    """One venue, all accounts of it; see `Exchange` for what each method promises.

    Every method may raise ExchangeFailure and, apart from cancellation, nothing else. `on_usage` may be set at any
    time; the event loop calls it soon after the reply.

    Raises:
        ValueError: ccxt has no such venue, or the venue can't do what the settings ask for.
    """

    def __init__(self, settings: ExchangeSettings, on_usage: OnUsage | None = None) -> None:
        try:
            self._ccxt_class = venue_class(settings.venue)
        except ValueError as error:
            raise ValueError(f"venue of exchange {settings.name!r}: {error}") from None
        self.name = settings.name
        self._settings = settings
        self._venue = venue_type(settings.venue)(settings)
        self.receive_window_ms = self._venue.receive_window_ms
        self.amends_in_place = self._venue.amends_in_place
        self.batch_limit = self._venue.batch_limit
        self.trades_page = self._venue.trades_page
        self.holds_positions = self._venue.holds_positions
        self.streams_orders = self._venue.stream_reader is not None
        self.on_usage = on_usage
        self.on_outcome: OnOutcome | None = None
        """Told, at once, what became of each request of an account."""
        self._clock = ExchangeClock()
        accounts = list(settings.accounts) or [PUBLIC]
        self._wired_class: Any = type(f"Wired_{settings.venue}", (WiredClient, self._ccxt_class), {})
        self._wires = {account: Wire(settings, account, self._clock, self) for account in accounts}
        self._public = self._made(accounts[0])
        self._clients: dict[str, Any] = {accounts[0]: self._public}
        self._ssl_context: SSLContext | None = None
        """Of the user streams: it takes 30 ms to make."""

    # The clock

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def server_time_ms(self) -> int:
        with Call(Operation.QUERY):
            return await self._venue.server_time_ms(self._public)

    async def sync_clock(self, samples: int = CLOCK_SAMPLES) -> None:
        """Measure the exchange's clock; also keeps a connection warm. Call it now and then."""
        await self._clock.sync(self.server_time_ms, samples)

    async def warm(self, connections: int) -> None:
        """Open this many connections for each account ahead of need, a few at once; nothing is sent on them.

        They lead to where the first account was answered last (nothing is opened before `sync_clock`), and are at most
        `MOST_WARMED`: further accounts connect when they are first used, and so does what can't be opened now.
        """
        origin = self._public.wire.last_origin
        if origin is None or connections < 1:
            return
        wires = list(self._wires.values())[: max(1, MOST_WARMED // connections)]
        for start in range(0, len(wires), WARMED_AT_ONCE):
            together = wires[start : start + WARMED_AT_ONCE]
            await asyncio.gather(*(wire.warm(origin, connections) for wire in together))

    # The markets

    async def fetch_ccxt_markets(self) -> dict[str, Any]:
        """Load the venue's markets, with as few requests as it takes, and use them.

        Returns:
            ccxt's markets by unified symbol, to be shared with other processes (`use_ccxt_markets`).
        """
        with Call(Operation.QUERY):
            await self._public.load_markets(True)
        self._share_markets()
        return dict(self._public.markets)

    @property
    def precision_mode(self) -> int:
        """How ccxt counts precision for this venue (`ccxt.TICK_SIZE` and its like)."""
        return int(self._public.precisionMode)

    def use_ccxt_markets(self, markets: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> None:
        """Use markets that another process loaded: ccxt's, by symbol or in a list."""
        rows = markets.values() if isinstance(markets, Mapping) else markets
        self._public.set_markets(list(rows))
        self._share_markets()

    def _share_markets(self) -> None:
        self._venue.markets_set(self._public)
        for client in self._clients.values():
            if isinstance(client, AccountClient) and client.made is not None:
                self._give_markets(client.made)

    def _give_markets(self, client: Any) -> None:
        client.set_markets_from_exchange(self._public)
        self._venue.markets_set(client)

    async def reference_price(self, symbol: str) -> Decimal:
        """A price near which an order would trade now (mark price, or middle of the book), in one cheap request."""
        with Call(Operation.QUERY):
            return await self._venue.reference_price(self._public, symbol)

    # The orders

    async def place(self, request: OrderRequest, at_ms: int) -> OrderReport:
        with Call(Operation.PLACE, at_ms, request.account, self.on_outcome):
            if request.params:
                self._check_params(request.params)
            return await self._venue.place(self._client_of(request.account), request, at_ms)

    def batches(self, request: OrderRequest) -> bool:
        return not request.params and self._venue.batches(request)

    async def place_batch(
        self, requests: Sequence[OrderRequest], at_ms: int
    ) -> list[OrderReport | ExchangeFailure]:
        account = requests[0].account
        try:
            with Call(Operation.PLACE, at_ms, account, self.on_outcome):
                for request in requests:
                    self._check_params(request.params)
                return await self._venue.place_batch(self._client_of(account), requests, at_ms)
        except ExchangeFailure as failure:
            return [failure] * len(requests)

    async def cancel(self, reference: OrderReference, at_ms: int) -> OrderReport | None:
        with Call(Operation.CANCEL, at_ms, reference.account, self.on_outcome):
            return await self._venue.cancel(self._client_of(reference.account), reference, at_ms)

    async def amend(self, reference: OrderReference, request: OrderRequest, at_ms: int) -> OrderReport:
        with Call(Operation.AMEND, at_ms, reference.account, self.on_outcome):
            return await self._venue.amend(self._client_of(reference.account), reference, request, at_ms)

    async def cancel_all(self, account: str, symbol: str, at_ms: int) -> None:
        with Call(Operation.CANCEL, at_ms, account, self.on_outcome):
            await self._venue.cancel_all(self._client_of(account), symbol, at_ms)

    async def find(self, reference: OrderReference) -> OrderReport | None:
        with Call(Operation.QUERY, 0, reference.account, self.on_outcome):
            return await self._venue.find(self._client_of(reference.account), reference)

    async def open_orders(self, account: str, symbol: str | None = None) -> list[OrderReport]:
        with Call(Operation.QUERY, 0, account, self.on_outcome):
            return await self._venue.open_orders(self._client_of(account), symbol)

    async def trades(
        self, account: str, symbol: str, since_ms: int, after_id: str = "", of_order: str = ""
    ) -> list[TradeReport]:
        with Call(Operation.QUERY, 0, account, self.on_outcome):
            return await self._venue.trades(self._client_of(account), symbol, since_ms, after_id, of_order)

    async def positions(self, account: str) -> list[PositionReport]:
        with Call(Operation.QUERY, 0, account, self.on_outcome):
            return await self._venue.positions(self._client_of(account))

    async def balances(self, account: str) -> list[BalanceReport]:
        with Call(Operation.QUERY, 0, account, self.on_outcome):
            return await self._venue.balances(self._client_of(account))

    def user_stream(self, account: str, ping_seconds: float) -> UserStream:
        reader = self._venue.stream_reader
        if reader is None:
            raise refused("no_user_stream", f"no user stream of {self._settings.venue} is known here")
        if account not in self._wires:
            raise refused("unknown_account", f"exchange {self.name} has no account {account!r}")

        def make(before: type, inbox: Inbox) -> Any:
            streaming = streaming_class(self._settings.venue)
            kind = type(
                f"Streaming_{self._settings.venue}", (before, WiredClient, streaming), {"inbox": inbox}
            )
            client = self._made(account, kind)
            client.streaming = {**client.streaming, "keepAlive": ping_seconds * 1000}
            self._ssl_context = self._ssl_context or create_default_context(cafile=client.cafile)
            client.ssl_context = self._ssl_context
            client.set_markets_from_exchange(self._public)
            return client

        return CcxtUserStream(make, reader, self._clock.now_ms)

    async def close(self) -> None:
        for wire in self._wires.values():
            await wire.close()

    # What the transport hands over

    def read(self, client: Any, account: str, reply: Reply, call: Call, request: dict[str, Any]) -> Any:
        self._tell_usage(account, reply)
        return self._judged(client, reply, call, request)

    def read_as(
        self, decoder: msgspec.json.Decoder[Answer], client: Any, account: str, reply: Reply, call: Call
    ) -> Answer:
        self._tell_usage(account, reply)
        problem = ""
        if reply.status == 200:
            try:
                answer = decoder.decode(reply.body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                problem = str(error)
            else:
                if getattr(answer, "code", UNSET) is UNSET:
                    return answer
        # Not what success looks like: read as any reply is, it names an error or is of no use.
        decoded = self._judged(client, reply, call, {})
        try:
            return msgspec.convert(decoded, decoder.type)
        except msgspec.ValidationError as error:
            raise unreadable(problem or str(error), scrub(str(decoded))) from None

    def _tell_usage(self, account: str, reply: Reply) -> None:
        if self.on_usage is not None:
            usage = self._venue.usage(reply.headers)
            if usage:
                # Not here and now: a listener that fails must not take the reply with it.
                asyncio.get_running_loop().call_soon(self.on_usage, usage, account)

    def _judged(self, client: Any, reply: Reply, call: Call, request: dict[str, Any]) -> Any:
        decoded = decode(reply)
        failure: ExchangeFailure | None
        if decoded is None:
            failure = foreign_reply(reply, self._venue.errors, self._clock.now_ms())
        else:
            failure = self._venue.failure_in(
                client, reply, decoded, call.operation, request, self._clock.now_ms()
            )
        if failure is not None:
            raise ExchangeFailure(
                failure.outcome,
                failure.code,
                scrub(failure.message),
                status=failure.status,
                retry_after_ms=failure.retry_after_ms,
                per_account=failure.per_account,
            )
        return decoded

    def after_sign(self, path: str, method: str, signed: dict[str, Any], call: Call) -> None:
        self._venue.after_sign(path, method, signed, call)

    def _check_params(self, params: Mapping[str, Any]) -> None:
        names = forbidden_params(self._settings.venue, params, self._settings.allowed_params)
        if names:
            raise refused(
                "params_not_allowed", f"params {', '.join(names)}: not among those allowed for {self.name}"
            )

    def _client_of(self, account: str) -> Any:
        client = self._clients.get(account)
        if client is None:
            client = self._clients[account] = self._lazy(account)
        return client

    def _lazy(self, account: str) -> AccountClient:
        keys = self._settings.accounts.get(account)
        if keys is None:
            known = ", ".join(sorted(self._settings.accounts)) or "none"
            raise refused(
                "unknown_account", f"exchange {self.name} has no account {account!r}: it has {known}"
            )

        def make() -> Any:
            client = self._made(account)
            if self._public.markets:
                self._give_markets(client)
            return client

        return AccountClient(self._wires[account], keys, self._public, make)

    def _made(self, account: str, wired_class: Any = None) -> Any:
        """ccxt's client of an account: some 5 ms, and 0.3 MB that stay."""
        settings, kind = self._settings, wired_class or self._wired_class
        client: Any = kind.__new__(kind)
        client.wire = self._wires[account]  # ccxt's constructor asks for the time already
        keys = settings.accounts.get(account)
        client.__init__(
            {
                "apiKey": keys.key.reveal() if keys else "",
                "secret": keys.secret.reveal() if keys else "",
                "password": keys.password.reveal() if keys and keys.password else "",
                "enableRateLimit": False,
                "timeout": settings.timeout_ms,
                "options": {"maxRetriesOnFailure": 0, "adjustForTimeDifference": False},
            }
        )
        self._venue.configure(client, settings)
        if settings.base_url is not None:
            client.urls["api"] = redirected(client.urls["api"], settings.base_url)
        return client


def _promises(exchange: CcxtExchange) -> Exchange:
    return exchange  # mypy checks here that the class keeps the protocol


def _tells_figures(exchange: CcxtExchange) -> AccountFigures:
    return exchange  # and this one
