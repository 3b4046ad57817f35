"""What the sync costs: requests for an account with 10 000 open orders, and tokens that orders could have used."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec
import pytest

from common.buckets import background_floor
from common.claims import Claims
from common.limiter import Limiter
from common.venue_limits import Operation, venue_limits
from orderlane.identity import client_order_id
from orderlane.intents import DEFAULT_PRIORITY, URGENT_PRIORITY
from orderlane.orders import Order, encode_record
from tests.paper_process import start
from tests.workers.opened import EXCHANGE, Opened, opened
from tests.workers.products import SPOT, USDM, Product
from workers.jobs.plan import JobName, JobPlan
from workers.jobs.sync import sync_open_orders

MANY: Final = 10_000
PLAN: Final = JobPlan(JobName.SYNC, 60)
VENUES: Final = {"usdm": "binanceusdm", "spot": "binance"}
LITTLE: Final = 10
"""What is left of the budget, in tokens beside the reserve, when orders come."""
OPTIONS: Final = ("--step-ms", "0", "--partial-fill-probability", "0")


def config_of(product: Product, more: str = "") -> str:
    return (
        f"exchanges: {{{EXCHANGE}: {{venue: {VENUES[product.product]}, accounts: {{main: {{}}}}, {more}"
        "user_stream: {enabled: false}}}"
    )


def copies(database: Path, product: str, count: int) -> list[tuple[str, str]]:
    """Multiply the one open order in the exchange's database; each one's client order id and the exchange's."""
    made = []
    with closing(sqlite3.connect(database)) as connection, connection:
        [(first, body)] = connection.execute(
            "SELECT order_id, body FROM orders WHERE product = ?", (product,)
        )
        known = msgspec.json.decode(body)
        for number in range(count - 1):
            name = client_order_id("orderlane", EXCHANGE, "main", f"copy-{number}")
            row = {**known, "order_id": first + 1 + number, "client_order_id": name}
            connection.execute(
                "INSERT INTO orders VALUES (?, ?, ?)", (product, row["order_id"], msgspec.json.encode(row))
            )
            made.append((name, str(row["order_id"])))
    return made


async def record_all(one: Opened, like: Order, made: list[tuple[str, str]]) -> None:
    """Write the records of these orders as their workers would have."""
    async with one.redis.pipeline(transaction=False) as pipeline:
        for number, (name, exchange_id) in enumerate(made):
            intent = msgspec.structs.replace(like.intent, id=f"copy-{number}")
            order = msgspec.structs.replace(
                like, intent=intent, client_order_id=name, exchange_order_id=exchange_id
            )
            fields = {"status": "ACTIVE", "version": "1", "entry": "1-1", "record": encode_record(order)}
            pipeline.hset(one.keys.order(name), mapping=fields)  # type: ignore[arg-type]
            pipeline.zadd(one.keys.open("main"), {name: 1})
        await pipeline.execute()


@pytest.mark.parametrize("product", [pytest.param(USDM, id="usdm"), pytest.param(SPOT, id="spot")])
async def test_ten_thousand_open_orders_cost_three_requests_at_most_when_nothing_changed(
    redis_url: str, tmp_path: Path, product: Product
) -> None:
    with start(tmp_path, *OPTIONS) as paper:
        paper.set_price(product.product, product.venue_symbol, 60_000, hold=True)
        async with opened(redis_url, paper.url, config_of(product)) as one:
            first = await one.place("first", symbol=product.symbol)
            paper.stop()
            made = copies(tmp_path / "paper.sqlite", product.product, MANY)
            paper.start()
            await record_all(one, first, made)
        async with opened(redis_url, paper.url, config_of(product)) as one:
            every = paper.fault("", "delay")["number"]
            await sync_open_orders(one, PLAN)
            [counter] = paper.faults()
            state = await one.sync_state()
            assert (counter["number"], state.open, state.changed, state.error) == (every, MANY, 0, "")
            assert 1 <= counter["matched"] <= 3
            assert await one.watches() == {}


async def test_thousands_of_questions_and_a_budget_almost_used_keep_no_order_and_no_cancel_waiting(
    redis_url: str, tmp_path: Path
) -> None:
    config = config_of(USDM)
    with start(tmp_path, *OPTIONS) as paper:
        async with (
            opened(redis_url, paper.url, config) as one,
            opened(redis_url, paper.url, config) as worker,
        ):
            never_sent = one.order("never-sent")
            names = [client_order_id("orderlane", EXCHANGE, "main", f"copy-{n}") for n in range(3_000)]
            await record_all(one, never_sent, [(name, str(n)) for n, name in enumerate(names, 1)])
            claims = Claims(one.keys, venue_limits("binanceusdm"), worker.section.margins)
            limiter = Limiter(worker.runner.run, claims)
            requests = [
                claims.claim(Operation.PLACE, "main", USDM.symbol, urgency=DEFAULT_PRIORITY),
                claims.claim(Operation.CANCEL, "main", USDM.symbol, urgency=URGENT_PRIORITY),
            ]
            other = claims.claim(Operation.FIND, "main", USDM.symbol, urgency=DEFAULT_PRIORITY)
            questions = paper.fault(USDM.query, "delay")["number"]
            syncing = asyncio.create_task(one.sync())
            await asyncio.sleep(1)  # it asks for as much as it may
            bucket = claims.buckets["weight_1m"]
            kept = background_floor(bucket, 1, worker.section.margins.background)
            for _ in range(kept - bucket.reserve - LITTLE):
                assert await limiter.ask(other) == 0
            waits = []
            for _ in range(30):
                waits += [await limiter.ask(claim) for claim in requests]
                await asyncio.sleep(0.1)
            syncing.cancel()
            await asyncio.gather(syncing, return_exceptions=True)
            assert set(waits) == {0}
            [counter] = [rule for rule in paper.faults() if rule["number"] == questions]
            assert counter["matched"] > 0, "the sync came to nothing, so that this proves nothing"
