"""The job that keeps Redis from filling up: old events and dead letters, and index entries without a record.

Records of orders that ended expire by themselves. What is left of workers that are gone is the sweep's. What is not
archived yet is held (`workers/jobs/holding.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

import redis.asyncio
from msgspec import Struct

from common.redis import ScriptRunner
from orderlane.keys import Keys
from workers.jobs.holding import hold_records, read_hold, report
from workers.jobs.open_exchange import OpenExchange
from workers.jobs.plan import JobPlan

log: Final = logging.getLogger("orderlane.jobs")

TRIM_COUNT: Final = 10_000
"""Entries removed by one command at most: bounds how long it holds Redis."""
PAGE: Final = 500
"""Index entries looked at by one script."""
BELL_LENGTH: Final = 16
"""As `lua/lane.lua` keeps it, which trims whole nodes only."""


class Trimmed(Struct, frozen=True):
    """How many entries were removed: of events, of dead letters, and index entries whose record is gone."""

    events: int
    dead: int
    forgotten: int


async def trim(one: OpenExchange, plan: JobPlan) -> None:
    """Remove what has reached its age.

    Raises:
        redis.exceptions.RedisError: no answer; the next period goes on.
    """
    section = one.settings.scheduler
    trimmed = await trim_exchange(
        one.runner,
        one.keys,
        one.section.accounts,
        event_retention_ms=section.event_retention_seconds * 1000,
        dead_retention_ms=section.dead_retention_seconds * 1000,
        unarchived_retention_ms=(
            one.settings.archive.unarchived_retention_seconds * 1000 if one.settings.archive.enabled else None
        ),
    )
    if one.settings.archive.enabled:
        one.held_until = await hold_records(
            one.redis,
            one.keys,
            one.held_until,
            order_retention_ms=section.order_retention_seconds * 1000,
            unarchived_retention_ms=one.settings.archive.unarchived_retention_seconds * 1000,
        )
    if trimmed != Trimmed(0, 0, 0):
        log.info(
            "old entries removed",
            extra={"events": trimmed.events, "dead": trimmed.dead, "forgotten": trimmed.forgotten},
        )


async def trim_exchange(
    runner: ScriptRunner,
    keys: Keys,
    accounts: Sequence[str] | dict[str, Any],
    *,
    event_retention_ms: int,
    dead_retention_ms: int,
    unarchived_retention_ms: int | None = None,
) -> Trimmed:
    """Trim what one exchange keeps; `accounts` are looked at beside those the pool's workers registered.

    `unarchived_retention_ms`: how long events wait for the archive; None: there is none.
    """
    client = runner.client
    now_ms = await redis_now_ms(client)
    oldest_kept = f"{max(now_ms - event_retention_ms, 0)}-0"
    if unarchived_retention_ms is None:
        events = await _trim_stream(client, keys.events, oldest_kept)
    else:
        hold = await read_hold(client, keys, oldest_kept, now_ms, unarchived_retention_ms)
        events = await _trim_stream(client, keys.events, hold.oldest_kept)
        await report(client, keys, hold, events, now_ms)
    dead = await _trim_stream(client, keys.dead, f"{max(now_ms - dead_retention_ms, 0)}-0")
    await client.xtrim(keys.bell, maxlen=BELL_LENGTH, approximate=False)
    known: Any = await client.smembers(keys.accounts)
    indexes = [keys.open(account) for account in sorted({*accounts, *(name.decode() for name in known)})]
    forgotten = 0
    for index in (*indexes, keys.unknown):
        forgotten += await _forget_missing(runner, keys, index)
    return Trimmed(events=events, dead=dead, forgotten=forgotten)


async def redis_now_ms(client: redis.asyncio.Redis) -> int:
    """Redis' clock, by which stream ids and scores are made."""
    seconds, microseconds = await client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def _trim_stream(client: redis.asyncio.Redis, stream: str, oldest_kept: str) -> int:
    """Remove the entries with smaller ids, whole nodes first; the last command finds less than a node."""
    removed = 0
    while True:
        step = int(await client.xtrim(stream, minid=oldest_kept, approximate=True, limit=TRIM_COUNT))
        if step == 0:
            return removed + int(await client.xtrim(stream, minid=oldest_kept, approximate=False))
        removed += step


async def _forget_missing(runner: ScriptRunner, keys: Keys, index: str) -> int:
    """Take client order ids without a record out of an index, page by page from the oldest."""
    forgotten = start = 0
    while True:
        page: Any = await runner.client.zrange(index, start, start + PAGE - 1)
        ids = [name.decode() for name in page]
        if not ids:
            return forgotten
        gone = int(await runner.run("forget", [index, *(keys.order(name) for name in ids)], ids))
        forgotten += gone
        start += len(ids) - gone
