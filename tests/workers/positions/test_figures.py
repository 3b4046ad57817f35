"""Counting fills and correcting figures: the scripts on a real Redis, repeated, raced, and overtaken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from common.config import AccountSection, ExchangeSection
from common.exchange.base import TradeReport
from common.journal import Written
from common.redis import ScriptRunner
from common.secrets import Secret
from orderlane.disabled import DisabledStrategy, decode_disabled
from orderlane.events import Event, EventName, decode_event
from orderlane.intents import Side
from orderlane.keys import KNOWN
from orderlane.orders import OrderStatus, Reason
from orderlane.positions import Balance, Position, decode_balance, decode_position, encode_figure
from tests.workers.user_stream.test_lease import ID, KEYS, Scene, played, told, trade
from workers.positions.books import Books
from workers.positions.figures import Correction, correct, read_figures
from workers.positions.judging import Kind
from workers.user_stream.applying import Applied, News
from workers.user_stream.lease import StreamLost

SYMBOL = "BTC/USDT:USDT"


@pytest.fixture
async def scene(redis_url: str) -> AsyncIterator[Scene]:
    async with played(redis_url) as scene:
        yield scene


async def position(scene: Scene) -> Position:
    value: Any = await scene.redis.hget(KEYS.positions("main"), SYMBOL)
    return decode_position(value).figure


async def balance(scene: Scene, asset: str = "USDT") -> Balance:
    value: Any = await scene.redis.hget(KEYS.balances("main"), asset)
    return decode_balance(value).figure


async def names(scene: Scene) -> list[EventName]:
    entries: Any = await scene.redis.xrange(KEYS.events)
    return [decode_event(entry.decode(), fields[b"event"]).name for entry, fields in entries]


def books(scene: Scene) -> Books:
    account = AccountSection(key=Secret("key-of-main"), secret=Secret("secret-of-main"))
    section = ExchangeSection(venue="binanceusdm", accounts={"main": account})
    nothing: Any = None
    return Books(KEYS, section, nothing, scene.runner, scene.redis, nothing)


def news(*trades: TradeReport) -> News:
    return News([], list(trades))


async def test_a_fill_counts_once_whoever_tells_of_it_and_how_often(scene: Scene) -> None:
    await scene.record()
    lease = scene.lease("one")
    await lease.take()
    one, other = scene.applier(lease), scene.applier(lease)
    for _ in range(2):
        assert await one.apply(ID, news(trade(1), trade(2))) is Applied.DONE
    assert await other.apply(ID, News([told(OrderStatus.PARTIAL, 2, trade(2))], [])) is Applied.DONE
    found = await position(scene)
    assert (found.size, found.entry_price, found.fees) == (Decimal(2), Decimal(100), {"USDT": Decimal("0.2")})
    assert (found.fills, found.shares) == (2, {"": Decimal(2)})
    assert (await balance(scene)).total == Decimal("-0.2")


async def test_holders_that_note_at_once_lose_no_fill_and_count_none_twice(scene: Scene) -> None:
    """Two of one name, as if a lease were held twice: what neither's own order of doing things could prevent."""
    await scene.record(amount=Decimal(100))
    lease = scene.lease("one")
    await lease.take()
    appliers = [scene.applier(lease) for _ in range(4)]
    made = [trade(number) for number in range(1, 21)]
    await asyncio.gather(
        *(applier.apply(ID, news(made[at], made[(at + 7) % 20])) for applier in appliers for at in range(20))
    )
    assert (await position(scene)).size == Decimal(20)
    assert sorted(await scene.trades_told()) == sorted(one.trade_id for one in made)


async def test_orders_that_fill_at_once_on_one_symbol_lose_none_of_their_fills(scene: Scene) -> None:
    orders = [f"{letter * 25}" for letter in "abcdefgh"]
    first = await scene.record(amount=Decimal(100))
    for name in orders[1:]:
        other = msgspec.structs.replace(first, client_order_id=name, version=0)
        assert isinstance(await scene.journal.write(other, None), Written)
    lease = scene.lease("one")
    await lease.take()
    await asyncio.gather(
        *(
            scene.applier(lease).apply(name, news(trade(10 * number + 1), trade(10 * number + 2)))
            for number, name in enumerate(orders)
        )
    )
    assert (await position(scene)).size == Decimal(16)
    assert (await position(scene)).fills == 16
    assert (await balance(scene)).total == Decimal("-1.6")


async def test_a_figure_that_somebody_else_wrote_is_not_written_over(scene: Scene) -> None:
    where, value = KEYS.positions("main"), encode_figure(1, Position(size=Decimal(5)))
    keys = [where, KEYS.disabled, KEYS.events]
    arguments: list[str | bytes | int] = [SYMBOL, "0", value, b"{}", "a|b|c", b"{}", b"{}"]
    first, second = [await scene.runner.run("correct_figure", keys, arguments) for _ in range(2)]
    assert (first, second) == ([b"ok", 1], [b"conflict"])
    assert await scene.redis.xlen(KEYS.events) == 2


async def test_who_lost_the_stream_counts_nothing(scene: Scene) -> None:
    await scene.record()
    lease = scene.lease("one", lease_ms=60_000)
    await lease.take()
    applier = scene.applier(lease)
    await scene.redis.hset(KEYS.stream("main"), "holder", "other")
    with pytest.raises(StreamLost):
        await applier.apply(ID, news(trade(1)))
    assert (await position(scene)).size == 0
    assert not await scene.redis.exists(KEYS.balances("main"))


async def test_a_fill_from_before_a_correction_is_told_and_not_counted_again(scene: Scene) -> None:
    await scene.record()
    lease = scene.lease("one")
    await lease.take()
    applier = scene.applier(lease)
    first, second = trade(1), trade(2)
    await applier.apply(ID, news(first))
    covered = Correction(
        kind=Kind.POSITION, name=SYMBOL, drift=Decimal(1), counted_from=second.traded_at + 1,
        seen=await position(scene),
    )  # fmt: skip
    assert await correct(books(scene), "main", covered, 5)
    await applier.apply(ID, news(second, trade(3)))
    assert (await position(scene)).size == Decimal(3), "1 counted, 1 corrected, 1 counted after it"
    assert await scene.trades_told() == ["1", "2", "3"]


async def test_a_correction_keeps_the_fills_that_came_meanwhile_and_is_made_once(scene: Scene) -> None:
    await scene.record()
    lease = scene.lease("one")
    await lease.take()
    seen = await position(scene)
    await scene.applier(lease).apply(ID, news(trade(1)))
    event = Event(name=EventName.POSITION_CORRECTED, at=1, exchange="binance", account="main", symbol=SYMBOL)
    disables = [
        DisabledStrategy(
            account="main", symbol=SYMBOL, strategy=name, reason=Reason(code="drift", message="m"), since_ms=5
        )
        for name in ("grid", "other")
    ]
    correction = Correction(
        kind=Kind.POSITION, name=SYMBOL, drift=Decimal("-0.25"), counted_from=7, seen=seen, event=event,
        disables=disables,
    )  # fmt: skip
    both = await asyncio.gather(*(correct(books(scene), "main", correction, 5) for _ in range(2)))
    assert sorted(both) == [False, True]
    assert (await position(scene)).size == Decimal("0.75")
    told_names = await names(scene)
    assert told_names.count(EventName.POSITION_CORRECTED) == 1
    assert told_names.count(EventName.STRATEGY_DISABLED) == 2
    fields: Any = await scene.redis.hgetall(KEYS.disabled)
    assert {one.strategy for one in decode_disabled(fields)} == {"grid", "other"}
    keys: Any = await scene.redis.keys()
    assert all(KNOWN.match(key.decode()) for key in keys)


async def test_a_correction_whose_reply_was_lost_is_not_made_again(scene: Scene) -> None:
    runner = scene.runner
    seen = Balance()

    class Losing(ScriptRunner):
        async def run(self, *arguments: Any) -> Any:
            await runner.run(*arguments)
            raise ConnectionError("the reply is lost")

    correction = Correction(
        kind=Kind.BALANCE, name="USDT", drift=Decimal(5), counted_from=7, seen=seen,
        event=Event(name=EventName.BALANCE_CORRECTED, at=1),
    )  # fmt: skip
    lost = msgspec.structs.replace(books(scene), runner=Losing(scene.redis))
    with pytest.raises(ConnectionError):
        await correct(lost, "main", correction, 5)
    assert not await correct(books(scene), "main", correction, 5)
    assert (await balance(scene)).total == Decimal(5)
    assert await names(scene) == [EventName.BALANCE_CORRECTED]


async def test_a_foreign_value_stops_nothing(scene: Scene) -> None:
    await scene.record()
    lease = scene.lease("one")
    await lease.take()
    await scene.redis.hset(KEYS.positions("main"), SYMBOL, "nonsense")
    await scene.redis.hset(KEYS.balances("main"), "USDT", "12 {")
    assert await scene.applier(lease).apply(ID, news(trade(1))) is Applied.DONE
    found = await read_figures(books(scene), "main")
    assert found.positions[SYMBOL].figure.size == Decimal(1)
    assert found.balances["USDT"].figure.total == Decimal("-0.1")


async def test_on_spot_a_fill_moves_base_quote_and_what_its_fee_is_paid_in(scene: Scene) -> None:
    await scene.record()
    lease = scene.lease("one")
    await lease.take()
    spot = msgspec.structs.replace(trade(1), symbol="BTC/USDT", fee_currency="BTC", side=Side.SELL)
    await scene.applier(lease).apply(ID, news(spot))
    assert (await balance(scene, "USDT")).total == Decimal(100)
    assert (await balance(scene, "BTC")).total == Decimal("-1.1")
