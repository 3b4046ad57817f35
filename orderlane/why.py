"""Where an intent is, what it waits for, and what was tried when: from facts to plain words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from msgspec import Struct

from orderlane.events import EventName
from orderlane.orders import Order, OrderStatus
from orderlane.stuck import StuckKind
from orderlane.tries import Try
from orderlane.why_facts import Facts
from orderlane.why_waiting import State, explain_waiting, owner_of, parked_lane
from orderlane.why_words import ago, clock, entry_ms_of, lasting, span


class Tried(Struct, frozen=True):
    """One thing that was done or asked, `at` ms."""

    at: int
    what: str


class Explanation(Struct, frozen=True, kw_only=True):
    """The answer. `sentences`: where the intent is and what it waits for; `tried`: what was done, oldest first."""

    intent_id: str
    exchange: str
    account: str
    client_order_id: str
    status: OrderStatus | None
    state: State
    sentences: list[str]
    tried: list[Tried]


SAID_ONCE: Final = (EventName.LATENCY, EventName.STUCK)
"""Events that repeat what others, or the sentences, say."""
_REQUESTS: Final = {0: "without a request of its own", 1: "after one request"}


def explain(facts: Facts) -> Explanation:
    """Say where an intent is."""
    if facts.intent is None:
        state, sentences = _without_entry(facts)
    else:
        state, sentences = _OF_STATUS.get(_status(facts), _ended)(facts)
        sentences += _stuck(facts)
    order = facts.order
    return Explanation(
        intent_id=facts.intent.id if facts.intent else facts.name,
        exchange=facts.exchange,
        account=facts.account,
        client_order_id=order.client_order_id if order else "",
        status=order.status if order else None,
        state=state,
        sentences=sentences,
        tried=sorted(_tried(facts), key=lambda one: one.at),
    )


def _status(facts: Facts) -> OrderStatus:
    return facts.order.status if facts.order else OrderStatus.QUEUED


# Nothing to find


def _without_entry(facts: Facts) -> tuple[State, list[str]]:
    if facts.dead is not None:
        letter = facts.dead
        return State.DEAD, [
            f"It could not be run and has been a dead letter for {lasting(facts, letter.at)}: {letter.reason.code}: "
            f"{letter.reason.message}.",
            f"`orderlane dead show {letter.id}` shows what came, `orderlane dead retry {letter.id}` sends it again.",
        ]
    if facts.archived is not None:
        one = facts.archived
        reason = f": {one.reason_code}: {one.reason_message}" if one.reason_code else ""
        filled = f" with {one.filled} filled" if one.filled else ""
        return State.FORGOTTEN, [
            f"Redis has no record of it any more; the archive has it: {one.status}{filled}, changed last "
            f"{ago(facts, one.updated_at)}{reason}.",
            "Records of orders that ended stay in Redis for scheduler.order_retention_seconds.",
        ]
    if facts.events:
        last = facts.events[-1]
        return State.FORGOTTEN, [
            f"Its record is gone, and no entry of it waits; the last event about it is {last.name} "
            f"{ago(facts, last.at)}{f', {last.to_status}' if last.to_status else ''}.",
            "It ended longer ago than scheduler.order_retention_seconds, or its record was deleted; `orderlane orders "
            "--since` looks in the archive.",
        ]
    return State.NOT_KNOWN, list(_never_heard(facts))


def _never_heard(facts: Facts) -> Iterator[str]:
    places = ", ".join("/".join(place) for place in facts.searched) or "no account: none is registered"
    yield (
        f"The pool has never heard of {facts.name!r}, or has forgotten it: no record of it ({places}), no entry in "
        "the stream, no dead letter, no event."
    )
    if not facts.registered:
        yield "No worker has ever run such an exchange: is its name right, and the pool's?"
    if not facts.searched_all:
        yield "Only a part of the stream was searched: it is too long."
    yield (
        "So it was submitted under another id, account, exchange or pool (does the producer use this Redis?), its "
        "submit failed, or it ended longer ago than records, events and dead letters are kept."
    )
    yield "Look with `orderlane orders --since 7d` in the archive, and at what the producer's submit answered."


# Sent


def _sent(facts: Facts) -> tuple[State, list[str]]:
    order = _known(facts)
    sentences = [_was_sent(facts, order), "There is no answer yet.", *_executable(facts, order)]
    return State.SENT, [*sentences, *_looked_after(facts)]


def _unknown(facts: Facts) -> tuple[State, list[str]]:
    order = _known(facts)
    why = f" ({order.reason.code}: {order.reason.message})" if order.reason else ""
    sentences = [_was_sent(facts, order), f"What became of it is not known{why}."]
    if facts.place is not None and facts.place.parked_since:
        return State.PARKED, [*sentences, *parked_lane(facts, facts.place), *_next_question(facts)]
    return State.UNKNOWN, [*sentences, *_executable(facts, order), *_looked_after(facts)]


def _was_sent(facts: Facts, order: Order) -> str:
    sent = order.times.sent_at or order.times.updated_at
    if not order.attempts:
        return f"It may have been sent before Redis forgot: the exchange has been asked for {lasting(facts, sent)}."
    count = f", request {order.attempts}" if order.attempts > 1 else ""
    return f"Its request left {ago(facts, sent)}{count}."


def _executable(facts: Facts, order: Order) -> list[str]:
    until = order.executable_until
    if not until:
        return [
            "This exchange puts no end to how late it may execute a request: that it has no such order never proves "
            "that it won't."
        ]
    if until > facts.now_ms:
        return [
            f"The exchange may execute it until {clock(until)}, another {span(until - facts.now_ms)}; only after "
            'that does "no such order" count.'
        ]
    return [
        f'The exchange could execute it until {ago(facts, until)}: once it says "no such order" twice, that is proof.'
    ]


def _looked_after(facts: Facts) -> list[str]:
    place = facts.place
    if place is None:
        return [
            "It is in no lane: no worker is at it, the scheduler's sync alone asks for it.",
            *_next_question(facts),
        ]
    if place.in_hand == facts.entry:
        return [f"Worker {place.owner} is at it.", *_next_question(facts)]
    return [*owner_of(facts, place), *_next_question(facts)]


def _next_question(facts: Facts) -> list[str]:
    coming = [one.next for one in facts.tries if one.next > facts.now_ms]
    if facts.watch is not None and facts.watch.next > facts.now_ms:
        coming.append(facts.watch.next)
    if not coming:
        return []
    return [
        f"The exchange is asked for it again at {clock(min(coming))}, in {span(min(coming) - facts.now_ms)}."
    ]


def _open(facts: Facts) -> tuple[State, list[str]]:
    order = _known(facts)
    since = order.times.acknowledged_at or order.times.updated_at
    amount = f" of {order.amount:f}" if order.amount is not None else ""
    sentences = [
        f"It is on the exchange's book ({order.status}, {order.filled:f}{amount} filled), acknowledged "
        f"{ago(facts, since)}: it waits for the market, or for a cancel."
    ]
    sync = facts.sync
    if facts.stream_live:
        sentences.append("The account's user stream tells of what happens to it.")
    elif sync is not None and sync.listed:
        sentences.append(
            "No user stream tells of it; the account's open orders were compared with the exchange's "
            f"{ago(facts, sync.listed)}, every {sync.period_seconds or '?'} s."
        )
    else:
        sentences.append("No user stream tells of it, and no scheduler has compared it yet: does one run?")
    if sync is not None and sync.error:
        sentences.append(f"The last comparison failed: {sync.error}.")
    return State.OPEN, sentences


# Ended


def _ended(facts: Facts) -> tuple[State, list[str]]:
    order = _known(facts)
    if order.merged_into is not None:
        other = order.merged_into.intent_id
        return State.MERGED, [
            f"It became part of the order of {other!r}, which stands for both (see `orderlane why {other}`); its share "
            f"of what that filled is {order.filled:f}."
        ]
    filled = f" with {order.filled:f} filled" if order.filled else ""
    at = f" at {order.average:f}" if order.filled and order.average else ""
    sent = _REQUESTS.get(order.attempts, f"after {order.attempts} requests")
    sentences = [f"It ended as {order.status}{filled}{at} {ago(facts, order.times.updated_at)}, {sent}."]
    if order.reason is not None:
        sentences.append(f"Why: {order.reason.code}: {order.reason.message}.")
    if order.successor:
        sentences.append(
            f"The order of {order.successor!r} took its place (see `orderlane why {order.successor}`)."
        )
    elif order.related:
        sentences.append(f"The intent {order.related!r} had a part in that.")
    return State.ENDED, sentences


def _stuck(facts: Facts) -> list[str]:
    watch, status = facts.watch, _status(facts)
    if watch is None or status.terminal:
        return []
    what = {
        StuckKind.ABSENT: "The exchange's list of open orders lacks it",
        StuckKind.CANCEL: "The exchange has not confirmed it",
        StuckKind.UNACKNOWLEDGED: "There is no word of its request",
        StuckKind.UNKNOWN: "What became of it is open",
    }[watch.kind]
    count = "once" if watch.asked == 1 else f"{watch.asked} times"
    answers = f"; the last answer, {ago(facts, watch.last)}: {watch.said}" if watch.said else ""
    sentences = [f"{what} for {lasting(facts, watch.since)}; the scheduler has asked {count}{answers}."]
    if watch.told:
        sentences.append(
            f"It counts as stuck, and `order.stuck` was published {ago(facts, watch.told)}: without evidence it stays "
            "as it is. Look at the exchange."
        )
    return sentences if _status(facts) is not OrderStatus.QUEUED else []


def _known(facts: Facts) -> Order:
    assert facts.order is not None, "what has a status other than QUEUED has a record"
    return facts.order


_OF_STATUS: Final = {
    OrderStatus.QUEUED: explain_waiting,
    OrderStatus.SUBMITTED: _sent,
    OrderStatus.UNKNOWN: _unknown,
    OrderStatus.ACTIVE: _open,
    OrderStatus.PARTIAL: _open,
}


# What was tried


def _tried(facts: Facts) -> Iterator[Tried]:
    added_at = entry_ms_of(facts.entry)
    if added_at:
        yield Tried(added_at, "added to the stream")
    if facts.order is not None and facts.order.times.taken_at:
        yield Tried(facts.order.times.taken_at, "taken by a worker")
    for event in facts.events:
        if event.name in SAID_ONCE:
            continue
        moved = f" {event.from_status} -> {event.to_status}" if event.to_status else ""
        reason = f" ({event.reason.code}: {event.reason.message})" if event.reason else ""
        by = f" by {event.worker}" if event.worker else ""
        yield Tried(event.at, f"{event.name}{moved}{reason}{by}")
    yield from _questions(facts.tries)


def _questions(tries: Sequence[Try]) -> Iterator[Tried]:
    """The questions; those that follow one another and brought the same answer are one."""
    for (by, asked, said), alike in groupby(tries, key=lambda one: (one.by, one.asked, one.said)):
        times = [one.at for one in alike]
        often = f" {len(times)} times until {clock(times[-1])}" if len(times) > 1 else ""
        yield Tried(times[0], f"asked {asked}{often} by {by}: {said}")
