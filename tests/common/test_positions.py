"""What fills make of positions and balances, held against a model in fractions that knows of no trails or digits."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from common.positions import (
    LONGEST_TRAIL,
    TRAIL_MS,
    Deal,
    Instrument,
    balance_changes,
    corrected_balance,
    corrected_position,
    instrument_of,
    is_counted,
    lengthened,
    values_since,
    with_change,
    with_deal,
)
from orderlane.intents import Side
from orderlane.positions import Balance, Position, Trail

SWAP = Instrument("BTC", "USDT", "USDT")
SPOT = Instrument("BTC", "USDT")


def deal(side: Side, amount: object, price: object, fee: object = None, currency: str = "USDT") -> Deal:
    return Deal(
        side=side,
        amount=Decimal(str(amount)),
        price=Decimal(str(price)),
        fee=None if fee is None else Decimal(str(fee)),
        fee_currency=currency if fee is not None else "",
    )


def after(*deals: Deal, instrument: Instrument = SWAP) -> Position:
    position = Position()
    for one in deals:
        position = with_deal(position, one, instrument, 1)
    return position


class Model:
    """A position as a list of lots, all at one average price: what a person would do with pen and paper."""

    def __init__(self) -> None:
        self.size = Fraction(0)
        self.cost = Fraction(0)
        self.realised = Fraction(0)

    def take(self, change: Fraction, price: Fraction) -> None:
        if self.size * change >= 0:
            self.size += change
            self.cost += change * price
            return
        closing = min(abs(change), abs(self.size)) * (1 if change > 0 else -1)
        entry = self.cost / self.size
        self.realised += -closing * (price - entry)
        self.cost += closing * entry
        self.size += closing
        rest = change - closing
        if rest:
            self.size, self.cost = rest, rest * price


amounts = st.decimals("0.00001", "1000", places=5)
prices = st.decimals("0.01", "100000", places=2)
deals = st.builds(
    deal, st.sampled_from(Side), amounts, prices, st.none() | st.decimals("-1", "100", places=8)
)


@given(st.lists(deals, max_size=25))
def test_a_position_is_what_a_naive_model_makes_of_its_fills(made: list[Deal]) -> None:
    position, model = Position(), Model()
    for one in made:
        before = position
        position = with_deal(position, one, SWAP, 1)
        model.take(Fraction(one.amount) * (1 if one.side is Side.BUY else -1), Fraction(one.price))
        assert Fraction(position.size) == model.size
        if model.size:
            assert position.entry_price is not None
            assert abs(Fraction(position.entry_price) - model.cost / model.size) < Fraction(1, 10**15)
        else:
            assert position.entry_price is None
        assert abs(Fraction(position.realised) - model.realised) < Fraction(1, 10**6)
        assert before.fills + 1 == position.fills
    paid = sum((one.fee or Decimal(0) for one in made), Decimal(0))
    assert position.fees.get("USDT", Decimal(0)) == paid


def test_a_position_opens_grows_shrinks_closes_and_flips() -> None:
    opened = after(deal(Side.BUY, 2, 100))
    assert (opened.size, opened.entry_price, opened.realised) == (Decimal(2), Decimal(100), Decimal(0))
    grown = after(deal(Side.BUY, 2, 100), deal(Side.BUY, 2, 200))
    assert (grown.size, grown.entry_price) == (Decimal(4), Decimal(150))
    shrunk = after(deal(Side.BUY, 2, 100), deal(Side.SELL, 1, 130))
    assert (shrunk.size, shrunk.entry_price, shrunk.realised) == (Decimal(1), Decimal(100), Decimal(30))
    closed = after(deal(Side.SELL, 2, 100), deal(Side.BUY, 2, 90))
    assert (closed.size, closed.entry_price, closed.realised) == (Decimal(0), None, Decimal(20))
    flipped = after(deal(Side.BUY, 2, 100), deal(Side.SELL, 5, 110))
    assert (flipped.size, flipped.entry_price, flipped.realised) == (Decimal(-3), Decimal(110), Decimal(20))


def test_what_the_venue_says_was_realised_counts() -> None:
    told = Deal(side=Side.SELL, amount=Decimal(1), price=Decimal(130), realised=Decimal("29.99999999"))
    assert after(deal(Side.BUY, 2, 100), told).realised == Decimal("29.99999999")


def test_a_fee_in_base_makes_what_was_bought_less_on_spot_alone() -> None:
    bought = deal(Side.BUY, 1, 100, "0.001", "BTC")
    assert after(bought, instrument=SPOT).size == Decimal("0.999")
    assert after(bought, instrument=SWAP).size == Decimal(1)


@given(st.lists(st.tuples(deals, st.sampled_from(("grid", "other", ""))), max_size=15))
def test_shares_of_strategies_add_up_to_the_size_and_whoever_traded_stays(
    made: list[tuple[Deal, str]],
) -> None:
    position = Position()
    for one, strategy in made:
        named = Deal(side=one.side, amount=one.amount, price=one.price, strategy=strategy)
        position = with_deal(position, named, SWAP, 1)
    assert sum(position.shares.values(), Decimal(0)) == position.size
    assert set(position.shares) == {strategy for _, strategy in made}


@given(st.lists(deals, max_size=15))
def test_spot_balances_move_by_base_quote_and_fee(made: list[Deal]) -> None:
    balances: dict[str, Balance] = {}
    base, quote = Fraction(0), Fraction(0)
    for one in made:
        sign = 1 if one.side is Side.BUY else -1
        base += sign * Fraction(one.amount)
        quote -= sign * Fraction(one.amount) * Fraction(one.price) + Fraction(one.fee or 0)
        for asset, change in balance_changes(one, SPOT, Decimal(0)).items():
            balances[asset] = with_change(balances.get(asset, Balance()), change, one.traded_at, 1)
    assert Fraction(balances.get("BTC", Balance()).total) == base
    assert Fraction(balances.get("USDT", Balance()).total) == quote


def test_a_wallet_moves_by_profit_and_fee_alone() -> None:
    closing = deal(Side.SELL, 1, 130, "0.05")
    assert balance_changes(closing, SWAP, Decimal(30)) == {"USDT": Decimal("29.95")}
    other = deal(Side.SELL, 1, 130, "0.001", "BNB")
    assert balance_changes(other, SWAP, Decimal(30)) == {"USDT": Decimal(30), "BNB": Decimal("-0.001")}


def test_a_correction_changes_the_size_by_the_drift_and_keeps_what_it_covers_from_counting_again() -> None:
    position = after(deal(Side.BUY, 2, 100))
    corrected = corrected_position(position, Decimal("-0.5"), Decimal(101), 1_000, 9)
    assert (corrected.size, corrected.entry_price) == (Decimal("1.5"), Decimal(101))
    assert not is_counted(corrected, 999)
    assert is_counted(corrected, 1_000)
    assert corrected_position(position, Decimal(-2), Decimal(101), 1_000, 9).entry_price is None
    balance = corrected_balance(Balance(total=Decimal(7)), Decimal("0.25"), 1_000, 9)
    assert (balance.total, balance.counted_from) == (Decimal("7.25"), 1_000)


def test_symbols_say_what_is_traded_for_what() -> None:
    assert instrument_of("BTC/USDT") == SPOT
    assert instrument_of("BTC/USDT:USDT") == SWAP
    assert instrument_of("ETH/USD:ETH-250926") == Instrument("ETH", "USD", "ETH")
    assert instrument_of("1000PEPE/USDC:USDC") == Instrument("1000PEPE", "USDC", "USDC")
    assert instrument_of("BTCUSDT") is None


def trail(*changes: tuple[int, int]) -> Trail:
    return tuple((at, Decimal(value)) for at, value in changes)


def test_a_trail_tells_every_value_since_a_moment_and_says_when_it_does_not_know() -> None:
    known = trail((0, 0), (100, 1), (200, 2), (300, 3))
    assert values_since(known, 250) == {Decimal(2), Decimal(3)}
    assert values_since(known, 200) == {Decimal(2), Decimal(3)}
    assert values_since(known, 50) == {Decimal(0), Decimal(1), Decimal(2), Decimal(3)}
    assert values_since(known[1:], 50) is None


@given(st.lists(st.integers(0, TRAIL_MS), min_size=1, max_size=200))
def test_a_trail_forgets_but_never_lies(steps: list[int]) -> None:
    kept: Trail = ((0, Decimal(0)),)
    every: list[tuple[int, Decimal]] = [(0, Decimal(0))]
    now = 0
    for number, step in enumerate(steps, start=1):
        now += step
        kept = lengthened(kept, now, Decimal(number))
        every.append((now, Decimal(number)))
        assert len(kept) <= LONGEST_TRAIL
        for since in (now, now - TRAIL_MS // 2, now - TRAIL_MS):
            found = values_since(kept, since)
            reached = [value for at, value in every if at <= since]
            true = {value for at, value in every if at > since} | set(reached[-1:])
            assert found is None or found >= true
    assert values_since(kept, now) is not None or len(steps) > LONGEST_TRAIL
