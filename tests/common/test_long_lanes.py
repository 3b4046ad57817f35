"""Lanes in which hundreds wait, on a real Redis: the urgent still overtakes, and passes nothing it depends on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from common.lane_rules import depends
from common.lanes import Dispatcher
from orderlane.intents import Intent, decode_intent
from tests.common.pool_bench import Bench, bench_on, intent_json

LANE: Final = "main|BTC/USDT"
MANY: Final = 300


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    async with bench_on(redis_url) as bench:
        yield bench


async def sorted_in(bench: Bench) -> Dispatcher:
    """A worker that has sorted all there is into the lanes, and holds the head of each."""
    dispatcher, _ = bench.worker()
    while (await dispatcher.take(1)).more:
        pass
    return dispatcher


def rank_of(bench: Bench, entry: str) -> str:
    """Under which rank an entry waits."""
    ms, _, sequence = entry.partition("-")
    place = f"{chr(64 + len(ms))}{ms}{chr(64 + len(sequence))}{sequence}"
    members: Any = bench.admin.zrange(bench.keys.waiting, 0, -1)
    [found] = [one for one in members if one.decode().endswith(place)]
    return str(found.decode().partition("\0")[2][0])


def intent(**fields: Any) -> Intent:
    return decode_intent(intent_json(LANE, **{"id": "some"} | fields).encode())


def orders(bench: Bench, count: int = MANY, **fields: Any) -> None:
    for _ in range(count):
        bench.add(LANE, **fields)


async def test_an_emergency_close_overtakes_hundreds_that_wait(bench: Bench) -> None:
    orders(bench, strategy="grid")
    emergency = bench.add(LANE, priority=0, reduce_only=True, strategy="trend")
    dispatcher = await sorted_in(bench)
    assert rank_of(bench, emergency) == "0"
    assert (await dispatcher.take(1)).runs == ()


@pytest.mark.parametrize("behind", [0, 10, MANY], ids="{} behind it".format)
@pytest.mark.parametrize(
    ("needed", "urgent"),
    [
        ({"id": "x"}, {"kind": "cancel", "target": "x"}),
        ({"id": "x"}, {"kind": "amend", "target": "x", "priority": 1}),
        ({"id": "x"}, {"replaces": "x", "priority": 1}),
        ({"replaces": "x"}, {"kind": "cancel", "target": "x"}),
        ({"kind": "cancel", "target": "x", "priority": 5}, {"replaces": "x", "priority": 1}),
        ({"kind": "amend", "target": "x"}, {"replaces": "x", "priority": 1}),
        ({"strategy": "grid"}, {"reduce_only": True, "strategy": "grid"}),
        ({"strategy": "grid"}, {"leg": "close", "strategy": "grid", "priority": 1}),
        ({"strategy": "grid"}, {"kind": "cancel_all", "strategy": "grid"}),
        ({"strategy": "grid", "reduce_only": True, "priority": 5}, {"kind": "cancel_all", "strategy": "grid"}),
        ({"kind": "amend", "target": "x"}, {"kind": "cancel_all", "strategy": "grid"}),
        ({"kind": "cancel_all", "priority": 5}, {"priority": 1}),
        ({"kind": "cancel_all", "strategy": "grid", "priority": 5}, {"strategy": "grid", "priority": 1}),
        ({"kind": "cancel_all", "strategy": "grid", "priority": 5}, {"kind": "amend", "target": "y", "priority": 1}),
    ],
    ids=str,
)  # fmt: skip
async def test_the_urgent_never_passes_what_it_depends_on_however_long_the_lane(
    bench: Bench, needed: dict[str, Any], urgent: dict[str, Any], behind: int
) -> None:
    orders(bench, MANY - behind, strategy="other")
    bench.add(LANE, **needed)
    orders(bench, behind, strategy="other", priority=9)
    entry = bench.add(LANE, **urgent)
    await sorted_in(bench)
    assert rank_of(bench, entry) == "5"
    assert depends(intent(**urgent), intent(**needed)), "the rules say otherwise"


@pytest.mark.parametrize(
    "urgent",
    [
        {"kind": "cancel", "target": "elsewhere"},
        {"reduce_only": True, "strategy": "trend"},
        {"leg": "close", "strategy": "trend", "priority": 2},
        {"kind": "cancel_all", "strategy": "trend"},
        {"replaces": "elsewhere", "priority": 2},
    ],
    ids=str,
)
async def test_what_depends_on_none_of_them_passes_them_all(bench: Bench, urgent: dict[str, Any]) -> None:
    orders(bench, strategy="grid")
    entry = bench.add(LANE, **urgent)
    await sorted_in(bench)
    assert rank_of(bench, entry) == "2"
    assert not depends(intent(**urgent), intent(strategy="grid")), "the rules say otherwise"


async def test_a_cancel_all_for_all_strategies_passes_nothing(bench: Bench) -> None:
    orders(bench, strategy="grid")
    entry = bench.add(LANE, kind="cancel_all", priority=0)
    await sorted_in(bench)
    assert rank_of(bench, entry) == "5"


async def test_a_lane_that_grew_long_before_there_were_notes_gets_them(bench: Bench) -> None:
    bench.add(LANE, id="x")
    orders(bench)
    await sorted_in(bench)
    bench.admin.delete(bench.keys.notes)
    entry = bench.add(LANE, kind="cancel", target="x")
    dispatcher, _ = bench.worker()
    await dispatcher.take(0)
    assert rank_of(bench, entry) == "5"


async def test_notes_end_with_what_they_are_about(bench: Bench) -> None:
    orders(bench, strategy="grid")
    dispatcher, journal = bench.worker()
    holds = (await dispatcher.take(1)).runs
    while (await dispatcher.take(0)).more:
        pass
    assert bench.admin.zcard(bench.keys.notes) > MANY
    hold = holds[0]
    following = await bench.run(journal, hold)
    while following is not None:
        following = await bench.run(journal, following)
    assert bench.admin.exists(bench.keys.notes, bench.keys.waiting) == 0


async def test_short_lanes_have_no_notes(bench: Bench) -> None:
    bench.fill(lanes=10, each=100)
    await sorted_in(bench)
    assert bench.admin.exists(bench.keys.notes) == 0


async def test_whatever_is_under_the_key_of_the_notes_nothing_passes_and_nothing_fails(bench: Bench) -> None:
    bench.admin.set(bench.keys.notes, "foreign")
    orders(bench, strategy="grid")
    entry = bench.add(LANE, kind="cancel", target="elsewhere")
    dispatcher, journal = bench.worker()
    hold = (await dispatcher.take(1)).runs[0]
    while (await dispatcher.take(0)).more:
        pass
    assert rank_of(bench, entry) == "9"
    assert await bench.run(journal, hold) is not None
