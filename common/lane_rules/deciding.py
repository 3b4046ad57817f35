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
from common.lane_rules.vocabulary import Decision, Expire, LaneRules, MergeBounds, Waiting

Rule = Callable[[LaneView, int], Decision | None]

RULES: Final[tuple[Rule, ...]] = (
    annul_cancelled,
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


def has_expired(waiting: Waiting, now_ms: int) -> bool:
    """Whether its deadline has passed: at the very millisecond it is still in time."""
    return waiting.intent.expires_at is not None and now_ms > waiting.intent.expires_at


def _next(view: LaneView, now_ms: int) -> Decision | None:
    if view.rules.expire_waiting:
        for at, waiting in enumerate(view.entries):
            if has_expired(waiting, now_ms) and view.may_touch(at):
                return Expire(waiting.entry)
    for at in range(1, len(view.entries)):
        if not view.may_touch(at):
            continue
        for rule in RULES:
            if decision := rule(view, at):
                return decision
    return None
