"""A lane's waiting intents in, decisions out. Pure, and the same for the same lane.

The rules are asked about each position from the front, and what one decides is carried out before the next question
is put; that ends when none has an answer, so the lane that is left behind gives no further decision. Each decision
takes an entry out of the lane: there are never more of them than entries.

The order of the rules at one position is this:
1. a command reaches a target that waits (cancel, replacement, amend): its producer's word on that very order;
2. an opening and a closing order end each other, which spares both requests;
3. intents merge, which spares one.
Positions come first: what was asked for earlier is settled before what came after it is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from common.lane_rules.commands import annul_cancelled, edit_waiting, replace_waiting
from common.lane_rules.consequences import after
from common.lane_rules.merging import (
    annul_open_and_close,
    merge_amends,
    merge_closes,
    merge_small_limits,
)
from common.lane_rules.view import LaneView
from common.lane_rules.vocabulary import (
    Annul,
    Decision,
    Edit,
    Expire,
    LaneRules,
    Merge,
    MergeBounds,
    Replace,
    Waiting,
)
from common.lane_rules.withdrawing import withdraw_cancelled

Rule = Callable[[LaneView, int], Decision | None]

RULES: Final[tuple[Rule, ...]] = (
    annul_cancelled,
    withdraw_cancelled,
    replace_waiting,
    edit_waiting,
    annul_open_and_close,
    merge_amends,
    merge_closes,
    merge_small_limits,
)


def decide(
    lane: Sequence[Waiting], rules: LaneRules, now_ms: int, bounds: MergeBounds | None = None
) -> tuple[Decision, ...]:
    """What to do about a lane before its next request, to be carried out one after another.

    Args:
        lane: its entries in the order in which they would be run, the one about to begin first. More than
            `rules.look_ahead` may be given: they are looked at as others leave.
        now_ms: the clock that `expires_at` goes by.
        bounds: what a sum must keep on this symbol. None: no bounds.
    """
    decisions: list[Decision] = []
    left = tuple(lane)
    while decision := _next(LaneView(left, rules, bounds or MergeBounds()), now_ms):
        decisions.append(decision)
        left = after(left, decision)
    return tuple(decisions)


def decide_about(lane: Sequence[Waiting], entry: str, rules: LaneRules) -> tuple[Decision, ...]:
    """What later intents make of one entry of which the exchange has no order: it is cancelled, replaced, edited, or an
    amend that a later one says again. Nothing else of the lane is decided, and no amounts are summed.

    For an entry that Redis may have forgotten the work on. Of those behind it nobody knows yet whether they were sent,
    and it makes no difference: they were not sent before it, but for those by which it is spared.
    """
    decisions: list[Decision] = []
    left = tuple(lane)
    while decision := _next_about(LaneView(left, rules, MergeBounds()), entry):
        decisions.append(decision)
        left = after(left, decision)
    return tuple(decisions)


def has_expired(waiting: Waiting, now_ms: int) -> bool:
    """Whether its deadline has passed: at the very millisecond it is still in time."""
    return waiting.intent.expires_at is not None and now_ms > waiting.intent.expires_at


def _next(view: LaneView, now_ms: int) -> Decision | None:
    if view.rules.expire_waiting:
        for at, waiting in enumerate(view.entries):
            if has_expired(waiting, now_ms) and view.may_touch(at) and not waiting.absorbed:
                return Expire(waiting.entry)
    for at in range(1, len(view.entries)):
        if not view.may_touch(at):
            continue
        for rule in RULES:
            if decision := rule(view, at):
                return decision
    return None


def _next_about(view: LaneView, entry: str) -> Decision | None:
    for at in range(1, len(view.entries)):
        for rule in (annul_cancelled, replace_waiting, edit_waiting, merge_amends):
            decision = rule(view, at) if view.may_touch(at) else None
            if decision is not None and _concerns(decision) == entry:
                return decision
    return None


def _concerns(decision: Decision) -> str:
    """The entry that another one ends or changes."""
    match decision:
        case Annul(first=entry) | Replace(older=entry) | Edit(target=entry) | Merge(absorbed=entry):
            return entry
    return ""
