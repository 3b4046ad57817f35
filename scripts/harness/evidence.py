"""Collecting what a run is judged by: the exchange's audit log, the journal, the dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import redis

from orderlane.events import EventName, decode_event
from orderlane.keys import EVENT_FIELD, KNOWN, Keys
from orderlane.orders import Order, OrderStatus, Reason, decode_order
from scripts.harness.processes import LocalPool
from scripts.harness.verdict import Appended, Arrived, Journalled

PAGE: Final = 5_000
SETTLED: Final = frozenset(
    status
    for status in OrderStatus
    if status not in (OrderStatus.QUEUED, OrderStatus.SUBMITTED, OrderStatus.UNKNOWN)
)


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
    return Journalled(orders=orders, dead=dead, duplicates=frozenset(duplicates))


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
