"""Each lane rule by example: when it decides, what it says, and where it holds still."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from common.lane_rules import (
    Annul,
    Edit,
    Expire,
    LaneRules,
    Replace,
    Why,
    consequences,
    decide,
)
from orderlane.intents import (
    Intent,
    Side,
    TimeInForce,
)
from orderlane.orders import OrderStatus
from tests.common.lane_builders import (
    DEFAULT,
    FLAT,
    NOW_MS,
    amend,
    cancel,
    close,
    ended,
    lane_of,
    left,
    limit,
    market,
    named,
    sweep,
)


def test_a_cancel_of_what_waits_ends_both_without_a_request() -> None:
    lane = lane_of(limit("a"), limit("b"), cancel("c", "a"))
    [decision] = decide(lane, DEFAULT, NOW_MS)
    assert decision == Annul(lane[0].entry, lane[2].entry, Why.CANCELLED)
    first, second = consequences(lane, decision).ended
    assert (first.status, first.reason.code, first.related) == (
        OrderStatus.CANCELED,
        "cancelled_while_waiting",
        "c",
    )
    assert (second.status, second.related) == (OrderStatus.DONE, "a")


@pytest.mark.parametrize(
    "between",
    [sweep("all"), sweep("all", "other"), close("x"), amend("x", "a", price=Decimal(9))],
    ids=[
        "a cancel-all",
        "a cancel-all of another strategy",
        "a close of its strategy",
        "an amend that must stay",
    ],
)
def test_a_cancel_does_not_reach_its_target_across_what_needs_it(between: Intent) -> None:
    assert ended(market("a"), between, cancel("c", "a")) == []


def test_what_has_begun_is_never_touched() -> None:
    assert ended(limit("a"), cancel("c", "a"), begun=1) == []
    assert ended(limit("a"), amend("x", "a", price=Decimal(90)), begun=1) == []
    assert ended(close("a"), close("b"), begun=1) == []
    assert ended(market("o"), close("c"), rules=FLAT, begun=1) == []
    assert ended(close("a"), close("b"), close("d"), begun=1) == [("d", "MERGED", "b")]


def test_a_cancel_before_its_place_is_left_alone() -> None:
    assert ended(cancel("c", "a"), limit("a")) == []


def test_a_repeated_id_is_left_to_the_worker() -> None:
    assert ended(close("a"), close("a")) == []
    assert ended(limit("a"), limit("a"), cancel("c", "a")) == [("a", "CANCELED", "c"), ("c", "DONE", "a")]


def test_an_amend_of_what_waits_edits_it() -> None:
    lane = lane_of(limit("a"), amend("x", "a", amount=Decimal(3)), amend("y", "a", price=Decimal(90)))
    first, second = decide(lane, DEFAULT, NOW_MS)
    assert first == Edit(lane[0].entry, lane[1].entry, limit("a", amount=3))
    assert second == Edit(lane[0].entry, lane[2].entry, limit("a", 90, amount=3))
    assert named(lane, (first, second)) == [("x", "DONE", "a"), ("y", "DONE", "a")]
    kept = consequences(lane, first).kept
    assert kept is not None
    assert (kept.entry, kept.related) == (lane[0].entry, "x")


def test_an_edit_passes_quotes_that_it_does_not_meet_and_no_others() -> None:
    edit = amend("x", "a", price=Decimal(105))
    assert ended(limit("a"), limit("b", 106, Side.SELL), edit) == [("x", "DONE", "a")]
    assert ended(limit("a"), limit("b", 120), edit) == [("x", "DONE", "a")]
    assert ended(limit("a"), limit("b", 105, Side.SELL), edit) == []
    assert ended(limit("a"), limit("b", 106, Side.SELL, reduce_only=True, strategy="s"), edit) == []
    assert ended(limit("a"), limit("b", 90, time_in_force=TimeInForce.IOC), edit) == []
    assert ended(limit("a"), market("b"), edit) == []
    assert ended(limit("a"), cancel("b", "live"), edit) == []
    assert ended(limit("a"), limit("b", 90, replaces="live"), edit) == []


def test_an_amend_of_what_a_later_cancel_ends_is_fulfilled_on_the_way() -> None:
    assert ended(limit("a"), market("b"), amend("x", "a", price=Decimal(105)), cancel("c", "a")) == [
        ("x", "DONE", "a"), ("a", "CANCELED", "c"), ("c", "DONE", "a"),
    ]  # fmt: skip


def test_an_amend_goes_past_what_it_may_meet_only_if_nothing_keeps_its_order_from_being_cancelled() -> None:
    edit = amend("x", "a", price=Decimal(105))
    assert ended(limit("a"), market("b"), edit, close("y"), cancel("c", "a")) == []


def test_amends_of_what_waits_are_not_merged_with_each_other() -> None:
    amends = [amend(name, "a", price=Decimal(105)) for name in ("x", "y")]
    assert ended(limit("a"), market("b"), *amends) == []


def test_a_price_for_an_order_that_has_none_is_left_to_be_refused() -> None:
    assert ended(market("a"), amend("x", "a", price=Decimal(9))) == []


def test_a_newer_place_replaces_an_older_one_that_waits() -> None:
    lane = lane_of(limit("a"), limit("b", replaces="a"))
    [decision] = decide(lane, DEFAULT, NOW_MS)
    assert decision == Replace(lane[0].entry, lane[1].entry, limit("b"))
    assert named(lane, (decision,)) == [("a", "CANCELED", "b")]


def test_what_the_replaced_was_to_replace_is_handed_on() -> None:
    chain = [limit("b", replaces="live"), limit("c", replaces="b"), limit("d", replaces="c")]
    assert left(*chain) == [limit("d", replaces="live")]
    assert left(chain[0], cancel("x", "other"), chain[1]) == [
        cancel("x", "other"),
        limit("c", replaces="live"),
    ]
    stays = [chain[0], limit("x", 110, Side.SELL), chain[1]]
    assert left(*stays) == stays, "the live order would stay where `x` may meet it"
    assert ended(chain[0], cancel("x", "b")) == [], "the live order would stay"


def test_an_order_of_the_other_side_replaces_nothing() -> None:
    assert ended(limit("a"), limit("b", 110, Side.SELL, replaces="a")) == []


def test_what_is_too_late_ends_wherever_it_waits() -> None:
    lane = lane_of(limit("a"), limit("b", expires_at=NOW_MS - 1), limit("c", expires_at=NOW_MS))
    assert decide(lane, DEFAULT, NOW_MS) == (Expire(lane[1].entry),)
    assert named(lane, decide(lane, DEFAULT, NOW_MS)) == [("b", "EXPIRED", "")]
    assert decide(lane, msgspec.structs.replace(DEFAULT, expire_waiting=False), NOW_MS) == ()
    assert decide(lane_of(limit("b", expires_at=1), begun=1), DEFAULT, NOW_MS) == ()


@pytest.mark.parametrize(
    ("switch", "lane"),
    [
        ("annul_cancelled", [limit("a"), cancel("b", "a")]),
        ("edit_waiting", [limit("a"), amend("b", "a", price=Decimal(1))]),
        ("replace_waiting", [limit("a"), limit("b", replaces="a")]),
        ("merge_closes", [close("a"), close("b")]),
        ("merge_amends", [amend("a", "l", price=Decimal(1)), amend("b", "l", price=Decimal(2))]),
        ("expire_waiting", [limit("a", expires_at=1), limit("b")]),
    ],
)
def test_each_rule_has_its_own_switch(switch: str, lane: list[Intent]) -> None:
    assert ended(*lane) != []
    switched_off: dict[str, Any] = {switch: False}
    assert ended(*lane, rules=msgspec.structs.replace(DEFAULT, **switched_off)) == []


def test_nothing_is_looked_at_beyond_the_look_ahead() -> None:
    lane: list[Intent] = [limit("a"), *(limit(f"x{at}", 90) for at in range(5)), cancel("c", "a")]
    assert ended(*lane, rules=msgspec.structs.replace(DEFAULT, look_ahead=6)) == []
    assert ended(*lane, rules=msgspec.structs.replace(DEFAULT, look_ahead=7)) != []


def test_switches_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="small_notional is 0: expected a worth above 0"):
        LaneRules(small_notional=Decimal(0))
    with pytest.raises(ValueError, match="merge_amends_apart is true"):
        LaneRules(merge_amends=False, merge_amends_apart=True)
