from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.paper.book import Level, Quote
from workers.paper.matching import (
    Take,
    cost,
    crosses,
    is_triggered,
    resting_quantity,
    take,
    take_for_quote,
    taken,
)

D = Decimal
ASKS = (Level(D(100), D(1)), Level(D(101), D(2)), Level(D(102), D(3)))
BIDS = (Level(D(99), D(1)), Level(D(98), D(2)))
fractions = st.decimals(0, D("0.999"), places=3)


def test_a_market_order_takes_level_by_level_until_it_is_full() -> None:
    assert take(ASKS, "BUY", D("2.5")) == [Take(D(100), D(1)), Take(D(101), D("1.5"))]


def test_an_order_larger_than_the_book_takes_all_of_it_and_no_more() -> None:
    assert taken(take(ASKS, "BUY", D(50))) == 6


def test_a_limit_takes_only_at_its_price_or_better() -> None:
    assert take(ASKS, "BUY", D(50), D(101)) == [Take(D(100), D(1)), Take(D(101), D(2))]
    assert take(BIDS, "SELL", D(50), D(99)) == [Take(D(99), D(1))]
    assert take(ASKS, "BUY", D(1), D("99.9")) == []


@given(budget=st.decimals(1, 1000, places=2))
def test_an_order_by_quote_never_spends_more_than_its_budget(budget: Decimal) -> None:
    takes = take_for_quote(ASKS, budget, D("0.1"))
    assert cost(takes) <= budget
    assert all(piece.quantity % D("0.1") == 0 for piece in takes)


@pytest.mark.parametrize(
    ("side", "price", "expected"),
    [("BUY", "100", True), ("BUY", "99.9", False), ("SELL", "99", True), ("SELL", "99.1", False)],
)
def test_a_limit_crosses_when_it_meets_the_other_side(side: str, price: str, expected: bool) -> None:
    assert crosses(side, D(price), Quote(D(99), D(100))) is expected


@pytest.mark.parametrize(
    ("side", "order_type", "fires_at"),
    [
        ("SELL", "STOP_MARKET", {"99", "100"}),
        ("SELL", "STOP_LOSS_LIMIT", {"99", "100"}),
        ("BUY", "STOP", {"100", "101"}),
        ("SELL", "TAKE_PROFIT_MARKET", {"100", "101"}),
        ("SELL", "TAKE_PROFIT_LIMIT", {"100", "101"}),
        ("BUY", "TAKE_PROFIT", {"99", "100"}),
    ],
)
def test_a_trigger_fires_at_its_price_and_beyond_it_on_its_own_side(
    side: str, order_type: str, fires_at: set[str]
) -> None:
    fired = {last for last in ("99", "100", "101") if is_triggered(side, order_type, D(100), D(last))}
    assert fired == fires_at


@given(lots=st.integers(1, 10_000), chance=fractions, share=fractions, probability=fractions)
def test_a_resting_order_fills_by_at_least_a_lot_and_at_most_what_is_left(
    lots: int, chance: Decimal, share: Decimal, probability: Decimal
) -> None:
    lot = D("0.001")
    quantity = resting_quantity(lots * lot, lot, probability, chance, share)
    assert lot <= quantity <= lots * lot
    assert quantity % lot == 0
    if chance >= probability:
        assert quantity == lots * lot
    elif lots > 1:
        assert quantity < lots * lot
