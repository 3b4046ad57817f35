"""What the lane rules decide changes nothing in the end: random lanes, run with and without them on a tiny exchange."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from fractions import Fraction

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from common.lane_rules import (
    Annul,
    Decision,
    Edit,
    LaneRules,
    Merge,
    MergeBounds,
    Replace,
    SumBounds,
    Waiting,
    after,
    decide,
    shares,
)
from orderlane.intents import CancelAll, PlaceOrder
from orderlane.orders import TRANSITIONS, OrderStatus
from tests.common.lane_builders import DEFAULT
from tests.common.lane_exchange import run_decided, run_plain
from tests.common.lane_strategies import STRATEGIES, lanes, live_orders

NOW_MS = 1_700_000_000_000
ALL_BUT_ONE = msgspec.structs.replace(DEFAULT, merge_small_limits=True, small_notional=Decimal(10_000))
"""Every rule that holds for any account."""
ALL = msgspec.structs.replace(ALL_BUT_ONE, annul_open_and_close=True)

positions = st.fixed_dictionaries({name: st.integers(-3, 3).map(Decimal) for name in STRATEGIES})
long_positions = st.fixed_dictionaries({name: st.integers(0, 3).map(Decimal) for name in STRATEGIES})
switches = st.builds(
    LaneRules,
    look_ahead=st.integers(1, 10),
    annul_cancelled=st.booleans(),
    edit_waiting=st.booleans(),
    replace_waiting=st.booleans(),
    merge_closes=st.booleans(),
    merge_amends=st.booleans(),
    merge_small_limits=st.booleans(),
    small_notional=st.sampled_from([Decimal(100), Decimal(10_000)]),
)


def carried_out(lane: tuple[Waiting, ...], decisions: tuple[Decision, ...]) -> tuple[Waiting, ...]:
    for decision in decisions:
        lane = after(lane, decision)
    return lane


@settings(max_examples=300)
@given(lanes(), positions, switches | st.just(ALL_BUT_ONE))
def test_positions_and_open_orders_end_as_without_the_rules(
    lane: tuple[Waiting, ...], position: dict[str, Decimal], rules: LaneRules
) -> None:
    plain = run_plain(lane, position, live_orders())
    decided = run_decided(lane, decide(lane, rules, NOW_MS), position, live_orders())
    assert decided.position == plain.position
    assert decided.levels() == plain.levels()


@settings(max_examples=300)
@given(lanes(one_way=True), long_positions)
def test_opens_and_closes_that_annul_each_other_leave_a_one_way_account_as_it_would_be(
    lane: tuple[Waiting, ...], position: dict[str, Decimal]
) -> None:
    plain = run_plain(lane, position, live_orders())
    decided = run_decided(lane, decide(lane, ALL, NOW_MS), position, live_orders())
    assert decided.position == plain.position
    assert decided.levels() == plain.levels()


@given(lanes(), positions, switches | st.just(ALL))
def test_every_intent_ends_in_exactly_one_way(
    lane: tuple[Waiting, ...], position: dict[str, Decimal], rules: LaneRules
) -> None:
    decided = run_decided(lane, decide(lane, rules, NOW_MS), position, live_orders())
    assert {waiting.entry: len(decided.ends[waiting.entry]) for waiting in lane} == {
        waiting.entry: 1 for waiting in lane
    }


@given(lanes(), positions)
def test_fills_go_to_the_intents_that_would_have_had_them(
    lane: tuple[Waiting, ...], position: dict[str, Decimal]
) -> None:
    rules = msgspec.structs.replace(DEFAULT, annul_cancelled=False, edit_waiting=False, replace_waiting=False)
    plain = run_plain(lane, position, live_orders())
    decided = run_decided(lane, decide(lane, rules, NOW_MS), position, live_orders())
    assert {name: part for name, part in decided.filled.items() if part} == {
        name: part for name, part in plain.filled.items() if part
    }


@given(lanes(), switches | st.just(ALL))
def test_the_result_gives_no_further_decision_and_each_step_leads_to_the_same_end(
    lane: tuple[Waiting, ...], rules: LaneRules
) -> None:
    decisions = decide(lane, rules, NOW_MS)
    assert decide(carried_out(lane, decisions), rules, NOW_MS) == ()
    if decisions:
        assert decide(after(lane, decisions[0]), rules, NOW_MS) == decisions[1:]
    assert decide(lane, rules, NOW_MS) == decisions


@given(lanes(), switches | st.just(ALL))
def test_what_is_left_keeps_its_order_and_what_has_begun_is_left_as_it_was(
    lane: tuple[Waiting, ...], rules: LaneRules
) -> None:
    left = carried_out(lane, decide(lane, rules, NOW_MS))
    entries = [waiting.entry for waiting in lane]
    assert [waiting.entry for waiting in left] == sorted(
        (waiting.entry for waiting in left), key=entries.index
    )
    assert [one for one in left if one.begun] == [one for one in lane if one.begun]
    for waiting in left:
        assert waiting.client_order_id == next(
            one.client_order_id for one in lane if one.entry == waiting.entry
        )


def both(decision: Decision) -> list[str]:
    """The entries a decision is about."""
    match decision:
        case Merge(survivor=one, absorbed=other) | Annul(first=one, second=other):
            return [one, other]
        case Edit(target=one, by=other) | Replace(older=one, newer=other):
            return [one, other]
    return []


@given(lanes(), switches | st.just(ALL))
def test_nothing_is_decided_across_a_cancel_all(lane: tuple[Waiting, ...], rules: LaneRules) -> None:
    at = {waiting.entry: index for index, waiting in enumerate(lane)}
    for decision in decide(lane, rules, NOW_MS):
        first, last = sorted(at[entry] for entry in both(decision))
        assert not any(isinstance(one.intent, CancelAll) for one in lane[first:last])


@given(lanes(), st.just(ALL), st.integers(1, 8).map(Decimal))
def test_a_sum_keeps_the_limit_and_is_exact(
    lane: tuple[Waiting, ...], rules: LaneRules, limit: Decimal
) -> None:
    bounds = MergeBounds(market=SumBounds(limit=limit), limit=SumBounds(limit=limit))
    asked = {waiting.id: waiting.intent for waiting in lane}
    for waiting in carried_out(lane, decide(lane, rules, NOW_MS, bounds)):
        if waiting.absorbed and isinstance(waiting.intent, PlaceOrder):
            parts = [asked[one.intent_id] for one in waiting.absorbed] + [asked[waiting.id]]
            assert (
                waiting.intent.amount
                == sum(one.amount for one in parts if isinstance(one, PlaceOrder))
                <= limit
            )


@given(lanes(), switches | st.just(ALL))
def test_every_end_may_follow_waiting(lane: tuple[Waiting, ...], rules: LaneRules) -> None:
    decided = run_decided(lane, decide(lane, rules, NOW_MS), dict.fromkeys(STRATEGIES, Decimal(0)), [])
    unsent = Counter(status for ends in decided.ends.values() for status in ends)
    assert (
        set(unsent) - {OrderStatus.ACTIVE, OrderStatus.FILLED, OrderStatus.REJECTED}
        <= TRANSITIONS[OrderStatus.QUEUED]
    )


quantities = st.decimals(0, 10**17, places=18)


@given(quantities, quantities, st.lists(quantities, max_size=6))
def test_shares_add_up_to_what_was_filled_and_nobody_before_is_passed_over(
    filled: Decimal, own: Decimal, absorbed: list[Decimal]
) -> None:
    parts = shares(filled, own, absorbed)
    assert sum(map(Fraction, parts)) == Fraction(filled)
    amounts = [own, *absorbed]
    assert all(part <= amount for part, amount in zip(parts[1:], absorbed, strict=True))
    for at, part in enumerate(parts):
        if part < amounts[at]:
            assert not any(parts[at + 1 :])
