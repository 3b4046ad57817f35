"""Merging and annulling by example: what becomes one order, what no order, and whose the fills are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from common.lane_rules import (
    Merge,
    MergeBounds,
    SumBounds,
    Withdraw,
    after,
    consequences,
    decide,
    merge_bounds,
    shares,
)
from common.markets import Market, MarketType
from orderlane.intents import (
    Intent,
    OrderType,
    PlaceOrder,
    Side,
    TimeInForce,
)
from orderlane.orders import Absorbed, OrderStatus
from tests.common.lane_builders import (
    DEFAULT,
    FLAT,
    NOW_MS,
    SMALL,
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
from tests.common.lane_strategies import WHERE, waiting


def test_reduce_only_market_orders_in_a_row_become_the_first_of_them() -> None:
    lane = lane_of(close("a", amount=1), close("b", amount=2), close("c", amount=3))
    decisions = decide(lane, DEFAULT, NOW_MS)
    assert [type(one) for one in decisions] == [Merge, Merge]
    assert named(lane, decisions) == [("b", "MERGED", "a"), ("c", "MERGED", "a")]
    for decision in decisions:
        lane = after(lane, decision)
    assert lane[0].intent == close("a", amount=6)
    assert lane[0].absorbed == (
        Absorbed("b", lane_of(close("b"))[0].client_order_id, Decimal(2)),
        Absorbed("c", lane_of(close("c"))[0].client_order_id, Decimal(3)),
    )
    [one] = consequences(
        lane_of(close("a"), close("b")), decide(lane_of(close("a"), close("b")), DEFAULT, NOW_MS)[0]
    ).ended
    assert one.merged_into is not None
    assert one.merged_into.intent_id == "a"


@pytest.mark.parametrize(
    "between",
    [
        close("x", strategy="other"), market("x"), market("x", Side.SELL), limit("x", 1), cancel("x", "live"),
        amend("x", "live", price=Decimal(1)), sweep("x"), sweep("x", "other"), close("x", Side.BUY),
    ],
    ids=lambda one: f"{type(one).__name__} {getattr(one, 'side', '')} {one.strategy}",
)  # fmt: skip
def test_closes_merge_across_nothing(between: Intent) -> None:
    assert ended(close("a"), between, close("b")) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "other"}, {"side": Side.BUY}, {"params": {"a": 1}}, {"expires_at": NOW_MS + 1},
        {"replaces": "live"}, {"reduce_only": False},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_what_differs_in_more_than_its_amount_is_not_merged(changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"side": Side.SELL, "reduce_only": True} | changes
    assert ended(close("a"), market("b", **fields)) == []


def test_what_a_command_speaks_of_is_not_merged() -> None:
    later = market("x")
    assert ended(close("a"), close("b"), later, amend("c", "b", price=Decimal(9))) == []
    assert ended(close("a"), close("b"), later, cancel("c", "a"))[0] == ("a", "CANCELED", "c")


def test_a_sum_stays_within_the_market_and_on_its_grid() -> None:
    lane = lane_of(close("a", amount=2), close("b", amount=2), close("c", amount=1))
    bounded = MergeBounds(market=SumBounds(limit=Decimal(4)))
    assert named(lane, decide(lane, DEFAULT, NOW_MS, bounded)) == [("b", "MERGED", "a")]
    off_grid = MergeBounds(market=SumBounds(lot_size=Decimal(2)))
    assert named(lane, decide(lane, DEFAULT, NOW_MS, off_grid)) == [("b", "MERGED", "a")]
    worth = MergeBounds(limit=SumBounds(notional_limit=Decimal(399)))
    quotes = lane_of(limit("a", amount=2), limit("b", amount=2))
    assert decide(quotes, SMALL, NOW_MS, worth) == ()
    assert len(decide(quotes, SMALL, NOW_MS)) == 1
    largest = Decimal("999999999999999999")
    assert ended(close("a", amount=1), market("b", Side.SELL, reduce_only=True, strategy="grid")) != []
    huge = lane_of(
        close("a"),
        PlaceOrder(
            id="b",
            side=Side.SELL,
            type=OrderType.MARKET,
            amount=largest,
            reduce_only=True,
            strategy="grid",
            **WHERE,
        ),
    )
    assert decide(huge, DEFAULT, NOW_MS) == ()


def test_the_bounds_of_a_sum_are_those_of_the_market() -> None:
    rules: dict[str, Any] = {
        "symbol": "BTC/USDT", "venue_id": "BTCUSDT", "type": MarketType.SPOT, "base": "BTC", "quote": "USDT",
        "tick_size": Decimal(1), "lot_size": Decimal("0.1"), "market_lot_size": Decimal("0.2"),
        "max_amount": Decimal(9), "market_max_amount": Decimal(8), "max_notional": Decimal(700),
    }  # fmt: skip
    assert merge_bounds(Market(**rules)) == MergeBounds(
        market=SumBounds(limit=Decimal(8), lot_size=Decimal("0.2")),
        limit=SumBounds(limit=Decimal(9), notional_limit=Decimal(700), lot_size=Decimal("0.1")),
    )
    valued = Market(**rules, market_max_notional=Decimal(600))
    assert merge_bounds(valued).market.limit == 0, "no price is known: nothing is summed"
    assert merge_bounds(valued, Decimal(100)).market.limit == 6
    assert merge_bounds(valued, Decimal(1)).market.limit == 8


def test_amends_in_a_row_become_the_last() -> None:
    first, last = amend("x", "live", price=Decimal(1)), amend("y", "live", price=Decimal(2))
    assert ended(first, last) == [("x", "MERGED", "y")]
    assert left(first, last) == [last]
    assert ended(first, cancel("c", "other"), last) == [("x", "MERGED", "y")]
    fuller = amend("y", "live", price=Decimal(2), amount=Decimal(3))
    assert ended(first, fuller) == [("x", "MERGED", "y")]


def test_an_amend_that_says_less_or_lasts_less_takes_no_place() -> None:
    last = amend("y", "live", price=Decimal(2))
    assert ended(amend("x", "live", amount=Decimal(1)), last) == []
    assert (
        ended(
            amend("x", "live", price=Decimal(1)), amend("y", "live", price=Decimal(2), expires_at=NOW_MS + 9)
        )
        == []
    )
    for between in (
        cancel("c", "live"),
        limit("c", 1),
        sweep("c", "other"),
        amend("c", "other", price=Decimal(5)),
    ):
        assert ended(amend("x", "live", price=Decimal(1)), between, last) == []


def test_quotes_moved_in_turn_keep_their_last_amends_when_told_to() -> None:
    turns = [amend(f"{one}{at}", one, price=Decimal(at + 1)) for at in range(3) for one in ("bid", "ask")]
    assert left(*turns) == turns
    assert left(*turns, rules=msgspec.structs.replace(DEFAULT, merge_amends_apart=True)) == turns[-2:]


def test_small_limits_of_one_price_merge_when_enabled() -> None:
    lane = [limit("a"), limit("x", 101), limit("b"), limit("c", amount=11)]
    assert ended(*lane) == []
    assert ended(*lane, rules=SMALL) == [("b", "MERGED", "a")]
    assert ended(limit("a"), market("x"), limit("b"), rules=SMALL) == []
    assert ended(limit("a"), limit("x", 100, Side.SELL), limit("b"), rules=SMALL) == []
    fok: dict[str, Any] = {"time_in_force": TimeInForce.FOK}
    assert ended(limit("a", **fok), limit("b", **fok), rules=SMALL) == []


def test_what_was_merged_before_does_not_make_an_order_large() -> None:
    small = msgspec.structs.replace(DEFAULT, merge_small_limits=True, small_notional=Decimal(100))
    lane = lane_of(*(limit(f"l{at}") for at in range(4)))
    assert len(decide(lane, small, NOW_MS)) == 3
    grown = (waiting(limit("a", amount=2), 0, absorbed=(Absorbed("z", "z" * 25, Decimal(1)),)), lane[1])
    assert len(decide(grown, small, NOW_MS)) == 1


def test_a_cancel_takes_the_amount_of_its_target_alone_out_of_a_merged_order() -> None:
    """The target's own intent may be the one whose order it is; when nothing is left, that ends too."""
    part = Absorbed("z", "z" * 25, Decimal(1))
    merged = waiting(close("a", amount=3), 0, absorbed=(part,))
    lane = (merged, waiting(cancel("c", "a"), 1), waiting(cancel("d", "z"), 2))
    own = Absorbed("a", merged.client_order_id, Decimal(2))
    first, second = decide(lane, DEFAULT, NOW_MS)
    assert first == Withdraw(merged.entry, lane[1].entry, own, close("a", amount=1))
    assert second == Withdraw(merged.entry, lane[2].entry, part, None)
    done = consequences(after(lane, first), second)
    assert [one.status for one in done.ended] == [OrderStatus.CANCELED, OrderStatus.DONE]
    assert done.kept is None
    assert after(after(lane, first), second) == ()


def test_a_merged_order_is_neither_edited_nor_replaced_nor_absorbed_in_part() -> None:
    merged = waiting(close("a", amount=2), 0, absorbed=(Absorbed("z", "z" * 25, Decimal(1)),))
    for intent in (amend("c", "a", amount=Decimal(1)), close("c", replaces="a")):
        assert decide((merged, waiting(intent, 1)), DEFAULT, NOW_MS) == ()
    assert decide((waiting(close("b"), 0), merged), DEFAULT, NOW_MS) == ()


def test_an_open_and_its_close_end_each_other_when_enabled() -> None:
    lane = [market("o", amount=2), close("c", amount=2)]
    assert ended(*lane) == []
    assert ended(*lane, rules=FLAT) == [("o", "CANCELED", "c"), ("c", "CANCELED", "o")]
    assert ended(market("o", leg="open"), market("c", Side.SELL, leg="close"), rules=FLAT) != []


@pytest.mark.parametrize(
    "lane",
    [
        [market("o", amount=2), close("c", amount=1)],
        [limit("o"), close("c")],
        [market("o"), limit("c", 200, Side.SELL, reduce_only=True)],
        [market("o"), close("c", strategy="other")],
        [market("o"), close("c", Side.BUY)],
        [market("o"), market("x", Side.SELL, strategy="other"), close("c")],
        [market("o"), close("x", strategy="other"), close("c")],
        [market("o"), sweep("x"), close("c")],
    ],
    ids=[
        "another amount",
        "a limit",
        "a target",
        "another strategy",
        "its own side",
        "a sale",
        "a close",
        "a sweep",
    ],
)
def test_what_need_not_undo_an_open_is_left_alone(lane: list[Intent]) -> None:
    assert ended(*lane, rules=FLAT) == []


def test_fills_go_to_the_first_first() -> None:
    def of(filled: str) -> list[str]:
        return [str(part) for part in shares(Decimal(filled), Decimal(2), [Decimal(1), Decimal(3)])]

    assert of("0") == ["0", "0", "0"]
    assert of("2.5") == ["2.0", "0.5", "0.0"]
    assert of("6") == ["2", "1", "3"]
    assert of("7") == ["3", "1", "3"], "an amend made it larger"
    with pytest.raises(ValueError, match="filled is -1: expected an amount of 0 or more"):
        shares(Decimal(-1), Decimal(2), [])
