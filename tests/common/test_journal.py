"""The journal on a real Redis: fenced writes, lost replies, and what the exchange's reports make of a record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from common.exchange.base import OrderReport
from common.journal import Conflict, Journal, Then, Written
from common.lanes import Dispatcher, Hold, LeaseLost
from common.redis import REPLY_LOST, ScriptRunner, connect_pool
from common.redis_server import EmbeddedRedis
from orderlane.events import Event, EventName, decode_event
from orderlane.intents import intent_digest
from orderlane.orders import Order, OrderStatus, Reason
from tests.common.pool_bench import LEASE_MS, RETENTION_MS, Bench, bench_on
from tests.lossy_proxy import LossyProxy

ACTIVE, PARTIAL, FILLED = OrderStatus.ACTIVE, OrderStatus.PARTIAL, OrderStatus.FILLED
CANCELED, REJECTED = OrderStatus.CANCELED, OrderStatus.REJECTED
QUEUED, SUBMITTED, UNKNOWN = OrderStatus.QUEUED, OrderStatus.SUBMITTED, OrderStatus.UNKNOWN


# Writing


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    async with bench_on(redis_url) as bench:
        yield bench


def report_of(status: OrderStatus, filled: int) -> OrderReport:
    return OrderReport(
        client_order_id="c",
        exchange_order_id="7",
        symbol="BTC/USDT",
        status=status,
        filled=Decimal(filled),
        exchange_at=1,
    )


def events_of(bench: Bench) -> list[Event]:
    entries: Any = bench.admin.xrange(bench.keys.events)
    return [decode_event(entry.decode(), fields[b"event"]) for entry, fields in entries]


async def in_hand(bench: Bench, **fields: Any) -> tuple[Dispatcher, Journal, Hold]:
    """A worker with one entry in hand."""
    bench.add(**fields)
    dispatcher, journal = bench.worker()
    return dispatcher, journal, (await dispatcher.take(1)).runs[0]


def replaced(order: Order, status: OrderStatus) -> Order:
    return msgspec.structs.replace(order, status=status)


async def test_every_transition_is_one_event_that_says_from_and_to(bench: Bench) -> None:
    _, journal, hold = await in_hand(bench)
    steps: list[tuple[OrderStatus, Then]] = [
        (SUBMITTED, Then.BEGIN), (UNKNOWN, Then.KEEP), (SUBMITTED, Then.BEGIN), (ACTIVE, Then.KEEP),
        (PARTIAL, Then.KEEP), (FILLED, Then.FINISH),
    ]  # fmt: skip
    order: Order | None = None
    for status, then in steps:
        written = await journal.write(
            replaced(order or bench.order(hold), status), order, hold=hold, then=then
        )
        assert isinstance(written, Written)
        order = written.order
        assert order == await journal.read(order.client_order_id)
    reached = [status for status, _ in steps]
    assert [(event.from_status, event.to_status) for event in events_of(bench)] == list(
        zip([QUEUED, *reached], reached, strict=False)
    )
    assert order is not None
    assert (order.version, order.entry) == (6, hold.entry)


async def test_a_refused_write_leaves_no_event(bench: Bench) -> None:
    dispatcher, journal, hold = await in_hand(bench)
    order = await bench.begin(journal, hold)
    stale = msgspec.structs.replace(order, version=order.version + 1)
    before = bench.snapshot()
    conflict = await journal.write(replaced(order, FILLED), stale, hold=hold, then=Then.FINISH)
    assert conflict == Conflict(order, intent_digest(order.intent))
    bench.end_lease(dispatcher.worker_id)
    with pytest.raises(LeaseLost):
        await journal.write(replaced(order, FILLED), order, hold=hold, then=Then.FINISH)
    bench.admin.zadd(bench.keys.workers, {dispatcher.worker_id: 9e12})
    after = bench.snapshot()
    assert {k: v for k, v in after.items() if k != bench.keys.workers} == {
        k: v for k, v in before.items() if k != bench.keys.workers
    }


async def test_a_worker_writes_nothing_once_another_runs_its_lane(bench: Bench) -> None:
    dispatcher, journal, hold = await in_hand(bench)
    order = await bench.begin(journal, hold)
    bench.end_lease(dispatcher.worker_id)
    other, _ = bench.worker()
    assert (await other.take(1)).runs[0].entry == hold.entry
    # Its lease renewed by a clock that ran backwards: the lane is another's all the same.
    bench.admin.zadd(bench.keys.workers, {dispatcher.worker_id: 9e12})
    before = bench.snapshot()
    for then in Then:
        with pytest.raises(LeaseLost):
            await journal.write(replaced(order, UNKNOWN), order, hold=hold, then=then)
    with pytest.raises(LeaseLost):
        await journal.close_entry(hold)
    assert bench.snapshot() == before


async def test_a_lane_got_anew_by_the_same_worker_is_not_run_under_the_old_grant(bench: Bench) -> None:
    dispatcher, journal, hold = await in_hand(bench)
    await dispatcher._release_grant(1)
    (again,) = (await dispatcher.take(1)).runs
    assert (again.lane, again.owner != hold.owner) == (hold.lane, True)
    with pytest.raises(LeaseLost):
        await bench.begin(journal, hold)
    await bench.begin(journal, again)


async def test_an_entry_that_repeats_a_known_id_conflicts_with_the_record_of_the_first(bench: Bench) -> None:
    dispatcher, journal, hold = await in_hand(bench, id="same")
    first = await bench.begin(journal, hold)
    bench.add(id="same", amount="2")
    await dispatcher.take(0)
    following = await bench.finish(journal, hold, first)
    assert following is not None
    conflict = await journal.write(bench.order(following, SUBMITTED), None, hold=following, then=Then.BEGIN)
    assert isinstance(conflict, Conflict)
    assert conflict.current is not None
    assert (conflict.current.status, conflict.current.entry) == (FILLED, hold.entry)
    assert conflict.digest == intent_digest(first.intent) != intent_digest(bench.order(following).intent)


async def test_a_record_that_the_client_queued_is_begun_by_its_own_entry_alone(bench: Bench) -> None:
    for entry_matches in (True, False):
        _, journal, hold = await in_hand(bench)
        order = bench.order(hold)
        bench.admin.hset(
            bench.keys.order(order.client_order_id),
            mapping={"status": "QUEUED", "version": 1, "entry": hold.entry if entry_matches else "1-1",
                     "digest": "d", "record": msgspec.json.encode(order)},
        )  # fmt: skip
        written = await journal.write(replaced(order, SUBMITTED), None, hold=hold, then=Then.BEGIN)
        assert isinstance(written, Written) == entry_matches
        await journal.close_entry(hold)


async def test_what_may_not_follow_is_refused(bench: Bench) -> None:
    _, journal, hold = await in_hand(bench)
    order = await bench.begin(journal, hold)
    written = await journal.write(replaced(order, CANCELED), order, hold=hold)
    assert isinstance(written, Written)
    ended = written.order
    for status in set(OrderStatus) - {CANCELED, QUEUED}:
        assert isinstance(await journal.write(replaced(ended, status), ended, hold=hold), Conflict), status
    corrected = msgspec.structs.replace(ended, filled=Decimal(1))
    assert isinstance(await journal.write(corrected, ended, hold=hold), Written)


async def test_the_indices_say_which_orders_are_open_and_which_unknown(bench: Bench) -> None:
    _, journal, hold = await in_hand(bench)
    order, key = await bench.begin(journal, hold), bench.keys
    name = order.client_order_id.encode()
    for status, is_open, is_unknown in [
        (UNKNOWN, True, True), (ACTIVE, True, False), (PARTIAL, True, False), (CANCELED, False, False),
    ]:  # fmt: skip
        written = await journal.write(replaced(order, status), order, hold=hold)
        assert isinstance(written, Written)
        order = written.order
        assert (bench.admin.zscore(key.open("main"), name) is not None) == is_open
        assert (bench.admin.zscore(key.unknown, name) is not None) == is_unknown
        assert (bench.admin.pttl(key.order(order.client_order_id)) > 0) == status.terminal
        assert await journal.open_orders("main") == ([order] if is_open else [])


async def test_a_record_reopened_by_no_one_expires_and_a_correction_renews_its_time(bench: Bench) -> None:
    _, journal, hold = await in_hand(bench)
    order = await bench.begin(journal, hold)
    await bench.finish(journal, hold, order, CANCELED)
    key = bench.keys.order(order.client_order_id)
    bench.admin.pexpire(key, 60_000)
    assert await bench.outside.advance(order.client_order_id, report_of(PARTIAL, 3), 9)
    assert 60_000 < bench.admin.pttl(key) <= RETENTION_MS


async def test_a_parked_lane_stays_parked_whatever_arrives_for_it(bench: Bench) -> None:
    dispatcher, journal, hold = await in_hand(bench)
    order = await bench.begin(journal, hold)
    await journal.write(replaced(order, UNKNOWN), order, hold=hold, then=Then.PARK)
    bench.add(priority=0)
    bench.add("sub|ETH/USDT")
    assert [run.lane for run in (await dispatcher.take(5)).runs] == ["sub|ETH/USDT"]
    assert bench.admin.zrange(bench.keys.parked, 0, -1) == [hold.lane.encode()]


async def test_evidence_from_outside_lets_its_own_parked_lane_run_and_no_other(bench: Bench) -> None:
    dispatcher, journal, hold = await in_hand(bench)
    resting = await bench.begin(journal, hold)
    bench.add()
    await dispatcher.take(0)
    following = await bench.finish(journal, hold, resting, ACTIVE)
    assert following is not None
    order = await bench.begin(journal, following)
    parked = await journal.write(replaced(order, UNKNOWN), order, hold=following, then=Then.PARK)
    assert isinstance(parked, Written)
    assert await bench.outside.advance(resting.client_order_id, report_of(PARTIAL, 3), 9)
    assert bench.admin.zrange(bench.keys.parked, 0, -1) == [hold.lane.encode()]
    assert await bench.outside.advance(order.client_order_id, report_of(FILLED, 10), 9)
    assert not bench.admin.exists(bench.keys.parked)
    assert bench.admin.zrange(bench.keys.ready, 0, -1) == [hold.lane.encode()]


async def test_writers_without_a_lane_take_turns_by_version_and_lose_nothing(bench: Bench) -> None:
    _, journal, hold = await in_hand(bench)
    order = await bench.begin(journal, hold)
    outsiders = [Journal(bench.runner, bench.keys, retention_ms=RETENTION_MS) for _ in range(8)]
    await asyncio.gather(
        *(one.advance(order.client_order_id, report_of(PARTIAL, n + 1), 9) for n, one in enumerate(outsiders))
    )
    current = await journal.read(order.client_order_id)
    assert current is not None
    assert (current.status, int(current.filled)) == (PARTIAL, 8)
    assert current.version == len(events_of(bench))
    assert isinstance(await journal.write(replaced(order, REJECTED), order, hold=hold), Conflict)


async def test_two_writers_without_a_lane_never_pass_for_one_another(bench: Bench) -> None:
    """Not even when they live at the same address, one after the other or in two forked processes."""
    _, journal, hold = await in_hand(bench)
    order = await bench.begin(journal, hold)
    for filled in range(1, 6):
        outsider = Journal(bench.runner, bench.keys, retention_ms=RETENTION_MS)
        await outsider.advance(order.client_order_id, report_of(PARTIAL, filled), 9)
        del outsider
    current = await journal.read(order.client_order_id)
    assert current is not None
    assert current.filled == 5


async def test_a_report_of_an_order_without_a_record_is_nobodys(bench: Bench) -> None:
    assert await bench.outside.advance("nobody", report_of(ACTIVE, 0), 9) is None
    assert bench.snapshot().keys() <= {bench.keys.control, f"{bench.keys.control} expires"}


async def test_extra_events_travel_with_the_write(bench: Bench) -> None:
    _, journal, hold = await in_hand(bench)
    latency = Event(name=EventName.LATENCY, at=1)
    await journal.write(bench.order(hold, SUBMITTED), None, hold=hold, extra_events=[latency])
    await journal.close_entry(hold, events=[latency])
    assert [event.name for event in events_of(bench)] == [
        "order.submitted",
        "execution.latency",
        "execution.latency",
    ]


# Lost replies, on real sockets


@pytest.mark.parametrize("silently", [False, True])
async def test_a_write_whose_reply_is_lost_is_written_once_and_its_answer_is_not_lost(
    redis_server: EmbeddedRedis, bench: Bench, silently: bool
) -> None:
    with LossyProxy("127.0.0.1", redis_server.port) as proxy:
        client = connect_pool(proxy.url, bench.keys, grace_ms=0, socket_timeout_seconds=0.4)
        runner = ScriptRunner(client)
        dispatcher = Dispatcher(runner, bench.keys, lease_ms=LEASE_MS)
        journal = Journal(runner, bench.keys, retention_ms=RETENTION_MS, dispatcher=dispatcher)
        bench.add()
        bench.add()
        (hold,) = (await dispatcher.take(1)).runs
        proxy.lose_replies(to=b"EVALSHA", times=1, silently=silently)
        written = await journal.begin(bench.order(hold, SUBMITTED), None, hold)
        assert isinstance(written, Written)
        order = written.order
        proxy.lose_replies(to=b"EVALSHA", times=2, silently=silently)
        following = await bench.finish(journal, hold, order)
        assert following is not None
        proxy.lose_replies(to=b"EVALSHA", times=1, silently=silently)
        assert await journal.close_entry(following, dead=Reason("odd", "odd")) is None
        assert proxy.lost == 4
        await client.aclose()
    assert [event.to_status for event in events_of(bench)] == [SUBMITTED, FILLED]
    assert bench.admin.xlen(bench.keys.dead) == 1
    assert bench.admin.xlen(bench.keys.intents) == 0
    assert not bench.admin.exists(bench.keys.owners)


async def test_a_write_without_a_lane_whose_reply_is_lost_says_so(
    redis_server: EmbeddedRedis, bench: Bench
) -> None:
    _, journal, hold = await in_hand(bench)
    order = await bench.begin(journal, hold)
    with LossyProxy("127.0.0.1", redis_server.port) as proxy:
        client = connect_pool(proxy.url, bench.keys, grace_ms=0)
        outside = Journal(ScriptRunner(client), bench.keys, retention_ms=RETENTION_MS)
        await outside.read(order.client_order_id)
        proxy.lose_replies(to=b"EVALSHA", times=1)
        with pytest.raises(REPLY_LOST):
            await outside.advance(order.client_order_id, report_of(PARTIAL, 3), 9)
        again = await outside.advance(order.client_order_id, report_of(PARTIAL, 3), 9)
        await client.aclose()
    assert again is not None
    assert (int(again.filled), again.version) == (3, 2)


async def test_a_worker_stops_asking_when_its_lease_no_longer_covers_the_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.add()
    dispatcher, journal = bench.worker()
    (hold,) = (await dispatcher.take(1)).runs
    monkeypatch.setattr(dispatcher, "lease_lives", lambda: False)
    bench.runner.faults["begin"] = "delayed"
    with pytest.raises(LeaseLost):
        await bench.begin(journal, hold)
    assert not bench.admin.exists(bench.keys.order(bench.order(hold).client_order_id))
