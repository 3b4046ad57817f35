"""Redis filled with the records of orders, quickly: one order that the pool itself wrote, copied."""

from __future__ import annotations

from typing import Any, Final

from scripts.harness.bench.stage import Stage

PAGE: Final = 5_000
RETENTION_MS: Final = 86_400_000

COPY: Final = """
local fields = redis.call('HGETALL', KEYS[1])
for number = tonumber(ARGV[2]), tonumber(ARGV[3]) do
    local key = ARGV[1] .. 'filled' .. string.format('%019d', number)
    redis.call('HSET', key, unpack(fields))
    redis.call('PEXPIRE', key, ARGV[4])
    for argument = 5, #ARGV do
        redis.call('XADD', KEYS[2], '*', 'event', ARGV[argument])
    end
end
"""
"""KEYS: 1 the order to copy  2 events. ARGV: 1 key prefix  2, 3 first and last number  4 expiry, ms  5… its events.
Only ever run against a measurement's own Redis."""


def fill_with_finished(stage: Stage, client_order_id: str, events: list[bytes], count: int) -> None:
    """Add `count` copies of a finished order, each with its events."""
    for first in range(0, count, PAGE):
        stage.redis.eval(
            COPY,
            2,
            stage.keys.order(client_order_id),
            stage.keys.events,
            stage.keys.prefix_order,
            str(first),
            str(min(first + PAGE, count) - 1),
            str(RETENTION_MS),
            *events,
        )


def events_of_one(stage: Stage) -> list[bytes]:
    """The events of the last order that ended, as they stand in the stream."""
    rows: Any = stage.redis.xrevrange(stage.keys.events, count=3)
    return [fields[b"event"] for _, fields in rows]
