"""Cancels, amends and replacements whose target still waits. Each rule: the lane and a position in, a decision or
None out. The position is that of the later intent.

They take a command at its word: what still waits counts as not traded when the command reaches it. So an order that
a later cancel is meant for is never sent only to be caught, or missed, by it.
"""

from __future__ import annotations

import msgspec

from common.lane_rules.dependence import is_market_close, may_pass
from common.lane_rules.view import LaneView
from common.lane_rules.vocabulary import Annul, Edit, Replace, Why
from orderlane.intents import AmendOrder, CancelOrder, PlaceOrder


def annul_cancelled(view: LaneView, at: int) -> Annul | None:
    """A cancel ends the place it is meant for, and itself."""
    target = _annulled_by(view, at)
    if target is None or not view.nothing_needs(target, at):
        return None
    return Annul(view.entries[target].entry, view.entries[at].entry, Why.CANCELLED)


def replace_waiting(view: LaneView, at: int) -> Replace | None:
    """A place takes the place of an older one."""
    older_at = _replaced_by(view, at)
    if older_at is None or not view.nothing_needs(older_at, at):
        return None
    older, newer = view.intent(older_at), view.intent(at)
    assert isinstance(older, PlaceOrder)
    assert isinstance(newer, PlaceOrder)
    # What the older one was to replace may be on the exchange: it must go all the same, before the newer one comes.
    edited = msgspec.structs.replace(newer, replaces=older.replaces)
    return Replace(view.entries[older_at].entry, view.entries[at].entry, edited)


def edit_waiting(view: LaneView, at: int) -> Edit | None:
    """An amend changes the place it is meant for.

    The changed order goes where the unchanged one stood, before what was asked for in between, so it must be able to
    pass that; unless it goes nowhere, because a later intent ends it.
    """
    amend = view.intent(at)
    if not view.rules.edit_waiting or not isinstance(amend, AmendOrder):
        return None
    target_at = view.place_before(at, amend.target)
    if target_at is None or view.entries[target_at].absorbed:
        return None
    place = view.intent(target_at)
    assert isinstance(place, PlaceOrder)
    if amend.price is not None and not place.type.has_price:
        return None
    if is_market_close(place) and view.rules.merge_closes:
        return None  # an order larger than was asked for is to say one thing alone: that it holds others' amounts
    between = view.between(target_at, at)
    if between is None or not view.nothing_needs(target_at, at):
        return None
    edited = msgspec.structs.replace(
        place, amount=amend.amount or place.amount, price=amend.price or place.price
    )
    if not all(may_pass(edited, one) for one in between) and not _is_doomed(view, target_at, at):
        return None
    return Edit(view.entries[target_at].entry, view.entries[at].entry, edited)


def _annulled_by(view: LaneView, at: int) -> int | None:
    """Where the place stands that the cancel at `at` ends.

    Not one that others were merged into: they did not ask for the cancel. Not one that replaces another: that one
    may be on the exchange, and would stay there.
    """
    cancel = view.intent(at)
    if not view.rules.annul_cancelled or not isinstance(cancel, CancelOrder):
        return None
    found = view.place_before(at, cancel.target)
    if found is None or view.entries[found].absorbed:
        return None
    place = view.intent(found)
    assert isinstance(place, PlaceOrder)
    return found if place.replaces is None else None


def _replaced_by(view: LaneView, at: int) -> int | None:
    """Where the place stands that the one at `at` takes the place of.

    Of the other side it is none: its amount could not count as a total, and the worker refuses it. If the older one
    was itself to replace another, that one would stay on the book for longer: only cancels of other orders may stand
    between then, which need nothing of it.
    """
    newer = view.intent(at)
    if not view.rules.replace_waiting or not isinstance(newer, PlaceOrder):
        return None
    found = view.place_before(at, newer.replaces)
    if found is None or view.entries[found].absorbed:
        return None
    older = view.intent(found)
    assert isinstance(older, PlaceOrder)
    if older.side is not newer.side:
        return None
    between = view.between(found, at)
    if older.replaces is not None and not all(
        isinstance(one, CancelOrder) and one.target != older.replaces for one in between or ()
    ):
        return None
    return found


def _is_doomed(view: LaneView, target: int, after: int) -> bool:
    """Whether a cancel or a replacement behind `after` will end the place unsent: the next to speak of it, but for
    amends that will change it first, and nothing else on the way needs the place."""
    place = view.intent(target)
    assert isinstance(place, PlaceOrder)
    for index in view.spoken_of(place.id, after):
        one = view.intent(index)
        if not view.may_touch(index):
            return False
        if isinstance(one, AmendOrder):
            if one.price is not None and not place.type.has_price:
                return False
            continue
        ends = target in (_annulled_by(view, index), _replaced_by(view, index))
        return ends and view.nothing_needs(target, index, but_its_amends=True)
    return False
