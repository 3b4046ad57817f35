"""What the REST sync of many open orders costs: records that stand in Redis, a list that the exchange gives."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any, Final

import msgspec

from orderlane.identity import client_order_id
from orderlane.intents import OrderType, PlaceOrder, Side
from orderlane.orders import Order, OrderStatus, Times, encode_record
from scripts.harness.bench.load import BATCH
from scripts.harness.bench.measures import Result, bounded, seen
from scripts.harness.bench.open_orders import OpenOrder, encode_open_orders
from scripts.harness.bench.stage import EXCHANGE, POOL, Shape, Stage
from scripts.harness.bench.sync_probe import SyncRun
from scripts.harness.processes import PoolFailed

ORDERS: Final = 10_000
CPU_SECONDS: Final = 1.0
REQUESTS: Final = 3.0
PROBE_SECONDS: Final = 120.0


def synced(repeats: int, *, with_changes: bool) -> Result:
    """Measure 10: nothing has changed, as in most rounds; and, to explain, a round in which every order has."""
    with Stage(Shape()) as stage:
        orders = _open_orders(stage)
        _write_records(stage, orders)
        stage.ask("/bench/open", _rows(orders, amount=orders[0].amount))
        _probe(stage, 0)  # shares the markets, as a pool has them
        before = int(stage.ask("/bench/requests"))
        _probe(stage, 0)
        prepared = int(stage.ask("/bench/requests")) - before
        unchanged = _probe(stage, repeats)
        asked = int(stage.ask("/bench/requests")) - before - 2 * prepared
        changed: list[SyncRun] = []
        if with_changes:
            stage.ask("/bench/open", _rows(orders, amount=Decimal("0.002")))
            changed = _probe(stage, 1)
    return Result(
        number=10,
        counted=[
            bounded("CPU, nothing changed", [run.cpu_seconds for run in unchanged], CPU_SECONDS, "s"),
            bounded("requests to the exchange", [asked / repeats], REQUESTS, "requests"),
        ],
        explaining=[
            seen("time, nothing changed", [run.seconds for run in unchanged], "s"),
            *(
                seen("CPU, every order changed", [run.cpu_seconds], "s", f"{run.changed} records written")
                for run in changed
            ),
        ],
    )


def _probe(stage: Stage, repeats: int) -> list[SyncRun]:
    child = stage.start("sync", "scripts.harness.bench.sync_probe", "--repeats", str(repeats))
    stage.children.remove(child)
    child.log.write_bytes(b"")
    child.wait(PROBE_SECONDS)
    lines = [line for line in child.log.read_bytes().splitlines() if line.startswith(b"[")]
    if not lines:
        raise PoolFailed(f"the sync printed no result:\n{child.last_words()}")
    return msgspec.json.decode(lines[-1], type=list[SyncRun])


def _open_orders(stage: Stage) -> list[Order]:
    now_ms = time.time_ns() // 1_000_000 - 60_000
    account = stage.accounts[0]
    orders = []
    for number in range(ORDERS):
        instrument = stage.instruments[number % len(stage.instruments)]
        intent = PlaceOrder(
            id=f"open-{number}", exchange=EXCHANGE, account=account, symbol=instrument.symbol, side=Side.BUY,
            type=OrderType.LIMIT, amount=Decimal(instrument.amount), price=Decimal(instrument.buy_price),
        )  # fmt: skip
        orders.append(
            Order(
                client_order_id=client_order_id(POOL, EXCHANGE, account, intent.id),
                intent=intent,
                status=OrderStatus.ACTIVE,
                version=2,
                entry=f"{now_ms}-{number}",
                exchange_order_id=str(2_000_000 + number),
                amount=intent.amount,
                price=intent.price,
                attempts=1,
                times=Times(
                    queued_at=now_ms, taken_at=now_ms, begun_at=now_ms, sent_at=now_ms, acknowledged_at=now_ms,
                    exchange_at=now_ms, updated_at=now_ms,
                ),
            )
        )  # fmt: skip
    return orders


def _write_records(stage: Stage, orders: list[Order]) -> None:
    """The records and their index, as the journal writes them."""
    stage.redis.sadd(stage.keys.accounts, stage.accounts[0])
    for start in range(0, len(orders), BATCH):
        pipeline = stage.redis.pipeline(transaction=False)
        for order in orders[start : start + BATCH]:
            fields: Any = {
                "status": order.status.value,
                "version": order.version,
                "entry": order.entry,
                "record": encode_record(order),
            }
            pipeline.hset(stage.keys.order(order.client_order_id), mapping=fields)
            pipeline.zadd(
                stage.keys.open(order.intent.account), {order.client_order_id: order.times.updated_at}
            )
        pipeline.execute()


def _rows(orders: list[Order], amount: Decimal | None) -> bytes:
    """What the exchange lists: the orders, of this amount; a later time where the amount is another than asked."""
    listed = []
    for order in orders:
        same = amount == order.amount
        listed.append(
            OpenOrder(
                order_id=int(order.exchange_order_id),
                client_order_id=order.client_order_id,
                market=order.intent.symbol.partition(":")[0].replace("/", ""),
                price=str(order.price),
                amount=str(amount),
                at_ms=order.times.exchange_at + (0 if same else 1_000),
            )
        )
    return encode_open_orders(listed)
