"""The dispatcher on a real Redis against a model of it, in random interleavings of all that can happen to it."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from common.exchange.base import OrderReport
from common.journal import Conflict, Then, Written
from common.lane_queue import Reshaped, Seen
from common.lanes import Hold, LeaseLost
from orderlane.intents import decode_intent
from orderlane.keys import GROUP
from orderlane.orders import Order, OrderStatus
from orderlane.scripts import script
from tests.common.dispatch_comparison import assert_lanes_are, assert_records_are
from tests.common.dispatch_machine import LANES, DispatchMachine, Worker
from tests.common.dispatch_model import Entry
from tests.common.noted_lanes import noted_from
from tests.common.pool_bench import Bench, intent_json

TIMES: Final = int(os.environ.get("ORDERLANE_MODEL_TIMES", "1"))
"""How many times the usual number of runs; seeded at random when more than one."""
SETTINGS: Final = settings(
    max_examples=40 * TIMES,
    stateful_step_count=50,
    derandomize=TIMES == 1,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink) if TIMES > 1 else (Phase.generate,),
)
UNENDED: Final = (OrderStatus.QUEUED, OrderStatus.SUBMITTED, OrderStatus.UNKNOWN)
MALFORMED: Final = (
    {"intent": "{cut"},
    {"intent": b"\xff\x00\xfe"},
    {"intent": '{"kind": "place", "account": "a b", "symbol": "BTC/USDT"}'},
    {"intent": intent_json(LANES[0], id="two-fields"), "other": "field"},
    {"order": "{}"},
)


class PoolMachine(DispatchMachine):
    """Two to four workers, three lanes. Each step is played on Redis and in the model; then they are compared."""

    @initialize()
    def two_workers(self) -> None:
        self.join()
        self.join()

    @precondition(lambda self: len(self.workers) < 4)
    @rule()
    def join(self) -> None:
        self.workers.append(self.new_worker())

    # What producers and operators do

    @rule(
        lane=st.sampled_from(LANES),
        kind=st.sampled_from(["place", "place", "place", "cancel", "amend", "cancel_all"]),
        reduce_only=st.booleans(),
        leg=st.sampled_from(["", "", "close"]),
        strategy=st.sampled_from(["", "grid"]),
        priority=st.none() | st.integers(0, 9),
        data=st.data(),
    )
    def submit(
        self,
        lane: str,
        kind: str,
        reduce_only: bool,
        leg: str,
        strategy: str,
        priority: int | None,
        data: st.DataObject,
    ) -> None:
        self.count += 1
        fields: dict[str, object] = {"id": f"n{self.count}", "strategy": strategy}
        if priority is not None:
            fields["priority"] = priority
        if kind == "place":
            fields |= {"reduce_only": reduce_only, "leg": leg}
            replaced = data.draw(st.sampled_from([None, None, *self.ids[lane][-4:]]), label="replaced")
            fields |= {"replaces": replaced} if replaced else {}
        if kind in ("cancel", "amend"):
            fields["target"] = data.draw(st.sampled_from(self.ids[lane][-4:]), label="target")
        payload = intent_json(lane, kind=kind, **fields)
        self.ids[lane].append(f"n{self.count}")
        self.model.unread.append(
            Entry(self.bench.append({"intent": payload}), decode_intent(payload.encode()))
        )

    @rule(fields=st.sampled_from(MALFORMED))
    def append_what_is_no_intent(self, fields: dict[str, str | bytes]) -> None:
        self.model.unread.append(Entry(self.bench.append(fields), None))

    @precondition(lambda self: self.model.unread or any(not e.deleted for e in self.model.waiting()))
    @rule(data=st.data())
    def delete_an_entry_by_hand(self, data: st.DataObject) -> None:
        there = [*self.model.unread, *(entry for entry in self.model.waiting() if not entry.deleted)]
        entry = there[data.draw(st.integers(0, len(there) - 1), label="entry")]
        assert self.bench.admin.xdel(self.bench.keys.intents, entry.id) == 1
        if entry in self.model.unread:
            self.model.unread.remove(entry)
        entry.deleted = True

    @precondition(lambda self: any(lane.parked for lane in self.model.lanes.values()))
    @rule()
    def unpark_by_hand(self) -> None:
        name = next(name for name, lane in self.model.lanes.items() if lane.parked)
        keys = self.bench.keys
        script("unpark").run(self.bench.admin, [keys.parked, keys.ready, keys.owners, keys.bell], [name])
        self.model.lanes[name].parked, self.model.lanes[name].called = None, True

    # What workers do

    @precondition(lambda self: self.workers)
    @rule(
        data=st.data(), want=st.integers(0, 3), fault=st.sampled_from([None, None, None, "lost", "delayed"])
    )
    def take(self, data: st.DataObject, want: int, fault: Any) -> None:
        worker = self.choose(data, self.workers)
        if fault:
            self.bench.runner.faults["take"] = fault
        owner = f"{worker.id}#{worker.dispatcher._grant + 1}"
        try:
            runs = self.play(worker.dispatcher.take(want)).runs
        except LeaseLost:
            assert worker.expired
            self.workers.remove(worker)
            self.gone.append(worker)
            return
        except RedisConnectionError:
            assert fault
            if fault == "lost" and not worker.expired:
                self.in_take(want, owner)
                for name in self.model.owned_by(worker.id, worker.dispatcher._grant):
                    self.model.free(name)
            return
        assert not worker.expired
        given = self.in_take(want, owner)
        worker.joined = True
        assert [hold.entry for hold in runs] == [entry.id for entry in given]
        for hold, entry in zip(runs, given, strict=True):
            self.handed(worker, hold, entry)

    @precondition(lambda self: any(worker.holds for worker in self.workers + self.gone))
    @rule(
        data=st.data(),
        step=st.sampled_from(["begin", "begin", "finish", "finish", "refuse", "park", "park"]),
        fault=st.sampled_from([None, None, "lost", "delayed"]),
    )
    def write(self, data: st.DataObject, step: str, fault: Any) -> None:
        worker = self.choose(data, [one for one in self.workers + self.gone if one.holds])
        hold = worker.holds[data.draw(st.sampled_from(sorted(worker.holds)), label="lane")]
        intent = self.intent_of(hold)
        record = self.play(worker.journal.read(self.bench.order(hold).client_order_id)) if intent else None
        begun = record is not None and record.status is not OrderStatus.QUEUED
        ended = record is not None and record.status not in UNENDED
        if worker.expired:
            self.write_after_the_lease(worker, hold, record)
            return
        if not intent or ended or (step == "park" and not begun):
            self.close(worker, hold, fault, bury=not intent)
            return
        if fault:
            self.bench.runner.faults["begin" if step == "begin" else "transition"] = fault
        status, then = {
            "begin": (OrderStatus.SUBMITTED, Then.BEGIN),
            "finish": (OrderStatus.FILLED if begun else OrderStatus.FAILED, Then.FINISH),
            "refuse": (OrderStatus.REJECTED if begun else OrderStatus.EXPIRED, Then.FINISH),
            "park": (OrderStatus.UNKNOWN, Then.PARK),
        }[step]
        entry, hungry = self.entry(hold), self.hungry()
        order = msgspec.structs.replace(record or self.bench.order(hold), status=status)
        written = self.play(worker.journal.write(order, record, hold=hold, then=then))
        assert isinstance(written, Written)
        self.noted(written.order)
        if then is Then.BEGIN:
            entry.begun = True
        elif then is Then.PARK:
            self.model.lanes[hold.lane].parked = entry
            self.model.free(hold.lane)
            del worker.holds[hold.lane]
        else:
            self.ended(worker, hold, written.next, hungry)

    def write_after_the_lease(self, worker: Worker, hold: Hold, record: Order | None) -> None:
        """A worker that stood still comes back and goes on: it must change nothing and be told so."""
        before = self.bench.snapshot()
        if self.intent_of(hold):
            order = msgspec.structs.replace(record or self.bench.order(hold), status=OrderStatus.SUBMITTED)
            with pytest.raises(LeaseLost):
                self.play(worker.journal.write(order, record, hold=hold, then=Then.BEGIN))
            change = self.bench.change(Seen(hold.rank, hold.entry, hold.fields), OrderStatus.CANCELED)
            with pytest.raises(LeaseLost):
                self.play(worker.queue.reshape(hold, [change]))
        with pytest.raises(LeaseLost):
            self.play(worker.queue.give_way(hold))
        if any(entry.id == hold.entry for entry in self.model.waiting()):
            with pytest.raises(LeaseLost):
                self.play(worker.journal.close_entry(hold))
        else:
            assert self.play(worker.journal.close_entry(hold)) is None
        if worker.joined:
            with pytest.raises(LeaseLost):
                self.play(worker.dispatcher.heartbeat())
        assert self.bench.snapshot() == before

    @precondition(lambda self: any(worker.holds for worker in self.workers if not worker.expired))
    @rule(
        data=st.data(),
        keeps=st.booleans(),
        most=st.integers(1, 3),
        fault=st.sampled_from([None, None, "lost", "delayed"]),
    )
    def reshape(self, data: st.DataObject, keeps: bool, most: int, fault: Any) -> None:
        """Some entries of a lane in hand end without a request, and one goes on, changed."""
        worker = self.choose(data, [one for one in self.workers if one.holds and not one.expired])
        hold = worker.holds[data.draw(st.sampled_from(sorted(worker.holds)), label="lane")]
        entries = {entry.id: entry for entry in self.model.lanes[hold.lane].queue}
        seen = self.play(worker.queue.look(hold, 100))
        assert [one.entry for one in seen] == sorted(entries, key=lambda one: entries[one].place)
        waiting = [one for one in seen if not one.begun and one.fields and entries[one.entry].intent]
        chosen = data.draw(st.permutations(waiting), label="entries")[:most]
        kept = chosen.pop() if keeps and len(chosen) > 1 else None
        if not chosen:
            return
        changes = [self.bench.change(one, OrderStatus.MERGED) for one in chosen]
        changes += [self.bench.change(kept, OrderStatus.QUEUED)] if kept else []
        if fault:
            self.bench.runner.faults["reshape"] = fault
        hungry = self.hungry()
        result = self.play(worker.queue.reshape(hold, changes))
        assert isinstance(result, Reshaped)
        for change in changes:
            name = change.order.client_order_id
            version = self.records[name][1] + 1 if name in self.records else 1
            self.noted(msgspec.structs.replace(change.order, version=version))
        for one in chosen:
            if one.entry != hold.entry:
                self.model.lanes[hold.lane].queue.remove(entries[one.entry])
        assert result.held_ended is any(one.entry == hold.entry for one in chosen)
        if result.held_ended:
            self.ended(worker, hold, result.next, hungry)

    @precondition(lambda self: any(worker.holds for worker in self.workers if not worker.expired))
    @rule(data=st.data(), fault=st.sampled_from([None, None, "lost", "delayed"]))
    def give_way(self, data: st.DataObject, fault: Any) -> None:
        worker = self.choose(data, [one for one in self.workers if one.holds and not one.expired])
        hold = worker.holds.pop(data.draw(st.sampled_from(sorted(worker.holds)), label="lane"))
        if fault:
            self.bench.runner.faults["give_way"] = fault
        overtaken = self.play(worker.queue.overtaken([hold]))
        following = self.play(worker.queue.give_way(hold))
        assert following is not None
        assert (following.entry != hold.entry) <= (hold.lane in overtaken)
        self.handed(worker, following, self.model.keep(hold.lane))
        # One that comes too late may note the lane's head of then as being in hand, which nothing but deaths go by.
        self.bench.runner.sent[:] = [call for call in self.bench.runner.sent if call[0] != "give_way"]

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def heartbeat(self, data: st.DataObject) -> None:
        worker = self.choose(data, self.workers)
        if worker.expired and worker.joined:
            with pytest.raises(LeaseLost):
                self.play(worker.dispatcher.heartbeat())
            self.workers.remove(worker)
            self.gone.append(worker)
        else:
            self.play(worker.dispatcher.heartbeat())

    @precondition(lambda self: any(not worker.expired for worker in self.workers))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        worker = self.choose(data, [one for one in self.workers if not one.expired])
        owned = self.model.owned_by(worker.id)
        assert self.play(worker.dispatcher.release_all()) == len(owned)
        for name in owned:
            self.model.free(name)
        self.workers.remove(worker)
        self.bench.runner.sent.clear()  # a call that has not arrived when its worker has left will be refused or reaped

    @precondition(lambda self: any(worker.joined and not worker.expired for worker in self.workers))
    @rule(data=st.data())
    def lease_ends(self, data: st.DataObject) -> None:
        worker = self.choose(data, [one for one in self.workers if one.joined and not one.expired])
        self.bench.end_lease(worker.id)
        worker.expired = True
        # A call with which it was to join has run out of time as well; here no time has passed.
        sent = self.bench.runner.sent
        sent[:] = [call for call in sent if call[0] != "take" or call[2][0] != worker.id]

    # What others do

    @precondition(lambda self: self.bench.runner.sent)
    @rule()
    def a_lost_call_arrives_late(self) -> None:
        before = self.bench.snapshot()
        self.play(self.bench.runner.arrive())
        assert self.bench.snapshot() == before

    @precondition(lambda self: self.open_records())
    @rule(data=st.data(), status=st.sampled_from([OrderStatus.ACTIVE, OrderStatus.FILLED]))
    def the_exchange_reports(self, data: st.DataObject, status: OrderStatus) -> None:
        name = data.draw(st.sampled_from(self.open_records()), label="order")
        report = OrderReport(client_order_id=name, exchange_order_id="7", symbol="BTC/USDT", status=status)
        order = self.play(self.bench.outside.advance(name, report, 1))
        assert order is not None
        if (order.status, order.version) == self.records[name]:
            return
        self.noted(order)
        for lane in self.model.lanes.values():
            if lane.parked and lane.parked.id == order.entry and lane.head is lane.parked:
                lane.parked = None

    # What must hold after every step

    @invariant()
    def nothing_is_lost_and_nobody_shares(self) -> None:
        assert_lanes_are(self.bench, self.model)

    @invariant()
    def every_state_is_recorded_with_its_event(self) -> None:
        assert_records_are(self.bench, self.records, events=self.events, dead=self.dead)

    def teardown(self) -> None:
        """All workers die but a new one: it finishes every entry that is left, each once, and nothing stays behind."""
        keys = self.bench.keys
        for worker in self.workers:
            if worker.joined and not worker.expired:
                self.bench.end_lease(worker.id)
                worker.expired = True
        while any(lane.parked for lane in self.model.lanes.values()):
            self.unpark_by_hand()
        last = self.new_worker()
        for _ in range(100):
            owner = f"{last.id}#{last.dispatcher._grant + 1}"
            runs = self.play(last.dispatcher.take(8)).runs
            for hold, entry in zip(runs, self.in_take(8, owner), strict=True):
                self.handed(last, hold, entry)
            for hold in runs:
                while hold.lane in last.holds:
                    self.finish_in_hand(last, last.holds[hold.lane])
            if not self.model.lanes:
                break
        self.nothing_is_lost_and_nobody_shares()
        self.every_state_is_recorded_with_its_event()
        assert self.bench.admin.xlen(keys.intents) == 0
        self.play(last.dispatcher.release_all())
        left = [keys.waiting, keys.owners, keys.ready, keys.parked, keys.load, keys.notes]
        assert self.bench.admin.exists(*left) == 0
        assert self.bench.admin.xpending(keys.intents, GROUP)["pending"] == 0

    def finish_in_hand(self, worker: Worker, hold: Hold) -> None:
        readable = self.intent_of(hold)
        record = self.play(worker.journal.read(self.bench.order(hold).client_order_id)) if readable else None
        begun = record is not None and record.status is not OrderStatus.QUEUED
        if not readable or (record and record.status not in UNENDED):
            self.close(worker, hold, None, bury=not readable)
            return
        hungry = self.hungry()
        status = OrderStatus.FILLED if begun else OrderStatus.FAILED
        order = msgspec.structs.replace(record or self.bench.order(hold), status=status)
        written = self.play(worker.journal.write(order, record, hold=hold, then=Then.FINISH))
        assert not isinstance(written, Conflict)
        self.noted(written.order)
        self.ended(worker, hold, written.next, hungry)


@pytest.mark.parametrize("noted", [1, 128], ids=["lanes with notes", "lanes without"])
def test_dispatch_keeps_its_promises_whatever_happens_in_whatever_order(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, noted: int
) -> None:
    monkeypatch.setattr("common.lanes.RETRY_SECONDS", (0.0,))
    with noted_from(noted, tmp_path), asyncio.Runner() as runner:
        bench = Bench(redis_url)
        try:
            machine = cast(type[RuleBasedStateMachine], partial(PoolMachine, bench, runner))
            run_state_machine_as_test(machine, settings=SETTINGS)
        finally:
            runner.run(bench.close())
