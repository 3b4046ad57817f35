"""What the rules may decide about an entry that Redis may have forgotten, once the exchange has no order of it."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given, settings

from common.lane_rules import Annul, Decision, Edit, LaneRules, Merge, Replace, Waiting, after, decide_about
from common.lane_rules.vocabulary import Why
from orderlane.intents import AmendOrder, Intent, PlaceOrder
from tests.common.lane_builders import DEFAULT, amend, cancel, close, limit
from tests.common.lane_strategies import lanes, waiting
from tests.common.test_lane_rules_hold import ALL, switches


def entry_of(decision: Decision) -> str:
    match decision:
        case Annul(first=entry) | Replace(older=entry) | Edit(target=entry) | Merge(absorbed=entry):
            return entry
    raise AssertionError(decision)


@settings(max_examples=300)
@given(lanes(), switches)
def test_nothing_but_the_entry_in_question_is_ended_or_changed(
    lane: tuple[Waiting, ...], rules: LaneRules
) -> None:
    """But for the commands that do so; and no amounts are summed, of which nobody knows yet what was sent."""
    if not lane:
        return
    left = lane
    for decision in decide_about(lane, lane[0].entry, rules):
        assert entry_of(decision) == lane[0].entry
        before = {one.entry: one for one in left}
        left = after(left, decision)
        gone = set(before) - {one.entry for one in left} - {lane[0].entry}
        for entry in gone:
            ended = before[entry].intent
            assert not isinstance(ended, PlaceOrder)
            assert getattr(ended, "target", "") == lane[0].id
        assert not isinstance(decision, Annul) or decision.why is Why.CANCELLED
        assert not isinstance(decision, Merge) or isinstance(decision.edited, AmendOrder)


@settings(max_examples=200)
@given(lanes())
def test_the_lane_left_behind_gives_no_further_decision_about_it(lane: tuple[Waiting, ...]) -> None:
    if not lane:
        return
    left = lane
    for decision in decide_about(lane, lane[0].entry, ALL):
        left = after(left, decision)
    assert decide_about(left, lane[0].entry, ALL) == ()


def lane_of(*intents: Intent) -> tuple[Waiting, ...]:
    return tuple(waiting(intent, number) for number, intent in enumerate(intents))


def test_a_place_is_seen_through_its_edit_to_be_cancelled() -> None:
    lane = lane_of(limit("a"), amend("b", "a", price=Decimal(90)), cancel("c", "a"))
    decisions = decide_about(lane, lane[0].entry, DEFAULT)
    assert [type(one) for one in decisions] == [Edit, Annul]


def test_closes_behind_it_are_left_alone() -> None:
    lane = lane_of(close("a"), close("b"))
    assert decide_about(lane, lane[0].entry, DEFAULT) == ()


def test_a_market_close_is_not_edited_where_closes_are_merged() -> None:
    """An order larger than was asked for is to say one thing alone: that it holds the amounts of others."""
    lane = lane_of(close("a"), amend("b", "a", amount=Decimal(2)))
    assert decide_about(lane, lane[0].entry, DEFAULT) == ()
    without = msgspec.structs.replace(DEFAULT, merge_closes=False)
    assert [type(one) for one in decide_about(lane, lane[0].entry, without)] == [Edit]
