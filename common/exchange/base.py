"""What the pool asks of an exchange, in values: requests, reports, and the kinds of failure.

An adapter turns a venue's replies into these. The pipeline decides on `Outcome` alone and never sees a venue's
own codes, so "what may have happened to my order" is answered in one place for each venue.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Final, Protocol

from msgspec import Struct

from orderlane.intents import OrderType, Side, TimeInForce
from orderlane.orders import OrderStatus


class Outcome(StrEnum):
    """What a failed request means for the order. Anything not known for certain is UNKNOWN."""

    REFUSED = "refused"
    """The exchange's verdict: a code on the venue's list. Nothing was executed, and asking again won't help."""
    NOT_SENT = "not_sent"
    """Certainly nothing was sent (refused connection, DNS, TLS): safe to send again."""
    THROTTLED = "throttled"
    """Refused for its rate, certainly not executed: send again after `retry_after_ms`."""
    LATE = "late"
    """Refused because it arrived outside its receive window: not executed, safe to send again with a new time."""
    DUPLICATE = "duplicate"
    """The client order id is in use: the order is there, look it up."""
    NOT_FOUND = "not_found"
    """The exchange knows no such order (now). Evidence only once the request can't be executed any more."""
    UNKNOWN = "unknown"
    """Timeout, reset, 5xx, a cut, empty or foreign body, a code nobody listed: may or may not have happened."""


UNKNOWN_SYMBOL: Final = "unknown_symbol"
"""The code of a failure: the exchange has no such market (any more), so there is nothing there to ask for."""


class ExchangeFailure(Exception):
    """A request that did not succeed. `code` is the venue's own (or the transport's kind), `message` its words.

    `per_account`: it is about the account, not the address or one order: what throttles is a limit of the account, what
    refuses is said of its key or its rights.
    """

    def __init__(
        self,
        outcome: Outcome,
        code: str,
        message: str,
        *,
        status: int = 0,
        retry_after_ms: int = 0,
        per_account: bool = False,
    ) -> None:
        super().__init__(f"{outcome}: {code} {message}")
        self.outcome = outcome
        self.code = code
        self.message = message
        self.status = status
        self.retry_after_ms = retry_after_ms
        self.per_account = per_account


class OrderRequest(Struct, frozen=True, kw_only=True):
    """One order, normalised: every number is already on the venue's grid and is sent as it stands."""

    account: str
    symbol: str
    side: Side
    type: OrderType
    amount: Decimal
    client_order_id: str
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: TimeInForce | None = None
    reduce_only: bool = False
    params: dict[str, str | int | bool] = {}
    expires_at: int | None = None
    """Not to be sent after this moment, ms by Redis' clock. The venue is not told."""


class OrderReference(Struct, frozen=True, kw_only=True):
    """How to name an order that exists: by the exchange's own id where it is known, else by client order id."""

    account: str
    symbol: str
    client_order_id: str
    exchange_order_id: str = ""
    conditional: bool = False
    """A stop or take-profit type; some venues keep these in a book (and under endpoints) of their own."""


class OrderTerms(Struct, frozen=True, kw_only=True):
    """What was asked for when an order was placed, as the exchange repeats it: enough to take over an order of which
    there is no record.

    `trigger_price` in quote per base, `created_at` in ms (0: not told). `own_book`: it is kept, and numbered, apart
    from ordinary orders (Binance USDⓈ-M: the algo orders).
    """

    side: Side
    type: OrderType
    time_in_force: TimeInForce | None = None
    trigger_price: Decimal | None = None
    reduce_only: bool = False
    created_at: int = 0
    own_book: bool = False


class OrderReport(Struct, frozen=True, kw_only=True):
    """What the exchange says of one order. Amounts in base, `average` in quote per base, times in ms.

    `status` is one of ACTIVE, PARTIAL, FILLED, CANCELED, EXPIRED, REJECTED. `terms`: None in answers to requests about
    one order, which its record knows better, and for a kind of order that no intent can ask for.
    """

    client_order_id: str
    exchange_order_id: str
    symbol: str
    status: OrderStatus
    amount: Decimal | None = None
    price: Decimal | None = None
    filled: Decimal = Decimal(0)
    average: Decimal | None = None
    fees: dict[str, Decimal] = {}
    exchange_at: int = 0
    terms: OrderTerms | None = None


class Liquidity(StrEnum):
    """Which side of the book a fill was on (FIX LastLiquidityInd, tag 851: added or removed liquidity)."""

    MAKER = "maker"
    TAKER = "taker"


class TradeReport(Struct, frozen=True, kw_only=True):
    """One fill, by the exchange's own id of it. `amount` in base, `price` in quote per base, `traded_at` in ms.

    `client_order_id` is empty where the exchange doesn't name it with the fill (lists of past trades don't).
    """

    trade_id: str
    exchange_order_id: str
    client_order_id: str = ""
    symbol: str
    side: Side
    amount: Decimal
    price: Decimal
    fee: Decimal | None = None
    fee_currency: str = ""
    liquidity: Liquidity | None = None
    realised: Decimal | None = None
    """The profit it realised on a derivatives position, before fees, in the currency of settlement, where the exchange
    says so."""
    traded_at: int


class StreamUpdate(Struct, frozen=True, kw_only=True):
    """One message of a user stream, read. `received_at` is when it came, ms by the exchange's clock.

    `conditional`: the message is about a conditional order itself, not about the ordinary order that it may have
    become, of which `became` then is the exchange's id.
    """

    received_at: int
    report: OrderReport
    trade: TradeReport | None = None
    conditional: bool = False
    became: str = ""


class UserStream(Protocol):
    """What happens to one account's orders, told by the exchange as it happens. Opened once, and closed once."""

    async def open(self) -> None:
        """Return when the exchange tells of whatever happens from now on.

        Raises:
            ExchangeFailure: it could not be opened.
        """
        ...

    async def updates(self) -> list[StreamUpdate]:
        """What was told since the last call, in the order in which it came; waits for the first.

        Raises:
            ExchangeFailure: the stream has ended, or said what can't be read: something may have been missed. What
                came before has been returned.
        """
        ...

    def oldest_unread(self) -> int | None:
        """When the first of what was told and not asked for yet came, ms by the exchange's clock."""
        ...

    async def close(self) -> None: ...


class Usage(Struct, frozen=True):
    """How much of one limit the venue says is used, from a reply's headers; `limit_name` as in the venue's limits."""

    scope: str
    limit_name: str
    used: int


class Exchange(Protocol):
    """One venue, all accounts of it, reached by this process. Every method may raise ExchangeFailure.

    `at_ms` is the request's time stamp in the exchange's own clock: it is signed into the request, so that the
    exchange itself refuses to execute it after `at_ms + receive_window_ms`.
    """

    name: str
    receive_window_ms: int | None
    """None: the venue has no such bound, so absence can never be proven."""
    amends_in_place: bool
    batch_limit: int
    """How many orders `place_batch` takes at once; 0: the venue takes no batches."""
    trades_page: int
    """How many fills `trades` gives at once."""
    streams_orders: bool
    """Whether the venue tells of its own accord what happens to orders (`user_stream`)."""

    def now_ms(self) -> int:
        """The exchange's clock as this process estimates it."""
        ...

    async def server_time_ms(self) -> int:
        """The exchange's clock, asked for now."""
        ...

    async def place(self, request: OrderRequest, at_ms: int) -> OrderReport: ...

    def batches(self, request: OrderRequest) -> bool:
        """Whether this order may be one of a batch."""
        ...

    async def place_batch(
        self, requests: Sequence[OrderRequest], at_ms: int
    ) -> list[OrderReport | ExchangeFailure]:
        """Place several orders of one account in one request: one verdict for each, in the order given. Never raises
        ExchangeFailure: what fails the request is the verdict on each order in it."""
        ...

    async def cancel(self, reference: OrderReference, at_ms: int) -> OrderReport | None:
        """Cancel; the final report where the venue gives one with its reply."""
        ...

    async def amend(self, reference: OrderReference, request: OrderRequest, at_ms: int) -> OrderReport: ...

    async def cancel_all(self, account: str, symbol: str, at_ms: int) -> None: ...

    async def find(self, reference: OrderReference) -> OrderReport | None:
        """The order, or None when the exchange answers that it knows no such order. A query that fails raises."""
        ...

    async def open_orders(self, account: str, symbol: str | None = None) -> list[OrderReport]:
        """Open orders of the account (all symbols where the venue allows), conditional ones included."""
        ...

    async def trades(
        self, account: str, symbol: str, since_ms: int, after_id: str = "", of_order: str = ""
    ) -> list[TradeReport]:
        """One page (`trades_page` at most) of the account's fills of a symbol, oldest first.

        Args:
            account: whose.
            symbol: of which market.
            since_ms: the earliest, ms by the exchange's clock. A venue may look no further than a day on from there.
            after_id: instead of a time, the trade after which the page begins.
            of_order: only the fills of this order, by the exchange's id of it, whenever they were; then neither
                `since_ms` nor `after_id` counts. REFUSED where a venue can't be asked so.
        """
        ...

    def user_stream(self, account: str, ping_seconds: float) -> UserStream:
        """A stream of what happens to the account's orders; nothing is sent yet.

        Raises:
            ExchangeFailure: REFUSED, the venue has none that is known here (`streams_orders` says so).
        """
        ...

    async def reference_price(self, symbol: str) -> Decimal:
        """A price near which an order would trade now: the mark price, or the middle of the book."""
        ...

    async def close(self) -> None: ...
