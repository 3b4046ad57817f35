"""What Redis holds against what the model of dispatch says: the invariants of the state machine."""

from __future__ import annotations

from collections import Counter

from orderlane.orders import OrderStatus
from tests.common.dispatch_model import Model
from tests.common.pool_bench import Bench


def assert_lanes_are(bench: Bench, model: Model) -> None:
    """The stream holds just what is not finished; queues, owners, ready and parked lanes, loads are the model's."""
    keys = bench.keys
    with bench.admin.pipeline(transaction=False) as ask:
        ask.xrange(keys.intents)
        ask.zrange(keys.waiting, 0, -1)
        ask.hgetall(keys.owners)
        ask.zrange(keys.ready, 0, -1)
        ask.zrange(keys.parked, 0, -1)
        ask.hgetall(keys.load)
        ask.hkeys(keys.grants)
        ask.zrange(keys.hungry, 0, -1, withscores=True)
        ask.zrange(keys.workers, 0, -1)
        stream, waiting, owners, ready, parked, load, grants, hungry, workers = ask.execute()
    there = [entry for entry in model.unread + model.waiting() if not entry.deleted]
    assert {entry.decode() for entry, _ in stream} == {entry.id for entry in there}
    ranks: dict[str, str] = {}
    for member in waiting:
        lane, _, rest = member.decode().partition("\0")
        ranks[lane] = ranks.get(lane, "") + rest[0]
    assert ranks == {
        name: "".join(
            "!" if one.begun else str(one.rank) for one in sorted(lane.queue, key=lambda e: e.place)
        )
        for name, lane in model.lanes.items()
    }
    owned = {name: lane for name, lane in model.lanes.items() if lane.owner}
    assert {name.decode(): owner.decode() for name, owner in owners.items()} == {
        name: f"{lane.owner}@{lane.in_hand.id}" for name, lane in owned.items() if lane.in_hand
    }
    assert [name.decode() for name in ready] == model.ready()
    assert {name.decode() for name in parked} == {name for name, lane in model.lanes.items() if lane.parked}
    counts = Counter(lane.owner.rpartition("#")[0] for lane in owned.values())
    assert {name.decode(): int(number) for name, number in load.items()} == counts
    assert set(grants) <= set(workers)
    assert {name for name, _ in hungry} <= set(workers)
    assert all(score >= 1 for _, score in hungry)


def assert_records_are(
    bench: Bench, records: dict[str, tuple[OrderStatus, int]], *, events: int, dead: int
) -> None:
    """`records`: status and version by client order id. The indices agree, and no change lacks its event."""
    keys, names = bench.keys, sorted(records)
    with bench.admin.pipeline(transaction=False) as ask:
        ask.xlen(keys.events)
        ask.xlen(keys.dead)
        ask.zrange(keys.open("main"), 0, -1)
        ask.zrange(keys.open("sub"), 0, -1)
        ask.zrange(keys.unknown, 0, -1)
        for name in names:
            ask.hmget(keys.order(name), "status", "version")
        events_there, dead_there, main, sub, unknown, *found = ask.execute()
    assert (events_there, dead_there) == (events, dead)
    assert [(status.decode(), int(version)) for status, version in found] == [records[name] for name in names]
    assert {name.decode() for name in main + sub} == {
        name for name in names if not records[name][0].terminal and records[name][0] is not OrderStatus.QUEUED
    }
    assert {name.decode() for name in unknown} == {
        name for name in names if records[name][0] is OrderStatus.UNKNOWN
    }
