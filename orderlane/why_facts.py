"""What Redis knows of one intent: its record, its place in a lane, who runs that, and what stands in its way.

Everything is read, nothing is changed. What is searched for rather than looked up (an entry without a record, past
events) is searched within bounds; `searched_all` says whether these were reached.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from orderlane.dead_letters import DeadLetter, list_dead
from orderlane.errors import IntentAmbiguous
from orderlane.events import Event
from orderlane.intents import AmendOrder, CancelAll, CancelOrder, Intent, IntentInvalid, decode_intent
from orderlane.keys import EVENT_FIELD, INTENT_FIELD, Keys
from orderlane.orders import Order
from orderlane.pool_link import PoolLink
from orderlane.published_limits import LIMITS_FIELD, PENALTY, PublishedLimits, decode_limits
from orderlane.scripts import script
from orderlane.standing import Standing, decode_standings
from orderlane.stuck import Watch, decode_watches
from orderlane.sync_status import SyncState, decode_syncs
from orderlane.tries import Try, decode_tries
from orderlane.waiting import read_event

PAGE: Final = 1_000
PAGES: Final = 20
"""Stream entries read in one search, in pages."""
MOST_DEAD: Final = 1_000
MOST_IN_LANE: Final = 1_000
MOST_EVENTS: Final = 50
_CLIENT_ORDER_ID: Final = re.compile(r"[a-z2-7]{25}\Z", re.ASCII)
_OWNER: Final = re.compile(r"(.*)#\d+@(\d+-\d+)\Z", re.ASCII | re.DOTALL)
_MEMBER: Final = re.compile(rb"(.)[A-Z](\d+)[A-Z](\d+)\Z", re.DOTALL)
"""How a member of `waiting` ends, behind the lane and NUL: rank, and a stream id with the lengths of its numbers."""


class Neighbour(Struct, frozen=True):
    """Another entry of the lane: its id in the stream, its intent's id (empty: it can't be read) and its record."""

    entry: str
    intent_id: str
    order: Order | None


class LanePlace(Struct, frozen=True, kw_only=True):
    """Where an entry stands in its lane. Times are ms.

    `ahead` entries go before it, `first` being the lane's head. `owner` runs the lane, and has the entry `in_hand`; its
    lease ends in `lease_left_ms` (negative: it has ended, and the lane is about to move). `parked_since`: since when
    the lane waits for a person; 0: it does not. `ready`: it waits for a worker with room.
    """

    lane: str
    ahead: int
    first: Neighbour | None
    owner: str
    in_hand: str
    lease_left_ms: int
    parked_since: int
    ready: bool


class Bucket(Struct, frozen=True):
    """A limit that keeps a request waiting, for `wait_ms` if nobody else uses it. `shut`: by a 429 of the exchange."""

    scope: str
    name: str
    wait_ms: int
    shut: bool


class Archived(Struct, frozen=True, kw_only=True):
    """An order as the archive in SQL has it. Times are ms."""

    status: str
    updated_at: int
    reason_code: str = ""
    reason_message: str = ""
    filled: str = ""


class Facts(Struct, frozen=True, kw_only=True):
    """What is known of an intent at `now_ms` (Redis' clock). Fields that do not apply are empty.

    `workers`: how many have a lease. `entry`: the intent's entry, and whether it is `waiting` in the stream still.
    `place`: None: no worker has sorted it into its lane. `doubtful_until`: Redis restarted, and entries up to this
    time (ms) are asked for at the exchange before they are first sent. `watch`: it is stuck. `tries`: the last
    questions about it, `events` what was published about it, both oldest first.
    """

    name: str
    exchange: str
    account: str
    searched: tuple[tuple[str, str], ...]
    now_ms: int
    registered: bool
    workers: int
    searched_all: bool = True
    intent: Intent | None = None
    order: Order | None = None
    entry: str = ""
    waiting: bool = False
    place: LanePlace | None = None
    buckets: tuple[Bucket, ...] = ()
    standings: tuple[Standing, ...] = ()
    doubtful_until: int = 0
    watch: Watch | None = None
    sync: SyncState | None = None
    stream_live: bool = False
    tries: tuple[Try, ...] = ()
    events: tuple[Event, ...] = ()
    dead: DeadLetter | None = None
    archived: Archived | None = None


def read_facts(link: PoolLink, name: str, exchange: str | None, account: str | None) -> Facts:
    """The facts about an intent, named by its id or by its client order id.

    Raises:
        IntentAmbiguous: several accounts have an intent of this id.
        Unreachable: Redis did not answer.
    """
    places = link.places(exchange, account)
    found = _records(link, name, exchange, account)
    if len(found) > 1:
        raise IntentAmbiguous(name, found)
    searched = tuple((place.exchange, place.account) for place in places)
    if found:
        return _facts_of(link, name, searched, found[0].intent, found[0], found[0].entry)
    complete = True
    for one in link.named_exchanges(exchange):
        entry, intent, all_read = _find_entry(link, link.settings.keys(one), name, account)
        complete &= all_read
        if intent is not None:
            return _facts_of(link, name, searched, intent, None, entry)
    return _facts_of_nothing(link, name, searched, exchange, account, complete)


def _records(link: PoolLink, name: str, exchange: str | None, account: str | None) -> list[Order]:
    settings = link.settings
    keys = [settings.order_key(one.exchange, one.account, name) for one in link.places(exchange, account)]
    found = link.orders(keys)
    if not found and _CLIENT_ORDER_ID.match(name):
        found = link.orders([settings.keys(one).order(name) for one in link.named_exchanges(exchange)])
    return found


def _facts_of(
    link: PoolLink,
    name: str,
    searched: tuple[tuple[str, str], ...],
    intent: Intent,
    order: Order | None,
    entry: str,
) -> Facts:
    keys, account = link.settings.keys(intent.exchange), intent.account
    client_id = (
        order.client_order_id
        if order
        else link.settings.order_key(intent.exchange, account, intent.id).removeprefix(keys.prefix_order)
    )
    answers = link.ask(lambda: _ask(link, keys, account, client_id, entry))
    server_time, in_stream, control, standings, stuck, synced, stream, limits, tries, leases = answers
    now_ms = int(server_time[0]) * 1000 + int(server_time[1]) // 1000
    alive = {worker.decode(): int(until) for worker, until in leases}
    waiting = bool(entry and in_stream)
    return Facts(
        name=name,
        exchange=intent.exchange,
        account=account,
        searched=searched,
        now_ms=now_ms,
        registered=True,
        workers=sum(until > now_ms for until in alive.values()),
        intent=intent,
        order=order,
        entry=entry,
        waiting=waiting,
        place=_place(link, keys, intent.lane, entry, alive, now_ms) if waiting else None,
        buckets=_buckets(link, keys, decode_limits(limits), intent, now_ms) if waiting else (),
        standings=tuple(one for one in decode_standings(standings) if one.covers(account)),
        doubtful_until=int(control.get(b"doubt_before", b"0")),
        watch=decode_watches(stuck).get(client_id),
        sync=decode_syncs(synced).get(account),
        stream_live=stream.get(b"state") == b"live" and int(stream.get(b"until", b"0")) > now_ms,
        tries=tuple(decode_tries(tries)),
        events=tuple(_events_of(link, keys, client_id, entry)),
    )


def _ask(link: PoolLink, keys: Keys, account: str, client_id: str, entry: str) -> list[Any]:
    with link.redis.pipeline(transaction=False) as pipeline:
        pipeline.eval(
            script("server_time").source, 1, keys.intents
        )  # a key, so that a cluster knows whom to ask
        pipeline.xrange(keys.intents, entry or "0-1", entry or "0-1")
        pipeline.hgetall(keys.control)
        pipeline.hgetall(keys.standings)
        pipeline.hgetall(keys.stuck(account))
        pipeline.hgetall(keys.synced)
        pipeline.hgetall(keys.stream(account))
        pipeline.hget(keys.limits, LIMITS_FIELD)
        pipeline.lrange(keys.tries(client_id), 0, -1)
        pipeline.zrange(keys.workers, 0, -1, withscores=True)
        return list(pipeline.execute())


def _place(
    link: PoolLink, keys: Keys, lane: str, entry: str, alive: Mapping[str, int], now_ms: int
) -> LanePlace | None:
    prefix = f"{lane}\0".encode()

    def ask() -> list[Any]:
        with link.redis.pipeline(transaction=False) as pipeline:
            pipeline.zrangebylex(keys.waiting, b"[" + prefix, b"(" + prefix[:-1] + b"\1", 0, MOST_IN_LANE)
            pipeline.hget(keys.owners, lane)
            pipeline.zscore(keys.parked, lane)
            pipeline.zscore(keys.ready, lane)
            return list(pipeline.execute())

    members, owner, parked, ready = link.ask(ask)
    queue = [_entry_of(member[len(prefix) :]) for member in members]
    if entry not in queue:
        return None
    runs = _OWNER.match(owner.decode()) if owner else None
    worker = runs[1] if runs else ""
    return LanePlace(
        lane=lane,
        ahead=queue.index(entry),
        first=_neighbour(link, keys, queue[0]) if queue[0] != entry else None,
        owner=worker,
        in_hand=runs[2] if runs else "",
        lease_left_ms=alive.get(worker, now_ms - 1) - now_ms,
        parked_since=int(parked or 0),
        ready=ready is not None,
    )


def _entry_of(sorted_entry: bytes) -> str:
    match = _MEMBER.match(sorted_entry)
    return f"{match[2].decode()}-{match[3].decode()}" if match else ""


def _neighbour(link: PoolLink, keys: Keys, entry: str) -> Neighbour:
    entries: Any = link.ask(lambda: link.redis.xrange(keys.intents, entry, entry))
    intent = _intent_in(entries[0][1]) if entries else None
    if intent is None:
        return Neighbour(entry, "", None)
    found = link.orders([link.settings.order_key(keys.exchange, intent.account, intent.id)])
    return Neighbour(entry, intent.id, found[0] if found else None)


def _buckets(
    link: PoolLink, keys: Keys, limits: PublishedLimits | None, intent: Intent, now_ms: int
) -> tuple[Bucket, ...]:
    """The limits that would keep a request of this intent waiting now."""
    charges = limits.charges.get(_operation(intent), {}) if limits else {}
    used = [one for one in limits.buckets if one.name in charges] if limits else []
    scopes = ("ip", intent.account)

    def ask() -> list[Any]:
        with link.redis.pipeline(transaction=False) as pipeline:
            for scope in scopes:
                pipeline.hget(keys.bucket(scope, PENALTY), "until")
            for one in used:
                pipeline.hgetall(keys.bucket(*one.key_parts(intent.account, intent.symbol)))
            return list(pipeline.execute())

    answers = link.ask(ask)
    shut = {scope: int(until or 0) for scope, until in zip(scopes, answers[: len(scopes)], strict=True)}
    found = [
        Bucket(scope, PENALTY, until - now_ms, shut=True) for scope, until in shut.items() if until > now_ms
    ]
    for one, fields in zip(used, answers[len(scopes) :], strict=True):
        scope, name = one.key_parts(intent.account, intent.symbol)
        urgent = intent.urgency <= 2
        wait_ms = one.wait_ms(fields, shut[scope], charges[one.name], urgent, now_ms)
        if wait_ms:
            found.append(Bucket(scope, name, wait_ms, shut=False))
    return tuple(sorted(found, key=lambda one: -one.wait_ms))


def _operation(intent: Intent) -> str:
    if isinstance(intent, CancelOrder):
        return "cancel"
    if isinstance(intent, AmendOrder):
        return "amend"
    return "cancel_all" if isinstance(intent, CancelAll) else "place"


def _events_of(link: PoolLink, keys: Keys, client_id: str, entry: str) -> list[Event]:
    """What was published about an order, the latest, since its entry came."""
    wanted, found = client_id.encode(), []
    for page in _pages(link, keys.events, entry.partition("-")[0] or "-"):
        for one in page:
            if wanted in one[1].get(EVENT_FIELD.encode(), b""):
                event = read_event(one)
                if event is not None and event.client_order_id == client_id:
                    found.append(event)
    return found[-MOST_EVENTS:]


def _find_entry(
    link: PoolLink, keys: Keys, intent_id: str, account: str | None
) -> tuple[str, Intent | None, bool]:
    """The entry of an intent without a record, and whether the whole stream was looked at."""
    count, wanted = 0, msgspec.json.encode(intent_id)[1:-1]
    for page in _pages(link, keys.intents, "-"):
        count += len(page)
        for entry, fields in page:
            if wanted not in fields.get(INTENT_FIELD.encode(), b""):
                continue
            intent = _intent_in(fields)
            if intent is not None and intent.id == intent_id and account in (None, intent.account):
                return entry.decode(), intent, True
    return "", None, count < PAGE * PAGES


def _intent_in(fields: Mapping[bytes, bytes]) -> Intent | None:
    try:
        return decode_intent(fields.get(INTENT_FIELD.encode(), b""))
    except IntentInvalid:
        return None


def _pages(link: PoolLink, stream: str, since: str) -> Iterator[list[Any]]:
    """A stream's entries from `since` on, page by page, as far as a search goes."""
    after = since
    for _ in range(PAGES):
        page: Any = link.ask(lambda: link.redis.xrange(stream, after, "+", count=PAGE))  # noqa: B023 (called at once)
        yield page
        if len(page) < PAGE:
            return
        after = f"({page[-1][0].decode()}"


def _facts_of_nothing(
    link: PoolLink,
    name: str,
    searched: tuple[tuple[str, str], ...],
    exchange: str | None,
    account: str | None,
    complete: bool,
) -> Facts:
    """What is left of an intent without a record and without an entry: a dead letter, events."""
    known = link.exchanges()
    exchanges = link.named_exchanges(exchange)
    now: Any = link.ask(link.redis.time)
    workers = 0
    dead: DeadLetter | None = None
    events: list[Event] = []
    for one in exchanges:
        keys = link.settings.keys(one)
        leases: Any = link.ask(lambda: link.redis.zrange(keys.workers, 0, -1, withscores=True))  # noqa: B023
        workers += sum(int(until) > int(now[0]) * 1000 for _, until in leases)
        letters = list_dead(link, one, MOST_DEAD)
        dead = dead or next((letter for letter in letters if _is_of(letter, name, account)), None)
        for where, whose in searched:
            if where == one:
                key = link.settings.order_key(one, whose, name)
                events += _events_of(link, keys, key.removeprefix(keys.prefix_order), "")
    return Facts(
        name=name,
        exchange=exchanges[0] if len(exchanges) == 1 else "",
        account=account or "",
        searched=searched,
        now_ms=int(now[0]) * 1000 + int(now[1]) // 1000,
        registered=bool(set(exchanges) & set(known)),
        workers=workers,
        searched_all=complete,
        dead=dead,
        events=tuple(events),
    )


def _is_of(letter: DeadLetter, name: str, account: str | None) -> bool:
    try:
        intent = letter.intent()
    except IntentInvalid:
        return name in (letter.id, letter.entry) or msgspec.json.encode(name)[1:-1] in letter.payload
    return intent.id == name and account in (None, intent.account)
