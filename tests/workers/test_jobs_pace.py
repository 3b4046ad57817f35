import pytest

from common.config import SchedulerSection
from orderlane.sync_status import SyncState
from workers.jobs.pace import BEHIND_MS, CATCH_UP_MS, Due, Pace, due_accounts, period_of, stream_is_down

NOW = 1_000_000
SECTION = SchedulerSection()
LIVE = {
    b"holder": b"w", b"until": str(NOW + 1).encode(), b"state": b"live", b"complete_until": str(NOW).encode(),
}  # fmt: skip


def state(account: str, began: int, listed: int = 0) -> SyncState:
    return SyncState(account=account, began=began, listed=listed)


def test_an_account_is_due_once_its_period_is_over() -> None:
    states = {"fresh": state("fresh", NOW - 13_000), "old": state("old", NOW - 13_500)}
    found = due_accounts(["fresh", "old", "new"], Pace(NOW, states, frozenset()), SECTION)
    assert {due.account for due in found} == {"old", "new"}
    assert {due.period_seconds for due in found} == {SECTION.sync_period_seconds}


def test_an_account_whose_stream_is_down_is_due_oftener() -> None:
    states = {"main": state("main", NOW - 5_000)}
    assert due_accounts(["main"], Pace(NOW, states, frozenset()), SECTION) == []
    assert due_accounts(["main"], Pace(NOW, states, frozenset(["main"])), SECTION) == [Due("main", 5)]


def test_a_down_stream_never_makes_the_sync_rarer() -> None:
    section = SchedulerSection(sync_period_seconds=5, sync_period_down_seconds=60)
    assert period_of(True, section) == period_of(False, section) == 5


def test_whoever_was_listed_longest_ago_goes_first() -> None:
    states = {name: state(name, 1, listed) for name, listed in (("a", 9), ("b", 5))}
    found = due_accounts(["a", "b", "c"], Pace(NOW, states, frozenset()), SECTION)
    assert [due.account for due in found] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("changed", "down"),
    [
        ({}, False),
        ({b"until": b"1"}, True),
        ({b"holder": b""}, True),
        ({b"state": b"backfilling", b"since": str(NOW - CATCH_UP_MS).encode()}, False),
        ({b"state": b"backfilling", b"since": str(NOW - CATCH_UP_MS - 1).encode()}, True),
        ({b"state": b"connecting"}, True),
        ({b"complete_until": str(NOW - 2 * 5_000 - BEHIND_MS).encode()}, False),
        ({b"complete_until": str(NOW - 2 * 5_000 - BEHIND_MS - 1).encode()}, True),
    ],
)
def test_a_stream_is_up_while_it_is_held_and_tells_everything(
    changed: dict[bytes, bytes], down: bool
) -> None:
    assert stream_is_down({**LIVE, **changed}, NOW, NOW, 5_000) is down


def test_a_stream_that_nobody_ever_held_is_down() -> None:
    assert stream_is_down({}, NOW, NOW, 5_000)
