"""What the tests of the jobs use: an exchange of a pool, opened on a real paper exchange and a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from common.config import settings_from
from common.exchange.base import OrderReference, OrderReport, OrderRequest
from common.journal import Written
from orderlane.identity import client_order_id
from orderlane.intents import OrderType, PlaceOrder, Side
from orderlane.orders import Order, OrderStatus, Times
from orderlane.stuck import Watch, decode_watches, encode_watch
from orderlane.sync_status import SyncState, decode_syncs, encode_sync
from workers.jobs.matching import reference_to
from workers.jobs.open_exchange import OpenExchange
from workers.jobs.sync import Synced, sync_account

EXCHANGE: Final = "binance"
SYMBOL: Final = "BTC/USDT:USDT"
VENUE_ID: Final = "BTCUSDT"
MID: Final = Decimal(60_000)
CONFIG: Final = """\
exchanges:
  binance: {venue: binanceusdm, accounts: {main: {}, alt: {}, wrong: {key: no-such-key}}}
"""


class Opened(OpenExchange):
    """An exchange with what a worker would do to it, done by hand."""

    async def place(
        self, intent_id: str, price: Decimal | int = 50_000, symbol: str = SYMBOL, **changes: Any
    ) -> Order:
        """Place a limit order as a worker does, and record it as acknowledged (or as `changes` say)."""
        order = self.order(intent_id, price, symbol=symbol)
        intent = order.intent
        assert isinstance(intent, PlaceOrder)
        report = await self.exchange.place(
            self.request(intent, order.client_order_id), self.exchange.now_ms()
        )
        return await self.record(acknowledged(order, report), **changes)

    def request(self, intent: PlaceOrder, client_order_id: str) -> OrderRequest:
        return OrderRequest(
            account=intent.account,
            symbol=intent.symbol,
            side=intent.side,
            type=intent.type,
            amount=intent.amount,
            price=intent.price,
            client_order_id=client_order_id,
        )

    def order(
        self, intent_id: str, price: Decimal | int = 50_000, account: str = "main", symbol: str = SYMBOL
    ) -> Order:
        """The record of a limit order that nobody sent."""
        intent = PlaceOrder(
            id=intent_id,
            exchange=self.name,
            account=account,
            symbol=symbol,
            side=Side.BUY,
            type=OrderType.LIMIT,
            amount=Decimal("0.01"),
            price=Decimal(price),
        )
        identifier = client_order_id(self.settings.pool, self.name, account, intent_id)
        return Order(
            client_order_id=identifier,
            intent=intent,
            status=OrderStatus.ACTIVE,
            exchange_order_id="777",
            amount=intent.amount,
            price=intent.price,
            entry="1-1",
            times=Times(updated_at=1),
        )

    async def record(self, order: Order, **changes: Any) -> Order:
        written = await self.journal.write(msgspec.structs.replace(order, **changes), None)
        assert isinstance(written, Written), written
        return written.order

    async def status(self, order: Order) -> OrderStatus:
        record = await self.journal.read(order.client_order_id)
        assert record is not None
        return record.status

    def reference(self, order: Order) -> OrderReference:
        return reference_to(order)

    async def sync_state(self, account: str = "main") -> SyncState:
        """What the last sync of an account noted."""
        value: Any = await self.redis.hget(self.keys.synced, account)
        return decode_syncs({b"": value})[account]

    async def a_period_later(self) -> None:
        """Let every account be due again."""
        fields: Any = await self.redis.hgetall(self.keys.synced)
        for account, state in decode_syncs(fields).items():
            earlier = msgspec.structs.replace(state, began=state.began - 3_600_000)
            await self.redis.hset(self.keys.synced, account, encode_sync(earlier))

    async def watches(self, account: str = "main") -> dict[str, Watch]:
        """The stuck orders of an account, by client order id."""
        fields: Any = await self.redis.hgetall(self.keys.stuck(account))
        return decode_watches(fields)

    async def a_while_later(self, milliseconds: int, account: str = "main") -> None:
        """Let the watches of an account be as old as after this time."""
        for name, watch in (await self.watches(account)).items():
            earlier = {
                field: max(getattr(watch, field) - milliseconds, 0)
                for field in ("since", "deadline", "last", "next", "seen_open")
            }
            older = msgspec.structs.replace(watch, **earlier)
            await self.redis.hset(self.keys.stuck(account), name, encode_watch(older))

    async def sync(self, account: str = "main") -> Synced:
        synced = Synced()
        await sync_account(self, account, synced)
        return synced


def acknowledged(order: Order, report: OrderReport) -> Order:
    return msgspec.structs.replace(
        order, status=report.status, exchange_order_id=report.exchange_order_id, filled=report.filled
    )


@asynccontextmanager
async def opened(
    redis_url: str, paper_url: str, config: str = CONFIG, exchange: str = EXCHANGE
) -> AsyncIterator[Opened]:
    """The exchange of `config`, ready."""
    environment = {"REDIS_URL": redis_url, "ORDERLANE_PAPER_URL": paper_url}
    one = Opened(settings_from(config, "test", Path(), environment), exchange)
    try:
        await one.ready()
        yield one
    finally:
        await one.close()
