"""Redis filled with the records of orders, quickly: one order that the pool itself wrote, copied."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from orderlane.events import decode_event
from scripts.harness.bench.stage import Stage

PAGE: Final = 5_000
RETENTION_MS: Final = 86_400_000
LATEST: Final = 100
"""Events among which those of a finished order are."""
EVENTS_OF_ONE: Final = 3
"""What an order publishes that is filled at once: submitted, filled, latency."""

COPY: Final = """
local fields = cjson.decode(ARGV[1])
for number = tonumber(ARGV[3]), tonumber(ARGV[4]) do
    local key = ARGV[2] .. 'filled' .. string.format('%019d', number)
    redis.call('HSET', key, unpack(fields))
    redis.call('PEXPIRE', key, ARGV[5])
    for argument = 6, #ARGV do
        redis.call('XADD', KEYS[1], '*', 'event', ARGV[argument])
    end
end
"""
"""KEYS: 1 events. ARGV: 1 the record's fields and values (JSON)  2 key prefix  3, 4 first and last number
5 expiry, ms  6… its events. Only ever run against a measurement's own Redis."""


class FinishedOrder(Struct, frozen=True):
    """An order as it stands in Redis: the fields and values of its record in turn, its events as they were written."""

    fields: list[str]
    events: list[bytes]


def finished_order(stage: Stage) -> FinishedOrder:
    """The last of the orders that the pool has finished."""
    latest: Any = stage.redis.xrevrange(stage.keys.events, count=LATEST)
    written = [row[b"event"] for _, row in latest]
    names = [decode_event("", event).client_order_id for event in written]
    name = next(filter(None, names))  # other events are about no order
    record: Any = stage.redis.hgetall(stage.keys.order(name))
    events = [event for event, of in zip(written, names, strict=True) if of == name]
    fields = [text.decode() for pair in record.items() for text in pair]
    return FinishedOrder(fields, events[:EVENTS_OF_ONE])


def fill_with_finished(stage: Stage, model: FinishedOrder, count: int) -> None:
    """Add `count` copies of a finished order, each with its events."""
    fields = msgspec.json.encode(model.fields)
    for first in range(0, count, PAGE):
        last = min(first + PAGE, count) - 1
        arguments: list[Any] = [fields, stage.keys.prefix_order, first, last, RETENTION_MS, *model.events]
        stage.redis.eval(COPY, 1, stage.keys.events, *arguments)
