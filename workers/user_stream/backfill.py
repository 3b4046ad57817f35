"""What a gap in a user stream may have hidden, asked for over REST: the account's orders and its fills since before it.

Orders first, as the periodic sync does it: one list of what is open, and by itself whatever the list should show and
does not. Then, market by market, the fills since. A list of fills names orders by the exchange's id alone; which of
ours that is, the open records say, and the events of the time in question; any other is asked for once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import MsgspecError, Struct

from common import failpoints
from common.claims import CATCHING_UP
from common.exchange.base import (
    UNKNOWN_SYMBOL,
    Exchange,
    ExchangeFailure,
    OrderReference,
    OrderReport,
    StreamUpdate,
    TradeReport,
)
from common.journal import Journal
from common.venue_limits import Operation
from orderlane.events import decode_event
from orderlane.identity import belongs_to_pool
from orderlane.keys import EVENT_FIELD, Keys
from orderlane.orders import Order
from workers.desk import Throttle
from workers.external import Strangers
from workers.jobs.matching import compare, placed_an_order, reference_to
from workers.user_stream.applying import AGAIN_SECONDS, Applied, News

log: Final = logging.getLogger("orderlane.stream")

LEAST_URGENT: Final = CATCHING_UP
"""A backfill's place in the queue for tokens: whatever an application asked for goes first."""
EVENTS_READ_TOGETHER: Final = 1_000
APPLIED_TOGETHER: Final = 64
DAY_MS: Final = 86_400_000
"""How far on from its beginning a list of fills is sure to look (Binance spot: 24 hours)."""

Name = tuple[str, str]
"""An order as lists of fills name it: symbol, and the exchange's id."""


class Backfilled(Struct):
    """What a backfill did: requests sent, orders looked at, fills found on them."""

    asked: int = 0
    orders: int = 0
    fills: int = 0


@dataclass
class Backfill:
    """The backfills of one account. `names` and `without_record` are kept from one to the next."""

    account: str
    pool: str
    keys: Keys
    exchange: Exchange
    journal: Journal
    throttle: Throttle
    redis: Any
    apply: Callable[[str, News], Awaitable[Applied]]
    redis_now_ms: Callable[[], int]
    strangers: Strangers
    names: dict[Name, str] = field(default_factory=dict)
    """The client order ids of orders of ours."""
    without_record: set[Name] = field(default_factory=set)
    """Orders of others that get no record."""

    async def run(self, since_ms: int) -> Backfilled:
        """Bring in what happened since `since_ms`, by the exchange's clock.

        Raises:
            ExchangeFailure: a question failed; what was brought in stands.
            redis.exceptions.RedisError: Redis did not answer.
        """
        done = Backfilled()
        failpoints.reach("stream.gap", self.account)
        symbols, oldest_unknown = await self._orders(done)
        since_ms = min(since_ms, oldest_unknown or since_ms)
        failpoints.reach("stream.orders_read", self.account)
        symbols |= await self._read_events(since_ms)
        for symbol in sorted(symbols):
            try:
                await self._trades(symbol, since_ms, done)
            except ExchangeFailure as failure:
                if failure.code != UNKNOWN_SYMBOL:
                    raise
        self.names.clear()
        return done

    async def _orders(self, done: Backfilled) -> tuple[set[str], int]:
        """Bring the open records up to what the exchange says; the symbols they are of, and when the oldest order was
        placed of whose fills nothing is known (ms; 0: there is none)."""
        await self._pay(Operation.OPEN_ORDERS_ALL, "", done)
        records = await self._open_records()
        others = await self.strangers.known(self.account)
        listed = await self.exchange.open_orders(self.account)
        met = await self.strangers.meet_listed(self.account, records, listed, others, self.redis_now_ms())
        if met.recorded:
            records = await self._open_records()
        for record in records:
            self._name(record.intent.symbol, record.exchange_order_id, record.client_order_id)
        comparison = compare(self.pool, records, listed, self.redis_now_ms())
        found = [(record, report) for record, report in comparison.shown]
        await self._apply_all((one.client_order_id, self._news(one, report)) for one, report in found)
        for record in comparison.missing:
            reference = reference_to(record)
            await self._pay(Operation.FIND, reference.symbol, done, conditional=reference.conditional)
            try:
                report = await self.exchange.find(reference)
            except ExchangeFailure as failure:
                if failure.code != UNKNOWN_SYMBOL:
                    raise
                continue
            if report is not None:
                await self._apply(record.client_order_id, self._news(record, report))
        done.orders += len(records)
        unknown = [record.times.sent_at for record in records if _lacks_its_fills(record)]
        return {record.intent.symbol for record in records}, min(unknown, default=0)

    async def _open_records(self) -> list[Order]:
        return [record for record in await self.journal.open_orders(self.account) if placed_an_order(record)]

    def _news(self, record: Order, report: OrderReport) -> News:
        """A report of the REST interface, which names a conditional order as the record does."""
        self._name(record.intent.symbol, report.exchange_order_id, record.client_order_id)
        return News([StreamUpdate(received_at=0, report=report, conditional=True)], [])

    async def _read_events(self, since_ms: int) -> set[str]:
        """Learn from the pool's own events which orders moved since; the symbols they are of."""
        symbols: set[str] = set()
        after = f"{max(since_ms, 0)}-0"
        while True:
            entries: Any = await self.redis.xrange(self.keys.events, after, "+", count=EVENTS_READ_TOGETHER)
            for entry_id, fields in entries:
                try:
                    event = decode_event(entry_id.decode(), fields.get(EVENT_FIELD.encode(), b""))
                except MsgspecError:
                    continue
                if event.account == self.account and event.client_order_id and event.symbol:
                    symbols.add(event.symbol)
                    self._name(event.symbol, event.exchange_order_id, event.client_order_id)
            if len(entries) < EVENTS_READ_TOGETHER:
                return symbols
            after = f"({entries[-1][0].decode()}"

    async def _trades(self, symbol: str, since_ms: int, done: Backfilled) -> None:
        after_id = ""
        while True:
            await self._pay(Operation.HISTORY, symbol, done)
            page = await self.exchange.trades(self.account, symbol, since_ms, after_id)
            failpoints.reach("stream.trades_read", self.account)
            await self._bring_in(symbol, page, done)
            if (
                not after_id
                and len(page) < self.exchange.trades_page
                and since_ms + DAY_MS >= self.exchange.now_ms()
            ):
                return  # all there is since then
            if page and page[-1].trade_id != after_id:
                if after_id and len(page) < self.exchange.trades_page:
                    return
                after_id = page[-1].trade_id
            elif after_id or since_ms + DAY_MS >= self.exchange.now_ms():
                return
            else:
                since_ms += DAY_MS

    async def _bring_in(self, symbol: str, page: Iterable[TradeReport], done: Backfilled) -> None:
        news: dict[str, News] = {}
        for trade in page:
            name = await self._client_order_id(symbol, trade.exchange_order_id, done)
            if name:
                news.setdefault(name, News([], [])).trades.append(trade)
                done.fills += 1
        await self._apply_all(news.items())

    async def _client_order_id(self, symbol: str, exchange_order_id: str, done: Backfilled) -> str:
        """The name of its record; empty where it has none."""
        name = symbol, exchange_order_id
        if name in self.names or name in self.without_record:
            return self.names.get(name, "")
        await self._pay(Operation.FIND, symbol, done)
        report = await self.exchange.find(
            OrderReference(
                account=self.account,
                symbol=symbol,
                client_order_id="",
                exchange_order_id=exchange_order_id,
            )
        )
        if report is not None:
            record = self.strangers.record_name(self.account, report)
            if await self.journal.read(record) is None:
                await self.strangers.meet(self.account, [report], self.redis_now_ms())
            if belongs_to_pool(self.pool, report.client_order_id) or await self.journal.read(record):
                self.names[name] = record
                return record
        self.without_record.add(name)
        return ""

    def _name(self, symbol: str, exchange_order_id: str, client_order_id: str) -> None:
        if exchange_order_id:
            self.names[symbol, exchange_order_id] = client_order_id

    async def _apply_all(self, news: Iterable[tuple[str, News]]) -> None:
        """Bring in many orders' news, some at once: their scripts leave together."""
        waiting = list(news)
        for start in range(0, len(waiting), APPLIED_TOGETHER):
            together = waiting[start : start + APPLIED_TOGETHER]
            await asyncio.gather(*(self._apply(name, one) for name, one in together))

    async def _apply(self, client_order_id: str, news: News) -> None:
        """Bring one order's news in, however long its request is under way yet: nobody else may hear of it."""
        while True:
            if await self.apply(client_order_id, news) is not Applied.LATER:
                return
            await asyncio.sleep(AGAIN_SECONDS)

    async def _pay(
        self, operation: Operation, symbol: str, done: Backfilled, *, conditional: bool = False
    ) -> None:
        await self.throttle.acquire(operation, self.account, symbol, LEAST_URGENT, conditional=conditional)
        done.asked += 1


def _lacks_its_fills(record: Order) -> bool:
    """Whether the order came to the journal with fills, of which it tells their sum alone."""
    found = record.rebuilt or record.external
    return found and bool(record.filled) and not record.fees and bool(record.times.sent_at)
