"""Several requests for what one can do, and orders that undo each other. Each rule: the lane and a position in, a
decision or None out. The position is that of the later intent.

A rule looks at what stands between two intents, and holds still where the outcome could depend on it.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from common.exact import EXACT, multiple_at_most, times
from common.lane_rules.dependence import CLOSING_LEG, closes, depends, is_market_close, may_pass
from common.lane_rules.view import LaneView
from common.lane_rules.vocabulary import Annul, Merge, SumBounds, Waiting, Why
from orderlane.intents import (
    MAX_INTEGER_DIGITS,
    AmendOrder,
    CancelOrder,
    Intent,
    OrderType,
    PlaceOrder,
    TimeInForce,
)


def merge_closes(view: LaneView, at: int) -> Merge | None:
    """A reduce-only market order joins the one right before it.

    Right before: whatever stands between may change the position, or hold what of it can still be reduced, and so
    what the later one closes. Two in a row close together what one of both amounts closes.
    """
    order = view.intent(at)
    if not view.rules.merge_closes or not is_market_close(order):
        return None
    before_at = at - 1
    return _summed(view, before_at, at, view.bounds.market) if before_at >= 0 else None


def merge_small_limits(view: LaneView, at: int) -> Merge | None:
    """A small limit order joins the nearest one before it that asks for the same price."""
    order = view.intent(at)
    if not view.rules.merge_small_limits or not view.has_like_before(at) or not _is_small(view, at):
        return None
    assert isinstance(order, PlaceOrder)
    for before_at in range(at - 1, -1, -1):
        before = view.intent(before_at)
        if isinstance(before, PlaceOrder) and _is_small(view, before_at) and are_alike(before, order):
            return _summed(view, before_at, at, view.bounds.limit)
        if not may_pass(order, before):
            return None
    return None


def merge_amends(view: LaneView, at: int) -> Merge | None:
    """An amend takes the place of an earlier one of the same order.

    Only if it says all that the earlier one says and may be sent for as long: else something would be lost. Only
    other orders' cancels may stand between, which need nothing of this order (and, where the operator allows it, other
    orders' amends): a new order could meet this one at the price that the earlier amend was to take it from.
    """
    later = view.intent(at)
    if not view.rules.merge_amends or not isinstance(later, AmendOrder):
        return None
    if view.place_before(at, later.target) is not None:
        return None  # they change it one after another, while it waits (`edit_waiting`) or afterwards
    for earlier_at in range(at - 1, -1, -1):
        earlier = view.intent(earlier_at)
        if isinstance(earlier, AmendOrder) and earlier.target == later.target:
            if not view.may_touch(earlier_at) or not _says_all(later, earlier):
                return None
            return Merge(view.entries[at].entry, view.entries[earlier_at].entry, later)
        if not _lets_amends_be(earlier, later, apart=view.rules.merge_amends_apart):
            return None
    return None


def annul_open_and_close(view: LaneView, at: int) -> Annul | None:
    """An order that closes and the one that opens what it closes end each other, where their amounts are equal.

    Market orders alone: of a limit order nobody knows whether it would have opened anything, and a stop or a target is
    no close. Between them only what adds to the same side, and cancels: all else could have used the position, or
    turned it.
    """
    close = view.intent(at)
    if not view.rules.annul_open_and_close or not isinstance(close, PlaceOrder):
        return None
    if not (close.type is OrderType.MARKET and closes(close)):
        return None
    if not _is_alone(view, at):
        return None
    for open_at in range(at - 1, -1, -1):
        opening = view.intent(open_at)
        if isinstance(opening, PlaceOrder) and _is_undone_by(opening, close) and _is_alone(view, open_at):
            return Annul(view.entries[open_at].entry, view.entries[at].entry, Why.CLOSED)
        if not _leaves_position(opening, close):
            return None
    return None


def _summed(view: LaneView, before_at: int, at: int, bounds: SumBounds) -> Merge | None:
    """The later order merged into the earlier one, if they are alike and the sum keeps the bounds.

    Not where a cancel, an amend or a replacement of either waits: it speaks of one of them alone. Not what absorbed
    others itself: their records name it.
    """
    before, order = view.intent(before_at), view.intent(at)
    if (
        not view.may_touch(before_at)
        or not isinstance(before, PlaceOrder)
        or not isinstance(order, PlaceOrder)
    ):
        return None
    if not are_alike(before, order) or view.entries[at].absorbed:
        return None
    if view.entries[before_at].appended >= view.entries[at].appended:
        return None  # what Redis forgets it forgets from the end: a part is never known where its order's intent is not
    if view.spoken_of(before.id) or view.spoken_of(order.id):
        return None
    total = EXACT.add(before.amount, order.amount)
    if not _keeps(before, order, total, bounds):
        return None
    return Merge(
        view.entries[before_at].entry, view.entries[at].entry, msgspec.structs.replace(before, amount=total)
    )


def _keeps(before: PlaceOrder, order: PlaceOrder, total: Decimal, bounds: SumBounds) -> bool:
    if total.adjusted() >= MAX_INTEGER_DIGITS or (bounds.limit is not None and total > bounds.limit):
        return False
    if bounds.notional_limit is not None and times(total, before.price or Decimal(0)) > bounds.notional_limit:
        return False
    lot_size = bounds.lot_size
    return lot_size is None or all(
        multiple_at_most(one.amount, lot_size) == one.amount for one in (before, order)
    )


def are_alike(one: PlaceOrder, other: PlaceOrder) -> bool:
    """Whether two orders differ in their amounts at most, as far as the exchange and their deadline go.

    A fill-or-kill is filled whole or not at all, which a sum would change; one that replaces another is more than an
    order.
    """
    if TimeInForce.FOK in (one.time_in_force, other.time_in_force) or one.replaces or other.replaces:
        return False
    return all(
        getattr(one, field) == getattr(other, field)
        for field in (
            "exchange", "account", "symbol", "strategy", "side", "type", "price", "trigger_price", "time_in_force",
            "reduce_only", "params", "expires_at",
        )
    )  # fmt: skip


def _is_small(view: LaneView, at: int) -> bool:
    """Whether what was asked for here, without what was merged into it, is a limit order worth little."""
    order = view.intent(at)
    if not isinstance(order, PlaceOrder) or order.type is not OrderType.LIMIT or order.price is None:
        return False
    return times(own_amount(view.entries[at]), order.price) <= view.rules.small_notional


def own_amount(waiting: Waiting) -> Decimal:
    """The part of a place's amount that its own intent asked for."""
    assert isinstance(waiting.intent, PlaceOrder)
    own = waiting.intent.amount
    for one in waiting.absorbed:
        own = EXACT.subtract(own, one.amount)
    return own


def _says_all(later: AmendOrder, earlier: AmendOrder) -> bool:
    covered = (later.amount is not None or earlier.amount is None) and (
        later.price is not None or earlier.price is None
    )
    lasts = later.expires_at is None or (
        earlier.expires_at is not None and later.expires_at >= earlier.expires_at
    )
    return covered and lasts and later.strategy == earlier.strategy


def _lets_amends_be(between: Intent, later: AmendOrder, *, apart: bool) -> bool:
    """Whether an earlier amend of the same order may be dropped although `between` stands behind it."""
    if depends(later, between):
        return False
    if isinstance(between, CancelOrder):
        return between.target != later.target
    return apart and isinstance(between, AmendOrder)


def _is_undone_by(opening: PlaceOrder, close: PlaceOrder) -> bool:
    """Whether `close` closes just what `opening` opens."""
    return (
        opening.type is OrderType.MARKET
        and not closes(opening)
        and opening.strategy == close.strategy
        and opening.side is not close.side
        and opening.amount == close.amount
        and opening.exchange == close.exchange
    )


def _is_alone(view: LaneView, at: int) -> bool:
    """Whether a place stands for itself only: nothing merged, replaced or spoken of, and nothing begun."""
    order = view.intent(at)
    assert isinstance(order, PlaceOrder)
    return (
        view.may_touch(at)
        and not view.entries[at].absorbed
        and order.replaces is None
        and not view.spoken_of(order.id)
    )


def _leaves_position(between: Intent, close: PlaceOrder) -> bool:
    """Whether the opening order's position, had it been there, would have made no difference to `between`."""
    if isinstance(between, CancelOrder):
        return True
    if not isinstance(between, PlaceOrder) or between.reduce_only or between.replaces is not None:
        return False
    return between.side is not close.side and between.leg != CLOSING_LEG
