"""What one venue's adapter has to answer, and the small pieces that all of them share.

A `Venue` holds no connection: each method takes the ccxt client of the account it works for, whose requests go
out through `common.exchange.transport`. Failures arrive as `ExchangeFailure`.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from common.exact import EXACT, plain, times
from common.exchange.account_figures import BalanceReport, PositionReport
from common.exchange.base import (
    UNKNOWN_SYMBOL,
    ExchangeFailure,
    OrderReference,
    OrderReport,
    OrderRequest,
    Outcome,
    TradeReport,
    Usage,
)
from common.exchange.classify import ErrorTable, Operation, Reply, VenueError, classify
from common.exchange.fields import middle, moment_in
from common.exchange.settings import TESTNET, ExchangeSettings
from common.exchange.stream_reading import StreamReader
from common.exchange.transport import Call
from orderlane.orders import OrderStatus


class Venue(ABC):
    """One venue's ways. The class attributes are its data, the methods what is asked of it."""

    errors: ClassVar[ErrorTable]
    amends_in_place: ClassVar[bool] = False
    batch_limit: ClassVar[int] = 0
    """How many orders `place_batch` takes; 0: the venue has no such request, or it isn't used."""
    trades_page: ClassVar[int] = 100
    """How many fills one page of `trades` holds at most."""
    holds_positions: ClassVar[bool] = False
    """Whether accounts have positions here, beside balances."""
    stream_reader: ClassVar[StreamReader | None] = None
    """How the messages of the venue's user stream are read; None: it has none that is known here."""
    receive_window_bounds_ms: ClassVar[tuple[int, int] | None] = None
    """The venue's own bounds for a receive window; None: it has no such thing."""
    options: ClassVar[Mapping[str, Any]] = {}
    """Settings of the ccxt class that make it load and send no more than what is needed."""

    def __init__(self, settings: ExchangeSettings) -> None:
        self.receive_window_ms: int | None = None
        if self.receive_window_bounds_ms is not None:
            lowest, highest = self.receive_window_bounds_ms
            if not lowest <= settings.receive_window_ms <= highest:
                raise ValueError(
                    f"receive_window_ms of exchange {settings.name!r} is {settings.receive_window_ms}: "
                    f"{settings.venue} takes {lowest} to {highest}"
                )
            self.receive_window_ms = settings.receive_window_ms

    def configure(self, client: Any, settings: ExchangeSettings) -> None:
        """Prepare a ccxt client that has sent nothing yet: options, receive window, endpoint."""
        client.options.update(copy.deepcopy(dict(self.options)))
        if settings.endpoint == TESTNET:
            self.use_testnet(client)

    def use_testnet(self, client: Any) -> None:
        """Point the client to the venue's own test exchange.

        Raises:
            ValueError: the venue has none that ccxt knows.
        """
        if not client.urls.get("test"):
            raise ValueError(f"{client.id} has no testnet: use endpoint live, or a base URL")
        client.set_sandbox_mode(True)

    def markets_set(self, client: Any) -> None:  # noqa: B027 - most venues need nothing here
        """Called after the client was given its markets."""

    def failure_in(
        self,
        client: Any,
        reply: Reply,
        decoded: Any,
        operation: Operation,
        request: dict[str, Any],
        now_ms: int,
    ) -> ExchangeFailure | None:
        """The failure that a reply with a JSON body reports, or None."""
        return classify(reply, self.error_in(decoded), self.errors, operation, now_ms)

    @abstractmethod
    def error_in(self, decoded: Any) -> VenueError | None:
        """The error that a decoded body names, or None."""

    def after_sign(self, path: str, method: str, signed: dict[str, Any], call: Call) -> None:  # noqa: B027
        """Add to a signed request what ccxt doesn't send."""

    def usage(self, headers: Mapping[str, str]) -> tuple[Usage, ...]:
        """What the reply's headers (names in lower case) say about limits."""
        return ()

    @abstractmethod
    async def place(self, client: Any, request: OrderRequest, at_ms: int) -> OrderReport:
        """Place one order; see `Exchange.place`."""

    def batches(self, request: OrderRequest) -> bool:
        """Whether this order may be one of a batch."""
        return self.batch_limit > 0

    async def place_batch(
        self, client: Any, requests: Sequence[OrderRequest], at_ms: int
    ) -> list[OrderReport | ExchangeFailure]:
        """Place up to `batch_limit` orders of one account in one request.

        Returns:
            One verdict for each order, in the order given: its report, or what its failure means for it alone.
        """
        raise refused("batch_unsupported", f"{client.id} takes no batches here: place the orders one by one")

    @abstractmethod
    async def cancel(self, client: Any, reference: OrderReference, at_ms: int) -> OrderReport | None:
        """Cancel one order; see `Exchange.cancel`."""

    async def amend(
        self, client: Any, reference: OrderReference, request: OrderRequest, at_ms: int
    ) -> OrderReport:
        """Give an open order a new total amount and price; see `Exchange.amend`."""
        raise refused(
            "amend_unsupported", f"{client.id} can't amend an order in place: cancel it and place anew"
        )

    @abstractmethod
    async def cancel_all(self, client: Any, symbol: str, at_ms: int) -> None:
        """Cancel every open order of one symbol, conditional ones included."""

    @abstractmethod
    async def find(self, client: Any, reference: OrderReference) -> OrderReport | None:
        """The order, or None when the venue says that it knows none such."""

    @abstractmethod
    async def open_orders(self, client: Any, symbol: str | None) -> list[OrderReport]:
        """Open orders, conditional ones included."""

    async def server_time_ms(self, client: Any) -> int:
        """The exchange's clock, asked for now."""
        return moment_in({"time": await client.fetch_time()}, "time")

    async def trades(
        self, client: Any, symbol: str, since_ms: int, after_id: str, of_order: str = ""
    ) -> list[TradeReport]:
        """One page of past fills; see `Exchange.trades`."""
        raise refused("trades_unsupported", f"{client.id}'s past trades are not read here")

    async def positions(self, client: Any) -> list[PositionReport]:
        """Every open position; see `AccountFigures.positions`."""
        return []

    async def balances(self, client: Any) -> list[BalanceReport]:
        """Every balance; see `AccountFigures.balances`."""
        raise refused("balances_unsupported", f"{client.id}'s balances are not read here")

    async def reference_price(self, client: Any, symbol: str) -> Decimal:
        """A price near which an order would trade now: the mark price, or the middle of the book's best prices."""
        ticker = await client.fetch_ticker(symbol)
        return middle(symbol, ticker.get("bid"), ticker.get("ask"), ticker.get("last"))


def market_of(client: Any, symbol: str) -> dict[str, Any]:
    """ccxt's market of a unified symbol.

    Raises:
        ExchangeFailure: REFUSED, the exchange has no such symbol; NOT_SENT, its markets aren't loaded yet.
    """
    if not client.markets:
        raise ExchangeFailure(
            Outcome.NOT_SENT,
            "markets_not_loaded",
            f"{client.id} has no markets yet: give it some, or let it load them",
        )
    market: dict[str, Any] | None = client.markets.get(symbol)
    if market is None:
        raise refused(UNKNOWN_SYMBOL, f"{client.id} has no symbol {symbol!r}: see its list of markets")
    if market.get("contract") and not market.get("linear"):
        raise refused("unsupported_market", f"{symbol} is no linear contract: its amounts are not in base")
    return market


def symbol_of(client: Any, market_id: str, contract: bool) -> str:
    """The unified symbol of a venue's market id; the id itself where the loaded markets don't know it."""
    for market in client.markets_by_id.get(market_id, ()) if client.markets_by_id else ():
        if bool(market.get("contract")) == contract:
            return str(market["symbol"])
    return market_id


def refused(code: str, message: str) -> ExchangeFailure:
    """A refusal of our own, before anything is sent."""
    return ExchangeFailure(Outcome.REFUSED, code, message)


def wire_text(value: Decimal) -> str:
    """A number as it goes to a venue: no exponent, no trailing zeros."""
    return str(plain(value))


def contracts_of(market: Mapping[str, Any], amount: Decimal) -> Decimal:
    """An amount in base as the number of contracts that the venue counts in; on spot they are the same."""
    try:
        return EXACT.divide(amount, _contract_size(market))
    except ArithmeticError:
        raise refused(
            "amount_off_grid", f"{amount} is no whole number of {market['symbol']}'s contract steps"
        ) from None


def base_amount(market: Mapping[str, Any], contracts: Decimal) -> Decimal:
    """The counterpart of `contracts_of`."""
    return times(contracts, _contract_size(market))


def _contract_size(market: Mapping[str, Any]) -> Decimal:
    return Decimal(str(market.get("contractSize") or 1)) if market.get("contract") else Decimal(1)


async def read_after(question: Awaitable[OrderReport | None]) -> OrderReport:
    """The order as it is after an amendment that was accepted; a question that fails leaves it unknown.

    Raises:
        ExchangeFailure: UNKNOWN, whatever the question's own failure: the amendment did happen.
    """
    try:
        report = await question
    except ExchangeFailure as failure:
        raise ExchangeFailure(
            Outcome.UNKNOWN, "amended_unread", f"amended, but the order can't be read: {failure}"
        ) from None
    if report is None:
        raise ExchangeFailure(Outcome.UNKNOWN, "amended_unread", "amended, but the order isn't found")
    return report


def accepted(request: OrderRequest, exchange_order_id: str, exchange_at: int = 0) -> OrderReport:
    """The report of an order whose venue answers with ids alone."""
    return OrderReport(
        client_order_id=request.client_order_id,
        exchange_order_id=exchange_order_id,
        symbol=request.symbol,
        status=OrderStatus.ACTIVE,
        amount=request.amount,
        price=request.price,
        exchange_at=exchange_at,
    )
