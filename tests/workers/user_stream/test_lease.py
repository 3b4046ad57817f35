"""Who holds a stream, and what only the holder may note: the scripts on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from common.exact import plain
from common.exchange.base import OrderReport, StreamUpdate, TradeReport
from common.journal import Journal, Written
from common.redis import ScriptRunner
from orderlane.connection import connect_async
from orderlane.events import EventName, decode_event
from orderlane.intents import OrderType, PlaceOrder, Side
from orderlane.keys import KNOWN, Keys
from orderlane.orders import Absorbed, IntentReference, Order, OrderStatus, Times
from workers.user_stream.applying import Applied, Applier, News
from workers.user_stream.lease import LIVE, StreamLease, StreamLost

KEYS = Keys("binance")
ID = "a" * 25
PART = "b" * 25
DAY_MS = 86_400_000


class Scene:
    """A Redis with a journal, and leases on one account's stream."""

    def __init__(self, redis_url: str) -> None:
        self.redis = connect_async(redis_url)
        self.runner = ScriptRunner(self.redis)
        self.journal = Journal(self.runner, KEYS, retention_ms=DAY_MS)

    def lease(self, holder: str, lease_ms: int = 60_000) -> StreamLease:
        return StreamLease(self.runner, KEYS, "main", holder, lease_ms=lease_ms, retention_ms=DAY_MS)

    def applier(self, lease: StreamLease) -> Applier:
        return Applier(self.runner, KEYS, self.journal, lease, retention_ms=DAY_MS)

    async def record(self, **fields: Any) -> Order:
        intent = PlaceOrder(
            id="one",
            exchange="binance",
            account="main",
            symbol="BTC/USDT:USDT",
            side=Side.BUY,
            type=fields.pop("type", OrderType.LIMIT),
            amount=Decimal(3),
            price=Decimal(100),
        )
        usual: dict[str, Any] = {
            "status": OrderStatus.ACTIVE,
            "exchange_order_id": "7",
            "amount": Decimal(3),
            "times": Times(updated_at=1),
        }
        order = Order(client_order_id=ID, intent=intent, entry="1-1", **(usual | fields))
        written = await self.journal.write(order, None)
        assert isinstance(written, Written)
        return written.order

    async def read(self) -> Order:
        order = await self.journal.read(ID)
        assert order is not None
        return order

    async def trades_told(self) -> list[str]:
        entries: Any = await self.redis.xrange(KEYS.events)
        events = [decode_event(entry.decode(), fields[b"event"]) for entry, fields in entries]
        return [one.numbers["trade_id"] for one in events if one.name is EventName.TRADE]


@asynccontextmanager
async def played(redis_url: str) -> AsyncIterator[Scene]:
    scene = Scene(redis_url)
    try:
        yield scene
    finally:
        await scene.redis.aclose()


@pytest.fixture
async def scene(redis_url: str) -> AsyncIterator[Scene]:
    async with played(redis_url) as scene:
        yield scene


def trade(number: int, amount: object = 1, price: object = 100) -> TradeReport:
    return TradeReport(
        trade_id=str(number),
        exchange_order_id="7",
        symbol="BTC/USDT:USDT",
        side=Side.BUY,
        amount=Decimal(str(amount)),
        price=Decimal(str(price)),
        fee=Decimal("0.1"),
        fee_currency="USDT",
        traded_at=1_760_000_000_000 + number,
    )


def told(status: OrderStatus, filled: object, made: TradeReport | None = None, **fields: Any) -> StreamUpdate:
    report = OrderReport(
        client_order_id=ID,
        exchange_order_id=fields.pop("exchange_order_id", "7"),
        symbol="BTC/USDT:USDT",
        status=status,
        filled=Decimal(str(filled)),
    )
    return StreamUpdate(received_at=1, report=report, trade=made, **fields)


# The lease


async def test_one_of_two_holds_the_stream_until_it_gives_it_up(scene: Scene) -> None:
    one, other = scene.lease("one"), scene.lease("other")
    assert (await one.take()).ours
    refused = await other.take()
    assert not refused.ours
    assert 0 < refused.left_ms <= 60_000
    with pytest.raises(StreamLost):
        other.require()
    await other.give_up()  # of what it doesn't hold
    one.require()
    await one.give_up()
    assert (await other.take()).ours
    with pytest.raises(StreamLost):
        one.require()


async def test_it_moves_when_the_lease_ends_and_the_first_holder_finds_out(scene: Scene) -> None:
    one, other = scene.lease("one", lease_ms=50), scene.lease("other")
    await one.take()
    await asyncio.sleep(0.06)
    with pytest.raises(StreamLost):
        one.require()
    assert (await other.take()).ours
    with pytest.raises(StreamLost):
        await one.renew(0, 0)
    other.require()


async def test_how_far_it_has_come_only_moves_forward_and_is_told_to_the_next_holder(scene: Scene) -> None:
    one, other = scene.lease("one"), scene.lease("other")
    await one.take()
    assert await one.renew(5, 1_000)
    assert await one.renew(4, 900)
    await one.give_up()
    assert (await other.take()).complete_until == 1_000
    fields: Any = await scene.redis.hgetall(KEYS.stream("main"))
    assert (fields[b"holder"], fields[b"last_message"]) == (b"other", b"5")


async def test_a_redis_that_lost_what_was_noted_is_noticed(scene: Scene) -> None:
    lease = scene.lease("one")
    await lease.take()
    lease.enter(LIVE)
    assert await lease.renew(5, 1_000)
    await scene.redis.hset(KEYS.stream("main"), "complete_until", "400")
    assert not await lease.renew(6, 1_100)
    assert await lease.renew(7, 1_200)


async def test_taking_and_renewing_twice_is_as_once(scene: Scene) -> None:
    lease = scene.lease("one")
    first, second = await lease.take(), await lease.take()
    assert first.ours
    assert second.ours
    assert await lease.renew(5, 1_000)
    before: Any = await scene.redis.hgetall(KEYS.stream("main"))
    assert await lease.renew(5, 1_000)
    after: Any = await scene.redis.hgetall(KEYS.stream("main"))
    assert {**before, b"until": b"", b"since": b""} == {**after, b"until": b"", b"since": b""}


async def test_every_key_is_a_known_one_and_ends_by_itself(scene: Scene) -> None:
    lease = scene.lease("one")
    await lease.take()
    await scene.record(status=OrderStatus.FILLED, filled=Decimal(1))
    await scene.applier(lease).apply(ID, News([], [trade(1)]))
    for key in (KEYS.stream("main"), KEYS.fills(ID)):
        assert KNOWN.match(key)
        assert 0 < await scene.redis.pttl(key) <= DAY_MS


# What the holder brings in


async def test_each_fill_is_told_once_however_often_it_comes(scene: Scene) -> None:
    lease = scene.lease("one")
    await lease.take()
    applier = scene.applier(lease)
    await scene.record()
    first, second = trade(1), trade(2, 2, 103)
    late = News([told(OrderStatus.FILLED, 3, second), told(OrderStatus.PARTIAL, 1, first)], [])
    assert await applier.apply(ID, late) is Applied.DONE
    for again in (late, News([], [first, second]), News([told(OrderStatus.ACTIVE, 0)], [first])):
        assert await applier.apply(ID, again) is Applied.DONE
    assert sorted(await scene.trades_told()) == ["1", "2"]
    order = await scene.read()
    assert (order.status, order.filled, order.average) == (OrderStatus.FILLED, Decimal(3), Decimal(102))
    assert order.fees == {"USDT": Decimal("0.2")}


async def test_fees_of_a_filled_order_follow_its_fills_without_another_order_event(scene: Scene) -> None:
    lease = scene.lease("one")
    await lease.take()
    order = await scene.record(status=OrderStatus.FILLED, filled=Decimal(3))
    events: Any = await scene.redis.xlen(KEYS.events)
    await scene.applier(lease).apply(ID, News([], [trade(1, 3)]))
    after = await scene.read()
    assert (after.fees, after.version) == ({"USDT": Decimal("0.1")}, order.version + 1)
    assert await scene.redis.xlen(KEYS.events) == events + 1


async def test_an_intent_that_is_part_of_the_order_has_its_share_of_what_fills_tell(scene: Scene) -> None:
    """Its amount, the average and its part of the fees, whichever step of a fill brings them."""
    lease = scene.lease("one")
    await lease.take()
    survivor = await scene.record(status=OrderStatus.FILLED, filled=Decimal(3))
    whole = survivor.intent
    assert isinstance(whole, PlaceOrder)
    absorbed = msgspec.structs.replace(
        survivor, client_order_id=PART, intent=msgspec.structs.replace(whole, id="part", amount=Decimal(1)),
        entry="1-2", status=OrderStatus.MERGED, merged_into=IntentReference("one", ID), version=0,
        exchange_order_id="", filled=Decimal(0),
    )  # fmt: skip
    assert isinstance(await scene.journal.write(absorbed, None), Written)
    merged = msgspec.structs.replace(
        survivor,
        intent=msgspec.structs.replace(whole, amount=Decimal(2)),
        edited=whole,
        absorbed=(Absorbed("part", PART, Decimal(1)),),
    )
    assert isinstance(await scene.journal.write(merged, survivor), Written)
    await scene.applier(lease).apply(ID, News([], [trade(1, 1, 90), trade(2, 2, 120)]))
    record = await scene.journal.read(PART)
    assert record is not None
    assert (record.filled, record.average) == (Decimal(1), Decimal(110))
    order = await scene.read()
    assert record.fees == {name: plain(fee / 3) for name, fee in order.fees.items()} != {}


async def test_two_at_once_count_each_fill_once(redis_url: str, scene: Scene) -> None:
    lease = scene.lease("one")
    await lease.take()
    await scene.record()
    async with played(redis_url) as same:
        appliers = [
            scene.applier(lease),
            Applier(same.runner, KEYS, same.journal, lease, retention_ms=DAY_MS),
        ]
        news = [News([told(OrderStatus.PARTIAL, 1, trade(1))], [trade(2)]), News([], [trade(2), trade(1)])]
        await asyncio.gather(*(applier.apply(ID, one) for applier in appliers for one in news * 5))
    assert sorted(await scene.trades_told()) == ["1", "2"]
    assert (await scene.read()).filled == 2


async def test_who_lost_the_stream_notes_nothing_more(scene: Scene) -> None:
    one, other = scene.lease("one"), scene.lease("other")
    await one.take()
    await scene.record()
    await scene.redis.hset(KEYS.stream("main"), "until", "1")
    assert (await other.take()).ours
    with pytest.raises(StreamLost):
        await scene.applier(one).apply(ID, News([], [trade(1)]))
    assert await scene.trades_told() == []
    await scene.applier(other).apply(ID, News([], [trade(1)]))
    assert await scene.trades_told() == ["1"]


async def test_an_order_whose_request_is_under_way_is_left_to_its_worker_for_a_while(scene: Scene) -> None:
    lease = scene.lease("one")
    await lease.take()
    applier = scene.applier(lease)
    await scene.record(status=OrderStatus.SUBMITTED, times=Times(updated_at=lease.redis_now_ms()))
    update = News([told(OrderStatus.ACTIVE, 0)], [])
    assert await applier.apply(ID, update) is Applied.LATER
    order = await scene.read()
    stale = msgspec.structs.replace(order, times=Times(updated_at=lease.redis_now_ms() - 5_000))
    assert isinstance(await scene.journal.write(stale, order), Written)
    assert await applier.apply(ID, update) is Applied.DONE
    assert (await scene.read()).status is OrderStatus.ACTIVE


async def test_a_conditional_order_keeps_its_own_id_when_it_has_become_another(scene: Scene) -> None:
    lease = scene.lease("one")
    await lease.take()
    await scene.record(exchange_order_id="31", trigger_price=Decimal(90))
    became = told(OrderStatus.FILLED, 3, trade(1, 3), exchange_order_id="8000")
    await scene.applier(lease).apply(ID, News([became], []))
    order = await scene.read()
    assert (order.status, order.exchange_order_id) == (OrderStatus.FILLED, "31")


async def test_what_the_journal_never_heard_of_is_not_made_up(scene: Scene) -> None:
    lease = scene.lease("one")
    await lease.take()
    assert await scene.applier(lease).apply(ID, News([], [trade(1)])) is Applied.NO_RECORD
    assert await scene.trades_told() == []
