"""What stays in Redis longer because the archive does not have it yet: events, and the records of orders they end.

Held for so long and no longer: a pool whose archiver never comes back must not fill Redis up. What goes without having
been archived is said aloud.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import redis.asyncio
from msgspec import Struct

from orderlane.archive.state import ArchiveState, decode_states, event_position
from orderlane.events import Event, EventName, decode_event, encode_event
from orderlane.keys import EVENT_FIELD, Keys
from orderlane.orders import Reason

log: Final = logging.getLogger("orderlane.jobs")

PAGE: Final = 500
PAGES: Final = 20
"""Events looked at in one run at most, in pages, for records to keep."""


class Hold(Struct, frozen=True):
    """What trimming may do. `oldest_kept`: the id below which events go.

    `archived`: the last event that every archive has, `` while there is no archive. `waits`: events that have reached
    their age are held for it. `overrun`: they have waited for too long, and go. `silent`: archives that have not been
    heard of for so long that they count as gone.
    """

    oldest_kept: str
    archived: str
    waits: bool
    overrun: bool
    silent: tuple[ArchiveState, ...]


def hold_for(
    states: Sequence[ArchiveState],
    oldest_kept: str,
    first_unarchived: str | None,
    now_ms: int,
    unarchived_retention_ms: int,
) -> Hold:
    """What trimming may do, given what the archives say of themselves; pure.

    `oldest_kept`: what the retention alone would keep. `first_unarchived`: the oldest event behind the last that every
    archive has, None if there is none. The last event that is archived always stays: the archiver finds
    its place by it, and sees that nothing is missing behind it.
    """
    silent = tuple(state for state in states if not _is_heard(state, now_ms, unarchived_retention_ms))
    archived = archived_by_all(states, now_ms, unarchived_retention_ms)
    if first_unarchived is None:
        kept = min(oldest_kept, archived or "0-0", key=event_position)
        return Hold(kept, archived, waits=False, overrun=False, silent=silent)
    bound = min(f"{max(now_ms - unarchived_retention_ms, 0)}-0", oldest_kept, key=event_position)
    wanted = min(oldest_kept, archived or "0-0", key=event_position)
    kept = max(wanted, bound, key=event_position)
    overrun = event_position(kept) > event_position(first_unarchived)
    waits = event_position(first_unarchived) < event_position(oldest_kept)
    return Hold(kept, archived, waits=waits, overrun=overrun, silent=silent)


def archived_by_all(states: Sequence[ArchiveState], now_ms: int, unarchived_retention_ms: int) -> str:
    """The last event that all archives have that were heard of; `` if none was."""
    heard = [state for state in states if _is_heard(state, now_ms, unarchived_retention_ms)]
    return min((state.event_id for state in heard), key=event_position, default="")


def _is_heard(state: ArchiveState, now_ms: int, unarchived_retention_ms: int) -> bool:
    return now_ms - state.at <= unarchived_retention_ms


async def read_hold(
    client: redis.asyncio.Redis, keys: Keys, oldest_kept: str, now_ms: int, unarchived_retention_ms: int
) -> Hold:
    """`hold_for`, with what Redis knows of the archives.

    Raises:
        redis.exceptions.RedisError: no answer.
    """
    states = await _states(client, keys)
    archived = archived_by_all(states, now_ms, unarchived_retention_ms)
    following: Any = await client.xrange(keys.events, f"({archived}" if archived else "-", "+", count=1)
    first_unarchived = following[0][0].decode() if following else None
    return hold_for(states, oldest_kept, first_unarchived, now_ms, unarchived_retention_ms)


async def report(client: redis.asyncio.Redis, keys: Keys, hold: Hold, removed: int, now_ms: int) -> None:
    """Say what is held, and what went unarchived: `removed` events went.

    Raises:
        redis.exceptions.RedisError: no answer.
    """
    for state in hold.silent:
        await _drop(client, keys, state)
    if hold.overrun:
        message = (
            f"{removed} events were trimmed that may not be archived: the archive ends at "
            f"{hold.archived or 'nothing'}, and they had reached archive.unarchived_retention_seconds. Start "
            "workers.archiver, or set archive.enabled to false if no history is wanted"
        )
        log.error("events were trimmed before they were archived", extra={"reason": message})
        event = Event(
            name=EventName.SYSTEM_ERROR,
            at=now_ms,
            exchange=keys.exchange,
            reason=Reason(
                code="archive_overrun",
                message=message,
                numbers={"removed": str(removed), "archived": hold.archived},
            ),
        )
        await client.xadd(keys.events, {EVENT_FIELD: encode_event(event)})
    elif hold.waits:
        log.warning(
            "events that have reached their age are kept until they are archived: does workers.archiver run?",
            extra={"archived": hold.archived or "nothing"},
        )


async def hold_records(
    client: redis.asyncio.Redis,
    keys: Keys,
    done_until: str,
    *,
    order_retention_ms: int,
    unarchived_retention_ms: int,
) -> str:
    """Let the records of orders live on whose end is not archived and that would expire soon; until which event.

    `done_until` is what the last run returned. Most runs find the archive close behind, and nothing to do.

    Raises:
        redis.exceptions.RedisError: no answer; the next run does it again.
    """
    states = await _states(client, keys)
    archived = min((state.event_id for state in states), key=event_position, default="0-0")
    seconds, microseconds = await client.time()
    now_ms = int(seconds) * 1000 + int(microseconds) // 1000
    position = max(done_until or "0-0", archived, key=event_position)
    until = f"{max(now_ms - order_retention_ms // 2, 0)}"
    for _ in range(PAGES):
        if event_position(position) >= event_position(until):
            break
        page: Any = await client.xrange(keys.events, f"({position}", until, count=PAGE)
        if not page:
            break
        expiries = {
            keys.order(name): ended_ms + unarchived_retention_ms for name, ended_ms in _ended(page).items()
        }
        await _extend(client, expiries, now_ms)
        position = page[-1][0].decode()
    return position


def _ended(page: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> dict[str, int]:
    """The orders whose end these entries tell, each with when (ms)."""
    found: dict[str, int] = {}
    for entry_id, fields in page:
        try:
            event = decode_event(entry_id.decode(), fields[EVENT_FIELD.encode()])
        except (KeyError, ValueError, msgspec.MsgspecError):
            continue
        if event.client_order_id and event.to_status is not None and event.to_status.terminal:
            found[event.client_order_id] = event_position(event.id)[0]
    return found


async def _extend(client: redis.asyncio.Redis, expiries: dict[str, int], now_ms: int) -> None:
    """Let each key live until its time (ms), if it is to expire before that."""
    if not expiries:
        return
    async with client.pipeline(transaction=False) as asking:
        for key in expiries:
            asking.pttl(key)
        left: list[int] = await asking.execute()
    shorter = [
        key
        for (key, until_ms), ttl in zip(expiries.items(), left, strict=True)
        if 0 <= ttl < until_ms - now_ms
    ]
    if shorter:
        async with client.pipeline(transaction=False) as extending:
            for key in shorter:
                extending.pexpireat(key, expiries[key])
            await extending.execute()


async def _states(client: redis.asyncio.Redis, keys: Keys) -> list[ArchiveState]:
    fields: Any = await client.hgetall(keys.archive)
    return decode_states(fields)


async def _drop(client: redis.asyncio.Redis, keys: Keys, state: ArchiveState) -> None:
    log.warning(
        "an archive has not been heard of for archive.unarchived_retention_seconds and counts as gone",
        extra={"archive": state.archive, "archived": state.event_id},
    )
    await client.hdel(keys.archive, state.archive)
