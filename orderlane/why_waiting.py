"""Of an intent of which nothing has been sent: where it waits, behind whom, and what stands in its way. Pure."""

from __future__ import annotations

from enum import StrEnum

from orderlane.intents import PlaceOrder
from orderlane.orders import OrderStatus
from orderlane.standing import Cause, describe, holding
from orderlane.why_facts import Bucket, Facts, LanePlace
from orderlane.why_words import ago, clock, entry_ms_of, lasting, span


class State(StrEnum):
    """Where an intent is, in one word."""

    NOT_KNOWN = "not_known"
    FORGOTTEN = "forgotten"
    """Redis has its events, or the archive its order; its record has gone."""
    DEAD = "dead"
    LOST = "lost"
    """It has a record as waiting, and no entry in the stream."""
    UNSORTED = "unsorted"
    """In the stream, in no lane yet."""
    WAITING = "waiting"
    """In its lane, behind others, or for a worker."""
    HELD = "held"
    """New placements of its account wait, by a standing."""
    PAUSED = "paused"
    """The exchange said 429 or 418: nothing may be sent for a while."""
    TOKENS = "tokens"
    """It waits for tokens of a limit."""
    DOUBTED = "doubted"
    """Redis restarted: the exchange is asked before it is sent."""
    IN_HAND = "in_hand"
    SENT = "sent"
    UNKNOWN = "unknown"
    PARKED = "parked"
    OPEN = "open"
    MERGED = "merged"
    ENDED = "ended"


def explain_waiting(facts: Facts) -> tuple[State, list[str]]:
    """Where an intent is of which nothing has been sent."""
    if not facts.waiting:
        return State.LOST, [
            f"It is on record as waiting, and its entry {facts.entry or '(none)'} is not in the stream: it was "
            "deleted there, or Redis lost it.",
            "Submit it again, with the same id: it is sent once at most.",
        ]
    added = f"It was added {ago(facts, entry_ms_of(facts.entry))} as entry {facts.entry}; nothing of it has been sent."
    if facts.place is None:
        return State.UNSORTED, [added, "No worker has sorted it into its lane yet.", *_workers(facts)]
    state, why = _in_lane(facts, facts.place)
    return state, [added, *why, *_deadline(facts)]


def _in_lane(facts: Facts, place: LanePlace) -> tuple[State, list[str]]:
    if place.parked_since:
        return State.PARKED, [*_before(facts, place), *parked_lane(facts, place)]
    if place.ahead:
        return State.WAITING, [*_before(facts, place), *owner_of(facts, place)]
    if place.in_hand != facts.entry:
        return State.WAITING, [f"It is first in its lane {place.lane}.", *owner_of(facts, place)]
    state, obstacles = _obstacles(facts)
    return state, [
        f"It is first in its lane {place.lane}, and worker {place.owner} has it in hand.",
        *(obstacles or ["Nothing that is known here keeps it from being sent: it is about to be."]),
    ]


def _obstacles(facts: Facts) -> tuple[State, list[str]]:
    """What keeps an intent that is first in its lane from being sent; the first that holds names the state."""
    found: list[tuple[State, str]] = []
    shut = [bucket for bucket in facts.buckets if bucket.shut]
    standing = holding(facts.standings, facts.account, facts.now_ms)
    if standing is not None and (_is_new_placement(facts) or standing.cause is Cause.BAN):
        found.append((State.HELD, f"New placements wait: {describe(standing, facts.now_ms)}."))
    if shut:
        found.append((State.PAUSED, _pause(facts, max(shut, key=lambda one: one.wait_ms))))
    elif facts.buckets:
        found.append((State.TOKENS, _tokens(facts, facts.buckets[0])))
    if entry_ms_of(facts.entry) <= facts.doubtful_until:
        found.append(
            (
                State.DOUBTED,
                "Redis was restarted, and may have forgotten that it was sent: the exchange is asked for it before it "
                f"is sent. That goes for all that was added until {clock(facts.doubtful_until)}.",
            )
        )
    return found[0][0] if found else State.IN_HAND, [sentence for _, sentence in found]


def _is_new_placement(facts: Facts) -> bool:
    return isinstance(facts.intent, PlaceOrder) and not facts.intent.reduce_only


def _pause(facts: Facts, bucket: Bucket) -> str:
    whose = "this address" if bucket.scope == "ip" else f"account {bucket.scope}"
    return (
        f"The exchange told {whose} to stay away (429 or 418): nothing of it is sent until "
        f"{clock(facts.now_ms + bucket.wait_ms)}, another {span(bucket.wait_ms)}."
    )


def _tokens(facts: Facts, bucket: Bucket) -> str:
    whose = "the address" if bucket.scope == "ip" else f"account {bucket.scope}"
    return (
        f"It waits for tokens of the limit {bucket.name} of {whose}, until about "
        f"{clock(facts.now_ms + bucket.wait_ms)} (another {span(bucket.wait_ms)}, if nobody else takes them first)."
    )


def _before(facts: Facts, place: LanePlace) -> list[str]:
    if not place.ahead:
        return [f"It is first in its lane {place.lane}."]
    many = "1 intent goes" if place.ahead == 1 else f"{place.ahead} intents go"
    sentence = f"{many} before it in its lane {place.lane}"
    first = place.first
    if first is None:
        return [f"{sentence}."]
    if not first.intent_id:
        return [f"{sentence}; first is entry {first.entry}, which can't be read as an intent."]
    stands = ""
    if first.order is not None and first.order.status is not OrderStatus.QUEUED:
        since = first.order.times.sent_at or first.order.times.updated_at
        stands = f", {first.order.status} for {lasting(facts, since)}"
    return [f"{sentence}; first is {first.intent_id!r}{stands} (see `orderlane why {first.intent_id}`)."]


def owner_of(facts: Facts, place: LanePlace) -> list[str]:
    """Who runs the lane."""
    if place.owner:
        if place.lease_left_ms < 0:
            return [f"Worker {place.owner} ran the lane, and its lease has ended: another takes it over."]
        return [
            f"Worker {place.owner} runs the lane; its lease ends in {span(place.lease_left_ms)} if not renewed."
        ]
    if place.ready and facts.workers:
        return ["The lane waits for a worker with room: all are busy, or one is about to take it."]
    return ["Nobody runs the lane.", *_workers(facts)]


def _workers(facts: Facts) -> list[str]:
    if not facts.workers:
        return [f"No worker of {facts.exchange} has a lease: nothing is run until one starts."]
    many = "1 worker has" if facts.workers == 1 else f"{facts.workers} workers have"
    return [f"{many} a lease, so this should last a moment only."]


def parked_lane(facts: Facts, place: LanePlace) -> list[str]:
    """Why the lane stands still, and how a person lets it go on."""
    return [
        f"The lane has been parked for {lasting(facts, place.parked_since)}: what became of its first order can't be "
        "found out by asking.",
        "Look at the exchange, whether that order is there (`orderlane unknown list` shows why it is not known); then "
        f"`orderlane unpark '{place.lane}' --exchange {facts.exchange}` lets the pool ask once more. Evidence lets it "
        "go on by itself.",
    ]


def _deadline(facts: Facts) -> list[str]:
    expires_at = facts.intent.expires_at if facts.intent else None
    if expires_at is None:
        return []
    if expires_at <= facts.now_ms:
        return [f"Its deadline passed {ago(facts, expires_at)}: it ends as EXPIRED, unsent."]
    return [f"If it is not sent by {clock(expires_at)}, it ends as EXPIRED."]
