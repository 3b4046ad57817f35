"""What is told of a backlog, and when, on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from common.lanes import READ_COUNT
from orderlane.events import Event, EventName, decode_event
from tests.common.pool_bench import Bench, bench_on
from workers.jobs.backlog import MOST_ACCOUNTS, OLD_MS, tell_backlog_of


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    async with bench_on(redis_url) as bench:
        yield bench


async def tell(bench: Bench) -> list[Event]:
    """The events of this name after one run of the job."""
    await tell_backlog_of(bench.runner.client, bench.keys)
    entries: Any = bench.admin.xrange(bench.keys.events)
    events = [decode_event(entry.decode(), fields[b"event"]) for entry, fields in entries]
    return [event for event in events if event.name is EventName.BACKLOG]


def old(bench: Bench, lane: str = "main|BTC/USDT") -> str:
    """An entry that has waited for longer than a period."""
    seconds, _ = bench.admin.time()
    fields = {
        "intent": f'{{"kind":"place","account":"{lane.split("|")[0]}","symbol":"{lane.split("|")[1]}"}}'
    }
    entry: Any = bench.admin.xadd(bench.keys.intents, fields, id=f"{(int(seconds) - 60) * 1000}-1")  # type: ignore[arg-type]
    return str(entry.decode())


async def test_nothing_is_told_of_an_idle_pool_or_of_intents_that_just_came(bench: Bench) -> None:
    assert await tell(bench) == []
    bench.fill(lanes=3, each=5)
    assert await tell(bench) == []


async def test_an_old_backlog_is_told_until_it_is_gone_and_once_more(bench: Bench) -> None:
    old(bench)
    bench.fill(lanes=2, each=2)
    bench.admin.sadd(bench.keys.accounts, "main")
    dispatcher, journal = bench.worker()
    holds = list((await dispatcher.take(9)).runs)
    [event] = await tell(bench)
    assert (event.numbers["depth"], event.numbers["account:main"]) == ("5", "5")
    assert int(event.numbers["oldest_ms"]) >= OLD_MS
    assert len(await tell(bench)) == 2
    for hold in holds:
        following = await journal.close_entry(hold)
        while following is not None:
            following = await journal.close_entry(following)
    last = (await tell(bench))[-1]
    assert (last.numbers["depth"], last.numbers["oldest_ms"]) == ("0", "0")
    assert len(await tell(bench)) == 3, "and then no more"
    assert bench.admin.hget(bench.keys.drained, "total") == b"5"


async def test_what_waits_for_a_person_alone_is_not_told_again_and_again(bench: Bench) -> None:
    old(bench)
    dispatcher, _ = bench.worker()
    (hold,) = (await dispatcher.take(1)).runs
    bench.admin.zadd(bench.keys.parked, {hold.lane: 1})
    bench.fill(lanes=2, each=2)
    await dispatcher.take(9)
    assert await tell(bench) == []
    bench.admin.zrem(bench.keys.parked, hold.lane)
    assert len(await tell(bench)) == 1


async def test_only_the_deepest_accounts_are_named(bench: Bench) -> None:
    old(bench)
    for number in range(8):
        bench.admin.hset(bench.keys.unread, f"account-{number}", number + 1)
    [event] = await tell(bench)
    named = [name for name in event.numbers if name.startswith("account:")]
    assert named == [f"account:account-{number}" for number in range(7, 7 - MOST_ACCOUNTS, -1)]


async def test_every_end_counts_once_whoever_ran_it(bench: Bench) -> None:
    bench.fill(lanes=6, each=4)
    bench.append({"intent": "{"})
    workers = [bench.worker() for _ in range(2)]
    for turn in range(40):
        dispatcher, journal = workers[turn % 2]
        for hold in (await dispatcher.take(2)).runs:
            bench.runner.faults["close_entry"] = "lost"
            following = await journal.close_entry(hold)
            while following is not None:
                following = await journal.close_entry(following)
    assert bench.admin.xlen(bench.keys.intents) == 0
    assert bench.admin.hget(bench.keys.drained, "total") == b"25"


async def test_what_clients_added_is_unread_until_a_worker_has_sorted_it_in(bench: Bench) -> None:
    count = READ_COUNT + 3
    for number in range(count):
        bench.add(f"main|S{number}/USDT")
    bench.admin.hset(bench.keys.unread, "main", count)
    bench.admin.hset(bench.keys.unread, "alt", 5)
    dispatcher, _ = bench.worker()
    await dispatcher.take(0)
    assert bench.admin.hgetall(bench.keys.unread) == {b"main": b"3", b"alt": b"5"}
    await dispatcher.take(0)
    assert not bench.admin.exists(bench.keys.unread), "everything has been read: no drift stays"
