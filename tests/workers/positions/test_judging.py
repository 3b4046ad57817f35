"""What two readings say: a fill under way is never a drift, and one drift never passes for another."""

from __future__ import annotations

from decimal import Decimal
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from common.config import PositionsSection
from common.positions import LONGEST_TRAIL
from orderlane.positions import Trail
from workers.positions.judging import LAG_MS, Said, Verdict, agrees, is_critical, judge

SECTION = PositionsSection(critical_share=0.1, critical_notional=100.0)


def trail(*changes: tuple[int, object]) -> Trail:
    return tuple((at, Decimal(str(value))) for at, value in changes)


def said(value: object, at: int) -> Said:
    return Said(Decimal(str(value)), at)


QUIET = trail((0, 5))


def test_what_is_as_the_exchange_says_agrees() -> None:
    assert agrees(said(5, 10_000), QUIET)
    assert not agrees(said(6, 10_000), QUIET)


def test_a_drift_that_both_readings_show_is_one() -> None:
    found = judge(said(6, 10_000), said(6, 15_000), QUIET)
    assert (found.verdict, found.drift) == (Verdict.DRIFTS, Decimal(1))


def test_a_fill_that_is_noted_between_the_readings_is_no_drift() -> None:
    noted_late = trail((0, 5), (12_000, 6))
    assert judge(said(6, 10_000), said(6, 15_000), noted_late).verdict is Verdict.AGREES


def test_a_fill_that_the_exchange_shows_late_is_no_drift() -> None:
    noted_early = trail((0, 5), (9_500, 6))
    assert agrees(said(5, 10_000), noted_early)


def test_an_answer_that_was_older_than_any_should_be_is_no_drift() -> None:
    assert judge(said(4, 10_000), said(5, 15_000), QUIET).verdict is Verdict.AGREES


def test_a_drift_stands_out_while_the_pool_trades_on() -> None:
    busy = trail((0, 5), (9_900, "5.3"), (11_000, "5.7"), (14_900, "6.8"))
    found = judge(said("4.3", 10_000), said("5.8", 15_000), busy)
    assert (found.verdict, found.drift) == (Verdict.DRIFTS, Decimal(-1))


def test_a_drift_is_settled_while_fills_of_one_size_come_and_go() -> None:
    steady = tuple((at, Decimal(at // 500 % 2)) for at in range(0, 18_000, 500))
    found = judge(said(4, 10_000), said(4, 15_000), steady)
    assert (found.verdict, found.drift) == (Verdict.DRIFTS, Decimal(4))


def test_readings_that_no_one_drift_explains_settle_nothing() -> None:
    assert judge(said(6, 10_000), said(7, 15_000), QUIET).verdict is Verdict.UNSETTLED


def test_a_figure_corrected_since_or_changed_too_often_settles_nothing() -> None:
    assert judge(said(6, 10_000), said(6, 15_000), trail((12_000, 7))).verdict is Verdict.UNSETTLED


steps = st.lists(
    st.tuples(st.integers(1, 3_000), st.decimals("-1", "1", places=3)), max_size=LONGEST_TRAIL - 2
)


@given(steps, st.integers(0, LAG_MS - 1), st.integers(0, 4_000), st.decimals("-5", "5", places=3), st.data())
def test_fills_alone_never_make_a_drift_and_a_true_one_is_never_told_as_another(
    made: list[tuple[int, Decimal]], lag_ms: int, late_ms: int, drift: Decimal, data: st.DataObject
) -> None:
    """The exchange executes each fill at a moment, may answer with figures `lag_ms` old, and the pool notes each fill
    `late_ms` after it was executed, before the second reading at the latest where it came before the first."""
    moments = list(accumulate((step for step, _ in made), initial=10_000))[1:]
    changes = [change for _, change in made]
    ends = (moments or [10_000])[-1]
    first_at = data.draw(st.integers(10_000, ends), label="first reading")
    second_at = first_at + 5_000

    def at_exchange(moment: int) -> Decimal:
        return drift + sum(
            (change for at, change in zip(moments, changes, strict=True) if at <= moment), Decimal(0)
        )

    noted = [(0, Decimal(0))]
    for at, change in zip(moments, changes, strict=True):
        if at + late_ms <= second_at + 4_000:
            noted.append((at + late_ms, noted[-1][1] + change))
    first = Said(at_exchange(first_at - lag_ms), first_at)
    second = Said(at_exchange(second_at - lag_ms), second_at)
    found = judge(first, second, tuple(noted))
    if not drift:
        assert found.verdict is not Verdict.DRIFTS or found.drift == 0
    elif found.verdict is Verdict.DRIFTS and not lag_ms and not late_ms:
        assert found.drift == drift
    elif found.verdict is Verdict.DRIFTS:
        # By how much is as good as what is under way; that there is a drift is true.
        under_way = sum((abs(change) for change in changes), Decimal(0))
        assert abs(found.drift - drift) <= under_way


def test_what_is_worth_little_or_a_small_part_is_not_critical() -> None:
    hundred = Decimal(100)
    assert not is_critical(Decimal(10), Decimal("0.5"), hundred, SECTION), "a twentieth"
    assert is_critical(Decimal(10), Decimal("1.5"), hundred, SECTION)
    assert not is_critical(Decimal(1), Decimal("0.9"), hundred, SECTION), "worth 90"
    assert not is_critical(Decimal("0.5"), Decimal("-0.9"), hundred, SECTION), "another side, worth 90"


def test_another_side_is_critical_however_small_the_part_and_so_is_what_nobody_can_price() -> None:
    wide = PositionsSection(critical_share=1.0, critical_notional=100.0)
    assert is_critical(Decimal(1), Decimal(-3), Decimal(100), wide)
    assert not is_critical(Decimal(3), Decimal(-1), Decimal(100), wide)
    assert is_critical(Decimal(0), Decimal("0.001"), None, SECTION)
