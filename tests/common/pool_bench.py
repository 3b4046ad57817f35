"""A pool on a real Redis, cut down to its dispatch and its journal, for tests that play its workers by hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import msgspec
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from common.journal import Journal, Then, Written
from common.lane_queue import Change, LaneQueue, Seen
from common.lanes import Dispatcher, Hold
from common.redis import Argument, ScriptRunner, connect_pool
from orderlane.connection import connect
from orderlane.events import EventName, order_event
from orderlane.identity import client_order_id
from orderlane.intents import decode_intent
from orderlane.keys import Keys
from orderlane.orders import Order, OrderStatus, Times

LEASE_MS: Final = 600_000
"""Longer than any test: leases end here only when a test ends them."""
RETENTION_MS: Final = 3_600_000

Fault = Literal["lost", "delayed", "refused"]
"""`lost`: the call is executed and its reply dropped. `delayed`: the call arrives only after it was given up.
`refused`: the server answers with an error that repeating will not cure."""


Call = tuple[str, list[str], list[Argument]]
"""A script's name, its KEYS and its ARGV."""


@dataclass
class FaultyRunner(ScriptRunner):
    """A runner that loses the next call of a script, as a broken connection does."""

    faults: dict[str, Fault] = field(default_factory=dict)
    sent: list[Call] = field(default_factory=list)
    """The calls that were lost: each may still arrive, for the first time or once more."""
    last: Call = ("", [], [])
    reply: Any = None
    """What the last call was answered."""

    async def run(self, name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        fault = self.faults.pop(name, None)
        self.last = (name, list(keys), list(arguments))
        if fault is None:
            self.reply = await super().run(name, keys, arguments)
            return self.reply
        if fault == "refused":
            raise ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
        self.sent.append((name, list(keys), list(arguments)))
        if fault == "lost":
            await super().run(name, keys, arguments)
        raise RedisConnectionError("the reply was lost")

    async def arrive(self) -> Any:
        """Let the oldest lost call arrive at the server, once (more)."""
        return await self.repeat(self.sent.pop(0))

    async def repeat(self, call: Call) -> Any:
        """Let the server get a call again, just as it was."""
        return await super().run(*call)


class Bench:
    """One exchange of one pool: workers come from `worker`, state is read with `snapshot`."""

    def __init__(self, url: str, pool: str = "orderlane", exchange: str = "binance") -> None:
        self.keys = Keys(exchange, pool)
        self.client: redis.asyncio.Redis = connect_pool(url, self.keys, grace_ms=0)
        self.runner = FaultyRunner(self.client)
        self.admin = connect(url)
        self.outside = Journal(self.runner, self.keys, retention_ms=RETENTION_MS)
        self._number = 0

    def worker(self) -> tuple[Dispatcher, Journal]:
        dispatcher = Dispatcher(self.runner, self.keys, lease_ms=LEASE_MS)
        return dispatcher, Journal(self.runner, self.keys, retention_ms=RETENTION_MS, dispatcher=dispatcher)

    def queue(self, dispatcher: Dispatcher) -> LaneQueue:
        """The lanes of a worker, as it sees and reshapes them."""
        return LaneQueue(self.runner, self.keys, dispatcher, retention_ms=RETENTION_MS)

    def change(self, seen: Seen, status: OrderStatus, **changes: Any) -> Change:
        """What ends a waiting entry in this status, or (QUEUED) lets it go on with these fields of its record."""
        hold = Hold(lane="", owner="", rank=seen.rank, entry=seen.entry, deaths=0, fields=seen.fields)
        order = msgspec.structs.replace(self.order(hold, status), **changes)
        name = EventName.AMENDED if status is OrderStatus.QUEUED else None
        return Change(seen.rank, order, order_event(order, OrderStatus.QUEUED, at=1, name=name))

    def add(self, lane: str = "main|BTC/USDT", **fields: Any) -> str:
        """Append an intent as a foreign producer does; its stream id."""
        self._number += 1
        payload = intent_json(lane, **{"id": f"n{self._number}"} | fields)
        return self.append({"intent": payload})

    def fill(self, lanes: int, each: int) -> None:
        """As many entries in each of as many lanes."""
        for _ in range(each):
            for lane in range(lanes):
                self.add(f"main|L{lane}/USDT")

    def append(self, fields: dict[str, str | bytes]) -> str:
        return bytes(self.admin.xadd(self.keys.intents, fields)).decode()  # type: ignore[arg-type]

    def end_lease(self, worker_id: str) -> None:
        """As if the worker had stood still for longer than its lease, which it does not know."""
        self.admin.zadd(self.keys.workers, {worker_id: 1}, xx=True)

    def order(self, hold: Hold, status: OrderStatus = OrderStatus.QUEUED) -> Order:
        """The order of the intent in hand, not written yet."""
        intent = decode_intent(hold.fields[1])
        identifier = client_order_id(self.keys.pool, self.keys.exchange, intent.account, intent.id)
        times = Times(queued_at=hold.entry_ms)
        return Order(client_order_id=identifier, intent=intent, status=status, entry=hold.entry, times=times)

    async def begin(self, journal: Journal, hold: Hold) -> Order:
        """Begin what is in hand, as it stands on record if it was changed while it waited."""
        order = self.order(hold)
        known = await journal.read(order.client_order_id)
        begun = msgspec.structs.replace(known or order, status=OrderStatus.SUBMITTED)
        written = await journal.write(begun, known, hold=hold, then=Then.BEGIN)
        assert isinstance(written, Written), written
        return written.order

    async def finish(
        self, journal: Journal, hold: Hold, order: Order, status: OrderStatus = OrderStatus.FILLED
    ) -> Hold | None:
        """Record an end of the order in hand; the lane's next run."""
        done = msgspec.structs.replace(order, status=status)
        written = await journal.write(done, order, hold=hold, then=Then.FINISH)
        assert isinstance(written, Written), written
        return written.next

    async def run(self, journal: Journal, hold: Hold) -> Hold | None:
        """Begin and finish what is in hand; the lane's next run."""
        return await self.finish(journal, hold, await self.begin(journal, hold))

    def snapshot(self) -> dict[str, Any]:
        return snapshot(self.admin)

    async def close(self) -> None:
        self.admin.close()
        await self.client.aclose()


def run_out_of_time(call: Call) -> None:
    """As if more than a lease had passed since the call was made: a worker may no longer join by it."""
    name, _, arguments = call
    place = {"take": 4, "release": 2}.get(name)
    if place is not None and arguments[place] not in ("", 0):
        arguments[place] = 1


@asynccontextmanager
async def bench_on(url: str, pool: str = "orderlane") -> AsyncIterator[Bench]:
    bench = Bench(url, pool)
    try:
        yield bench
    finally:
        await bench.close()


def intent_json(lane: str, *, kind: str = "place", **fields: Any) -> str:
    """An intent as a producer writes it: what `fields` leaves out is filled in."""
    account, _, symbol = lane.partition("|")
    common = {"kind": kind, "exchange": "binance", "account": account, "symbol": symbol}
    own = {"place": {"side": "buy", "type": "market", "amount": "1"}, "amend": {"price": "1"}}.get(kind, {})
    return json.dumps(common | own | fields)


def snapshot(client: redis.Redis) -> dict[str, Any]:
    """Everything that Redis holds: each key's content, whether it expires, what its group has pending."""
    found: dict[str, Any] = {}
    for raw in sorted(client.scan_iter(count=1000)):
        key, kind = raw.decode(), cast(bytes, client.type(raw)).decode()
        if kind == "stream":
            found[key] = client.xrange(raw)
            found[f"{key} pending"] = [
                (one["message_id"], one["consumer"], one["times_delivered"])
                for group in client.xinfo_groups(raw)
                for one in client.xpending_range(raw, group["name"], "-", "+", 10_000)
            ]
        else:
            read = {
                "hash": client.hgetall,
                "zset": lambda name: client.zrange(name, 0, -1, withscores=True),
                "set": client.smembers,
                "string": client.get,
            }
            found[key] = read[kind](raw)
        found[f"{key} expires"] = client.ttl(raw) >= 0
    return found
