"""The state machine of dispatch, less its rules: what Redis and the model hold, and how each step shows in both."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from common.journal import Journal
from common.lane_queue import LaneQueue
from common.lanes import Dispatcher, Hold
from orderlane.orders import Order, OrderStatus, Reason
from tests.common.dispatch_model import Entry, Model
from tests.common.pool_bench import Bench

LANES: Final = ("main|BTC/USDT", "main|ETH/USDT", "sub|BTC/USDT")
_T = TypeVar("_T")


@dataclass(eq=False)
class Worker:
    dispatcher: Dispatcher
    journal: Journal
    queue: LaneQueue
    holds: dict[str, Hold] = field(default_factory=dict)
    """What it believes to hold: true for as long as its lease lives."""
    joined: bool = False
    expired: bool = False
    """Its lease has ended; it does not know."""
    buried: bool = False

    @property
    def id(self) -> str:
        return self.dispatcher.worker_id


class DispatchMachine(RuleBasedStateMachine):
    """Some workers, three lanes, and the model that says what they must see."""

    def __init__(self, bench: Bench, runner: asyncio.Runner) -> None:
        super().__init__()
        self.bench, self.loop = bench, runner
        self.bench.admin.flushall()
        self.bench.runner.faults.clear()
        self.bench.runner.sent.clear()
        self.model = Model()
        self.workers: list[Worker] = []
        self.gone: list[Worker] = []
        self.ids: dict[str, list[str]] = {lane: ["never-seen"] for lane in LANES}
        self.records: dict[str, tuple[OrderStatus, int]] = {}
        self.events = 0
        self.dead = 0
        self.count = 0

    def play(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return self.loop.run(coroutine)

    def choose(self, data: st.DataObject, workers: list[Worker]) -> Worker:
        return workers[data.draw(st.integers(0, len(workers) - 1), label="worker")]

    def entry(self, hold: Hold) -> Entry:
        entry = self.model.lanes[hold.lane].in_hand
        assert entry is not None
        assert entry.id == hold.entry
        return entry

    def in_take(self, want: int, owner: str) -> list[Entry]:
        """What an executed take does: bury, read, give."""
        for worker in [*self.workers, *self.gone]:
            if worker.expired and not worker.buried:
                self.model.bury(worker.id)
                worker.buried = True
        self.model.read()
        return self.model.give(want, owner)

    def handed(self, worker: Worker, hold: Hold, entry: Entry) -> None:
        """An entry came into a worker's hands: no other live worker has its lane, and it passed nothing it may not."""
        assert not [one for one in self.workers if not one.expired and hold.lane in one.holds]
        assert (hold.lane, hold.entry, hold.begun) == (entry.lane, entry.id, entry.begun)
        if entry.deleted:
            assert hold.fields == ()
        else:
            assert hold.deaths == entry.deaths
            assert len(hold.fields) >= 2
        for other in self.model.lanes[hold.lane].queue:
            if other.age < entry.age and not entry.begun:
                assert not other.begun
                assert entry.intent is not None
                assert other.intent is not None
                assert entry.intent.urgency < other.rank
        worker.holds[hold.lane] = hold

    def intent_of(self, hold: Hold) -> bool:
        return not hold.lane.startswith("!") and bool(hold.fields)

    def close(self, worker: Worker, hold: Hold, fault: Any, *, bury: bool) -> None:
        if fault:
            self.bench.runner.faults["close_entry"] = fault
        hungry = self.hungry()
        reason = Reason("malformed_json", "it is no intent") if bury else None
        following = self.play(worker.journal.close_entry(hold, dead=reason))
        self.dead += bury
        self.ended(worker, hold, following, hungry)

    def hungry(self) -> dict[str, int]:
        key = self.bench.keys.hungry
        found = cast(list[tuple[bytes, float]], self.bench.admin.zrange(key, 0, -1, withscores=True))
        return {name.decode(): int(score) for name, score in found}

    def ended(self, worker: Worker, hold: Hold, following: Hold | None, hungry: dict[str, int]) -> None:
        """An entry was finished: the lane goes on in the same hands, or to somebody hungry who has clearly fewer."""
        mine, ready = len(self.model.owned_by(worker.id)), len(self.model.ready())
        self.model.end(self.entry(hold))
        del worker.holds[hold.lane]
        if following is not None:
            self.handed(worker, following, self.model.keep(hold.lane))
            return
        lane = self.model.lanes[hold.lane]
        if lane.queue and not hungry:
            assert ready, "it made room for nobody"
            score = self.bench.admin.zscore(self.bench.keys.ready, hold.lane)
            assert isinstance(score, float)
            lane.turned = int(score // 1e13), int(score % 1e13)
        elif lane.queue:
            others = [len(self.model.owned_by(one)) for one in hungry if one != worker.id]
            assert mine > min(others) + ready + 1
        self.model.free(hold.lane)

    def noted(self, order: Order) -> None:
        self.records[order.client_order_id] = (order.status, order.version)
        self.events += 1

    def open_records(self) -> list[str]:
        """The orders that have begun and not ended."""
        return sorted(
            name
            for name, (status, _) in self.records.items()
            if not status.terminal and status is not OrderStatus.QUEUED
        )

    def new_worker(self) -> Worker:
        dispatcher, journal = self.bench.worker()
        return Worker(dispatcher, journal, self.bench.queue(dispatcher))
