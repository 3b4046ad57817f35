"""The orphan sweep on a real Redis: every case of what nobody would touch any more, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from common.lanes import Dispatcher, lane_keys
from orderlane.keys import GROUP
from tests.common.pool_bench import Bench, bench_on, snapshot
from workers.jobs.sweep import PHASES, sweep_exchange

LANE = "main|BTC/USDT"
OTHER = "main|ETH/USDT"


def admin(bench: Bench) -> Any:
    """The bench's blocking client, whose replies redis-py types as anything at all."""
    return bench.admin


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    async with bench_on(redis_url) as bench:
        yield bench


async def swept(bench: Bench, **bounds: int) -> dict[str, int]:
    return await sweep_exchange(bench.runner, bench.keys, {}, **bounds)


async def started(bench: Bench) -> Dispatcher:
    """A worker, so that the group is there; it takes nothing."""
    dispatcher, _ = bench.worker()
    await dispatcher.take(0)
    return dispatcher


def take_outside(bench: Bench, count: int, *, noack: bool = False) -> None:
    """An operator reads entries under a consumer name of his own."""
    read: Any = admin(bench).xreadgroup(
        GROUP, "operator", {bench.keys.intents: ">"}, count=count, noack=noack
    )
    assert len(read.popitem()[1][0] if isinstance(read, dict) else read[0][1]) == count


async def run_all(bench: Bench) -> list[str]:
    """Let a worker run everything, one lane at a time; the entries in the order of their turn."""
    dispatcher, journal = bench.worker()
    order = []
    while runs := (await dispatcher.take(1)).runs:
        hold = runs[0]
        while hold is not None:
            order.append(hold.entry)
            hold = await bench.run(journal, hold)  # type: ignore[assignment]
    return order


def pending(bench: Bench) -> list[tuple[str, str, int]]:
    rows = admin(bench).xpending_range(bench.keys.intents, GROUP, "-", "+", 100)
    return [(row["message_id"].decode(), row["consumer"].decode(), row["times_delivered"]) for row in rows]


async def test_entries_another_consumer_took_go_into_their_lanes_in_order(bench: Bench) -> None:
    await started(bench)
    entries = [bench.add() for _ in range(3)]
    take_outside(bench, 2)
    await started(bench)  # sorts the third into its lane, before the two older ones
    assert await swept(bench) == {"entries": 2}
    assert await run_all(bench) == entries
    assert pending(bench) == []
    assert await swept(bench) == {}


async def test_an_entry_brought_back_counts_no_deaths(bench: Bench) -> None:
    await started(bench)
    entry = bench.add()
    take_outside(bench, 1)
    for _ in range(5):
        admin(bench).xclaim(bench.keys.intents, GROUP, "operator", 0, [entry])
    await swept(bench)
    assert pending(bench) == [(entry, "pool", 1)]


@pytest.mark.parametrize("acked", [True, False])
async def test_entries_that_were_acked_but_not_run_are_not_lost(bench: Bench, acked: bool) -> None:
    await started(bench)
    entry = bench.add()
    take_outside(bench, 1, noack=not acked)
    if acked:
        admin(bench).xack(bench.keys.intents, GROUP, entry)
    assert await swept(bench) == {"entries": 1}
    assert await run_all(bench) == [entry]


async def test_an_entry_that_is_no_intent_goes_into_a_lane_of_its_own(bench: Bench) -> None:
    await started(bench)
    entry = bench.append({"intent": b"\xff"})
    take_outside(bench, 1)
    assert await swept(bench) == {"entries": 1}
    dispatcher, _ = bench.worker()
    assert [(hold.lane, hold.entry) for hold in (await dispatcher.take(9)).runs] == [(f"!{entry}", entry)]


async def test_what_is_held_in_whatever_way_is_left_as_it_is(bench: Bench) -> None:
    """Waiting with any urgency, behind what it depends on, in hand, begun, parked, not yet read, no intent."""
    for priority in range(10):
        bench.add(f"main|{priority}/USDT", priority=priority)
        bench.add(f"main|{priority}/USDT")
    bench.add(LANE)
    bench.add(LANE, kind="cancel", target="n21")
    bench.append({"foreign": "field"})
    dispatcher, journal = bench.worker()
    runs = (await dispatcher.take(8)).runs
    await bench.begin(journal, runs[0])
    admin(bench).zadd(bench.keys.parked, {OTHER: 1, "main|9/USDT": 1})
    bench.add(OTHER)
    await dispatcher.take(0)
    admin(bench).zrem(bench.keys.ready, "main|9/USDT")
    bench.add("main|unread/USDT")
    before = bench.snapshot()
    assert await swept(bench) == {}
    assert bench.snapshot() == before


async def test_lanes_of_a_worker_that_is_gone_become_free(bench: Bench) -> None:
    """Where nobody reaps: its lease was lost with Redis' last second, or no other worker runs."""
    entries = [bench.add(LANE), bench.add(OTHER)]
    lost, _ = bench.worker()
    await lost.take(1)
    ended, _ = bench.worker()
    await ended.take(1)
    living = await started(bench)
    admin(bench).zrem(bench.keys.workers, lost.worker_id)
    bench.end_lease(ended.worker_id)
    assert await swept(bench) == {"owners": 2, "workers": 2}
    assert admin(bench).hgetall(bench.keys.owners) == {}
    assert admin(bench).zrange(bench.keys.workers, 0, -1) == [living.worker_id.encode()]
    taken = await living.take(9)
    assert [hold.entry for hold in taken.runs] == entries
    assert [hold.deaths for hold in taken.runs] == [1, 1]
    assert taken.reaped == 0


async def test_what_is_left_of_workers_that_are_gone_is_removed(bench: Bench) -> None:
    living = await started(bench)
    admin(bench).hset(bench.keys.load, "gone:1:a", 3)
    admin(bench).hset(bench.keys.grants, "gone:1:a", 3)
    admin(bench).zadd(bench.keys.hungry, {"gone:2:b": 3})
    assert await swept(bench) == {"workers": 2}
    assert admin(bench).hkeys(bench.keys.grants) == [living.worker_id.encode()]
    assert admin(bench).hkeys(bench.keys.load) == []
    assert admin(bench).zrange(bench.keys.hungry, 0, -1) == []


async def test_lanes_with_work_that_nobody_would_run_become_ready(bench: Bench) -> None:
    bench.add(LANE)
    bench.add(OTHER)
    dispatcher = await started(bench)
    admin(bench).delete(bench.keys.ready)
    assert await swept(bench) == {"lanes": 2}
    assert len((await dispatcher.take(9)).runs) == 2


async def test_a_parked_lane_without_work_is_parked_no_more(bench: Bench) -> None:
    admin(bench).zadd(bench.keys.parked, {LANE: 1})
    await started(bench)
    assert await swept(bench) == {"parked": 1}
    bench.add(LANE)
    dispatcher, _ = bench.worker()
    assert len((await dispatcher.take(1)).runs) == 1


async def test_entries_deleted_from_the_stream_are_not_waited_for_for_ever(bench: Bench) -> None:
    await started(bench)
    entry = bench.add()
    take_outside(bench, 1)
    admin(bench).xdel(bench.keys.intents, entry)
    assert await swept(bench) == {"pending": 1}
    assert pending(bench) == []


async def test_a_queue_whose_entry_was_deleted_is_left_to_the_worker(bench: Bench) -> None:
    entry = bench.add()
    dispatcher = await started(bench)
    admin(bench).xdel(bench.keys.intents, entry)
    waiting = admin(bench).zrange(bench.keys.waiting, 0, -1)
    await swept(bench)
    assert admin(bench).zrange(bench.keys.waiting, 0, -1) == waiting
    assert [hold.fields for hold in (await dispatcher.take(1)).runs] == [()]


async def test_a_pool_that_never_ran_is_left_alone(bench: Bench) -> None:
    assert await swept(bench) == {}
    entry = bench.add()
    before = bench.snapshot()
    assert await swept(bench) == {}
    assert bench.snapshot() == before
    assert await run_all(bench) == [entry]


async def test_what_one_run_does_not_reach_the_next_one_goes_on_with(bench: Bench) -> None:
    await started(bench)
    entries = [bench.add(f"main|{number}/USDT") for number in range(7)]
    take_outside(bench, 7)
    cursors: dict[str, str] = {}
    found = []
    for _ in range(4):
        found.append(await sweep_exchange(bench.runner, bench.keys, cursors, page=2, pages=1))
    assert [run.get("entries") for run in found] == [2, 2, 2, 1]
    assert "entries" not in cursors
    assert sorted(await run_all(bench)) == entries


@pytest.mark.parametrize("phase", PHASES)
async def test_each_phase_run_twice_leaves_what_it_left_once(bench: Bench, phase: str) -> None:
    await started(bench)
    bench.add()
    take_outside(bench, 1)
    bench.add(OTHER)
    gone, _ = bench.worker()
    await gone.take(1)
    bench.end_lease(gone.worker_id)
    admin(bench).zadd(bench.keys.parked, {"main|X/Y": 1})
    admin(bench).hset(bench.keys.load, "gone:1:a", 3)
    bench.add("main|Z/Y")
    await started(bench)
    admin(bench).delete(bench.keys.ready)
    await bench.runner.run(
        "sweep", [*lane_keys(bench.keys), bench.keys.unseen, bench.keys.notes], [phase, "", 100]
    )
    once = snapshot(bench.admin)
    again = await bench.runner.run(
        "sweep", [*lane_keys(bench.keys), bench.keys.unseen, bench.keys.notes], [phase, "", 100]
    )
    assert again == [b"", 0]
    assert snapshot(bench.admin) == once
