"""How a pool is doing, read from Redis alone: who works, what waits, what stands still."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from orderlane.archive.state import ArchiveState, decode_states, event_position
from orderlane.backlog import ask_backlog, questions, read_backlog
from orderlane.disabled import DisabledStrategy, decode_disabled
from orderlane.external import count_external
from orderlane.keys import Keys
from orderlane.pool_link import PoolLink
from orderlane.reconcile_status import ReconcileStatus, read_reconciles
from orderlane.standing import Standing, decode_standings
from orderlane.stream_status import StreamStatus, read_streams
from orderlane.stuck import StuckOrders, read_stuck
from orderlane.sync_status import SyncState, read_syncs

SCAN_COUNT: Final = 1_000
SCAN_LIMIT: Final = 200
"""What has no list of its own (buckets, streams nobody works on) is looked for among all keys, in at most this many
steps."""
BUCKET_LINGER_MS: Final = 1_000
"""How long a bucket's key outlives the moment at which it is full again."""


class WorkerStatus(Struct, frozen=True, kw_only=True):
    """A worker in the pool. A negative `lease_ends_in_ms`: it is gone, and its lanes are about to move."""

    id: str
    lanes: int
    wants_lanes: int
    lease_ends_in_ms: int


class BucketStatus(Struct, frozen=True, kw_only=True):
    """A token bucket that is not full, or a scope that is shut (`name` is `penalty`).

    `tokens` is what it held when last used, `full_in_ms` how long it takes to fill up if it is left alone,
    `shut_for_ms` for how long nothing of the scope may be sent.
    """

    scope: str
    name: str
    tokens: int | None = None
    full_in_ms: int | None = None
    shut_for_ms: int | None = None


class ArchiveStatus(Struct, frozen=True, kw_only=True):
    """How an archive of the exchange's events does. Times are ms.

    `behind_ms` is how much older its last event is than the stream's, `silent_ms` how long it has not been heard of.
    `notices` counts the flaws in its history, of which the last is told (`orderlane archive` shows all).
    """

    archive: str
    event_id: str
    behind_ms: int
    silent_ms: int
    notices: int
    last_notice: str


class ExchangeStatus(Struct, frozen=True, kw_only=True):
    """One exchange of the pool, `at` by the clock of its Redis. Times are ms; `oldest_ms` is the age of the oldest
    unfinished intent.

    Without `registered` no worker has ever run it: only its stream of intents is there, and waits.
    Of the `backlog` (unfinished intents), `unread` have not been sorted into a lane yet; `drained_per_second` and
    `account_backlogs` are as `orderlane.backlog.Backlog` has them. `standings` say why new placements wait, if any do.
    `syncs`: when each account was last compared with the exchange; `stuck`: orders about which nothing moves.
    `reconciles`: each account's agreement with the exchange, under way or the last. `external_orders`: how many orders
    are open that the pool did not place, of each account that has any.
    `buckets_complete` is
    False when Redis holds too many keys to look at all of them for buckets.
    """

    exchange: str
    registered: bool
    at: int
    backlog: int
    unread: int
    oldest_ms: int | None
    drained_per_second: float | None
    account_backlogs: dict[str, int]
    lanes_ready: int
    lanes_owned: int
    lanes_parked: int
    parked_since_ms: int | None
    unknown: int
    unknown_since_ms: int | None
    dead: int
    open_orders: dict[str, int]
    workers: list[WorkerStatus]
    buckets: list[BucketStatus]
    buckets_complete: bool
    control: dict[str, str]
    archives: list[ArchiveStatus]
    streams: list[StreamStatus]
    syncs: list[SyncState]
    stuck: list[StuckOrders]
    standings: list[Standing]
    reconciles: list[ReconcileStatus]
    external_orders: dict[str, int]
    disabled: list[DisabledStrategy]
    """Strategies whose new opening orders are refused on one symbol of an account."""


class PoolStatus(Struct, frozen=True, kw_only=True):
    """All exchanges of a pool, read one after the other; `at`: when the last was, ms by its Redis' clock.

    `exchanges_complete` is False when Redis holds too many keys to look at all of them for streams of exchanges that
    no worker has registered.
    """

    pool: str
    address: str
    at: int
    exchanges: list[ExchangeStatus]
    exchanges_complete: bool


def read_status(link: PoolLink, exchange: str | None = None) -> PoolStatus:
    """The status of one exchange, or of all that workers have registered or that have intents.

    Raises:
        Unreachable: Redis did not answer.
    """
    registered = link.exchanges()
    named = exchange or link.settings.exchange
    streams, complete = ([named], True) if named else _exchanges_with_intents(link)
    unregistered = [one for one in streams if one not in registered]
    shown = [(one, True) for one in registered if named in (None, one)] + [
        (one, False) for one in unregistered
    ]
    read = [_read_exchange(link, one, known) for one, known in shown]
    return PoolStatus(
        pool=link.settings.pool,
        address=link.settings.address,
        at=max((one.at for one in read), default=0) or _now_ms(link),
        exchanges=read,
        exchanges_complete=complete,
    )


def _exchanges_with_intents(link: PoolLink) -> tuple[list[str], bool]:
    """The exchanges whose stream of intents is there, and whether all keys were looked at."""
    before, after = link.settings.keys("*").intents.split("*")
    found, complete = _keys_like(link, f"{before}*{after}")
    return [key.decode(errors="replace").removeprefix(before).removesuffix(after) for key in found], complete


def _now_ms(link: PoolLink) -> int:
    seconds, microseconds = link.ask(link.redis.time)
    return int(seconds) * 1000 + int(microseconds) // 1000


def _read_exchange(link: PoolLink, exchange: str, registered: bool) -> ExchangeStatus:
    keys = link.settings.keys(exchange)
    accounts = link.accounts(exchange)
    answers = link.ask(lambda: _ask_all(link, keys, accounts))
    backlog = read_backlog(answers[: questions(accounts)], accounts)
    now_ms, replies = backlog.now_ms, iter(answers[questions(accounts) :])
    ready, owned, parked, parked_first = (next(replies) for _ in range(4))
    unknown, unknown_first, dead, workers, load, hungry, control = (next(replies) for _ in range(7))
    archives, last_event, standings, disabled = (next(replies) for _ in range(4))
    buckets, complete = _read_buckets(link, keys, now_ms)
    return ExchangeStatus(
        exchange=exchange,
        registered=registered,
        at=now_ms,
        backlog=backlog.depth,
        unread=backlog.unread,
        oldest_ms=backlog.oldest_ms,
        drained_per_second=backlog.drained_per_second,
        account_backlogs=backlog.accounts,
        lanes_ready=ready,
        lanes_owned=owned,
        lanes_parked=parked,
        parked_since_ms=_age(parked_first, now_ms),
        unknown=unknown,
        unknown_since_ms=_age(unknown_first, now_ms),
        dead=dead,
        open_orders=dict(zip(accounts, replies, strict=True)),
        workers=_workers(workers, load, hungry, now_ms),
        buckets=buckets,
        buckets_complete=complete,
        control={name.decode(): value.decode(errors="replace") for name, value in sorted(control.items())},
        archives=[_archive(state, last_event, now_ms) for state in decode_states(archives)],
        streams=read_streams(link, keys, accounts, now_ms),
        syncs=read_syncs(link, keys),
        stuck=read_stuck(link, keys, accounts),
        standings=decode_standings(standings),
        reconciles=read_reconciles(link, keys, accounts, now_ms),
        external_orders=count_external(link, keys, accounts),
        disabled=decode_disabled(disabled),
    )


def _ask_all(link: PoolLink, keys: Keys, accounts: Sequence[str]) -> list[Any]:
    with link.redis.pipeline(transaction=False) as pipeline:
        ask_backlog(pipeline, keys, accounts)
        pipeline.zcard(keys.ready)
        pipeline.hlen(keys.owners)
        pipeline.zcard(keys.parked)
        pipeline.zrange(keys.parked, 0, 0, withscores=True)
        pipeline.zcard(keys.unknown)
        pipeline.zrange(keys.unknown, 0, 0, withscores=True)
        pipeline.xlen(keys.dead)
        pipeline.zrange(keys.workers, 0, -1, withscores=True)
        pipeline.hgetall(keys.load)
        pipeline.zrange(keys.hungry, 0, -1, withscores=True)
        pipeline.hgetall(keys.control)
        pipeline.hgetall(keys.archive)
        pipeline.xrevrange(keys.events, count=1)
        pipeline.hgetall(keys.standings)
        pipeline.hgetall(keys.disabled)
        for account in accounts:
            pipeline.zcard(keys.open(account))
        return list(pipeline.execute())


def _age(first: Sequence[Any], now_ms: int) -> int | None:
    return max(now_ms - int(first[0][1]), 0) if first else None


def _archive(state: ArchiveState, last_event: Sequence[Any], now_ms: int) -> ArchiveStatus:
    newest = event_position(last_event[0][0].decode())[0] if last_event else 0
    reached = event_position(state.event_id)[0]
    return ArchiveStatus(
        archive=state.archive,
        event_id=state.event_id,
        behind_ms=max(newest - reached, 0) if reached else 0,
        silent_ms=max(now_ms - state.at, 0),
        notices=state.notices,
        last_notice=state.last_notice,
    )


def _workers(
    leases: Sequence[Any], load: Mapping[bytes, bytes], hungry: Sequence[Any], now_ms: int
) -> list[WorkerStatus]:
    wants = {worker: int(lanes) for worker, lanes in hungry}
    return [
        WorkerStatus(
            id=worker.decode(),
            lanes=int(load.get(worker, 0)),
            wants_lanes=wants.get(worker, 0),
            lease_ends_in_ms=int(lease_end) - now_ms,
        )
        for worker, lease_end in sorted(leases)
    ]


def _read_buckets(link: PoolLink, keys: Keys, now_ms: int) -> tuple[list[BucketStatus], bool]:
    prefix = keys.bucket("", "").rstrip(":") + ":"
    found, complete = _keys_like(link, prefix + "*")

    def read() -> list[Any]:
        with link.redis.pipeline(transaction=False) as pipeline:
            for key in found:
                pipeline.hgetall(key)
                pipeline.pttl(key)
            return list(pipeline.execute())

    replies = iter(link.ask(read) if found else [])
    buckets = [
        _bucket(key[len(prefix) :].decode(), fields, expires_ms, now_ms)
        for key, fields, expires_ms in _in_threes(found, replies)
        if fields
    ]
    return buckets, complete


def _in_threes(keys: Sequence[bytes], replies: Iterator[Any]) -> Iterator[tuple[bytes, Any, Any]]:
    for key in keys:
        yield key, next(replies), next(replies)


def _keys_like(link: PoolLink, pattern: str) -> tuple[list[bytes], bool]:
    """The keys of a pattern, and whether all keys were looked at. Names of pools and exchanges hold no wildcard."""
    found: set[bytes] = set()
    cursor = 0
    for _ in range(SCAN_LIMIT):
        step: Any = link.ask(lambda at=cursor: link.redis.scan(at, match=pattern, count=SCAN_COUNT))  # type: ignore[misc]
        cursor, keys = int(step[0]), step[1]
        found.update(keys)
        if cursor == 0:
            return sorted(found), True
    return sorted(found), False


def _bucket(scope_and_name: str, fields: Mapping[bytes, bytes], expires_ms: int, now_ms: int) -> BucketStatus:
    scope, _, name = scope_and_name.rpartition(":")
    if b"until" in fields:
        return BucketStatus(scope=scope, name=name, shut_for_ms=max(int(fields[b"until"]) - now_ms, 0))
    return BucketStatus(
        scope=scope,
        name=name,
        tokens=math.floor(int(fields[b"level"]) / int(fields[b"unit"])),
        full_in_ms=max(expires_ms - BUCKET_LINGER_MS, 0),
    )
