from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from orderlane.keys import KNOWN
from tests.common.pool_bench import Bench, bench_on
from workers.jobs import trimming
from workers.jobs.trimming import Trimmed, trim_exchange

DAY_MS = 86_400_000


def admin(bench: Bench) -> Any:
    """The bench's blocking client, whose replies redis-py types as anything at all."""
    return bench.admin


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    async with bench_on(redis_url) as bench:
        yield bench


async def trimmed(bench: Bench) -> Trimmed:
    return await trim_exchange(
        bench.runner, bench.keys, ["main"], event_retention_ms=DAY_MS, dead_retention_ms=7 * DAY_MS
    )


def fill(bench: Bench, stream: str, ages_ms: list[int]) -> list[bytes]:
    """Put entries of these ages into a stream, oldest first; their ids."""
    seconds, microseconds = admin(bench).time()
    now_ms = seconds * 1000 + microseconds // 1000
    return [
        admin(bench).xadd(stream, {"event": "{}"}, id=f"{now_ms - age}-{number}")
        for number, age in enumerate(ages_ms, 1)
    ]


async def test_events_and_dead_letters_are_kept_as_long_as_configured(bench: Bench) -> None:
    kept = fill(bench, bench.keys.events, [2 * DAY_MS] * 350 + [DAY_MS // 2] * 3)[350:]
    letters = fill(bench, bench.keys.dead, [8 * DAY_MS, 2 * DAY_MS])
    assert await trimmed(bench) == Trimmed(events=350, dead=1, forgotten=0)
    assert [entry for entry, _ in admin(bench).xrange(bench.keys.events)] == kept
    assert [entry for entry, _ in admin(bench).xrange(bench.keys.dead)] == letters[1:]
    assert await trimmed(bench) == Trimmed(0, 0, 0)


async def test_a_long_stream_is_trimmed_by_many_short_commands(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trimming, "TRIM_COUNT", 200)
    fill(bench, bench.keys.events, [2 * DAY_MS] * 950)
    admin(bench).config_resetstat()
    assert (await trimmed(bench)).events == 950
    assert admin(bench).info("commandstats")["cmdstat_xtrim"]["calls"] > 4


async def test_index_entries_without_a_record_are_forgotten(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trimming, "PAGE", 2)
    names = [letter * 25 for letter in "abcdefg"]
    for index in (bench.keys.open("main"), bench.keys.open("registered"), bench.keys.unknown):
        admin(bench).zadd(index, {name: number for number, name in enumerate(names)})
    admin(bench).sadd(bench.keys.accounts, "registered")
    for name in names[::3]:
        admin(bench).hset(bench.keys.order(name), "status", "ACTIVE")
    assert (await trimmed(bench)).forgotten == 12
    for index in (bench.keys.open("main"), bench.keys.open("registered"), bench.keys.unknown):
        assert admin(bench).zrange(index, 0, -1) == [name.encode() for name in names[::3]]


async def test_the_bell_is_kept_short(bench: Bench) -> None:
    for _ in range(40):
        admin(bench).xadd(bench.keys.bell, {"lane": "1"})
    last = admin(bench).xrevrange(bench.keys.bell, count=1)
    await trimmed(bench)
    assert admin(bench).xlen(bench.keys.bell) == 16
    assert admin(bench).xrevrange(bench.keys.bell, count=1) == last


async def test_trimming_an_empty_pool_writes_nothing(bench: Bench) -> None:
    await trimmed(bench)
    assert [key for key in admin(bench).scan_iter() if not KNOWN.match(key.decode())] == []
    assert admin(bench).exists(bench.keys.events, bench.keys.dead, bench.keys.bell) == 0
