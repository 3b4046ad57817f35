from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from workers.paper import book
from workers.paper.rules import PRODUCTS, SymbolRules, load_market

EVERY = [rules for product in PRODUCTS for rules in load_market(product).symbols.values()]
VOLATILITY = Decimal("0.01")


def walk(rules: SymbolRules, seed: int, steps: int) -> list[Decimal]:
    mids = [rules.start_price]
    for step in range(steps):
        mids.append(book.next_mid(rules, mids[-1], rules.start_price, VOLATILITY, seed, step))
    return mids


def test_the_same_seed_gives_the_same_walk_and_another_seed_another() -> None:
    rules = EVERY[0]
    assert walk(rules, 7, 50) == walk(rules, 7, 50)
    assert walk(rules, 7, 50) != walk(rules, 8, 50)


@given(rules=st.sampled_from(EVERY), seed=st.integers(0, 1000))
def test_a_walk_stays_on_ticks_above_zero_and_near_its_anchor(rules: SymbolRules, seed: int) -> None:
    for mid in walk(rules, seed, 60):
        assert mid > 0
        assert mid % rules.tick == 0
        assert abs(mid - rules.start_price) <= rules.start_price / 2 + rules.tick * 60


@given(rules=st.sampled_from(EVERY), seed=st.integers(0, 1000), step=st.integers(0, 1000))
def test_a_book_is_ordered_uncrossed_and_in_whole_ticks_and_lots(
    rules: SymbolRules, seed: int, step: int
) -> None:
    depth = book.depth(rules, rules.start_price, seed, step)
    quote = book.quote(rules, rules.start_price)
    assert depth.bids[0].price == quote.bid < quote.ask == depth.asks[0].price
    assert [level.price for level in depth.bids] == sorted({v.price for v in depth.bids}, reverse=True)
    assert [level.price for level in depth.asks] == sorted({v.price for v in depth.asks})
    for level in (*depth.bids, *depth.asks):
        assert level.price % rules.tick == 0
        assert level.quantity >= rules.lot
        assert level.quantity % rules.lot == 0
