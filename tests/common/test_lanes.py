"""Dispatch on a real Redis: what the state machine does not say by name."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.lanes import IDLE_LEASES, READ_COUNT, Dispatcher, Doubt, Hold, LeaseLost, new_worker_id
from common.redis import REPLY_LOST, Argument
from orderlane.keys import KNOWN
from orderlane.orders import Reason
from tests.common.pool_bench import LEASE_MS, Bench, bench_on, intent_json, run_out_of_time


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    async with bench_on(redis_url) as bench:
        yield bench


# Leases


async def test_a_lease_that_was_not_renewed_can_not_be_relied_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr("common.lanes.time", SimpleNamespace(monotonic=lambda: now))
    bench.add()
    dispatcher, _ = bench.worker()
    await dispatcher.take(1)
    now += LEASE_MS / 1000 * 0.94
    dispatcher.require_lease()
    now += LEASE_MS / 1000 * 0.02
    with pytest.raises(LeaseLost, match=re.escape(dispatcher.worker_id)):
        dispatcher.require_lease()
    await dispatcher.heartbeat()
    dispatcher.require_lease()


def lease_left_ms(bench: Bench, dispatcher: Dispatcher) -> float:
    seconds, microseconds = bench.admin.time()
    lease = bench.admin.zscore(bench.keys.workers, dispatcher.worker_id)
    assert lease is not None
    return lease - seconds * 1000 - microseconds / 1000


async def test_a_worker_without_lanes_keeps_its_place_for_longer_until_it_has_one(bench: Bench) -> None:
    dispatcher, journal = bench.worker()
    await dispatcher.take(1)
    assert lease_left_ms(bench, dispatcher) > LEASE_MS * (IDLE_LEASES - 1)
    bench.add()
    (hold,) = (await dispatcher.take(1)).runs
    assert lease_left_ms(bench, dispatcher) <= LEASE_MS
    assert await dispatcher.heartbeat(idle=True)
    assert lease_left_ms(bench, dispatcher) <= LEASE_MS
    await journal.close_entry(hold)
    assert await dispatcher.heartbeat(idle=False)
    assert lease_left_ms(bench, dispatcher) <= LEASE_MS
    assert await dispatcher.heartbeat(idle=True)
    assert lease_left_ms(bench, dispatcher) > LEASE_MS * (IDLE_LEASES - 1)


async def test_a_lease_shortened_by_a_take_under_way_is_not_relied_on_for_longer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a heartbeat that came before the take may be read after the take's."""
    dispatcher, _ = bench.worker()
    await dispatcher.take(1)
    bench.add()
    run = bench.runner.run

    async def overtaken(name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        answer = await run(name, keys, arguments)
        if name == "heartbeat":
            assert len((await dispatcher.take(1)).runs) == 1
        return answer

    monkeypatch.setattr(bench.runner, "run", overtaken)
    now = time.monotonic()
    await dispatcher.heartbeat(idle=True)
    monkeypatch.setattr("common.lanes.time", SimpleNamespace(monotonic=lambda: now + LEASE_MS / 1000))
    with pytest.raises(LeaseLost):
        dispatcher.require_lease()


async def test_whoever_takes_learns_when_the_first_lease_of_another_with_lanes_ends(bench: Bench) -> None:
    (idle, _), (one, _), (other, _) = bench.worker(), bench.worker(), bench.worker()
    await idle.take(1)
    await one.take(1)
    assert (await idle.take(1)).next_end_ms == 0
    for worker, symbol in ((one, "BTC/USDT"), (other, "ETH/USDT")):
        bench.add(f"main|{symbol}")
        assert len((await worker.take(1)).runs) == 1
    ends: list[Any] = [bench.admin.zscore(bench.keys.workers, worker.worker_id) for worker in (one, other)]
    assert (await idle.take(0)).next_end_ms == min(ends)
    await one.release_all()
    await other.heartbeat()
    assert (await idle.take(0)).next_end_ms == bench.admin.zscore(bench.keys.workers, other.worker_id)
    assert (await other.take(0)).next_end_ms == 0


async def test_a_lease_that_has_ended_is_not_renewed(bench: Bench) -> None:
    dispatcher, _ = bench.worker()
    await dispatcher.take(1)
    bench.end_lease(dispatcher.worker_id)
    with pytest.raises(LeaseLost):
        await dispatcher.heartbeat()
    with pytest.raises(LeaseLost):
        await dispatcher.take(1)


async def test_a_heartbeat_keeps_the_lease_and_leaving_ends_it(bench: Bench) -> None:
    dispatcher, _ = bench.worker()
    await dispatcher.take(1)
    bench.admin.zadd(bench.keys.workers, {dispatcher.worker_id: 9e12})
    await dispatcher.heartbeat()
    seconds, _ = bench.admin.time()
    lease = bench.admin.zscore(bench.keys.workers, dispatcher.worker_id)
    assert lease is not None
    assert lease < (seconds + 3600) * 1000
    dispatcher.require_lease()
    await dispatcher.release_all()
    with pytest.raises(LeaseLost):
        dispatcher.require_lease()


async def test_a_first_call_that_was_lost_blocks_no_lane(bench: Bench) -> None:
    bench.add()
    one, (other, _) = bench.worker()[0], bench.worker()
    bench.runner.faults["take"] = "lost"
    with pytest.raises(REPLY_LOST):
        await one.take(1)
    assert len((await other.take(1)).runs) == 1


@pytest.mark.parametrize("in_time", [True, False])
async def test_a_first_call_that_arrives_late_is_refused_before_and_after_its_time(
    bench: Bench, in_time: bool
) -> None:
    bench.add()
    dispatcher, _ = bench.worker()
    bench.runner.faults["take"] = "delayed"
    with pytest.raises(REPLY_LOST):
        await dispatcher.take(1)
    if not in_time:
        bench.end_lease(dispatcher.worker_id)
        await bench.worker()[0].take(0)  # buries it
        run_out_of_time(bench.runner.sent[0])
    before = bench.snapshot()
    assert await bench.runner.arrive() == [b"stale" if in_time else b"lost"]
    assert bench.snapshot() == before


async def test_a_release_is_repeated_until_it_is_answered(bench: Bench) -> None:
    bench.add()
    dispatcher, _ = bench.worker()
    bench.runner.faults |= {"take": "lost", "release": "delayed"}
    with pytest.raises(REPLY_LOST):
        await dispatcher.take(1)
    assert not bench.admin.exists(bench.keys.owners)
    assert len((await dispatcher.take(1)).runs) == 1


async def test_a_worker_that_can_not_give_back_what_it_does_not_know_of_is_over(bench: Bench) -> None:
    """Else those lanes would wait for as long as it lives."""
    bench.add()
    dispatcher, _ = bench.worker()
    bench.runner.faults |= {"take": "lost", "release": "refused"}
    with pytest.raises(LeaseLost):
        await dispatcher.take(1)


def test_a_worker_id_is_new_each_time_and_can_be_told_from_its_grant() -> None:
    ids = {new_worker_id() for _ in range(100)}
    assert len(ids) == 100
    assert not any(set("#@") & set(one) for one in ids)


async def test_redis_time_is_known_to_a_worker_that_has_taken(bench: Bench) -> None:
    dispatcher, _ = bench.worker()
    asked = await dispatcher._redis_time_ms()
    await dispatcher.take(0)
    known = dispatcher.redis_now_ms()
    assert asked - 2 <= known
    assert dispatcher.seconds_since_renewal() >= 0


def test_doubt_covers_what_was_appended_up_to_its_end() -> None:
    def hold(entry: str) -> Hold:
        return Hold(lane="a|B", owner="w#1", rank="5", entry=entry, deaths=0, fields=())

    doubt = Doubt(since_ms=50, before_ms=100)
    assert [doubt.covers(hold(entry)) for entry in ("99-0", "100-7", "101-0")] == [True, True, False]
    assert not Doubt().covers(hold("1-0"))


# Entries


async def test_a_death_is_counted_for_the_entry_in_hand_not_for_what_arrived_meanwhile(bench: Bench) -> None:
    in_hand = bench.add()
    dispatcher, _ = bench.worker()
    assert [hold.entry for hold in (await dispatcher.take(1)).runs] == [in_hand]
    urgent = bench.add(priority=0)
    other, journal = bench.worker()
    await other.take(0)
    bench.end_lease(dispatcher.worker_id)
    taken = await other.take(1)
    assert taken.reaped == 1
    assert [(hold.entry, hold.deaths) for hold in taken.runs] == [(urgent, 0)]
    following = await bench.run(journal, taken.runs[0])
    assert following is not None
    assert (following.entry, following.deaths) == (in_hand, 1)


async def test_each_death_counts_once_and_leaving_in_order_counts_none(bench: Bench) -> None:
    bench.add()
    for deaths in (0, 1, 2, 3):
        dispatcher, _ = bench.worker()
        (hold,) = (await dispatcher.take(1)).runs
        assert hold.deaths == deaths
        await dispatcher.release_all()
        dispatcher, _ = bench.worker()
        (hold,) = (await dispatcher.take(1)).runs
        assert hold.deaths == deaths
        bench.end_lease(dispatcher.worker_id)


async def test_a_replayed_entry_is_met_as_begun_before_anything_more_urgent(bench: Bench) -> None:
    entry = bench.add()
    dispatcher, journal = bench.worker()
    (hold,) = (await dispatcher.take(1)).runs
    assert not hold.begun
    await bench.begin(journal, hold)
    bench.add(priority=0)
    bench.end_lease(dispatcher.worker_id)
    (again,) = (await bench.worker()[0].take(1)).runs
    assert (again.entry, again.begun) == (entry, True)


async def test_more_than_one_call_reads_is_said_to_be_more(bench: Bench) -> None:
    for _ in range(READ_COUNT + 1):
        bench.add()
    dispatcher, _ = bench.worker()
    assert [(await dispatcher.take(1)).more for _ in range(2)] == [True, False]


async def test_entries_whose_stream_was_deleted_are_still_handed_out_and_closed(bench: Bench) -> None:
    bench.add()
    bench.add("sub|ETH/USDT")
    first, _ = bench.worker()
    assert len((await first.take(2)).runs) == 2
    bench.admin.delete(bench.keys.intents)
    bench.end_lease(first.worker_id)
    second, journal = bench.worker()
    runs = (await second.take(2)).runs
    assert [hold.fields for hold in runs] == [(), ()]
    for hold in runs:
        assert await journal.close_entry(hold) is None
    assert not bench.admin.exists(bench.keys.waiting)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
ODD_INTENTS = st.builds(
    lambda kind, odd: json.dumps(json.loads(intent_json("main|BTC/USDT", id="n", kind=kind)) | odd),
    st.sampled_from(["place", "cancel", "amend", "cancel_all", "other"]),
    st.dictionaries(
        st.sampled_from(["kind", "id", "account", "symbol", "priority", "target", "strategy", "reduce_only"]),
        JSON | st.sampled_from([-0.0, 0, 9, 9.5, -1, 1e300, "a\0b", "a\n", "é", "x" * 65]),
        max_size=4,
    ),
)
FIELDS = st.dictionaries(st.binary(max_size=8), st.binary(max_size=40), min_size=1, max_size=3)


async def bury_all(bench: Bench, entries: list[dict[bytes, bytes]]) -> None:
    """Append the entries; take and close each, once."""
    added = {bench.append(fields) for fields in entries}  # type: ignore[arg-type]
    dispatcher, journal = bench.worker()
    holds, closed = list((await dispatcher.take(9)).runs), []
    while holds:
        hold = holds.pop()
        closed.append(hold.entry)
        following = await journal.close_entry(hold, dead=Reason("invalid_intent", "odd"))
        holds += [following] if following else []
    assert sorted(closed) == sorted(added)
    assert bench.admin.xlen(bench.keys.dead) == len(added)
    assert bench.admin.xlen(bench.keys.intents) == 0


@settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(ODD_INTENTS.map(lambda text: {b"intent": text.encode()}) | FIELDS, min_size=1, max_size=6))
def test_no_entry_whatever_is_in_it_stops_the_pool(redis_url: str, entries: list[dict[bytes, bytes]]) -> None:
    async def play() -> None:
        async with bench_on(redis_url) as bench:
            bench.admin.flushall()
            await bury_all(bench, entries)

    asyncio.run(play())


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(intent_json("main|BTC/USDT", id="n", priority=-0.0), id="a priority of minus zero"),
        pytest.param("[" * 60_000, id="deep nesting"),
        pytest.param(json.dumps("x" * 1_000_000), id="a megabyte"),
        pytest.param("null", id="null"),
        pytest.param(intent_json("main|BTC/USDT\0!", id="n"), id="a lane with a NUL"),
        pytest.param(intent_json("main|BTC/USDT\n", id="n"), id="a lane with a line break"),
        pytest.param(intent_json("main|" + "B" * 65, id="n"), id="a lane that is too long"),
    ],
)
async def test_an_odd_payload_is_handed_out_like_any_other(bench: Bench, payload: str) -> None:
    await bury_all(bench, [{b"intent": payload.encode()}, {b"intent": intent_json("main|BTC/USDT").encode()}])


async def test_the_greatest_stream_ids_there_are_keep_their_order(bench: Bench) -> None:
    ids = [f"{9**n}-{2**64 - 1 - n % 2}" for n in range(15, 20)] + [f"{2**64 - 1}-1"]
    for name in ids:
        bench.admin.xadd(bench.keys.intents, {"intent": intent_json("main|BTC/USDT", id="n")}, id=name)
    dispatcher, journal = bench.worker()
    hold: Hold | None = (await dispatcher.take(1)).runs[0]
    seen = []
    while hold is not None:
        seen.append(hold.entry)
        hold = await journal.close_entry(hold)
    assert seen == ids


async def test_the_dead_hold_what_can_be_sent_again(bench: Bench) -> None:
    bench.append({"intent": "{cut"})
    bench.append({"a": "1", "b": "2"})
    dispatcher, journal = bench.worker()
    for hold in (await dispatcher.take(2)).runs:
        await journal.close_entry(hold, dead=Reason("malformed_json", "no JSON"))
    buried: Any = bench.admin.xrange(bench.keys.dead)
    assert [fields[b"payload"] for _, fields in buried] == [b"{cut", b'["a","1","b","2"]']


# Keys


async def test_two_pools_in_one_redis_do_not_touch_each_other(redis_url: str) -> None:
    async with bench_on(redis_url, "one") as one, bench_on(redis_url, "two") as two:
        for bench in (one, two):
            bench.add()
        (dispatcher, journal), (other, _) = one.worker(), two.worker()
        (theirs,) = (await other.take(5)).runs
        two_before = {key: value for key, value in two.snapshot().items() if key.startswith("two:")}
        (hold,) = (await dispatcher.take(5)).runs
        one.end_lease(other.worker_id)
        assert await one.run(journal, hold) is None
        await dispatcher.take(5)
        await dispatcher.release_all()
        assert {key: value for key, value in two.snapshot().items() if key.startswith("two:")} == two_before
        assert theirs.owner.startswith(other.worker_id)


async def test_every_key_is_known_and_a_pool_at_rest_keeps_only_streams_records_and_the_servers_name(
    bench: Bench,
) -> None:
    bench.fill(lanes=4, each=3)
    bench.append({"intent": "{"})
    workers = [bench.worker() for _ in range(2)]
    while bench.admin.xlen(bench.keys.intents):
        for dispatcher, journal in workers:
            for hold in (await dispatcher.take(3)).runs:
                following: Hold | None = hold
                while following is not None:
                    if hold.lane.startswith("!"):
                        following = await journal.close_entry(hold, dead=Reason("malformed_json", "no JSON"))
                    else:
                        following = await bench.run(journal, following)
            assert known(bench.admin)
    for dispatcher, _ in workers:
        await dispatcher.release_all()
    names = {key.rpartition("}:")[2].partition(":")[0] for key in known(bench.admin)}
    assert names == {"intents", "events", "dead", "bell", "control", "drained", "order"} - (
        set() if bench.admin.exists(bench.keys.bell) else {"bell"}
    )
    assert all(bench.admin.ttl(key) > 0 for key in known(bench.admin) if ":order:" in key)


def known(client: redis.Redis) -> list[str]:
    keys = [key.decode() for key in client.scan_iter()]
    assert [key for key in keys if not KNOWN.match(key)] == []
    return keys


async def test_a_take_that_asks_for_nothing_only_renews(bench: Bench) -> None:
    bench.add()
    dispatcher: Dispatcher = bench.worker()[0]
    assert (await dispatcher.take(0)).runs == ()
    assert bench.admin.zcard(bench.keys.ready) == 1
    assert not bench.admin.exists(bench.keys.hungry)
