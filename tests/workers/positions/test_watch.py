"""Who is due for a comparison, and when."""

from __future__ import annotations

import msgspec
import pytest

from common.config import PositionsSection
from orderlane.positions import AccountState, ComparedState, Source
from workers.positions.watch import AGAIN_MS, due_in_ms

SECTION = PositionsSection(compare_period_seconds=60, confirm_delay_seconds=5)
AGREED = AccountState(
    state=ComparedState.AGREED, source=Source.FILLS, tried_at=100_000, compared_at=100_000, since=50_000
)


def test_an_account_that_was_never_compared_is_due() -> None:
    assert due_in_ms(None, 0, 100_000, SECTION) == 0


def test_who_agreed_is_due_a_period_later_and_at_the_end_of_a_gap() -> None:
    assert due_in_ms(AGREED, 50_000, 159_999, SECTION) == 1
    assert due_in_ms(AGREED, 50_000, 160_000, SECTION) == 0
    assert due_in_ms(AGREED, 101_000, 101_000, SECTION) == 0, "its stream is without a gap again since"
    assert due_in_ms(AGREED, 0, 101_000, SECTION) == 59_000, "its stream has a gap"


@pytest.mark.parametrize(
    ("state", "wait_ms"),
    [
        (ComparedState.UNSETTLED, 5_000),
        (ComparedState.FAILED, AGAIN_MS),
        (ComparedState.WAITING, 60_000),
        (ComparedState.CRITICAL, 60_000),
    ],
)
def test_what_came_to_nothing_is_tried_again_in_its_time(state: ComparedState, wait_ms: int) -> None:
    tried = msgspec.structs.replace(AGREED, state=state)
    assert due_in_ms(tried, 50_000, 100_000, SECTION) == wait_ms
    assert due_in_ms(tried, 50_000, 100_000 + wait_ms, SECTION) == 0
