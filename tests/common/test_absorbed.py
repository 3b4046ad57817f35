"""Shares of merged intents: written with the survivor's own record, upwards only, and kept as long as it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from common.absorbed import follow, own_amount
from common.exchange.base import OrderReport
from common.journal import Journal, Then, Written
from common.lanes import Hold
from orderlane.events import EventName, decode_event
from orderlane.orders import Absorbed, IntentReference, Order, OrderStatus, decode_order, encode_record
from tests.common.pool_bench import RETENTION_MS, Bench, bench_on

FILLED, PARTIAL, MERGED = OrderStatus.FILLED, OrderStatus.PARTIAL, OrderStatus.MERGED


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    async with bench_on(redis_url) as made:
        yield made


class Scene:
    """A survivor of 1 that absorbed 2 and 3, all on record, and its order sent."""

    def __init__(self, bench: Bench, journal: Journal, hold: Hold) -> None:
        self.bench, self.journal, self.hold = bench, journal, hold
        plain = bench.order(hold)
        self.followers = [self._follower(plain, f"{number}-0", Decimal(number)) for number in (2, 3)]
        absorbed = tuple(
            Absorbed(one.id, one.client_order_id, Decimal(number))
            for one, number in zip(self.followers, (2, 3), strict=True)
        )
        edited = msgspec.structs.replace(plain.intent, amount=Decimal(6))
        self.survivor = msgspec.structs.replace(
            plain, intent=msgspec.structs.replace(plain.intent, amount=Decimal(1)), edited=edited,
            absorbed=absorbed, status=OrderStatus.SUBMITTED, amount=Decimal(6),
        )  # fmt: skip

    def _follower(self, plain: Order, entry: str, amount: Decimal) -> Order:
        intent = msgspec.structs.replace(plain.intent, id=f"follower-{amount}", amount=amount)
        into = IntentReference(plain.id, plain.client_order_id)
        order = Order(
            client_order_id=f"follower{amount}", intent=intent, entry=entry, status=MERGED, merged_into=into
        )
        self.bench.admin.hset(
            self.bench.keys.order(order.client_order_id),
            mapping={"status": "MERGED", "version": 1, "entry": entry, "record": encode_record(order)},
        )
        self.bench.admin.pexpire(self.bench.keys.order(order.client_order_id), 5_000)
        return order

    async def begin(self) -> None:
        written = await self.journal.write(self.survivor, None, hold=self.hold, then=Then.BEGIN)
        assert isinstance(written, Written)
        self.survivor = written.order

    async def fill(self, status: OrderStatus, filled: str, journal: Journal | None = None) -> None:
        report = OrderReport(
            client_order_id=self.survivor.client_order_id, exchange_order_id="7", symbol="BTC/USDT", status=status,
            filled=Decimal(filled), average=Decimal(100),
        )  # fmt: skip
        noted = await (journal or self.journal).advance(self.survivor.client_order_id, report, 1_000)
        assert noted is not None
        self.survivor = noted

    def record(self, number: int) -> Order | None:
        fields: Any = self.bench.admin.hgetall(self._key(number))
        return decode_order(fields) if fields else None

    def filled(self) -> list[Decimal | None]:
        return [order.filled if order else None for order in (self.record(2), self.record(3))]

    def lasts_ms(self, number: int) -> int:
        left: Any = self.bench.admin.pttl(self._key(number))
        return int(left)

    def forget(self, number: int) -> None:
        self.bench.admin.delete(self._key(number))

    def _key(self, number: int) -> str:
        return self.bench.keys.order(f"follower{number}")


@pytest.fixture
async def scene(bench: Bench) -> Scene:
    bench.add()
    dispatcher, journal = bench.worker()
    made = Scene(bench, journal, (await dispatcher.take(1)).runs[0])
    await made.begin()
    return made


async def test_each_fill_goes_to_the_survivor_first_and_then_to_the_others_in_their_order(
    scene: Scene,
) -> None:
    seen = []
    for filled in ("0.5", "1.5", "4", "5.5"):
        await scene.fill(PARTIAL, filled)
        seen.append(scene.filled())
    await scene.fill(FILLED, "6")
    assert seen == [[0, 0], [Decimal("0.5"), 0], [2, 1], [2, Decimal("2.5")]]
    assert scene.filled() == [2, 3]
    record = scene.record(3)
    assert record is not None
    assert (record.status, record.average, record.version) == (MERGED, Decimal(100), 4)


async def test_every_growth_of_a_share_is_an_event_of_the_merged_intent(scene: Scene) -> None:
    await scene.fill(PARTIAL, "1.5")
    await scene.fill(FILLED, "6")
    entries: Any = scene.bench.admin.xrange(scene.bench.keys.events)
    events = [decode_event("", fields[b"event"]) for _, fields in entries]
    told = [(one.intent_id, one.filled) for one in events if one.name is EventName.MERGED]
    assert told == [("follower-2", Decimal("0.5")), ("follower-2", 2), ("follower-3", 3)]


async def test_a_share_and_the_fill_it_comes_from_are_one_write_done_once_though_its_reply_is_lost(
    scene: Scene,
) -> None:
    scene.bench.runner.faults["transition"] = "lost"
    with pytest.raises(RedisConnectionError):
        await scene.fill(PARTIAL, "4")
    assert scene.filled() == [2, 1]
    await scene.bench.runner.repeat(scene.bench.runner.sent[-1])
    await scene.fill(PARTIAL, "4")
    record = scene.record(2)
    assert record is not None
    assert (record.filled, record.version) == (Decimal(2), 2)


async def test_the_records_last_as_long_as_the_survivors(scene: Scene) -> None:
    await scene.fill(PARTIAL, "1.5")
    assert [scene.lasts_ms(number) for number in (2, 3)] == [-1, -1]
    await scene.fill(FILLED, "6")
    theirs = [scene.lasts_ms(number) for number in (2, 3)]
    own: Any = scene.bench.admin.pttl(scene.bench.keys.order(scene.survivor.client_order_id))
    assert all(0 < own <= left <= RETENTION_MS for left in theirs)


async def test_a_record_that_has_expired_or_is_anothers_by_now_is_left_alone(scene: Scene) -> None:
    scene.forget(2)
    key = scene.bench.keys.order("follower3")
    scene.bench.admin.hset(key, "status", "QUEUED")
    await scene.fill(FILLED, "6")
    assert scene.record(2) is None
    assert scene.filled() == [None, 0]
    assert scene.survivor.filled == 6


async def test_a_record_that_becomes_anothers_at_the_last_moment_is_left_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id came back between the look at it and the write: first with another entry, then as anything but merged."""
    run = scene.bench.runner.run

    async def running(name: str, keys: Any, arguments: Any) -> Any:
        if name == "transition":
            scene.bench.admin.hset(scene.bench.keys.order("follower2"), "entry", "9-9")
            scene.bench.admin.hset(scene.bench.keys.order("follower3"), "status", "QUEUED")
        return await run(name, keys, arguments)

    monkeypatch.setattr(scene.bench.runner, "run", running)
    await scene.fill(FILLED, "6")
    assert scene.filled() == [0, 0]
    assert [one and one.version for one in (scene.record(2), scene.record(3))] == [1, 1]


async def test_shares_never_shrink(scene: Scene) -> None:
    await scene.fill(PARTIAL, "4")
    less = msgspec.structs.replace(scene.survivor, filled=Decimal(2))
    assert isinstance(await scene.journal.write(less, scene.survivor), Written)
    assert scene.filled() == [2, 1]


async def test_what_an_amend_placed_anew_goes_on_filling_the_shares(scene: Scene) -> None:
    """The survivor filled 1.5 before an amend's order took its place."""
    records = [scene.record(2), scene.record(3)]
    successor = msgspec.structs.replace(
        scene.survivor, filled_before=Decimal("1.5"), filled=Decimal(2), own_amount=own_amount(scene.survivor),
        edited=None,
    )  # fmt: skip
    made = follow(successor, records, scene.bench.keys, "writer")
    assert [event.filled for event in made.events] == [2, Decimal("0.5")]
