"""What a decision does to the entries it names, and the lane that it leaves behind. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import msgspec
from msgspec import Struct

from common.lane_rules.merging import own_amount
from common.lane_rules.vocabulary import (
    Annul,
    Decision,
    Edit,
    Expire,
    Merge,
    Replace,
    Waiting,
    Why,
    Withdraw,
)
from orderlane.intents import AmendOrder, PlaceOrder
from orderlane.orders import Absorbed, IntentReference, OrderStatus, Reason


class Ended(Struct, frozen=True, kw_only=True):
    """An entry that ends without a request: QUEUED -> `status`. `related` is the id of the other intent; so is
    `successor` where that one takes its place."""

    entry: str
    status: OrderStatus
    reason: Reason
    related: str = ""
    merged_into: IntentReference | None = None
    successor: str = ""


class Kept(Struct, frozen=True, kw_only=True):
    """An entry that waits on, changed: what its record holds as `edited`, `absorbed` and `related`."""

    entry: str
    edited: PlaceOrder | AmendOrder
    absorbed: tuple[Absorbed, ...]
    related: str


class Withdrawn(Struct, frozen=True, kw_only=True):
    """An intent that had ended as MERGED and is no part of the other's order any more: MERGED -> CANCELED."""

    client_order_id: str
    reason: Reason
    related: str


class Consequences(Struct, frozen=True):
    """All of it is done at once, or nothing: one entry ended without its counterpart would be a wrong account."""

    ended: tuple[Ended, ...]
    kept: Kept | None = None
    withdrawn: Withdrawn | None = None


def consequences(lane: Sequence[Waiting], decision: Decision) -> Consequences:
    """What `decision`, made about `lane`, does.

    Raises:
        KeyError: the lane has no such entry.
    """
    entries = {waiting.entry: waiting for waiting in lane}
    match decision:
        case Expire(entry=entry):
            return _expired(entries[entry])
        case Annul(first=first, second=second, why=why):
            return _annulled(entries[first], entries[second], why)
        case Edit(target=target, by=by, edited=edited):
            return _edited(entries[target], entries[by], edited)
        case Replace(older=older, newer=newer, edited=edited):
            return _replaced(entries[older], entries[newer], edited)
        case Merge(survivor=survivor, absorbed=absorbed, edited=merged):
            return _merged(entries[survivor], entries[absorbed], merged)
        case Withdraw(survivor=survivor, by=by):
            return _withdrawn(entries[survivor], entries[by], decision)
    assert_never(decision)


def after(lane: Sequence[Waiting], decision: Decision) -> tuple[Waiting, ...]:
    """The lane once the decision is carried out."""
    done = consequences(lane, decision)
    gone = {one.entry for one in done.ended}
    kept = done.kept
    return tuple(
        msgspec.structs.replace(waiting, intent=kept.edited, absorbed=kept.absorbed)
        if kept is not None and waiting.entry == kept.entry
        else waiting
        for waiting in lane
        if waiting.entry not in gone
    )


def _expired(waiting: Waiting) -> Consequences:
    deadline = waiting.intent.expires_at
    reason = Reason(
        code="deadline_passed",
        message=f"expires_at was {deadline}, which passed while the intent waited: it is not sent",
        numbers={"expires_at": str(deadline)},
    )
    return Consequences((Ended(entry=waiting.entry, status=OrderStatus.EXPIRED, reason=reason),))


def _annulled(first: Waiting, second: Waiting, why: Why) -> Consequences:
    if why is Why.CANCELLED:
        status = OrderStatus.DONE
        first_words = f"cancelled by {second.id!r} while it waited: it is not sent"
        second_words = (
            f"{first.id!r} was still waiting: it is not sent, and there was nothing to ask the exchange"
        )
    else:
        status = OrderStatus.CANCELED
        first_words = f"{second.id!r} closes what it opens, and both waited: neither is sent"
        second_words = f"it closes what {first.id!r} opens, and both waited: neither is sent"
    return Consequences(
        (
            _ended(first, OrderStatus.CANCELED, why, first_words, second.id),
            _ended(second, status, why, second_words, first.id),
        )
    )


def _edited(target: Waiting, by: Waiting, edited: PlaceOrder) -> Consequences:
    words = f"{target.id!r} was still waiting: it is sent as amended"
    return Consequences(
        (_ended(by, OrderStatus.DONE, "edited_while_waiting", words, target.id),),
        Kept(entry=target.entry, edited=edited, absorbed=target.absorbed, related=by.id),
    )


def _replaced(older: Waiting, newer: Waiting, edited: PlaceOrder) -> Consequences:
    words = f"replaced by {newer.id!r} while it waited: it is not sent"
    return Consequences(
        (
            msgspec.structs.replace(
                _ended(older, OrderStatus.CANCELED, "replaced_while_waiting", words, newer.id),
                successor=newer.id,
            ),
        ),
        Kept(entry=newer.entry, edited=edited, absorbed=newer.absorbed, related=older.id),
    )


def _merged(survivor: Waiting, absorbed: Waiting, edited: PlaceOrder | AmendOrder) -> Consequences:
    ended = Ended(
        entry=absorbed.entry,
        status=OrderStatus.MERGED,
        reason=Reason("merged", f"merged into {survivor.id!r} while both waited: that one is sent for both"),
        related=survivor.id,
        merged_into=IntentReference(survivor.id, survivor.client_order_id),
    )
    parts = survivor.absorbed
    if isinstance(absorbed.intent, PlaceOrder):
        parts += (Absorbed(absorbed.id, absorbed.client_order_id, own_amount(absorbed)),)
    return Consequences(
        (ended,), Kept(entry=survivor.entry, edited=edited, absorbed=parts, related=absorbed.id)
    )


def _withdrawn(survivor: Waiting, by: Waiting, decision: Withdraw) -> Consequences:
    part = decision.part
    words = (
        f"{part.intent_id!r} was still waiting, in the order of {survivor.id!r}: its {part.amount} are taken out "
        "again, and there was nothing to ask the exchange"
    )
    why = f"cancelled by {by.id!r} while it waited, in the order of {survivor.id!r}: it is not sent"
    done = _ended(by, OrderStatus.DONE, Why.CANCELLED, words, part.intent_id)
    withdrawn = None
    if part.client_order_id != survivor.client_order_id:
        reason = Reason(str(Why.CANCELLED), why)
        withdrawn = Withdrawn(client_order_id=part.client_order_id, reason=reason, related=by.id)
    if decision.edited is None:
        ended = _ended(survivor, OrderStatus.CANCELED, Why.CANCELLED, why, by.id)
        return Consequences((ended, done), withdrawn=withdrawn)
    kept = Kept(
        entry=survivor.entry,
        edited=decision.edited,
        absorbed=tuple(one for one in survivor.absorbed if one != part),
        related=by.id,
    )
    return Consequences((done,), kept, withdrawn)


def _ended(waiting: Waiting, status: OrderStatus, code: str, words: str, related: str) -> Ended:
    return Ended(entry=waiting.entry, status=status, reason=Reason(str(code), words), related=related)
