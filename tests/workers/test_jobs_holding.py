"""What is not archived yet stays in Redis, for so long and no longer, and what goes unarchived is said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from orderlane.archive.state import ArchiveState, encode_state
from orderlane.events import Event, EventName, encode_event
from orderlane.orders import OrderStatus
from tests.common.pool_bench import Bench, bench_on
from workers.jobs.holding import hold_for, hold_records
from workers.jobs.trimming import Trimmed, trim_exchange

DAY_MS = 86_400_000


def state(event_id: str, *, at: int = 100, archive: str = "a") -> ArchiveState:
    return ArchiveState(archive=archive, event_id=event_id, at=at)


def test_of_several_archives_the_one_that_is_furthest_behind_counts() -> None:
    hold = hold_for([state("50-0"), state("20-3", archive="b")], "80-0", "21-0", 100, 1000)
    assert (hold.oldest_kept, hold.archived, hold.waits, hold.overrun) == ("20-3", "20-3", True, False)


def test_the_last_archived_event_stays_even_when_it_is_old() -> None:
    hold = hold_for([state("20-0")], "80-0", None, 100, 30)
    assert (hold.oldest_kept, hold.waits, hold.overrun) == ("20-0", False, False)


def test_an_archive_close_behind_holds_nothing() -> None:
    hold = hold_for([state("90-0")], "80-0", "91-0", 100, 1000)
    assert (hold.oldest_kept, hold.waits, hold.overrun) == ("80-0", False, False)


def test_what_has_waited_for_too_long_goes_and_counts_as_overrun() -> None:
    hold = hold_for([state("20-0")], "80-0", "21-0", 100, 50)
    assert (hold.oldest_kept, hold.waits, hold.overrun) == ("50-0", True, True)
    nobody = hold_for([], "80-0", "21-0", 100, 50)
    assert (nobody.oldest_kept, nobody.archived, nobody.overrun) == ("50-0", "", True)


def test_a_bound_shorter_than_the_retention_changes_nothing() -> None:
    assert hold_for([], "20-0", "21-0", 100, 10).oldest_kept == "20-0"


def test_an_archive_not_heard_of_for_so_long_counts_as_gone() -> None:
    gone = state("1-0", at=10, archive="b")
    hold = hold_for([state("90-0", at=100), gone], "80-0", "91-0", 100, 50)
    assert (hold.oldest_kept, hold.silent) == ("80-0", (gone,))


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    async with bench_on(redis_url) as bench:
        yield bench


def now_ms(bench: Bench) -> int:
    admin: Any = bench.admin
    seconds, microseconds = admin.time()
    return int(seconds * 1000 + microseconds // 1000)


def fill(bench: Bench, ages_ms: list[int], **fields: Any) -> list[str]:
    admin: Any = bench.admin
    event = Event(name=EventName.FILLED, at=1, **fields)
    now = now_ms(bench)
    return [
        admin.xadd(bench.keys.events, {"event": encode_event(event)}, id=f"{now - age}-{number}").decode()
        for number, age in enumerate(ages_ms, 1)
    ]


async def trimmed(bench: Bench) -> Trimmed:
    return await trim_exchange(
        bench.runner, bench.keys, ["main"], event_retention_ms=DAY_MS, dead_retention_ms=7 * DAY_MS,
        unarchived_retention_ms=5 * DAY_MS,
    )  # fmt: skip


async def test_trimming_waits_for_the_archive_and_then_for_no_longer_than_it_may(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    admin: Any = bench.admin
    ids = fill(bench, [4 * DAY_MS, 3 * DAY_MS, 2 * DAY_MS, 1000])
    assert (await trimmed(bench)).events == 0
    assert "kept until they are archived" in caplog.text
    admin.hset(bench.keys.archive, "a", encode_state(state(ids[1], at=now_ms(bench))))
    assert (await trimmed(bench)).events == 1
    admin.hset(bench.keys.archive, "a", encode_state(state(ids[3], at=now_ms(bench))))
    assert (await trimmed(bench)).events == 2
    assert admin.xlen(bench.keys.events) == 1


async def test_events_that_go_unarchived_are_told_in_the_stream_and_the_log(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    admin: Any = bench.admin
    fill(bench, [6 * DAY_MS, 6 * DAY_MS - 1])
    assert (await trimmed(bench)).events == 2
    [(_, fields)] = admin.xrange(bench.keys.events)
    assert msgspec.json.decode(fields[b"event"])["reason"]["code"] == "archive_overrun"
    assert "before they were archived" in caplog.text


async def test_records_of_orders_whose_end_is_not_archived_live_on(bench: Bench) -> None:
    admin: Any = bench.admin
    names = [letter * 25 for letter in "abc"]
    [archived] = fill(bench, [DAY_MS + 2], client_order_id=names[0], to_status=OrderStatus.FILLED)
    [last] = fill(bench, [DAY_MS], client_order_id=names[1], to_status=OrderStatus.FILLED)
    admin.hset(bench.keys.archive, "a", encode_state(state(archived, at=now_ms(bench))))
    for name in names:
        admin.hset(bench.keys.order(name), "status", "FILLED")
    for name in names[:2]:
        admin.pexpire(bench.keys.order(name), 60_000)
    done = await hold_records(
        bench.client, bench.keys, "", order_retention_ms=DAY_MS, unarchived_retention_ms=5 * DAY_MS
    )
    assert done == last
    left = [admin.pttl(bench.keys.order(name)) for name in names]
    assert left[0] <= 60_000
    assert 3 * DAY_MS < left[1] <= 4 * DAY_MS
    assert left[2] == -1
