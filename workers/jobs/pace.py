"""Which accounts' open orders are due to be compared with the exchange's: oftener while a user stream is down.

How often an account was compared is noted in Redis, not in a process, so that several schedulers keep one pace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from common.config import SchedulerSection
from orderlane.sync_status import SyncState, decode_syncs
from workers.jobs.open_exchange import OpenExchange

LIVE: Final = "live"
EARLY_SHARE: Final = 0.9
"""The share of a period after which it counts as over: a tick comes a little early or late."""
CATCH_UP_MS: Final = 30_000
"""For how long a stream that comes up is left to its holder: it lists the orders itself, and pays from the same
buckets."""
BEHIND_LEASES: Final = 2
BEHIND_MS: Final = 5_000
"""How far behind a live stream's `complete_until` may be: this, and so many of its leases (each holds several
renewals, with which it is noted). Beyond that, something keeps the stream from telling."""


class Pace(Struct, frozen=True):
    """When accounts were last compared, and whose stream is down, at `now_ms` (Redis' clock)."""

    now_ms: int
    states: dict[str, SyncState]
    down: frozenset[str]


class Due(Struct, frozen=True):
    """An account to be compared now, and how often it is at present."""

    account: str
    period_seconds: int


def period_of(down: bool, section: SchedulerSection) -> int:
    """How often an account is compared, in seconds."""
    usual = section.sync_period_seconds
    return min(usual, section.sync_period_down_seconds) if down else usual


def due_accounts(accounts: Iterable[str], pace: Pace, section: SchedulerSection) -> list[Due]:
    """The accounts whose time has come, those first whose list was had longest ago: nobody is left out for ever."""
    found = []
    for account in accounts:
        period = period_of(account in pace.down, section)
        state = pace.states.get(account)
        if state is None or pace.now_ms - state.began >= period * EARLY_SHARE * 1000:
            found.append((state.listed if state else 0, Due(account, period)))
    return [one for _, one in sorted(found, key=lambda pair: (pair[0], pair[1].account))]


def stream_is_down(fields: Mapping[bytes, bytes], now_ms: int, exchange_now_ms: int, lease_ms: int) -> bool:
    """Whether nobody tells of what happens to an account's orders, by its hash `stream:<account>`.

    A stream without a holder counts as down; so does one that still reads what a gap may have hidden after
    `CATCH_UP_MS`, and one that is held and has told nothing completely for a while.
    """
    held = bool(fields.get(b"holder")) and int(fields.get(b"until", b"0")) > now_ms
    if not held:
        return True
    if fields.get(b"state") != LIVE.encode():
        return now_ms - int(fields.get(b"since", b"0")) > CATCH_UP_MS
    behind_ms = exchange_now_ms - int(fields.get(b"complete_until", b"0"))
    return behind_ms > BEHIND_LEASES * lease_ms + BEHIND_MS


async def read_pace(one: OpenExchange) -> Pace:
    """The pace as Redis knows it.

    Raises:
        redis.exceptions.RedisError: no answer.
    """
    accounts = list(one.section.accounts)
    streams = one.section.user_stream.enabled and one.exchange.streams_orders
    async with one.redis.pipeline(transaction=False) as pipeline:
        pipeline.hgetall(one.keys.synced)
        for account in accounts if streams else ():
            pipeline.hgetall(one.keys.stream(account))
        replies: Any = await pipeline.execute()
    seconds, microseconds = await one.redis.time()
    now_ms = int(seconds) * 1000 + int(microseconds) // 1000
    down = [
        account
        for account, fields in zip(accounts, replies[1:], strict=False)
        if stream_is_down(fields, now_ms, one.exchange.now_ms(), one.section.user_stream.lease_ms)
    ]
    return Pace(now_ms, decode_syncs(replies[0]), frozenset(down))
