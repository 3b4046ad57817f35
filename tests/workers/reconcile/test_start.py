"""A pool that starts against an exchange full of orders: in the end the journal is what the books are, order by order.

Real workers, a real Redis, a real paper exchange. How long agreement took is printed (`pytest -s`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from common import failpoints
from common.exchange.base import OrderRequest
from common.failpoints import POINTS, VARIABLE
from orderlane.client import Client
from orderlane.events import Event, EventName
from orderlane.identity import client_order_id
from orderlane.intents import OrderType, Side
from orderlane.orders import Order, OrderStatus, decode_order
from orderlane.reconcile_status import ReconcileStatus, read_reconcile
from tests.paper_process import PaperProcess, start
from tests.workers.opened import opened
from tests.workers.pool_fixture import CONFIG, STATUSES, WAIT_SECONDS, Pool
from tests.workers.products import SPOT, USDM, VENUES, Product
from tests.workers.user_stream.scene import STREAMING, live, stream_of, worker_process
from workers.exchange import ExchangeWorker

OURS: Final = 300
OTHERS: Final = 40
OPTIONS: Final = (
    *("--step-ms", "0", "--partial-fill-probability", "0.5"),
    *("--orders-10s", "1000000", "--orders-1m", "1000000", "--weight-limit", "10000000"),
)
FULL: Final = STREAMING.replace(
    "limits_reserve: 0", "limits: {weight_1m: 6000000/minute}\n    external_orders: adopt"
)
REFUSED: Final = CONFIG.replace(
    "accounts: {main: {}, alt: {}}",
    "accounts: {main: {}, alt: {key: no-such-key}}\n    reconcile: {retry_seconds: 1, retry_cap_seconds: 1}",
)
COINS: Final = ("BTC", "ETH")
"""An exchange takes 200 open orders on a symbol."""


SHORT_LEASES: Final = FULL.replace("lease_ms: 1500, heartbeat_ms: 200", "lease_ms: 500, heartbeat_ms: 100")
STRUCK: Final = [name for name, point in POINTS.items() if "reconcile" in point.drives]


class Died(BaseException):
    """The end of whoever reached a point."""


@pytest.fixture
def paper(tmp_path: Path) -> Iterator[PaperProcess]:
    """A paper exchange of this test alone."""
    with start(tmp_path, *OPTIONS) as process:
        set_prices(process, 60_000)
        yield process


def set_prices(paper: PaperProcess, price: int) -> None:
    for product in (USDM, SPOT):
        for coin in COINS:
            paper.set_price(product.product, f"{coin}USDT", price, hold=True)


@contextmanager
def pool_with(redis_url: str, paper: PaperProcess, config: str) -> Iterator[Pool]:
    made = Pool(redis_url, paper, config)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def pool(redis_url: str, paper: PaperProcess) -> Iterator[Pool]:
    with pool_with(redis_url, paper, FULL) as made:
        yield made


async def fill_exchange(pool: Pool, product: Product, ours: int, others: int) -> None:
    """Orders of the pool that Redis knows nothing of, some filled in part, and orders of others."""
    names = [client_order_id("orderlane", product.exchange, "main", f"old-{n}") for n in range(ours)]
    names += [f"web_{n}" for n in range(others)]
    async with opened(pool.redis_url, pool.paper.url, pool.config, product.exchange) as one:
        for start_at in range(0, len(names), 16):
            together = names[start_at : start_at + 16]
            requests = [
                OrderRequest(
                    account="main", symbol=product.symbol.replace("BTC", COINS[number % 2]), side=Side.BUY,
                    type=OrderType.LIMIT,
                    amount=Decimal("0.02"), price=Decimal(50_000 + 10 * (number % 700)), client_order_id=name,
                )
                for number, name in enumerate(together, start_at)
            ]  # fmt: skip
            await asyncio.gather(*(one.exchange.place(one_of, one.exchange.now_ms()) for one_of in requests))
    set_prices(pool.paper, 51_500)
    set_prices(pool.paper, 60_000)
    pool.client.flushall()


def records(pool: Pool, product: Product) -> dict[tuple[str, str], Order]:
    """Every record of an order, by symbol and exchange order id."""
    found: dict[tuple[str, str], Order] = {}
    for key in pool.client.scan_iter(f"{pool.keys(product).prefix_order}*", count=1000):
        fields: Any = pool.client.hgetall(key)
        record = decode_order(fields)
        if record.exchange_order_id and record.status is not OrderStatus.DONE:  # an amend shares its target's
            found[record.intent.symbol, record.exchange_order_id] = record
    return found


def disagreements(pool: Pool, product: Product, *, fees: bool = True) -> list[str]:
    """Where the journal says other than the exchange's books of what is open there, or was placed by the pool."""
    known, found = records(pool, product), []
    for booked in pool.paper.orders(product=product.product, account="main"):
        symbol = product.symbol.replace("BTC", booked["symbol"][:3])
        record = known.get((symbol, str(booked["order_id"])))
        if record is None:
            if booked["status"] in ("NEW", "PARTIALLY_FILLED"):
                found.append(f"{booked['client_order_id']}: no record")
            continue
        paid: dict[str, Decimal] = {}
        for fill in booked["fills"]:
            asset = fill["commission_asset"]
            paid[asset] = paid.get(asset, Decimal(0)) + Decimal(fill["commission"])
        ours = (
            record.status, record.amount, record.price, record.filled,
            getattr(record.intent, "side", Side.BUY), record.external, record.fees if fees else {},
        )  # fmt: skip
        its = (
            STATUSES[booked["status"]], Decimal(booked["quantity"]), Decimal(booked["price"]),
            Decimal(booked["executed_quantity"]), Side(booked["side"].lower()),
            booked["client_order_id"].startswith("web_"), paid if fees else {},
        )  # fmt: skip
        if ours != its:
            found.append(f"{booked['client_order_id']}: {ours} != {its}")
    return found


async def in_the_end(pool: Pool, product: Product) -> None:
    """Wait until the journal is what the books are, fees and all."""
    deadline = time.monotonic() + WAIT_SECONDS
    while found := disagreements(pool, product):
        assert time.monotonic() < deadline, "\n".join(found)
        await asyncio.sleep(0.05)


async def agreement(pool: Pool, product: Product, account: str = "main") -> Event:
    """Wait until the account is open; the event about it."""

    def event() -> Event | None:
        names = (EventName.RECONCILED,)
        found = [one for one in pool.events(product) if one.name in names and one.account == account]
        return found[-1] if found else None

    found = await pool.until(event, f"agreement of {account}: {shown(pool, product, account)}")
    assert isinstance(found, Event)
    return found


def shown(pool: Pool, product: Product, account: str = "main") -> ReconcileStatus | None:
    fields: Any = pool.client.hgetall(pool.keys(product).reconcile(account))
    return read_reconcile(account, fields, int(time.time() * 1000))


@pytest.mark.parametrize("product", VENUES)
async def test_a_pool_starts_against_hundreds_of_orders_that_redis_forgot(
    pool: Pool, product: Product
) -> None:
    await fill_exchange(pool, product, OURS, OTHERS)
    new, again = product.order("new"), product.order("old-6", "50060", amount="0.02")
    pool.send(new, again)
    async with pool.working(product):
        event = await agreement(pool, product)
        # Amounts agree before anything is placed; the fills' own events follow with the user stream.
        assert disagreements(pool, product, fees=False) == [] or pool.placed(new)
        await pool.outcome(new)
        await pool.ended(product)
        await in_the_end(pool, product)
        with Client(pool.redis_url, exchange=product.exchange, account="main") as client:
            assert client.submit(product.order("old-8", "50080", amount="0.02")).duplicate
            target = next(
                one for one in client.open_orders() if one.external and one.intent.symbol == product.symbol
            )
        pool.send(product.cancels("by-name", target.intent.id))
        pool.send(
            product.amends(
                "by-name-too", f"rebuilt:{pool.client_order_id(product.order('old-10'))}", price=49_000
            )
        )
        assert (await pool.outcome(product.cancels("by-name", "any"))).status is OrderStatus.DONE
        await pool.outcome(product.amends("by-name-too", "any", price=1))
        await in_the_end(pool, product)
    print(  # noqa: T201 - a measure that whoever runs the tests asks for
        f"{product.product}: {OURS + OTHERS} orders without a record in agreement after {event.numbers['took_ms']} ms"
    )
    # Nothing was placed before the account agreed, and nothing twice.
    [placed] = pool.placed(new)
    assert placed["at_ms"] >= event.at - 5
    assert len(pool.placed(again)) == 1
    record = pool.record(again)
    assert record is not None
    assert (record.intent, record.rebuilt) == (again, False)
    # Those that had ended by then are told by their fills.
    told = Counter(one.name for one in pool.events(product))
    assert (told[EventName.EXTERNAL], told[EventName.REBUILT]) == (OTHERS, OURS)


async def test_an_account_that_is_refused_stays_closed_and_is_told_while_the_other_trades(
    redis_url: str, paper: PaperProcess
) -> None:
    with pool_with(redis_url, paper, REFUSED) as pool:
        good, bad = USDM.order("good"), USDM.order("bad", account="alt")
        async with pool.working(USDM):
            pool.send(bad, good)
            assert (await pool.outcome(good)).status is OrderStatus.ACTIVE
            told = await pool.until(
                lambda: [one for one in pool.events() if one.name is EventName.UNRECONCILED],
                "the alarm",
            )
            await pool.until(lambda: (at := shown(pool, USDM, "alt")) and at.failures > 1, "another try")
            assert {one.account for one in told} == {"alt"}
            assert "API-key" in told[0].reason.message
            assert pool.backlog() == 1
            # What only takes risk off is tried all the same.
            less = USDM.order(
                "less", account="alt", side="sell", price="65000", reduce_only=True, strategy="hedge"
            )
            pool.send(less)
            assert (await pool.outcome(less)).status is OrderStatus.REJECTED
        pool.assert_once(good)
        assert pool.arrived(bad, "place") == []


async def test_a_worker_that_joins_or_takes_over_in_a_living_pool_waits_for_nothing(
    redis_url: str, paper: PaperProcess
) -> None:
    with pool_with(redis_url, paper, CONFIG) as pool:
        async with pool.working(USDM), pool.working(USDM):
            pool.send(USDM.order("one"))
            await pool.ended()
            names = [one.name for one in pool.events() if one.name.startswith("account.")]
        assert sorted(names) == sorted(
            [EventName.RECONCILING, EventName.RECONCILED] * 2
        )  # main and alt, once


async def test_orders_on_a_market_that_the_exchange_does_not_have_keep_no_account_closed_and_no_stream(
    redis_url: str, paper: PaperProcess
) -> None:
    """One that was open when its market was closed, and one that never went out for it."""
    with pool_with(redis_url, paper, FULL) as pool:
        async with opened(pool.redis_url, pool.paper.url, pool.config, USDM.exchange) as one:
            left = await one.record(one.order("left", symbol="GONE/USDT:USDT"))
        good, bad = USDM.order("good"), USDM.order("bad", symbol="NONE/USDT:USDT")
        async with pool.working(USDM):
            pool.send(bad, good)
            assert (await pool.outcome(good)).status is OrderStatus.ACTIVE
            assert (await pool.outcome(bad)).status is OrderStatus.FAILED
            await live(pool, USDM)
            before = stream_of(pool, USDM)["since"]
            pool.paper.control("POST", "cut_streams", {"account": "main"})
            await pool.until(lambda: stream_of(pool, USDM)["since"] != before, "a gap")
            await live(pool, USDM)
        record = pool.record(left.intent)
        assert record is not None
        assert record.status is OrderStatus.ACTIVE  # nobody knows what became of it


@pytest.fixture
def died(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whoever reaches one of these points for the first time ends there, as if it had died; where that was."""
    left, where = set(STRUCK), list[str]()
    reach = failpoints.reach

    def reach_once(point: str, *about: str) -> None:
        if point in left:
            left.remove(point)
            where.append(point)
            raise Died(point)
        reach(point, *about)

    monkeypatch.setattr(failpoints, "reach", reach_once)
    return where


async def test_cut_off_at_any_moment_the_start_goes_on_where_it_was(
    redis_url: str, paper: PaperProcess, died: list[str]
) -> None:
    """Without a user stream, which would do a part of it."""
    with pool_with(
        redis_url, paper, SHORT_LEASES.replace("user_stream: {", "user_stream: {enabled: false, ")
    ) as pool:
        await fill_exchange(pool, USDM, 30, 8)
        await leave_something_to_ask(pool)
        while not is_open(pool):
            await start_until_something_dies(pool, died)
        assert set(died) == set(STRUCK)
        assert disagreements(pool, USDM, fees=False) == []
        assert_told_once(pool, rebuilt=len(pool.open_on_book(USDM)) - 8)


async def start_until_something_dies(pool: Pool, died: list[str]) -> None:
    """Let a worker start, and leave when a part of it has died; or once all is done."""
    before = len(died)
    worker = ExchangeWorker(pool.settings(), USDM.exchange)
    task = asyncio.create_task(worker.run())
    await pool.until(lambda: task.done() or len(died) > before or is_open(pool), "an end, or agreement")
    worker.stopping.set()
    await asyncio.gather(task, return_exceptions=True)


async def test_killed_in_the_middle_the_start_is_finished_by_the_next_process(
    redis_url: str, paper: PaperProcess, tmp_path: Path
) -> None:
    points = ("reconcile.opened", "external.rebuilt", "reconcile.agreed")
    with pool_with(redis_url, paper, SHORT_LEASES) as pool:
        await fill_exchange(pool, USDM, 30, 8)
        tokens = tmp_path / "tokens"
        tokens.mkdir()
        arms = [{"point": name, "action": "kill", "token": name} for name in points]
        environment = {VARIABLE: json.dumps({"folder": str(tokens), "arms": arms})}
        began_at, deaths = time.monotonic(), 0
        while not is_open(pool):
            with worker_process(pool, USDM, tmp_path, f"worker-{deaths}", **environment) as process:
                await pool.until(lambda: process.poll() is not None or is_open(pool), "an end, or agreement")
                if is_open(pool):
                    await in_the_end(pool, USDM)
            deaths += 1
        print(f"{deaths - 1} deaths during one start, agreement after {time.monotonic() - began_at:.1f} s")  # noqa: T201
        assert {file.name for file in tokens.iterdir()} == set(points)
        assert disagreements(pool, USDM) == []
        assert_told_once(pool)


def assert_told_once(pool: Pool, rebuilt: int = 30) -> None:
    told = Counter(one.name for one in pool.events() if one.account == "main")
    wanted = {
        EventName.EXTERNAL: 8,
        EventName.REBUILT: rebuilt,
        EventName.RECONCILING: 1,
        EventName.RECONCILED: 1,
    }
    assert {name: told[name] for name in wanted} == wanted


def is_open(pool: Pool) -> bool:
    state = shown(pool, USDM)
    return state is not None and state.state == "done" and not pool.reconciling()


async def leave_something_to_ask(pool: Pool) -> None:
    """An order that the journal knows as open, and that was cancelled since."""
    async with opened(pool.redis_url, pool.paper.url, pool.config, USDM.exchange) as one:
        gone = await one.place("gone", 49_000)
        await one.exchange.cancel(one.reference(gone), one.exchange.now_ms())
