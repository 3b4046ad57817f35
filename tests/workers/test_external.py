"""Orders without a record, met by the sync: of others, told once and dealt with as configured; of the pool, rebuilt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest

from common.exchange.base import OrderReport, OrderRequest
from orderlane.client_settings import ClientSettings
from orderlane.events import Event, EventName, decode_event, encode_event
from orderlane.external import ExternalOrder, list_external
from orderlane.identity import client_order_id
from orderlane.intents import CancelOrder, OrderType, PlaceOrder, Side, TimeInForce, decode_intent
from orderlane.orders import Order, OrderStatus
from orderlane.pool_link import PoolLink
from tests.paper_process import PaperProcess, start
from tests.workers.opened import EXCHANGE, MID, SYMBOL, VENUE_ID, Opened, opened

OTHER_POOLS: Final = client_order_id("another-pool", EXCHANGE, "main", "n1")
BY_HAND: Final = "web_3fJk2"
CONFIG: Final = """\
exchanges:
  binance: {venue: binanceusdm, accounts: {main: {}}, limits: {weight_1m: 1000000/minute}}
"""


@pytest.fixture(scope="module")
def paper_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaperProcess]:
    folder = tmp_path_factory.mktemp("paper")
    with start(
        folder, "--step-ms", "0", "--partial-fill-probability", "1", "--weight-limit", "1000000"
    ) as process:
        yield process


@pytest.fixture
def paper(paper_process: PaperProcess) -> PaperProcess:
    paper_process.reset()
    paper_process.set_price("usdm", VENUE_ID, MID, hold=True)
    return paper_process


@pytest.fixture
async def one(redis_url: str, paper: PaperProcess) -> AsyncIterator[Opened]:
    async with opened(redis_url, paper.url, CONFIG) as one:
        yield one


def use(one: Opened, action: str, *, pools_too: bool = False) -> None:
    one.section = msgspec.structs.replace(one.section, external_orders=action, external_pools=pools_too)


async def place(one: Opened, client_id: str = BY_HAND, **fields: Any) -> OrderReport:
    """Place an order that the journal does not hear of."""
    values: dict[str, Any] = {
        "account": "main", "symbol": SYMBOL, "side": Side.BUY, "type": OrderType.LIMIT, "amount": Decimal("0.02"),
        "price": Decimal(50_000), "client_order_id": client_id,
    }  # fmt: skip
    return await one.exchange.place(OrderRequest(**{**values, **fields}), one.exchange.now_ms())


async def events(one: Opened, *names: EventName) -> list[Event]:
    entries: Any = await one.redis.xrange(one.keys.events)
    read = [decode_event(entry.decode(), fields[b"event"]) for entry, fields in entries]
    return [event for event in read if event.name in names]


async def intents(one: Opened) -> list[Any]:
    entries: Any = await one.redis.xrange(one.keys.intents)
    return [decode_intent(fields[b"intent"]) for _, fields in entries]


def listed(redis_url: str, *, ended: bool = False) -> list[ExternalOrder]:
    """What `orderlane external` shows."""
    link = PoolLink(ClientSettings(url=redis_url))
    try:
        return list_external(link, EXCHANGE, "main", ended=ended)
    finally:
        link.close()


async def record_of(one: Opened, report: OrderReport, prefix: str = "") -> Order | None:
    name = f"external:BTC-USDT:USDT:{prefix}{report.exchange_order_id}"
    return await one.journal.read(client_order_id(one.settings.pool, one.name, "main", name))


async def test_an_order_of_others_is_told_once_and_listed_until_it_ends(one: Opened, redis_url: str) -> None:
    report = await place(one)
    for _ in range(3):
        await one.sync()
    [event] = await events(one, EventName.EXTERNAL)
    assert event.exchange_order_id == report.exchange_order_id
    assert event.client_order_id == ""
    assert event.to_status is None
    assert event.numbers == {
        "action": "report", "client_order_id": BY_HAND, "status": "ACTIVE", "side": "buy", "type": "limit",
        "amount": "0.020", "price": "50000.0", "filled": "0",
    } | {name: event.numbers[name] for name in ("amount", "price")}  # fmt: skip
    [shown] = listed(redis_url)
    assert (shown.side, shown.type, shown.amount, shown.price) == (
        "buy",
        "limit",
        Decimal("0.02"),
        Decimal(50_000),
    )
    assert await record_of(one, report) is None
    await one.exchange.cancel_all("main", SYMBOL, one.exchange.now_ms())
    await one.sync()
    assert listed(redis_url) == []
    assert [order.id for order in listed(redis_url, ended=True)] == [shown.id]
    assert len(await events(one, EventName.EXTERNAL)) == 1


async def test_two_schedulers_and_a_stream_tell_an_order_once(
    one: Opened, redis_url: str, paper: PaperProcess
) -> None:
    use(one, "adopt")
    lost = one.order("lost")
    await place(one)
    await place(one, lost.client_order_id)
    async with opened(redis_url, paper.url, CONFIG) as other:
        use(other, "adopt")
        await asyncio.gather(*(some.sync() for some in (one, other) for _ in range(3)))
    assert len(await events(one, EventName.EXTERNAL)) == 1
    assert len(await events(one, EventName.REBUILT)) == 1
    assert len(await events(one, EventName.ACKNOWLEDGED)) == 1


@pytest.mark.parametrize(
    ("fields", "prefix"),
    [
        ({"side": Side.SELL, "price": Decimal(70_000), "time_in_force": TimeInForce.PO}, ""),
        ({"type": OrderType.STOP_MARKET, "price": None, "trigger_price": Decimal(65_000)}, "algo-"),
    ],
    ids=["post only", "conditional"],
)
async def test_an_adopted_order_has_a_record_that_is_tracked(
    one: Opened, fields: dict[str, Any], prefix: str
) -> None:
    use(one, "adopt")
    report = await place(one, **fields)
    await one.sync()
    record = await record_of(one, report, prefix)
    assert record is not None
    intent = record.intent
    assert isinstance(intent, PlaceOrder)
    assert (record.external, record.status, intent.amount) == (True, OrderStatus.ACTIVE, Decimal("0.02"))
    wanted = {"side": Side.BUY, "type": OrderType.LIMIT, "price": Decimal(50_000), **fields}
    assert {name: getattr(intent, name) for name in wanted} == wanted
    [event] = await events(one, EventName.EXTERNAL)
    assert (event.from_status, event.to_status) == (OrderStatus.QUEUED, OrderStatus.ACTIVE)
    assert event.client_order_id == record.client_order_id
    reference = one.reference(record)
    assert reference.client_order_id == ""
    await one.exchange.cancel(reference, one.exchange.now_ms())
    await one.sync()
    await one.sync()
    assert await one.status(record) is OrderStatus.CANCELED
    assert len(await events(one, EventName.EXTERNAL)) == 1


async def test_what_others_have_is_cancelled_where_that_is_asked_for_by_one_intent(one: Opened) -> None:
    use(one, "cancel")
    report = await place(one)
    for _ in range(3):
        await one.sync()
    record = await record_of(one, report)
    assert record is not None
    [cancel] = await intents(one)
    assert isinstance(cancel, CancelOrder)
    assert (cancel.target, cancel.symbol, cancel.account) == (record.intent.id, SYMBOL, "main")
    [event] = await events(one, EventName.EXTERNAL)
    assert event.numbers["action"] == "cancel"


async def test_what_was_reported_is_adopted_and_cancelled_once_that_is_configured(one: Opened) -> None:
    await place(one)
    for action in ("report", "adopt", "cancel", "adopt", "report"):
        use(one, action)
        await one.sync()
    told = await events(one, EventName.EXTERNAL)
    assert [event.numbers["action"] for event in told] == ["report", "adopt", "cancel"]
    assert len(await intents(one)) == 1


@pytest.mark.parametrize("pools_too", [False, True])
async def test_another_pools_order_is_left_alone_unless_that_is_configured(
    one: Opened, pools_too: bool
) -> None:
    use(one, "cancel", pools_too=pools_too)
    report = await place(one, OTHER_POOLS)
    await one.sync()
    [event] = await events(one, EventName.EXTERNAL)
    assert event.numbers["pool"] == "another"
    assert event.numbers["action"] == ("cancel" if pools_too else "report")
    assert len(await intents(one)) == pools_too
    assert (await record_of(one, report) is not None) == pools_too


async def test_a_lost_record_is_rebuilt_from_what_the_exchange_shows(
    one: Opened, paper: PaperProcess
) -> None:
    lost = one.order("lost")
    report = await place(one, lost.client_order_id, time_in_force=TimeInForce.GTC)
    paper.set_price("usdm", VENUE_ID, 49_900, hold=True)
    paper.set_price("usdm", VENUE_ID, MID, hold=True)
    await one.sync()
    record = await one.journal.read(lost.client_order_id)
    assert record is not None
    [booked] = paper.orders(client_id=lost.client_order_id)
    assert record.intent == PlaceOrder(
        id=f"rebuilt:{lost.client_order_id}", exchange=one.name, account="main", symbol=SYMBOL, side=Side.BUY,
        type=OrderType.LIMIT, amount=Decimal("0.02"), price=Decimal(50_000), time_in_force=TimeInForce.GTC,
    )  # fmt: skip
    assert (record.status, record.exchange_order_id) == (OrderStatus.PARTIAL, report.exchange_order_id)
    assert record.filled == Decimal(booked["executed_quantity"]) > 0
    assert record.times.sent_at == booked["created_ms"]
    assert client_order_id(one.settings.pool, one.name, "main", record.intent.id) == lost.client_order_id
    [event] = await events(one, EventName.REBUILT)
    assert event.client_order_id == lost.client_order_id


async def test_a_rebuilt_record_knows_its_intent_while_an_event_about_it_is_left(one: Opened) -> None:
    lost = one.order("lost")
    await place(one, lost.client_order_id)
    event = Event(
        name=EventName.SUBMITTED, at=1, intent_id="lost", client_order_id=lost.client_order_id, account="main",
        strategy="grid", leg="open", tags={"run": "7"},
    )  # fmt: skip
    await one.redis.xadd(one.keys.events, {"event": encode_event(event)})
    await one.sync()
    record = await one.journal.read(lost.client_order_id)
    assert record is not None
    intent = record.intent
    assert isinstance(intent, PlaceOrder)
    assert (intent.id, intent.strategy, intent.leg, intent.tags) == ("lost", "grid", "open", {"run": "7"})


@pytest.mark.parametrize("in_doubt", [True, False])
async def test_a_lost_record_is_left_to_its_lane_where_that_asks_the_exchange_first(
    one: Opened, in_doubt: bool
) -> None:
    waiting, lost = one.order("waiting"), one.order("lost")
    if in_doubt:
        await one.redis.hset(one.keys.control, "doubt_before", str(one.exchange.now_ms() + 60_000))
    for order in (waiting, lost):
        await place(one, order.client_order_id)
    payload = msgspec.json.encode(msgspec.to_builtins(waiting.intent) | {"kind": "place"})
    await one.redis.xadd(one.keys.intents, {"intent": payload})
    await one.sync()
    assert (await one.journal.read(waiting.client_order_id) is None) == in_doubt
    assert await one.journal.read(lost.client_order_id) is not None


async def test_an_order_placed_while_the_list_is_on_its_way_is_no_stranger(
    one: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record is written before it can be listed, but after the journal's open orders were read."""
    ask = one.exchange.open_orders

    async def open_orders(account: str, symbol: str | None = None) -> list[OrderReport]:
        await one.place("in-between")
        return await ask(account, symbol)

    monkeypatch.setattr(one.exchange, "open_orders", open_orders)
    await one.sync()
    assert await events(one, EventName.REBUILT, EventName.EXTERNAL) == []


async def test_an_order_of_others_placed_while_the_list_is_on_its_way_is_not_ended_by_it(
    one: Opened, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is older than the order; a user stream has told of it meanwhile."""
    ask = one.exchange.open_orders

    async def open_orders(account: str, symbol: str | None = None) -> list[OrderReport]:
        before = await ask(account, symbol)
        monkeypatch.undo()
        await place(one)
        await one.sync()
        return before

    monkeypatch.setattr(one.exchange, "open_orders", open_orders)
    await one.sync()
    assert len(listed(redis_url)) == 1
