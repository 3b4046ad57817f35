"""A lane's queue in its owner's hands, on a real Redis: looking, reshaping, giving way, and what each may not do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal

import msgspec
import pytest

from common.journal import Conflict, Journal, Then, Written
from common.lane_queue import Change, LaneQueue, Moved, Reshaped, Seen
from common.lanes import Dispatcher, Hold, LeaseLost
from orderlane.events import order_event
from orderlane.orders import Absorbed, Order, OrderStatus, encode_record
from tests.common.pool_bench import Bench, bench_on

LANE = "main|BTC/USDT"
QUEUED, CANCELED, MERGED, DONE = (
    OrderStatus.QUEUED,
    OrderStatus.CANCELED,
    OrderStatus.MERGED,
    OrderStatus.DONE,
)


@dataclass
class Owned:
    """A lane of three places, the first of them in hand."""

    bench: Bench
    dispatcher: Dispatcher
    journal: Journal
    queue: LaneQueue
    hold: Hold
    seen: list[Seen]

    def ends(self, at: int, status: OrderStatus = CANCELED) -> Change:
        return self.bench.change(self.seen[at], status)

    def goes_on(self, at: int) -> Change:
        return self.bench.change(self.seen[at], QUEUED, related="another")

    def order(self, at: int) -> Order:
        return self.ends(at).order

    async def record(self, at: int) -> Order | None:
        return await self.journal.read(self.order(at).client_order_id)

    def waiting(self) -> int:
        return int(self.bench.admin.zcard(self.bench.keys.waiting))


@pytest.fixture
async def owned(redis_url: str) -> AsyncIterator[Owned]:
    async with bench_on(redis_url) as bench:
        for _ in range(3):
            bench.add()
        dispatcher, journal = bench.worker()
        hold = (await dispatcher.take(1)).runs[0]
        queue = bench.queue(dispatcher)
        yield Owned(bench, dispatcher, journal, queue, hold, await queue.look(hold, 9))


# Looking


async def test_a_look_shows_the_lane_in_the_order_in_which_it_would_be_run(owned: Owned) -> None:
    urgent = owned.bench.add(priority=0)
    await owned.dispatcher.take(0)
    await owned.bench.begin(owned.journal, owned.hold)
    seen = await owned.queue.look(owned.hold, 9)
    assert [(one.rank, one.entry) for one in seen] == [
        ("!", owned.hold.entry), ("0", urgent), *(("5", one.entry) for one in owned.seen[1:]),
    ]  # fmt: skip
    assert [one.begun for one in seen] == [True, False, False, False]
    assert [one.entry for one in await owned.queue.look(owned.hold, 2)] == [owned.hold.entry, urgent]


async def test_a_look_shows_what_somebody_deleted_without_fields(owned: Owned) -> None:
    owned.bench.admin.xdel(owned.bench.keys.intents, owned.seen[1].entry)
    assert [bool(one.fields) for one in await owned.queue.look(owned.hold, 9)] == [True, False, True]


async def test_only_what_may_spare_a_request_and_finds_company_makes_news(owned: Owned) -> None:
    def news() -> dict[bytes, bytes]:
        return owned.bench.admin.hgetall(owned.bench.keys.unseen)  # type: ignore[return-value]

    owned.bench.add()
    owned.bench.add("main|ETH/USDT", kind="cancel", target="somebody")
    await owned.dispatcher.take(0)
    assert news() == {}
    owned.bench.add(kind="cancel", target="n1")
    await owned.dispatcher.take(0)
    assert news() == {LANE.encode(): b""}
    await owned.queue.look(owned.hold, 9)
    assert news() == {}


async def test_what_a_look_did_not_reach_is_news_again_once_half_of_what_it_saw_is_gone(owned: Owned) -> None:
    bench = owned.bench
    bench.add(kind="cancel", target="elsewhere")  # goes first
    for number in range(6):
        bench.add(kind="cancel", target=f"n{number}", priority=5)
    await owned.dispatcher.take(0)
    following = await bench.run(owned.journal, owned.hold)
    assert following is not None
    assert following.news
    assert len(await owned.queue.look(following, 4)) == 4
    assert await owned.queue.overtaken([following]) == set(), "what was left unseen overtakes nothing"
    heard = []
    for _ in range(4):
        following = await bench.run(owned.journal, following)
        assert following is not None
        heard.append(following.news)
        if following.news:
            await owned.queue.look(following, 4)
    assert heard == [False, True, False, True]


async def test_a_look_that_saw_all_leaves_no_news_and_a_new_arrival_is_some(owned: Owned) -> None:
    owned.bench.add(kind="cancel", target="n1")
    await owned.dispatcher.take(0)
    await owned.queue.look(owned.hold, 2)
    assert await owned.queue.overtaken([owned.hold]) == set()
    owned.bench.add(kind="cancel", target="n2")
    await owned.dispatcher.take(0)
    assert await owned.queue.overtaken([owned.hold]) == {LANE}
    await owned.queue.look(owned.hold, 9)
    assert owned.bench.admin.exists(owned.bench.keys.unseen) == 0


async def test_a_merged_intent_is_parted_together_with_the_order_that_goes_on(owned: Owned) -> None:
    merged = owned.ends(1, MERGED)
    await owned.queue.reshape(owned.hold, [merged, owned.goes_on(0)])
    cancelled = msgspec.structs.replace(merged.order, status=CANCELED)
    parting = Change("", cancelled, order_event(cancelled, MERGED, at=2))
    owned.bench.runner.faults["reshape"] = "lost"
    result = await owned.queue.reshape(owned.hold, [owned.ends(2, DONE), owned.goes_on(0), parting])
    assert isinstance(result, Reshaped)
    parted = await owned.record(1)
    assert parted is not None
    assert (parted.status, parted.version) == (CANCELED, 2)
    assert owned.waiting() == 1
    assert await owned.queue.reshape(owned.hold, [owned.goes_on(0), parting]) == Moved(merged.order.entry)


async def test_the_records_of_what_was_merged_last_as_long_as_that_of_an_order_ended_from_elsewhere(
    owned: Owned,
) -> None:
    await owned.queue.reshape(owned.hold, [owned.ends(1, MERGED), owned.goes_on(0)])
    part, kept = owned.order(1), await owned.record(0)
    assert kept is not None
    owned.bench.admin.persist(owned.bench.keys.order(part.client_order_id))
    name = Absorbed(part.intent.id, part.client_order_id, Decimal(1))
    ended = msgspec.structs.replace(kept, status=CANCELED, absorbed=(name,))
    change = Change("5", ended, order_event(ended, QUEUED, at=2))
    owned.bench.add("main|*", kind="cancel_all")
    [sweep] = (await owned.dispatcher.take(1)).runs
    assert await owned.queue.annul(sweep, LANE, [change]) == 1
    assert owned.bench.admin.ttl(owned.bench.keys.order(part.client_order_id)) > 0


async def test_the_rank_of_an_entry_says_whether_it_waits_and_has_begun(owned: Owned) -> None:
    assert await owned.queue.rank_of(LANE, owned.seen[1].entry) == "5"
    await owned.bench.begin(owned.journal, owned.hold)
    assert await owned.queue.rank_of(LANE, owned.hold.entry) == "!"
    await owned.bench.run(owned.journal, owned.hold)
    assert await owned.queue.rank_of(LANE, owned.hold.entry) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "cancel", "target": "n1"},
        {"kind": "amend", "target": "n1"},
        {"reduce_only": True},
        {"replaces": "n1"},
    ],
    ids=str,
)
async def test_the_next_run_of_a_lane_says_that_there_is_news(
    owned: Owned, fields: dict[str, object]
) -> None:
    owned.bench.add(LANE, **fields)
    await owned.dispatcher.take(0)
    following = await owned.bench.run(owned.journal, owned.hold)
    assert following is not None
    assert following.news


# Reshaping


async def test_a_decision_ends_some_and_changes_one(owned: Owned) -> None:
    result = await owned.queue.reshape(owned.hold, [owned.ends(1, MERGED), owned.goes_on(0)])
    assert result == Reshaped(held_ended=False, next=None)
    kept, absorbed = await owned.record(0), await owned.record(1)
    assert kept is not None
    assert absorbed is not None
    assert (kept.status, kept.related, absorbed.status) == (QUEUED, "another", MERGED)
    assert [one.entry for one in await owned.queue.look(owned.hold, 9)] == [
        owned.seen[0].entry,
        owned.seen[2].entry,
    ]
    admin, keys = owned.bench.admin, owned.bench.keys
    assert admin.xlen(keys.events) == 2
    assert admin.xlen(keys.intents) == 2
    assert admin.xpending(keys.intents, "workers")["pending"] == 2
    assert admin.ttl(keys.order(absorbed.client_order_id)) == -1, (
        "it lasts as long as the order it is part of"
    )
    assert admin.ttl(keys.order(kept.client_order_id)) == -1


async def test_the_end_of_the_entry_in_hand_hands_over_the_next(owned: Owned) -> None:
    result = await owned.queue.reshape(owned.hold, [owned.ends(0), owned.ends(1, DONE)])
    assert isinstance(result, Reshaped)
    assert result.next is not None
    assert result.next.entry == owned.seen[2].entry


async def test_a_lane_whose_last_entries_end_is_freed(owned: Owned) -> None:
    result = await owned.queue.reshape(owned.hold, [owned.ends(at) for at in range(3)])
    assert result == Reshaped(held_ended=True, next=None)
    keys = owned.bench.keys
    assert owned.bench.admin.exists(keys.owners, keys.waiting, keys.load, keys.ready) == 0


@pytest.mark.parametrize("ends", [(0, 1), (1, 2), (0, 1, 2)], ids=str)
async def test_a_decision_whose_answer_is_lost_is_carried_out_once_and_answered(
    owned: Owned, ends: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.lanes.RETRY_SECONDS", (0.0,))
    owned.bench.runner.faults["reshape"] = "lost"
    result = await owned.queue.reshape(owned.hold, [owned.ends(at) for at in ends])
    assert isinstance(result, Reshaped)
    expected = None if len(ends) == 3 else owned.seen[2].entry
    assert (result.next.entry if result.next else None) == (expected if 0 in ends else None)
    assert [(await owned.record(at)) is not None for at in range(3)] == [at in ends for at in range(3)]
    assert owned.bench.admin.xlen(owned.bench.keys.events) == len(ends)


async def test_nothing_of_a_decision_is_written_once_one_of_its_entries_has_begun(owned: Owned) -> None:
    await owned.bench.begin(owned.journal, owned.hold)
    before = owned.bench.snapshot()
    result = await owned.queue.reshape(owned.hold, [owned.ends(1), owned.ends(0)])
    assert result == Moved(owned.seen[0].entry)
    assert owned.bench.snapshot() == before


async def test_nothing_of_a_decision_is_written_once_one_of_its_entries_has_ended(owned: Owned) -> None:
    await owned.bench.run(owned.journal, owned.hold)
    before = owned.bench.snapshot()
    assert await owned.queue.reshape(owned.hold, [owned.ends(1), owned.ends(0)]) == Moved(owned.seen[0].entry)
    assert owned.bench.snapshot() == before


@pytest.mark.parametrize(
    ("entry", "status"),
    [("another", QUEUED), ("another", OrderStatus.ACTIVE), ("its own", OrderStatus.FAILED)],
)
async def test_an_entry_whose_record_is_another_ones_or_has_ended_is_left_alone(
    owned: Owned, entry: str, status: OrderStatus
) -> None:
    order = owned.order(1)
    key, held_by = owned.bench.keys.order(order.client_order_id), "1-1" if entry == "another" else order.entry
    record = encode_record(order).decode()
    owned.bench.admin.hset(
        key, mapping={"status": status.value, "version": "1", "entry": held_by, "record": record}
    )
    before = owned.bench.snapshot()
    assert await owned.queue.reshape(owned.hold, [owned.ends(0), owned.ends(1)]) == Moved(owned.seen[1].entry)
    assert owned.bench.snapshot() == before


async def test_an_entry_that_an_earlier_decision_changed_may_be_changed_again(owned: Owned) -> None:
    for at in (1, 2):
        result = await owned.queue.reshape(owned.hold, [owned.ends(at, MERGED), owned.goes_on(0)])
        assert isinstance(result, Reshaped)
    kept = await owned.record(0)
    assert kept is not None
    assert kept.version == 2


async def test_a_changed_entry_is_not_begun_by_whoever_does_not_know_of_the_change(owned: Owned) -> None:
    await owned.queue.reshape(owned.hold, [owned.ends(1, MERGED), owned.goes_on(0)])
    begun = msgspec.structs.replace(owned.order(0), status=OrderStatus.SUBMITTED)
    refused = await owned.journal.write(begun, None, hold=owned.hold, then=Then.BEGIN)
    assert isinstance(refused, Conflict)
    assert refused.current is not None
    assert refused.current.related == "another"
    again = await owned.journal.write(begun, refused.current, hold=owned.hold, then=Then.BEGIN)
    assert isinstance(again, Written)


async def test_a_worker_whose_lease_has_ended_reshapes_nothing_and_gives_no_way(owned: Owned) -> None:
    owned.bench.end_lease(owned.dispatcher.worker_id)
    before = owned.bench.snapshot()
    with pytest.raises(LeaseLost):
        await owned.queue.reshape(owned.hold, [owned.ends(1), owned.goes_on(0)])
    with pytest.raises(LeaseLost):
        await owned.queue.give_way(owned.hold)
    assert owned.bench.snapshot() == before


async def test_a_worker_whose_lane_is_another_ones_reshapes_nothing(owned: Owned) -> None:
    owned.bench.end_lease(owned.dispatcher.worker_id)
    other, _ = owned.bench.worker()
    assert len((await other.take(1)).runs) == 1
    before = owned.bench.snapshot()
    with pytest.raises(LeaseLost):
        await owned.queue.reshape(owned.hold, [owned.ends(1), owned.goes_on(0)])
    assert owned.bench.snapshot() == before


@pytest.mark.parametrize("key", ["events", "order"])
async def test_a_foreign_value_under_a_key_leaves_no_half_of_a_decision(owned: Owned, key: str) -> None:
    name = (
        owned.bench.keys.order(owned.order(0).client_order_id) if key == "order" else owned.bench.keys.events
    )
    owned.bench.admin.set(name, "foreign")
    before = owned.bench.snapshot()
    with pytest.raises(Exception, match="WRONGTYPE"):
        await owned.queue.reshape(owned.hold, [owned.ends(1, MERGED), owned.goes_on(0)])
    assert owned.bench.snapshot() == before


# Giving way


async def test_giving_way_hands_out_the_more_urgent_and_keeps_what_gave_way(owned: Owned) -> None:
    urgent = owned.bench.add(priority=1)
    await owned.dispatcher.take(0)
    following = await owned.queue.give_way(owned.hold)
    assert following is not None
    assert (following.entry, following.rank) == (urgent, "1")
    back = await owned.bench.run(owned.journal, following)
    assert back is not None
    assert back.entry == owned.hold.entry
    assert owned.waiting() == 3


async def test_what_has_begun_gives_no_way(owned: Owned) -> None:
    await owned.bench.begin(owned.journal, owned.hold)
    owned.bench.add(priority=0)
    await owned.dispatcher.take(0)
    following = await owned.queue.give_way(owned.hold)
    assert following is not None
    assert (following.entry, following.rank) == (owned.hold.entry, "!")


async def test_what_has_been_tried_before_is_known_to_have_been_after_giving_way(owned: Owned) -> None:
    following = await owned.queue.give_way(msgspec.structs.replace(owned.hold, again=True))
    assert following is not None
    assert following.again


async def test_who_gave_way_and_dies_counts_its_death_for_the_urgent_one(owned: Owned) -> None:
    urgent = owned.bench.add(priority=0)
    await owned.dispatcher.take(0)
    await owned.queue.give_way(owned.hold)
    owned.bench.end_lease(owned.dispatcher.worker_id)
    other, journal = owned.bench.worker()
    hold = (await other.take(1)).runs[0]
    assert (hold.entry, hold.deaths) == (urgent, 1)
    following = await owned.bench.run(journal, hold)
    assert following is not None
    assert (following.entry, following.deaths) == (owned.hold.entry, 0)


# Being overtaken


async def test_a_lane_is_overtaken_by_the_more_urgent_and_by_news_alone(owned: Owned) -> None:
    assert await owned.queue.overtaken([owned.hold]) == set()
    owned.bench.add()
    await owned.dispatcher.take(0)
    assert await owned.queue.overtaken([owned.hold]) == set()
    owned.bench.add(kind="cancel", target="n1")
    await owned.dispatcher.take(0)
    assert await owned.queue.overtaken([owned.hold]) == {LANE}
    await owned.queue.look(owned.hold, 9)
    assert await owned.queue.overtaken([owned.hold]) == set()
    owned.bench.add(priority=0)
    await owned.dispatcher.take(0)
    assert await owned.queue.overtaken([owned.hold]) == {LANE}


async def test_news_does_not_overtake_what_no_rule_may_touch(owned: Owned) -> None:
    queue = LaneQueue(
        owned.bench.runner, owned.bench.keys, owned.dispatcher, retention_ms=1, heeds_news=lambda hold: False
    )
    owned.bench.add(kind="cancel", target="n1")
    await owned.dispatcher.take(0)
    assert await queue.overtaken([owned.hold]) == set()
    owned.bench.add(priority=0)
    await owned.dispatcher.take(0)
    assert await queue.overtaken([owned.hold]) == {LANE}
