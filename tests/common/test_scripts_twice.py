"""Every script of dispatch and journal, run a second time with the same arguments, on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec
import pytest

from common.claims import Claim, Claims
from common.exchange.base import OrderReport
from common.journal import MustWait, Then, Written
from common.lane_queue import Change, LaneQueue, Moved, Reshaped
from common.lanes import Hold, LeaseLost
from common.redis import REPLY_LOST
from common.scripts import FOLDER
from common.venue_limits import Operation, venue_limits
from orderlane.orders import OrderStatus, Reason
from tests.common.pool_bench import Bench, Call, bench_on, run_out_of_time

LANE: Final = "main|BTC/USDT"


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    async with bench_on(redis_url) as bench:
        yield bench


# Each case plays a scene that ends with the call in question.


async def take(bench: Bench) -> None:
    bench.add()
    dispatcher, _ = bench.worker()
    assert len((await dispatcher.take(3)).runs) == 1


async def heartbeat(bench: Bench) -> None:
    dispatcher, _ = bench.worker()
    await dispatcher.take(1)
    await dispatcher.heartbeat()


async def release_of_a_grant(bench: Bench) -> None:
    bench.add()
    dispatcher, _ = bench.worker()
    await dispatcher.take(1)
    await dispatcher._release_grant(1)
    assert bench.runner.reply == 1


async def release_of_a_grant_that_never_arrived(bench: Bench) -> None:
    dispatcher, _ = bench.worker()
    bench.runner.faults["take"] = "delayed"
    with pytest.raises(REPLY_LOST):
        await dispatcher.take(1)


async def release_of_all(bench: Bench) -> None:
    bench.add()
    dispatcher, _ = bench.worker()
    await dispatcher.take(1)
    await dispatcher.release_all()


async def begin(bench: Bench) -> None:
    bench.add()
    dispatcher, journal = bench.worker()
    await bench.begin(journal, (await dispatcher.take(1)).runs[0])


SLOW_LIMITS: Final = {"weight_1m": "1000/day", "orders_10s": "100/day", "orders_1m": "200/day"}
"""Refilled so slowly that no token comes back while a test runs."""


def claim_of(bench: Bench) -> Claim:
    """The tokens of placing an order."""
    claims = Claims(bench.keys, venue_limits("binanceusdm", SLOW_LIMITS))
    return claims.claim(Operation.PLACE, "main", "BTC/USDT", urgency=5)


async def a_begin_that_takes_tokens(bench: Bench) -> None:
    bench.add()
    dispatcher, journal = bench.worker()
    hold = (await dispatcher.take(1)).runs[0]
    order, claim = bench.order(hold, OrderStatus.SUBMITTED), claim_of(bench)
    assert isinstance(await journal.begin(order, None, hold, claim), Written)
    assert bench.admin.hget(claim.keys[-1], "level")


async def a_begin_that_must_wait(bench: Bench) -> None:
    claim = claim_of(bench)
    while (await bench.runner.run("acquire", claim.keys, claim.arguments))[0] == 0:
        pass
    bench.add()
    dispatcher, journal = bench.worker()
    hold = (await dispatcher.take(1)).runs[0]
    begun = await journal.begin(bench.order(hold, OrderStatus.SUBMITTED), None, hold, claim)
    assert isinstance(begun, MustWait)


async def a_fenced_begin(bench: Bench) -> None:
    bench.add()
    dispatcher, journal = bench.worker()
    hold = (await dispatcher.take(1)).runs[0]
    bench.end_lease(dispatcher.worker_id)
    with pytest.raises(LeaseLost):
        await journal.begin(bench.order(hold, OrderStatus.SUBMITTED), None, hold, claim_of(bench))


async def finish_with_more_to_do(bench: Bench) -> None:
    bench.add()
    bench.add()
    dispatcher, journal = bench.worker()
    assert await bench.run(journal, (await dispatcher.take(1)).runs[0]) is not None


async def finish_of_the_last(bench: Bench) -> None:
    bench.add()
    dispatcher, journal = bench.worker()
    assert await bench.run(journal, (await dispatcher.take(1)).runs[0]) is None


async def park(bench: Bench) -> None:
    bench.add()
    dispatcher, journal = bench.worker()
    hold = (await dispatcher.take(1)).runs[0]
    order = await bench.begin(journal, hold)
    unknown = msgspec.structs.replace(order, status=OrderStatus.UNKNOWN)
    await journal.write(unknown, order, hold=hold, then=Then.PARK)


async def a_fenced_end(bench: Bench) -> None:
    bench.add()
    dispatcher, journal = bench.worker()
    hold = (await dispatcher.take(1)).runs[0]
    order = await bench.begin(journal, hold)
    bench.end_lease(dispatcher.worker_id)
    with pytest.raises(LeaseLost):
        await bench.finish(journal, hold, order)


async def a_report_from_outside(bench: Bench) -> None:
    await park(bench)
    (name,) = bench.admin.zrange(bench.keys.unknown, 0, -1)
    report = OrderReport(
        client_order_id="", exchange_order_id="7", symbol="BTC/USDT", status=OrderStatus.ACTIVE
    )
    assert await bench.outside.advance(name.decode(), report, 5)  # type: ignore[union-attr]


async def burial(bench: Bench) -> None:
    bench.append({"intent": "{"})
    dispatcher, journal = bench.worker()
    hold = (await dispatcher.take(1)).runs[0]
    await journal.close_entry(hold, dead=Reason("malformed_json", "no JSON"))


async def closing_with_more_to_do(bench: Bench) -> None:
    bench.add()
    bench.add()
    dispatcher, journal = bench.worker()
    assert await journal.close_entry((await dispatcher.take(1)).runs[0]) is not None


async def note_of_a_changed_server(bench: Bench) -> None:
    dispatcher, _ = bench.worker()
    await dispatcher.take(0)  # every connection notes the server it reached: no new one may come in between
    await bench.client.hset(bench.keys.control, "run_id", "another")
    await bench.runner.run(
        "note_server",
        [bench.keys.control, bench.keys.events, bench.keys.intents],
        ["this", "another", 1000, "{}"],
    )


async def looked_at(bench: Bench, entries: int = 3) -> tuple[LaneQueue, Hold, list[Change]]:
    """A lane in hand, and for each of its entries the change that ends it as CANCELED."""
    for _ in range(entries):
        bench.add()
    dispatcher, _ = bench.worker()
    hold, queue = (await dispatcher.take(1)).runs[0], bench.queue(dispatcher)
    return queue, hold, [bench.change(one, OrderStatus.CANCELED) for one in await queue.look(hold, 9)]


async def a_decision_about_entries_behind(bench: Bench) -> None:
    queue, hold, (first, second, _) = await looked_at(bench)
    kept = Change(first.rank, msgspec.structs.replace(first.order, status=OrderStatus.QUEUED), first.event)
    assert await queue.reshape(hold, [second, kept]) == Reshaped(held_ended=False, next=None)


async def a_decision_that_ends_the_entry_in_hand(bench: Bench) -> None:
    queue, hold, (first, second, third) = await looked_at(bench)
    result = await queue.reshape(hold, [first, second])
    assert isinstance(result, Reshaped)
    assert result.next is not None
    assert result.next.entry == third.order.entry


async def a_decision_that_leaves_the_lane_empty(bench: Bench) -> None:
    queue, hold, changes = await looked_at(bench, 2)
    assert await queue.reshape(hold, changes) == Reshaped(held_ended=True, next=None)


async def a_decision_about_an_entry_that_moved(bench: Bench) -> None:
    queue, hold, (first, second, _) = await looked_at(bench)
    bench.admin.xdel(bench.keys.intents, second.order.entry)
    bench.admin.zrem(bench.keys.waiting, *bench.admin.zrange(bench.keys.waiting, 1, 1))
    assert await queue.reshape(hold, [first, second]) == Moved(second.order.entry)


async def a_fenced_decision(bench: Bench) -> None:
    queue, hold, changes = await looked_at(bench)
    bench.end_lease(hold.owner.partition("#")[0])
    with pytest.raises(LeaseLost):
        await queue.reshape(hold, changes[:2])


async def giving_way_to_the_more_urgent(bench: Bench) -> None:
    bench.add()
    dispatcher, _ = bench.worker()
    hold = (await dispatcher.take(1)).runs[0]
    urgent = bench.add(priority=0)
    await dispatcher.take(0)
    following = await bench.queue(dispatcher).give_way(hold)
    assert following is not None
    assert following.entry == urgent


async def giving_way_to_nobody(bench: Bench) -> None:
    bench.add()
    dispatcher, _ = bench.worker()
    hold = (await dispatcher.take(1)).runs[0]
    assert await bench.queue(dispatcher).give_way(hold) == hold


async def giving_way_in_a_lane_that_was_emptied_by_hand(bench: Bench) -> None:
    bench.add()
    dispatcher, _ = bench.worker()
    hold = (await dispatcher.take(1)).runs[0]
    bench.admin.delete(bench.keys.waiting)
    assert await bench.queue(dispatcher).give_way(hold) is None


async def ending_what_waits_in_another_lane(bench: Bench) -> None:
    """One that waits, one that is in another worker's hands, and one whose record is not what it was."""
    sweep = bench.add("main|*", kind="cancel_all")
    dispatcher, _ = bench.worker()
    hold = (await dispatcher.take(1)).runs[0]
    assert hold.entry == sweep
    for _ in range(3):
        bench.add()
    other, _ = bench.worker()
    assert len((await other.take(1)).runs) == 1
    queue = bench.queue(dispatcher)
    seen = [one async for lane, one in queue.waiting_of("main") if lane == LANE]
    changes = [bench.change(one, OrderStatus.CANCELED) for one in seen]
    changes[2] = msgspec.structs.replace(
        changes[2], order=msgspec.structs.replace(changes[2].order, version=7)
    )
    waits = bench.admin.zcard(bench.keys.waiting)
    assert await queue.annul(hold, LANE, changes) == 2
    assert bench.admin.zcard(bench.keys.waiting) == int(waits) - 2


async def a_fenced_end_in_another_lane(bench: Bench) -> None:
    bench.add("main|*", kind="cancel_all")
    dispatcher, _ = bench.worker()
    hold = (await dispatcher.take(1)).runs[0]
    bench.add()
    await dispatcher.take(0)
    queue = bench.queue(dispatcher)
    changes = [
        bench.change(one, OrderStatus.CANCELED)
        async for lane, one in queue.waiting_of("main")
        if lane == LANE
    ]
    bench.end_lease(dispatcher.worker_id)
    with pytest.raises(LeaseLost):
        await queue.annul(hold, LANE, changes)


CASES: Final[dict[str, tuple[Callable[[Bench], Awaitable[None]], ...]]] = {
    "take": (take,),
    "heartbeat": (heartbeat,),
    "release": (release_of_a_grant, release_of_a_grant_that_never_arrived, release_of_all),
    "begin": (begin, a_fenced_begin, a_begin_that_takes_tokens, a_begin_that_must_wait),
    "transition": (
        finish_with_more_to_do, finish_of_the_last, park, a_fenced_end, a_report_from_outside,
    ),
    "close_entry": (burial, closing_with_more_to_do),
    "reshape": (
        a_decision_about_entries_behind, a_decision_that_ends_the_entry_in_hand,
        a_decision_that_leaves_the_lane_empty, a_decision_about_an_entry_that_moved, a_fenced_decision,
    ),
    "give_way": (
        giving_way_to_the_more_urgent, giving_way_to_nobody, giving_way_in_a_lane_that_was_emptied_by_hand,
    ),
    "annul": (ending_what_waits_in_another_lane, a_fenced_end_in_another_lane),
    "note_server": (note_of_a_changed_server,),
}  # fmt: skip
ALL: Final = [pytest.param(name, case, id=case.__name__) for name, cases in CASES.items() for case in cases]


def meaning(name: str, reply: Any) -> Any:
    """A reply without the time of day; where a repetition has nothing left to do, what it says instead."""
    if name in ("begin", "transition") and reply[0] == b"ok":
        return [reply[0], reply[1], *reply[3:]]
    if name == "begin" and reply[0] == b"wait":
        return reply[0]
    if name in ("release", "note_server"):
        return "done before, or now"
    if name == "annul":
        return reply[0]
    if name == "heartbeat":
        return [reply[0], *reply[2:]]
    if name == "take":
        return "given now, or refused as stale"
    return reply


def test_there_is_a_case_for_every_script_that_moves_lanes() -> None:
    moving = {file.stem for file in FOLDER.glob("*.lua") if "-- include: lane.lua" in file.read_text()}
    assert moving - {"sweep"} <= set(CASES)  # the sweep repairs; its tests are with the job that runs it


@pytest.mark.parametrize(("name", "case"), ALL)
async def test_a_script_run_twice_leaves_what_it_left_once_and_says_the_same(
    bench: Bench, name: str, case: Callable[[Bench], Awaitable[None]]
) -> None:
    await case(bench)
    assert bench.runner.last[0] == name
    before, first = bench.snapshot(), bench.runner.reply
    again = await bench.runner.repeat(bench.runner.last)
    assert without_leases(bench, name) == without_leases(bench, name, before)
    assert meaning(name, again) == meaning(name, first)


def without_leases(bench: Bench, name: str, found: dict[str, Any] | None = None) -> dict[str, Any]:
    found = bench.snapshot() if found is None else found
    return {key: value for key, value in found.items() if name != "heartbeat" or key != bench.keys.workers}


async def test_a_take_that_is_answered_as_stale_gives_nothing(bench: Bench) -> None:
    await take(bench)
    bench.add("sub|ETH/USDT")
    assert await bench.runner.repeat(bench.runner.last) == [b"stale"]


@pytest.mark.parametrize(("name", "case"), [one for one in ALL if one.values[0] != "heartbeat"])
async def test_a_call_that_comes_again_after_others_moved_on_changes_nothing(
    bench: Bench, name: str, case: Callable[[Bench], Awaitable[None]]
) -> None:
    await case(bench)
    await others_move_on(bench, call := bench.runner.last)
    before = bench.snapshot()
    await bench.runner.repeat(call)
    assert bench.snapshot() == before


async def others_move_on(bench: Bench, call: Call) -> None:
    """The workers there are die; another takes their lanes, begins what is there, and more arrives."""
    run_out_of_time(call)
    for worker in bench.admin.zrange(bench.keys.workers, 0, -1):
        bench.end_lease(worker.decode())  # type: ignore[union-attr]
    bench.add()
    dispatcher, journal = bench.worker()
    for hold in (await dispatcher.take(9)).runs:
        if not hold.begun and not hold.lane.startswith("!"):
            await bench.begin(journal, hold)
    bench.add(priority=0)
    await dispatcher.take(9)


@pytest.mark.parametrize("closing", [False, True])
async def test_a_late_repetition_of_an_end_leaves_the_owner_its_next_entry(
    bench: Bench, closing: bool
) -> None:
    """Not even when somebody else is hungry by then: the owner is at work on it."""
    bench.fill(lanes=3, each=2)
    dispatcher, journal = bench.worker()
    hold = (await dispatcher.take(3)).runs[0]
    following = await (journal.close_entry(hold) if closing else bench.run(journal, hold))
    end, first = bench.runner.last, bench.runner.reply
    hungry, _ = bench.worker()
    assert (await hungry.take(3)).runs == ()
    bench.add(hold.lane, priority=0)
    await dispatcher.take(0)
    before = bench.snapshot()
    assert following is not None
    assert meaning(end[0], await bench.runner.repeat(end)) == meaning(end[0], first)
    assert bench.snapshot() == before


async def test_a_lost_finish_is_answered_even_if_the_exchange_reported_in_between(bench: Bench) -> None:
    """A fill that comes by the user stream before the worker asks again must not look like a lost lease."""
    bench.add()
    dispatcher, journal = bench.worker()
    hold = (await dispatcher.take(1)).runs[0]
    order = await bench.begin(journal, hold)
    active = msgspec.structs.replace(order, status=OrderStatus.ACTIVE)
    written = await journal.write(active, order, hold=hold, then=Then.FINISH)
    finish, first = bench.runner.last, bench.runner.reply
    assert isinstance(written, Written)
    report = OrderReport(
        client_order_id="", exchange_order_id="7", symbol="BTC/USDT", status=OrderStatus.FILLED
    )
    assert await bench.outside.advance(order.client_order_id, report, 5)
    before = bench.snapshot()
    assert meaning("transition", await bench.runner.repeat(finish)) == meaning("transition", first)
    assert bench.snapshot() == before
