"""The job that samples how fast the backlog is worked off, and tells of one that is worth it: `system.backlog`."""

from __future__ import annotations

import re
from typing import Any, Final

from orderlane.backlog import Backlog, ask_backlog, questions, read_backlog, sampled
from orderlane.events import Event, EventName, encode_event
from orderlane.keys import EVENT_FIELD, Keys
from workers.jobs.open_exchange import OpenExchange
from workers.jobs.plan import BACKLOG_PERIOD_SECONDS, JobPlan

MOST_ACCOUNTS: Final = 5
"""Accounts named in one event, the deepest first."""
MOST_STANDING: Final = 1_000
"""Entries looked at in a parked lane; what waits behind so many counts as if it moved."""
_ENTRY: Final = re.compile(r"[A-Z](\d+)[A-Z](\d+)\Z")
"""How a member of `waiting` ends: a stream id, the length of each number in front of it."""
OLD_MS: Final = BACKLOG_PERIOD_SECONDS * 1000
"""An intent that has waited for a whole period is worth telling of."""


async def tell_backlog(one: OpenExchange, plan: JobPlan) -> None:
    """Sample the counter, and publish an event where there is something to tell.

    Raises:
        redis.exceptions.RedisError: no answer; the next period tries again.
    """
    await tell_backlog_of(one.redis, one.keys)


async def tell_backlog_of(client: Any, keys: Keys) -> None:
    """As `tell_backlog`, by the exchange's keys."""
    known: Any = await client.smembers(keys.accounts)
    accounts = sorted(name.decode() for name in known)
    async with client.pipeline(transaction=False) as pipeline:
        ask_backlog(pipeline, keys, accounts)
        pipeline.zrange(keys.parked, 0, -1)
        replies = await pipeline.execute()
    backlog = read_backlog(replies[: questions(accounts)], accounts)
    drained, parked = replies[4], replies[-1]
    standing = await _entries_of(client, keys, [lane.decode() for lane in parked])
    oldest_ms = await _oldest_moving_ms(client, keys, standing, backlog)
    told = drained.get(b"told") == b"1"
    telling = worth_telling(oldest_ms)
    async with client.pipeline(transaction=False) as pipeline:
        if telling or told:
            event = encode_event(backlog_event(backlog, keys.exchange))
            pipeline.xadd(keys.events, {EVENT_FIELD: event})
        pipeline.hset(keys.drained, mapping={**sampled(drained, backlog.now_ms), "told": int(telling)})
        await pipeline.execute()


def worth_telling(oldest_ms: int | None) -> bool:
    """Whether intents wait longer than they should: `oldest_ms` is the age of the oldest that no person has to look at;
    None: there is none."""
    return oldest_ms is not None and oldest_ms >= OLD_MS


def backlog_event(backlog: Backlog, exchange: str) -> Event:
    """The event; `account:<name>` is the depth of one of the accounts with the most."""
    numbers = {"depth": str(backlog.depth), "oldest_ms": str(backlog.oldest_ms or 0)}
    if backlog.drained_per_second is not None:
        numbers["drained_per_second"] = str(backlog.drained_per_second)
    for account, depth in list(backlog.accounts.items())[:MOST_ACCOUNTS]:
        numbers[f"account:{account}"] = str(depth)
    return Event(name=EventName.BACKLOG, at=backlog.now_ms, exchange=exchange, numbers=numbers)


async def _entries_of(client: Any, keys: Keys, lanes: list[str]) -> set[str]:
    """The stream ids of what waits in these lanes, the first of each."""
    if not lanes:
        return set()
    async with client.pipeline(transaction=False) as pipeline:
        for lane in lanes:
            pipeline.zrangebylex(keys.waiting, f"[{lane}\0", f"({lane}\1", 0, MOST_STANDING)
        queues: Any = await pipeline.execute()
    found = (_ENTRY.search(member.decode()) for queue in queues for member in queue)
    return {f"{one[1]}-{one[2]}" for one in found if one}


async def _oldest_moving_ms(client: Any, keys: Keys, standing: set[str], backlog: Backlog) -> int | None:
    """The age of the oldest entry that is not among these; None where every one looked at is."""
    if not standing:
        return backlog.oldest_ms
    first: Any = await client.xrange(keys.intents, count=len(standing) + 1)
    moving = (entry.decode() for entry, _ in first if entry.decode() not in standing)
    oldest = next(moving, None)
    return None if oldest is None else max(backlog.now_ms - int(oldest.partition("-")[0]), 0)
