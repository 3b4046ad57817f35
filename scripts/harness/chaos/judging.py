"""Judging a run: what was submitted, the exchange's audit log and books, and what is left in Redis."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import redis
from msgspec import Struct

from orderlane.events import decode_event
from orderlane.keys import EVENT_FIELD, Keys
from orderlane.orders import OrderStatus
from scripts.harness.chaos.books import mismatches, read_books
from scripts.harness.evidence import leaked_keys, read_arrived, read_grids, read_journal, stream
from scripts.harness.material import Appended, Arrived, Journalled, Refused
from scripts.harness.processes import LocalPool
from scripts.harness.verdict import Verdict, judge

POOL: Final = "orderlane"
EXCHANGES: Final = ("binance", "binance-spot")
MOST_STORIES: Final = 5
AROUND_MS: Final = 3_000


class Fault(Struct, frozen=True):
    """One thing that was broken: when (ms since the epoch) and what."""

    at_ms: int
    what: str


class Ruling(Struct, frozen=True, kw_only=True):
    """What became of a run."""

    verdict: Verdict
    stuck: int
    mismatched: int
    leaked: int
    findings: tuple[str, ...]
    wrong: tuple[str, ...]
    """Client order ids of the intents whose outcome is wrong; of what is no intent, its entry."""
    journal: Journalled
    arrived: list[Arrived]

    @property
    def holds(self) -> bool:
        wrong = self.stuck or self.mismatched or self.leaked or self.findings or self.verdict.unknown
        return self.verdict.holds and not wrong


def rule(
    pool: LocalPool,
    client: redis.Redis,
    appended: Sequence[Appended],
    resent: Collection[str] = (),
    refused: Sequence[Refused] = (),
) -> Ruling:
    """Judge a pool whose workers have stopped. `resent`: client order ids whose entry is not their first, so that it
    says nothing of their place in the lane. `refused`: what faults at the exchange refused in its name."""
    arrived, journal, grids = read_arrived(pool), read_journal(client, POOL, EXCHANGES), read_grids(pool)
    verdict = _without_order_of(resent, judge(appended, arrived, journal, grids=grids, refused=refused))
    verdict = _waiting_is_not_lost(
        verdict, [one for name in EXCHANGES for one in _behind_parked(client, Keys(name, POOL))]
    )
    different = mismatches(journal.orders, read_books(pool.ask_paper("/paper/orders")), grids)
    stuck = [line for exchange in EXCHANGES for line in _left_over(client, Keys(exchange, POOL))]
    leaked = leaked_keys(client)
    findings = [
        *verdict.findings,
        *(f"mismatched: {name}: {text}" for name, text in different.items()),
        *_unknown(journal),
        *stuck,
        *(f"leaked: key {name}" for name in leaked),
    ]
    known = {one.client_order_id or one.entry for one in appended}
    told = "\n".join(findings)
    return Ruling(
        verdict=verdict,
        stuck=len(stuck),
        mismatched=len(different) + verdict.mismatched,
        leaked=len(leaked),
        findings=tuple(findings),
        wrong=tuple(sorted(name for name in known if name in told)),
        journal=journal,
        arrived=arrived,
    )


def _unknown(journal: Journalled) -> list[str]:
    """Orders of which the pool does not know what became, though the paper exchange answers whoever asks."""
    return [
        f"unknown: {name} is UNKNOWN at the end ({order.reason.code if order.reason else 'no reason'}), "
        "and the exchange could have been asked"
        for name, order in journal.orders.items()
        if order.status is OrderStatus.UNKNOWN
    ]


def _without_order_of(resent: Collection[str], verdict: Verdict) -> Verdict:
    kept = [
        line
        for line in verdict.findings
        if not (line.startswith("out of order") and any(name in line for name in resent))
    ]
    count = sum(line.startswith("out of order") for line in kept)
    return msgspec.structs.replace(verdict, findings=tuple(kept), out_of_order=count)


def _waiting_is_not_lost(verdict: Verdict, waiting: Sequence[str]) -> Verdict:
    """Entries behind a parked lane's head wait, for all to see, until a person has decided on the head."""
    kept = [line for line in verdict.findings if not any(f"lost: entry {one} " in line for one in waiting)]
    count = len(verdict.findings) - len(kept)
    return msgspec.structs.replace(
        verdict, findings=tuple(kept), lost=verdict.lost - count, unknown=verdict.unknown + count
    )


def _behind_parked(client: redis.Redis, keys: Keys) -> list[str]:
    parked = set(_members(client, keys.parked))
    return [_entry_in(one) for one in _members(client, keys.waiting) if one.partition(b"\0")[0] in parked]


def _left_over(client: redis.Redis, keys: Keys) -> list[str]:
    """What should be gone once every entry has ended and every worker has left, and is not."""
    parked: set[bytes] = set(_members(client, keys.parked))
    waiting: list[bytes] = _members(client, keys.waiting)
    lines = []
    for entry, fields in stream(client, keys.intents):
        ours = [one for one in waiting if _entry_in(one) == entry]
        lanes = [one.partition(b"\0")[0] for one in ours]
        if not parked.intersection(lanes):
            where = f"in the queue of {lanes[0].decode()}" if lanes else "in no lane's queue"
            lines.append(f"stuck: entry {entry} of {keys.exchange}, {where}: {str(fields)[:160]}")
    kept = {entry for entry, _ in stream(client, keys.intents)}
    lines += [
        f"stuck: {one!r} waits in {keys.waiting}, its entry is gone"
        for one in waiting
        if _entry_in(one) not in kept
    ]
    owners: Any = client.hgetall(keys.owners)
    lines += [f"stuck: lane {lane.decode()} is still owned by {by.decode()}" for lane, by in owners.items()]
    ready = _members(client, keys.ready)
    lines += [f"stuck: lane {one.decode()} is ready and nobody took it" for one in ready]
    for name in (keys.workers, keys.hungry):
        lines += [f"stuck: {one.decode()} is still in {name}" for one in _members(client, name)]
    for name in (keys.load, keys.grants):
        hash_fields: Any = client.hkeys(name)
        lines += [f"stuck: {one.decode()} is still in {name}" for one in hash_fields]
    return lines


def _members(client: redis.Redis, key: str) -> list[bytes]:
    found: Any = client.zrange(key, 0, -1)
    return list(found)


def _entry_in(waiting: bytes) -> str:
    """The stream id at the end of a member of `waiting` (see `common/lua/lane.lua`)."""
    text = waiting.rpartition(b"\0")[2].decode()[1:]
    length = ord(text[0]) - 64
    return f"{text[1 : 1 + length]}-{text[2 + length :]}"


def worth_telling(ruling: Ruling, most: int) -> list[str]:
    """The first `most` intents whose outcome is wrong, each followed by the one that it was merged into."""
    told: list[str] = []
    for name in ruling.wrong[:most]:
        order = ruling.journal.orders.get(name)
        survivor = order.merged_into.client_order_id if order and order.merged_into else name
        told += [one for one in dict.fromkeys((name, survivor)) if one not in told]
    return told


def story(
    client: redis.Redis, ruling: Ruling, name: str, faults: Sequence[Fault], appended: Sequence[Appended]
) -> list[str]:
    """All that is known of one intent, by its client order id (or by its entry, where it is none): its entries, record,
    events, requests, and the faults around."""
    lines: list[tuple[int, str]] = []
    entries = {one.entry: one for one in appended if name in (one.client_order_id, one.entry)}
    for exchange in EXCHANGES:
        lines += _story_of_entries(client, Keys(exchange, POOL), entries)
        for entry, fields in stream(client, Keys(exchange, POOL).events):
            event = decode_event(entry, fields[EVENT_FIELD.encode()])
            if event.client_order_id == name:
                reason = f" {event.reason.code}: {event.reason.message}" if event.reason else ""
                at_ms = int(entry.partition("-")[0])
                lines.append(
                    (
                        at_ms,
                        f"event {event.name} {event.from_status}->{event.to_status} by {event.worker}{reason}",
                    )
                )
    for one in ruling.arrived:
        if one.client_order_id == name:
            executed = "executed" if one.executed else f"refused ({one.code} {one.message})"
            what = f"{one.kind} #{one.sequence} of {one.quantity or 'no amount'}"
            lines.append((one.at_us // 1000, f"exchange: {what} {executed}"))
    if lines:
        first, last = min(lines)[0] - AROUND_MS, max(lines)[0] + AROUND_MS
        lines += [(one.at_ms, f"fault: {one.what}") for one in faults if first <= one.at_ms <= last]
    order = ruling.journal.orders.get(name)
    head = [
        f"record: {order.status} version {order.version}, {order.filled} filled, intent {order.intent}"
        if order
        else "no record"
    ]
    return head + [f"{at_ms} {text}" for at_ms, text in sorted(lines)]


def _story_of_entries(
    client: redis.Redis, keys: Keys, entries: Mapping[str, Appended]
) -> Iterator[tuple[int, str]]:
    """What is left of these entries in Redis, and when they were appended."""
    waiting = {_entry_in(one): one.partition(b"\0")[0].decode() for one in _members(client, keys.waiting)}
    dead = {fields[b"entry"].decode(): fields for _, fields in stream(client, keys.dead)}
    for entry, one in entries.items():
        if one.exchange != keys.exchange:
            continue
        found: Any = client.xrange(keys.intents, entry, entry)
        where = "is still in the stream" if found else "is no longer in the stream"
        where += f" and waits in the lane {waiting[entry]}" if entry in waiting else ""
        asked = f": {one.intent}" if one.intent is not None else ""
        yield int(entry.partition("-")[0]), f"entry {entry} of {keys.exchange} {where}{asked}"
        if entry in dead:
            yield int(dead[entry].get(b"at", b"0")), f"dead letter {dead[entry][b'reason'].decode()}"
