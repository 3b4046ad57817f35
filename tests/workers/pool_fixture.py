"""A pool of one in-process worker, on a real Redis and a real paper exchange, and what its tests ask of it.

`paper`    one paper exchange for the module, emptied before each test; its prices stand still
`pool`     a `Pool` with nothing running: `async with pool.working():` runs a worker of one exchange
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import redis

from common.config import Settings, settings_from
from common.exchange.base import OrderRequest
from orderlane.connection import connect
from orderlane.events import Event, EventName, decode_event
from orderlane.identity import client_order_id
from orderlane.intents import Intent, PlaceOrder, encode_intent
from orderlane.keys import Keys
from orderlane.orders import Order, OrderStatus, Reason, decode_order, may_follow
from tests.paper_process import PaperProcess, start
from tests.workers.products import SPOT, USDM, Product
from workers.exchange import ExchangeWorker

WAIT_SECONDS: Final = 20.0
"""How long a test waits for what is promised; only a test that fails takes that long."""
WINDOW_MS: Final = 500
MARGIN_MS: Final = 100
OPTIONS: Final = (
    *("--step-ms", "0", "--partial-fill-probability", "1"),
    *("--orders-10s", "100000", "--orders-1m", "100000", "--weight-limit", "1000000"),
)
"""Prices stand still; an order that the market reaches fills in part; limits are never met."""

CONFIG: Final = """\
exchanges:
  binance:
    venue: binanceusdm
    accounts: {main: {}, alt: {}}
    receive_window_ms: 500
    request_timeout_ms: 500
    limits_reserve: 0
    lane_rules: {}
    user_stream: {enabled: false}
    positions: {enabled: false}
    worker:
      {lease_ms: 1500, heartbeat_ms: 200, clock_margin_ms: 100, resolve_delays_ms: [30, 60], resolve_cap_ms: 100,
       unprovable_after_ms: 1000, restart_doubt_seconds: 0}
  binance-spot:
    venue: binance
    accounts: {main: {}, alt: {}}
    receive_window_ms: 500
    request_timeout_ms: 500
    limits_reserve: 0
    lane_rules: {}
    user_stream: {enabled: false}
    positions: {enabled: false}
    worker:
      {lease_ms: 1500, heartbeat_ms: 200, clock_margin_ms: 100, resolve_delays_ms: [30, 60], resolve_cap_ms: 100,
       unprovable_after_ms: 1000, restart_doubt_seconds: 0}
"""
"""The product's defaults with short times: what has to be waited for takes half a second. Without user streams: what
these tests promise has to hold where no stream tells of anything."""

STATUSES: Final = {
    "NEW": OrderStatus.ACTIVE,
    "PARTIALLY_FILLED": OrderStatus.PARTIAL,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELED,
    "EXPIRED": OrderStatus.EXPIRED,
}
PLACED_NOTHING: Final = (OrderStatus.REJECTED, OrderStatus.FAILED, OrderStatus.EXPIRED, OrderStatus.DONE)


class DeadLetter(msgspec.Struct, frozen=True):
    """An entry that ended in `dead`."""

    entry: str
    reason: Reason
    payload: bytes


class Pool:
    """What a producer and an operator see of one pool, and a worker for it."""

    def __init__(self, redis_url: str, paper: PaperProcess, config: str = CONFIG) -> None:
        self.redis_url = redis_url
        self.paper = paper
        self.exchange_url = paper.url
        """Where workers reach the exchange."""
        self.config = config
        self.client: redis.Redis = connect(redis_url)

    def settings(self) -> Settings:
        environment = {"REDIS_URL": self.redis_url, "ORDERLANE_PAPER_URL": self.exchange_url}
        return settings_from(self.config, "test", Path(), environment)

    @asynccontextmanager
    async def working(self, product: Product = USDM) -> AsyncIterator[ExchangeWorker]:
        """A worker of this exchange, in this event loop, until the block ends; it leaves as on SIGTERM."""
        worker, task = await self._start(product)
        try:
            yield worker
        finally:
            worker.stopping.set()
            await asyncio.wait_for(task, WAIT_SECONDS)
            self._keep_markets(product)

    @asynccontextmanager
    async def dying(self, product: Product = USDM) -> AsyncIterator[ExchangeWorker]:
        """A worker that the end of the block cuts off: it gives nothing back and writes nothing more."""
        worker, task = await self._start(product)
        try:
            yield worker
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _start(self, product: Product) -> tuple[ExchangeWorker, asyncio.Task[None]]:
        self._use_known_markets(product)
        known = self.workers(product)
        worker = ExchangeWorker(self.settings(), product.exchange)
        task = asyncio.create_task(worker.run())
        await self.until(lambda: task.done() or self.workers(product) - known, "a worker that joins the pool")
        await self.until(lambda: task.done() or not self.reconciling(product), "accounts that are open")
        return worker, task

    def reconciling(self, product: Product = USDM) -> set[str]:
        """The accounts that are closed until they agree with the exchange."""
        fields: Any = self.client.hkeys(self.keys(product).standings)
        scopes = (field.decode().split("|") for field in fields)
        return {account for account, cause in scopes if cause == "reconciling"}

    def workers(self, product: Product = USDM) -> set[bytes]:
        """The ids of the workers that have a lease, or had one that nobody has reaped."""
        found: Any = self.client.zrange(self.keys(product).workers, 0, -1)
        return set(found)

    def keys(self, product: Product = USDM) -> Keys:
        return Keys(product.exchange)

    # What a producer does

    def send(self, *intents: Intent) -> str:
        """Append intents as any language would; the last one's entry."""
        entry = ""
        for intent in intents:
            entry = self.append(encode_intent(intent), exchange=intent.exchange)
        return entry

    def append(self, payload: bytes, field: str = "intent", exchange: str = "binance") -> str:
        """Append whatever these bytes are; its entry."""
        added: Any = self.client.xadd(Keys(exchange).intents, {field: payload})
        return str(added.decode())

    async def place_behind(self, worker: ExchangeWorker, intent: PlaceOrder) -> None:
        """Place what the intent asks for without telling the journal: as a request that Redis forgot."""
        await self.until(lambda: len(worker.rules.markets), "the market rules")
        request = OrderRequest(
            account=intent.account,
            symbol=intent.symbol,
            side=intent.side,
            type=intent.type,
            amount=intent.amount,
            price=intent.price,
            client_order_id=self.client_order_id(intent),
            time_in_force=intent.time_in_force,
        )
        await worker.exchange.place(request, worker.exchange.now_ms())

    # What there is to see

    def record(self, intent: Intent) -> Order | None:
        fields: Any = self.client.hgetall(Keys(intent.exchange).order(self.client_order_id(intent)))
        return decode_order(fields) if fields else None

    def client_order_id(self, intent: Intent) -> str:
        return client_order_id("orderlane", intent.exchange, intent.account, intent.id)

    def events(self, product: Product = USDM, *, of: Intent | None = None) -> list[Event]:
        """Every event, or those of one intent."""
        entries: Any = self.client.xrange(self.keys(product).events)
        decoded = [decode_event(entry.decode(), fields[b"event"]) for entry, fields in entries]
        return [event for event in decoded if of is None or event.intent_id == of.id]

    def dead(self, product: Product = USDM) -> list[DeadLetter]:
        entries: Any = self.client.xrange(self.keys(product).dead)
        return [
            DeadLetter(
                fields[b"entry"].decode(),
                msgspec.json.decode(fields[b"reason"], type=Reason),
                fields[b"payload"],
            )
            for _, fields in entries
        ]

    def backlog(self, product: Product = USDM) -> int:
        length: Any = self.client.xlen(self.keys(product).intents)
        return int(length)

    def placed(self, intent: Intent) -> list[dict[str, Any]]:
        """The requests that placed an order under this intent's id, as the exchange executed them."""
        return [one for one in self.arrived(intent, "place") if one["executed"]]

    def arrived(self, intent: Intent, kind: str) -> list[dict[str, Any]]:
        """The requests of this kind that reached the exchange under this intent's id."""
        identifier = self.client_order_id(intent)
        return [
            one for one in self.paper.audit() if one["kind"] == kind and one["client_order_id"] == identifier
        ]

    def on_book(self, intent: Intent) -> list[dict[str, Any]]:
        """The exchange's own orders under this intent's id, conditional ones too."""
        identifier = self.client_order_id(intent)
        product = SPOT if intent.exchange == SPOT.exchange else USDM
        ordinary = self.paper.orders(client_id=identifier, product=product.product)
        conditional = self.paper.algo_orders(client_id=identifier) if product is USDM else []
        return ordinary + conditional

    def open_on_book(self, product: Product) -> list[dict[str, Any]]:
        """Everything that is open there."""
        listed = self.paper.orders(product=product.product)
        listed += self.paper.algo_orders() if product is USDM else []
        return [one for one in listed if one["status"] in ("NEW", "PARTIALLY_FILLED")]

    # What the market does

    def fill_partly(self, product: Product) -> None:
        """Let the market touch the orders at 50 000 once: each fills in part."""
        self.paper.set_price(product.product, product.venue_symbol, 49_900, hold=True)
        self.paper.set_price(product.product, product.venue_symbol, 60_000, hold=True)

    def fill(self, intent: PlaceOrder, product: Product) -> None:
        """Let the market come back until this order is filled."""
        while self.on_book(intent)[0]["status"] != "FILLED":
            self.fill_partly(product)

    # Waiting

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until the condition is truthy; its value."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not (value := condition()):
            assert time.monotonic() < deadline, f"never came: {what}"
            await asyncio.sleep(0.01)
        return value

    async def ended(self, product: Product = USDM) -> None:
        """Wait until every entry has ended."""
        await self.until(lambda: self.backlog(product) == 0, "the end of every entry")

    async def outcome(self, intent: Intent) -> Order:
        """The record of an intent once its entry has ended."""
        await self.until(
            lambda: (order := self.record(intent)) is not None and not self._waits(intent, order),
            f"the outcome of {intent.id}: {self.record(intent)}",
        )
        order = self.record(intent)
        assert order is not None
        return order

    async def status(self, intent: Intent, *statuses: OrderStatus) -> Order:
        """The record of an intent once it has one of these statuses."""
        await self.until(
            lambda: (order := self.record(intent)) is not None and order.status in statuses,
            f"{intent.id} {statuses}",
        )
        order = self.record(intent)
        assert order is not None
        return order

    def _waits(self, intent: Intent, order: Order) -> bool:
        found: Any = self.client.xrange(Keys(intent.exchange).intents, order.entry, order.entry)
        return bool(found)

    # What holds for every outcome

    def assert_once(self, intent: Intent) -> None:
        """One order on the exchange's books under this id, placed by one request, and the record says the same."""
        assert len(self.placed(intent)) == 1, self.arrived(intent, "place")
        self.assert_agrees(intent)

    def assert_never(self, intent: Intent) -> None:
        """No order on the exchange's books, and a record that says why."""
        assert self.placed(intent) == []
        assert self.on_book(intent) == []
        order = self.record(intent)
        assert order is not None
        assert order.status in PLACED_NOTHING
        assert order.reason is not None
        assert order.exchange_order_id == ""
        self.assert_told(intent)

    def assert_agrees(self, intent: Intent) -> None:
        """The record is what the exchange's books say."""
        order, [booked] = self.record(intent), self.on_book(intent)
        assert order is not None
        assert order.status == STATUSES[booked["status"]], (order, booked)
        assert order.exchange_order_id == str(booked.get("order_id") or booked["algo_id"])
        assert order.amount == Decimal(booked["quantity"])
        assert order.price == (Decimal(booked["price"]) or None) or order.status is OrderStatus.FILLED
        assert order.filled == Decimal(booked.get("executed_quantity", 0))
        assert order.reason is None
        self.assert_told(intent)

    def assert_told(self, intent: Intent) -> None:
        """The events tell one story from QUEUED to where the record stands, step by step as is allowed."""
        order = self.record(intent)
        assert order is not None
        product = SPOT if intent.exchange == SPOT.exchange else USDM
        steps = [
            (event.from_status, event.to_status)
            for event in self.events(product, of=intent)
            if event.name not in (EventName.LATENCY, EventName.DUPLICATE)
        ]
        assert steps[0][0] is OrderStatus.QUEUED, steps
        for (_, before), (after, _) in itertools.pairwise(steps):
            assert after is before, steps
        for left, reached in steps:
            assert reached is not None
            assert left is reached or may_follow(left, reached), steps
        assert steps[-1][1] is order.status, (steps, order.status)

    def close(self) -> None:
        self.client.close()

    def _use_known_markets(self, product: Product) -> None:
        known = _markets.get((self.paper.url, product.exchange))
        if known:
            self.client.hset(self.keys(product).markets, mapping=known)

    def _keep_markets(self, product: Product) -> None:
        fields: Any = self.client.hgetall(self.keys(product).markets)
        if fields:
            _markets[self.paper.url, product.exchange] = fields


_markets: dict[tuple[str, str], dict[Any, Any]] = {}
"""Market rules that a test before has loaded: loading them takes longer than most tests."""


@pytest.fixture(scope="module")
def paper_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaperProcess]:
    with start(tmp_path_factory.mktemp("paper"), *OPTIONS) as process:
        yield process


@pytest.fixture
def paper(paper_of_module: PaperProcess) -> PaperProcess:
    """An empty paper exchange with a market of 60 000 for BTC."""
    paper_of_module.reset()
    for product in (USDM, SPOT):
        paper_of_module.set_price(product.product, product.venue_symbol, 60_000, hold=True)
    return paper_of_module


@pytest.fixture
def pool(redis_url: str, paper: PaperProcess) -> Iterator[Pool]:
    """A pool whose streams are empty and which no worker serves yet."""
    made = Pool(redis_url, paper)
    yield made
    made.close()
