"""Stuck orders against a real paper exchange and a real Redis: asked for, ended on evidence alone, or told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest
from click.testing import CliRunner

from common import failpoints
from common.closed_orders import DAY_MS
from common.exchange.base import ExchangeFailure
from common.failpoints import POINTS
from orderlane.cli.app import group
from orderlane.events import Event, EventName, decode_event
from orderlane.identity import client_order_id
from orderlane.intents import CancelAll, CancelOrder
from orderlane.orders import Order, OrderStatus, Times
from orderlane.stuck import StuckKind
from orderlane.tries import decode_tries
from tests.paper_process import PaperProcess, start
from tests.workers.opened import EXCHANGE, MID, SYMBOL, VENUE_ID, Opened, opened
from tests.workers.products import SPOT, VENUES, Product
from workers.jobs.stuck import SIDE_BY_SIDE
from workers.jobs.trimming import redis_now_ms

FIND: Final = "^GET /fapi/v1/order$"
CONFIG: Final = """\
exchanges:
  binance: {venue: binanceusdm, accounts: {main: {}}, limits: {weight_1m: 1000000/minute}}
"""
"""No limit is ever met: nothing waits but for what is tested."""
UNHEARD_OF: Final = '{"code":-2013,"msg":"Order does not exist."}'


@pytest.fixture(scope="module")
def paper_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaperProcess]:
    folder = tmp_path_factory.mktemp("paper")
    options = ("--step-ms", "0", "--partial-fill-probability", "0", "--weight-limit", "1000000")
    with start(folder, *options) as process:
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


def questions(paper: PaperProcess, route: str = FIND) -> int:
    """A number by which `asked` tells how many requests of a route have come since."""
    return int(paper.fault(route, "delay")["number"])


def asked(paper: PaperProcess, number: int) -> int:
    return int(next(one["matched"] for one in paper.faults() if one["number"] == number))


async def told(one: Opened) -> list[Event]:
    entries: Any = await one.redis.xrange(one.keys.events)
    events = [decode_event(entry.decode(), fields[b"event"]) for entry, fields in entries]
    return [event for event in events if event.name is EventName.STUCK]


def cancel_of(one: Opened, target: Order, status: OrderStatus) -> Order:
    """The record of a cancel that was sent a day ago."""
    intent = CancelOrder(
        id="cancel", target=target.intent.id, exchange=EXCHANGE, account="main", symbol=SYMBOL
    )
    return Order(
        client_order_id=client_order_id(one.settings.pool, EXCHANGE, "main", intent.id),
        intent=intent, status=status, entry="2-1", times=Times(sent_at=1, updated_at=1),
    )  # fmt: skip


async def test_an_order_that_vanished_is_asked_for_with_growing_waits_and_told_once_at_its_deadline(
    one: Opened, redis_url: str, paper: PaperProcess
) -> None:
    now_ms = await redis_now_ms(one.redis)
    order = await one.record(one.order("vanished"), times=Times(sent_at=now_ms, updated_at=now_ms))
    counter = questions(paper)
    async with opened(redis_url, paper.url, CONFIG) as other:
        for _ in range(2):  # nobody asks before the wait is over, whichever scheduler it is
            await one.sync()
            await other.sync()
        assert asked(paper, counter) == 1
        await one.a_while_later(5_000)
        await other.sync()
        assert asked(paper, counter) == 2
        await one.a_while_later(9_000)
        await one.sync()
        assert asked(paper, counter) == 2
        assert await told(one) == []
        await one.a_while_later(60_000)
        await one.sync()
        await other.sync()
    assert await one.status(order) is OrderStatus.ACTIVE
    [event] = await told(one)
    assert event.reason is not None
    assert event.reason.code == "stuck_absent"
    assert (event.intent_id, event.numbers["kind"], event.numbers["failed"]) == ("vanished", "absent", "0")
    assert int(event.numbers["stuck_ms"]) >= 60_000
    noted: Any = await one.redis.lrange(one.keys.tries(order.client_order_id), 0, -1)
    tries = decode_tries(noted)
    assert {("for the order", "no such order"), ("for its fills", "0 fills, 0 in all")} == {
        (one.asked, one.said) for one in tries
    }


async def test_an_order_the_venue_may_have_forgotten_ends_as_cancelled(one: Opened) -> None:
    now_ms = await redis_now_ms(one.redis)
    times = Times(sent_at=now_ms - 4 * DAY_MS, updated_at=now_ms)
    old = await one.record(one.order("old"), times=times)
    await one.sync()
    assert await one.status(old) is OrderStatus.ACTIVE
    await one.a_while_later(5_000)
    await one.sync()
    record = await one.journal.read(old.client_order_id)
    assert record is not None
    assert record.status is OrderStatus.CANCELED
    assert record.reason is not None
    assert record.reason.code == "forgotten_by_exchange"
    await one.sync()
    assert await one.watches() == {}


@pytest.mark.parametrize("product", VENUES)
async def test_fills_tell_how_an_order_ended_that_can_not_be_asked_for(
    redis_url: str, paper: PaperProcess, product: Product
) -> None:
    venue = "binance" if product is SPOT else "binanceusdm"
    config = CONFIG.replace("venue: binanceusdm", f"venue: {venue}")
    paper.set_price(product.product, product.venue_symbol, 60_000, hold=True)
    async with opened(redis_url, paper.url, config) as one:
        order = await one.place("a", symbol=product.symbol)
        paper.set_price(product.product, product.venue_symbol, 49_000, hold=True)
        paper.fault(product.query, "verbatim", status=400, body=UNHEARD_OF)
        await one.sync()
        await one.a_while_later(5_000)
        await one.sync()
        record = await one.journal.read(order.client_order_id)
    assert record is not None
    assert (record.status, record.filled) == (OrderStatus.FILLED, order.amount)
    [booked] = paper.orders(product=product.product)
    [fill] = booked["fills"]
    assert record.average == Decimal(fill["price"])
    assert record.fees == {fill["commission_asset"]: Decimal(fill["commission"])}


async def test_a_cancel_without_confirmation_ends_as_its_target_did(one: Opened) -> None:
    target = await one.place("a")
    cancel = await one.record(cancel_of(one, target, OrderStatus.UNKNOWN))
    await one.sync()
    assert await one.status(cancel) is OrderStatus.UNKNOWN  # it had no effect, as far as is known
    [watch] = (await one.watches()).values()
    assert (watch.kind, watch.said) == (StuckKind.CANCEL, "it is ACTIVE, 0 filled")
    await one.exchange.cancel(one.reference(target), one.exchange.now_ms())
    await one.a_while_later(5_000)
    await one.sync()
    assert await one.status(target) is OrderStatus.CANCELED
    await one.a_while_later(600_000)
    await one.sync()
    assert await one.status(cancel) is OrderStatus.DONE
    assert await one.redis.zcard(one.keys.unknown) == 0


async def test_a_cancel_of_an_order_that_was_filled_instead_is_refused(
    one: Opened, paper: PaperProcess
) -> None:
    target = await one.place("a")
    cancel = await one.record(cancel_of(one, target, OrderStatus.SUBMITTED))
    paper.set_price("usdm", VENUE_ID, 49_000, hold=True)
    await one.sync()
    assert await one.status(target) is OrderStatus.FILLED
    await one.a_while_later(600_000)
    await one.sync()
    assert await one.status(cancel) is OrderStatus.REJECTED


async def test_a_command_for_many_orders_is_told_without_a_question(one: Opened, paper: PaperProcess) -> None:
    counter = questions(paper)
    target = await one.place("a")
    intent = CancelAll(id="all", exchange=EXCHANGE, account="main", symbol=SYMBOL)
    await one.record(msgspec.structs.replace(cancel_of(one, target, OrderStatus.UNKNOWN), intent=intent))
    await one.sync()
    await one.sync()
    assert [event.numbers["kind"] for event in await told(one)] == ["cancel"]
    assert asked(paper, counter) == 0


async def test_while_the_exchange_is_away_few_are_asked_for_in_vain_and_deadlines_hold(
    one: Opened, paper: PaperProcess
) -> None:
    names = {f"unknown-{number}" for number in range(2 * SIDE_BY_SIDE)}
    for name in names:
        await one.record(
            one.order(name), status=OrderStatus.UNKNOWN, exchange_order_id="", times=Times(updated_at=1)
        )
    fault = paper.fault("^GET ", "error_before", status=503)["number"]
    with pytest.raises(ExchangeFailure):
        await one.sync()
    assert {event.intent_id for event in await told(one)} == names
    assert 2 < asked(paper, fault) <= 2 + SIDE_BY_SIDE
    paper.clear_faults()
    await one.a_while_later(5_000)
    await one.sync()
    assert len(await told(one)) == len(names)
    assert all(watch.not_found == 1 for watch in (await one.watches()).values())


async def test_a_stuck_order_is_shown_in_status(one: Opened, redis_url: str) -> None:
    now_ms = await redis_now_ms(one.redis)
    await one.record(one.order("vanished"), times=Times(sent_at=now_ms, updated_at=now_ms))
    await one.redis.sadd(one.keys.accounts, "main")
    await one.sync()
    assert "stuck order" not in await shown(redis_url)
    await one.a_while_later(60_000)
    await one.sync()
    assert "no such order" in await shown(redis_url)
    assert re.search(r"vanished\s+main\s+BTC/USDT:USDT\s+absent", await shown(redis_url))
    assert "ago, 0 open there" in await shown(redis_url)


async def shown(redis_url: str) -> str:
    """What `orderlane status` prints of the exchange."""
    words = ["status", "--exchange", EXCHANGE, "--redis-url", redis_url]
    result = await asyncio.to_thread(CliRunner(env={"COLUMNS": "120"}).invoke, group, words)
    assert result.exit_code == 0, result.output
    return result.output


async def test_what_is_settled_is_watched_no_longer(one: Opened) -> None:
    gone = await one.place("a")
    await one.exchange.cancel(one.reference(gone), one.exchange.now_ms())
    await one.sync()
    assert await one.status(gone) is OrderStatus.CANCELED
    await one.sync()
    assert await one.watches() == {}
    assert await told(one) == []


class Died(BaseException):
    """The end of a scheduler that reached a point."""


async def test_a_scheduler_that_dies_at_any_step_is_followed_by_one_that_ends_and_tells_once(
    one: Opened, redis_url: str, paper: PaperProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = await redis_now_ms(one.redis)
    new, old = (Times(sent_at=at, updated_at=now_ms) for at in (now_ms, now_ms - 4 * DAY_MS))
    forgotten = await one.record(one.order("forgotten"), times=old)
    await one.record(one.order("vanished"), exchange_order_id="778", times=new)
    left = {name for name in POINTS if name.startswith("stuck.")}

    def reach(point: str, *about: str) -> None:
        if point in left:
            left.remove(point)
            raise Died(point)

    monkeypatch.setattr(failpoints, "reach", reach)
    for _ in range(30):
        async with opened(redis_url, paper.url, CONFIG) as scheduler:
            with suppress(Died):
                await scheduler.sync()
        if not left and len(await one.watches()) == 1:
            break
        await one.a_while_later(60_000)
    assert left == set()
    record = await one.journal.read(forgotten.client_order_id)
    assert record is not None
    assert (record.status, record.version) == (OrderStatus.CANCELED, forgotten.version + 1)
    assert [watch.intent_id for watch in (await one.watches()).values()] == ["vanished"]
    names = [event.intent_id for event in await told(one)]
    assert names.count("vanished") == 1
    assert names.count("forgotten") <= 1  # before its end, where that took as long
