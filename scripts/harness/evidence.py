"""Collecting what a run is judged by: the exchange's audit log, the journal, the dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import redis

from orderlane.events import EVENT_OF_STATUS, EventName, decode_event
from orderlane.keys import EVENT_FIELD, KNOWN, Keys
from orderlane.orders import Order, OrderStatus, Reason, decode_order
from scripts.harness.content import Grid
from scripts.harness.material import Appended, Arrived, Journalled, Step
from scripts.harness.processes import LocalPool

PAGE: Final = 5_000
SETTLED: Final = frozenset(
    status
    for status in OrderStatus
    if status not in (OrderStatus.QUEUED, OrderStatus.SUBMITTED, OrderStatus.UNKNOWN)
)
STATES: Final = frozenset({*EVENT_OF_STATUS.values(), EventName.ERROR, EventName.AMENDED})
"""The events that report an order's state; the others are about its fills, its times, or no order at all."""


def read_appended(record: Path) -> list[Appended]:
    """What the producer wrote down, a JSON line each; a line cut short by its death is left out."""
    lines = record.read_bytes().split(b"\n")[:-1] if record.exists() else []
    return [msgspec.json.decode(line, type=Appended) for line in lines]


def read_arrived(pool: LocalPool) -> list[Arrived]:
    """The exchange's audit log, whole."""
    arrived: list[Arrived] = []
    while True:
        after = arrived[-1].sequence if arrived else 0
        page = msgspec.json.decode(
            pool.ask_paper(f"/paper/audit?after={after}&limit={PAGE}"), type=list[Arrived]
        )
        if not page:
            return arrived
        arrived += page


def read_journal(client: redis.Redis, pool: str, exchanges: tuple[str, ...]) -> Journalled:
    """Every order record, dead letter and recognised duplicate of these exchanges."""
    orders: dict[str, Order] = {}
    dead: dict[tuple[str, str], str] = {}
    duplicates: set[str] = set()
    rebuilt: set[str] = set()
    steps: list[Step] = []
    for exchange in exchanges:
        keys = Keys(exchange, pool)
        for key in scan(client, f"{keys.prefix_order}*"):
            fields: Any = client.hgetall(key)
            if fields:
                order = decode_order(fields)
                orders[order.client_order_id] = order
        for _, letter in stream(client, keys.dead):
            dead[exchange, letter[b"entry"].decode()] = msgspec.json.decode(
                letter[b"reason"], type=Reason
            ).code
        for entry, fields in stream(client, keys.events):
            event = decode_event(entry, fields[EVENT_FIELD.encode()])
            if event.name is EventName.DUPLICATE:
                duplicates.add(event.client_order_id)
            elif event.name is EventName.REBUILT:
                rebuilt.add(event.client_order_id)
            elif event.name in STATES and event.client_order_id and event.to_status is not None:
                steps.append(Step(event.client_order_id, event.from_status, event.to_status))
    return Journalled(
        orders=orders,
        dead=dead,
        duplicates=frozenset(duplicates),
        rebuilt=frozenset(rebuilt),
        steps=tuple(steps),
    )


def read_grids(pool: LocalPool) -> dict[tuple[str, str], Grid]:
    """The steps of every symbol, as the exchange publishes them, by product and its own symbol."""
    grids: dict[tuple[str, str], Grid] = {}
    for product, path in (("spot", "/api/v3/exchangeInfo"), ("usdm", "/fapi/v1/exchangeInfo")):
        for row in msgspec.json.decode(pool.ask_paper(path))["symbols"]:
            filters = {one["filterType"]: one for one in row["filters"]}
            lot = Decimal(filters["LOT_SIZE"]["stepSize"])
            at_market = Decimal(filters.get("MARKET_LOT_SIZE", {}).get("stepSize", 0))
            grids[product, row["symbol"]] = Grid(
                lot, at_market or lot, Decimal(filters["PRICE_FILTER"]["tickSize"])
            )
    return grids


def leaked_keys(client: redis.Redis) -> list[str]:
    """Keys of a form that `orderlane.keys` does not know (rq's own apart)."""
    names = (key.decode() for key in scan(client, "*"))
    return sorted(name for name in names if not KNOWN.match(name) and not name.startswith("rq:"))


def scan(client: redis.Redis, pattern: str) -> Iterator[bytes]:
    """The keys that match."""
    found: Any = client.scan_iter(pattern, count=1000)
    yield from found


def stream(client: redis.Redis, key: str) -> Iterator[tuple[str, dict[bytes, bytes]]]:
    """A stream's entries, all of them, a page at a time."""
    start = "-"
    while True:
        page: Any = client.xrange(key, start, "+", count=PAGE)
        for entry, fields in page:
            yield entry.decode(), fields
        if len(page) < PAGE:
            return
        start = f"({page[-1][0].decode()}"
