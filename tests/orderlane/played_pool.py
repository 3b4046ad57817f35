"""What the tests of the clients use: intents, and someone who plays the pool's part for single orders."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import redis

from orderlane.connection import connect
from orderlane.events import encode_event, order_event
from orderlane.identity import client_order_id
from orderlane.intents import Intent, OrderType, PlaceOrder, Side, encode_intent
from orderlane.keys import Keys, exchanges_key
from orderlane.orders import Order, OrderStatus, Reason, decode_order, encode_record

EXCHANGE = "binance"
ACCOUNT = "main"


def an_intent(intent_id: str = "grid-1", **changes: Any) -> PlaceOrder:
    fields: dict[str, Any] = {
        "id": intent_id,
        "exchange": EXCHANGE,
        "account": ACCOUNT,
        "symbol": "BTC/USDT:USDT",
        "side": Side.BUY,
        "type": OrderType.LIMIT,
        "amount": Decimal("0.5"),
        "price": Decimal(64000),
    }
    return PlaceOrder(**(fields | changes))


def advancing(pool: PlayedPool, *statuses: OrderStatus) -> Callable[[], None]:
    """An action that brings `an_intent()` to one status after the other."""

    def advance() -> None:
        for status in statuses:
            pool.advance(an_intent(), status)

    return advance


class PlayedPool:
    """Writes records and events the way the pool's workers do: both at once, or neither."""

    def __init__(self, url: str, pool: str = "orderlane") -> None:
        self.redis: redis.Redis = connect(url)
        self.raw: Any = self.redis
        self.pool = pool
        self._clock_ms = itertools.count(1_700_000_000_000)

    def keys(self, exchange: str = EXCHANGE) -> Keys:
        return Keys(exchange, self.pool)

    def register(self, exchange: str = EXCHANGE, *accounts: str) -> None:
        """What a worker does as it starts."""
        self.redis.sadd(exchanges_key(self.pool), exchange)
        self.redis.sadd(self.keys(exchange).accounts, *(accounts or (ACCOUNT,)))

    def order_key(self, intent: Intent) -> str:
        identifier = client_order_id(self.pool, intent.exchange, intent.account, intent.id)
        return self.keys(intent.exchange).order(identifier)

    def order(self, intent: Intent) -> Order | None:
        fields = self.raw.hgetall(self.order_key(intent))
        return decode_order(fields) if fields else None

    def advance(
        self, intent: Intent, status: OrderStatus, *, reason: Reason | None = None, **changes: Any
    ) -> Order:
        """Bring an intent's order to a status, and publish it."""
        keys = self.keys(intent.exchange)
        identifier = client_order_id(self.pool, intent.exchange, intent.account, intent.id)
        before = self.order(intent)
        order = before or Order(client_order_id=identifier, intent=intent, entry="1700000000000-0")
        now_ms = next(self._clock_ms)
        times = msgspec.structs.replace(order.times, updated_at=now_ms)
        order = msgspec.structs.replace(
            order, status=status, version=order.version + 1, reason=reason, times=times, **changes
        )
        event = order_event(order, before.status if before else None, at=now_ms)
        with self.redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(
                keys.order(identifier),
                mapping={
                    "status": status.value,
                    "version": order.version,
                    "entry": order.entry,
                    "record": encode_record(order),
                },
            )
            if status.terminal:
                pipeline.zrem(keys.open(intent.account), identifier)
            else:
                pipeline.zadd(keys.open(intent.account), {identifier: now_ms})
            if status is OrderStatus.UNKNOWN:
                pipeline.zadd(keys.unknown, {identifier: now_ms})
            pipeline.xadd(keys.events, {"event": encode_event(event)})
            pipeline.execute()
        return order

    def write(self, intent: Intent, status: OrderStatus, **changes: Any) -> None:
        """Write a record as it stands, and nothing else."""
        identifier = client_order_id(self.pool, intent.exchange, intent.account, intent.id)
        order = Order(client_order_id=identifier, intent=intent, status=status, version=1, **changes)
        fields = {"status": status.value, "version": 1, "entry": "5-0", "record": encode_record(order)}
        self.raw.hset(self.order_key(intent), mapping=fields)

    def encoded(self, intent_id: str) -> bytes:
        return encode_intent(an_intent(intent_id))

    def payloads(self, exchange: str = EXCHANGE) -> list[bytes]:
        """The intents in the stream, oldest first."""
        entries: Any = self.redis.xrange(self.keys(exchange).intents)
        return [fields[b"intent"] for _, fields in entries]

    def close(self) -> None:
        self.redis.close()
