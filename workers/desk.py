"""What one life of an exchange worker has at hand while it runs lanes, and how it waits.

A life is one worker id: it ends with the process or with its lease. Everything here is passed along explicitly,
so a stage of the pipeline can be read, and tested, by its arguments.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import TracebackType
from typing import Protocol

import msgspec

from common.claims import Claim
from common.exchange.base import Exchange, ExchangeFailure, OrderReference, Outcome
from common.exchange.coalescing import Placing
from common.gate import Idle, Patience
from common.journal import Journal
from common.lane_queue import LaneQueue
from common.lane_rules import LaneRules
from common.lanes import Dispatcher, Hold
from common.markets import Market
from common.normalizer import Normalized, Refusal
from common.standings import Standings
from common.venue_limits import Operation
from orderlane.identity import client_order_id
from orderlane.intents import AmendOrder, PlaceOrder, Side
from orderlane.orders import Order, Reason
from workers.overtaking import Overtaking

log = logging.getLogger("orderlane.worker")


class Throttle(Protocol):
    """The shared token buckets, as the pipeline sees them."""

    async def acquire(
        self,
        operation: Operation,
        account: str,
        symbol: str,
        urgency: int,
        *,
        conditional: bool = False,
        patience: Patience | None = None,
    ) -> None:
        """Wait until the request may be sent within every limit it counts against, and pay for it.

        Raises Overtaken, with nothing paid, when the `patience` was ended.
        """

    async def in_turn(
        self,
        operation: Operation,
        account: str,
        symbol: str,
        urgency: int,
        attempt: Callable[[Claim], Awaitable[int]],
        *,
        conditional: bool = False,
        patience: Patience | None = None,
    ) -> None:
        """Call `attempt`, in this request's turn, until it has taken the tokens of the claim it is given.

        It returns 0 when it is through, or how long to wait, ms (what `begin.lua` answers). Raises Overtaken when the
        `patience` was ended.
        """

    async def pause(self, account: str, failure: ExchangeFailure) -> None:
        """Close the buckets for all workers, as the exchange's 429, 418 or throttling code asks."""


class Rules(Protocol):
    """The market rules of the exchange: pure answers from what was loaded."""

    def normalize(self, intent: PlaceOrder, reference_price: Decimal | None) -> Normalized | Refusal: ...

    def normalize_amend(
        self, intent: AmendOrder, target: Order, placed: PlaceOrder, reference_price: Decimal | None
    ) -> Normalized | Refusal:
        """`target` is the order's record, `placed` the intent that placed it."""
        ...

    def needs_reference_price(self, intent: PlaceOrder) -> bool: ...

    def market(self, symbol: str) -> Market | None:
        """The rules of one symbol; None where the exchange has no such symbol."""
        ...


class LanePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How long to ask, how often to try; times in ms."""

    accounts: frozenset[str]
    disabled_strategies: frozenset[str] = frozenset()
    resolve_delays_ms: tuple[int, ...] = (200, 500, 1_000, 2_000)
    resolve_delay_cap_ms: int = 30_000
    clock_margin_ms: int = 1_000
    """Added to every bound of the exchange's clock before absence counts."""
    lease_ms: int = 2_000
    restart_doubt_ms: int = 60_000
    """For how long after a restart of Redis new entries are doubted too."""
    max_attempts: int = 3
    """How often a request is sent at most, each time after proof that the one before had no effect."""
    max_deaths: int = 3
    unprovable_after_ms: int = 60_000
    """On a venue without a receive window: how long to ask before the lane is parked for a person."""
    lane_rules: LaneRules = LaneRules()
    """What is decided about intents that wait, before a request is made for them."""
    forbidden_params: Callable[[dict[str, str | int | bool]], tuple[str, ...]] = lambda params: ()


class Behind(msgspec.Struct, frozen=True):
    """An order of this pool at the exchange: its amount (base), and its side where that is told."""

    client_order_id: str
    amount: Decimal
    side: Side | None


class Stopping(Exception):
    """The worker shuts down, and this lane may be left as it is: its journal says all that a successor needs."""


class RequestSlot:
    """A place among the requests under way, held within `async with`, or from `take` to `give_back`.

    A shutdown lets a task that holds one finish.
    """

    def __init__(
        self, requests: asyncio.Semaphore, stopping: asyncio.Event, in_request: set[asyncio.Task[None]]
    ) -> None:
        self._requests = requests
        self._stopping = stopping
        self._in_request = in_request
        self._task: asyncio.Task[None] | None = None

    async def take(self) -> None:
        """Wait for a place.

        Raises:
            Stopping: the worker shuts down; no place is held.
        """
        task = asyncio.current_task()
        assert task is not None
        await self._requests.acquire()
        if self._stopping.is_set():
            self._requests.release()
            raise Stopping
        self._task = task
        self._in_request.add(task)

    def give_back(self) -> None:
        """Leave the place to another request; without one, nothing happens."""
        if self._task is not None:
            self._in_request.discard(self._task)
            self._task = None
            self._requests.release()

    async def __aenter__(self) -> None:
        await self.take()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()


@dataclass
class Desk:
    """One life of a worker: its id and lease (dispatcher), its exchange, and the parts shared by its lanes."""

    name: str
    pool: str
    exchange: Exchange
    places: Placing
    """Through which new orders go: the exchange itself, or what sends several of them in one request."""
    dispatcher: Dispatcher
    journal: Journal
    queue: LaneQueue
    overtaking: Overtaking
    throttle: Throttle
    rules: Rules
    standings: Standings
    """What holds new placements of an account, or of all, at the moment."""
    policy: LanePolicy
    requests: asyncio.Semaphore
    """Bounds the requests under way at once."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    idle: Idle = field(default_factory=Idle)
    """The lane tasks that only wait."""
    disabled: Callable[[PlaceOrder], Reason | None] = lambda intent: None
    """Why a new order may not be placed, since its strategy was disabled on its symbol; None: it was not."""
    proven_absent: set[str] = field(default_factory=set)
    """Entries that Redis may have forgotten the work on, and that have no order on the exchange: nothing was sent."""
    behind: dict[str, tuple[int, Mapping[str, Behind]]] = field(default_factory=dict)
    """By lane: since when (ms, Redis' clock) its orders at the exchange were asked for, and which there are."""
    in_request: set[asyncio.Task[None]] = field(default_factory=set)
    """Lane tasks between `begin` and the record of its outcome: a shutdown lets these finish."""

    def client_order_id(self, account: str, intent_id: str) -> str:
        return client_order_id(self.pool, self.name, account, intent_id)

    def now_ms(self) -> int:
        """Redis' clock: the same for all workers and producers."""
        return self.dispatcher.redis_now_ms()

    def in_doubt(self, hold: Hold) -> bool:
        """Whether the journal of this entry may have been rolled back by a restart of Redis."""
        return self.dispatcher.doubt.covers(hold)

    def is_forgotten(self, hold: Hold) -> bool:
        """Whether Redis restarted after the entry was appended: what was done for it may have been forgotten."""
        return hold.entry_ms <= self.dispatcher.doubt.before_ms - self.policy.restart_doubt_ms

    def doubtful_until(self) -> int:
        """By the exchange's clock: when a request begun before Redis' restart can no longer be executed."""
        doubt = self.dispatcher.doubt
        passed_ms = self.now_ms() - doubt.since_ms
        window_ms = self.exchange.receive_window_ms or 0
        return self.exchange.now_ms() - passed_ms + self.policy.lease_ms + window_ms

    def reference(self, order: Order) -> OrderReference:
        return OrderReference(
            account=order.intent.account,
            symbol=order.intent.symbol,
            client_order_id="" if order.external else order.client_order_id,
            exchange_order_id=order.exchange_order_id,
            conditional=order.trigger_price is not None
            or (isinstance(order.intent, PlaceOrder) and order.intent.type.has_trigger),
        )

    async def sleep(self, delay_ms: float) -> None:
        """Wait, unless the worker shuts down.

        Raises:
            Stopping: it does; the lane's journal is complete.
            LeaseLost: the lease ended meanwhile.
        """
        try:
            with self.idle.here():
                await asyncio.wait_for(self.stopping.wait(), delay_ms / 1000)
        except TimeoutError:
            self.dispatcher.require_lease()
            return
        raise Stopping

    def request_slot(self) -> RequestSlot:
        """A place among the requests under way, for the task that takes it."""
        return RequestSlot(self.requests, self.stopping, self.in_request)

    async def reference_price(self, intent: PlaceOrder, waiting: Hold | None = None) -> Decimal | None:
        """The market's price where a rule asks for one; None where none does or the exchange did not say.

        Raises:
            Overtaken: something has arrived that should be looked at before `waiting`, an entry that has not begun.
        """
        if not self.rules.needs_reference_price(intent):
            return None
        try:
            with self.overtaking.giving_way(waiting) as patience:
                await self.throttle.acquire(
                    Operation.REFERENCE_PRICE, intent.account, intent.symbol, intent.urgency,
                    patience=patience,
                )  # fmt: skip
            return await self.exchange.reference_price(intent.symbol)
        except ExchangeFailure as failure:
            await self.pause_if_throttled(intent.account, failure)
            log.warning("no reference price", extra={"symbol": intent.symbol, "reason": str(failure)})
            return None

    async def pause_if_throttled(self, account: str, failure: ExchangeFailure) -> None:
        if failure.outcome is Outcome.THROTTLED:
            await self.throttle.pause(account, failure)


def backoff_ms(first_ms: int = 200, cap_ms: int = 5_000) -> Iterator[int]:
    """Growing waits between tries that are known to have done nothing."""
    delay = first_ms
    while True:
        yield delay
        delay = min(delay * 2, cap_ms)


def reason_of(failure: ExchangeFailure) -> Reason:
    """The exchange's (or the transport's) words as an order's reason."""
    numbers = {"http_status": str(failure.status)} if failure.status else {}
    return Reason(code=failure.code, message=failure.message, numbers=numbers)
