"""What a cancel-all for an account (`symbol: "*"`) does about its other lanes: nothing that was accepted before it may
come to the exchange after it.

What waits there ends unsent, in one script for each lane; whoever runs that lane meets records that have ended.
What had begun by then is awaited: found at the exchange it is cancelled, proven absent it is never sent. All of it is
told by its stream id, which is less than that of the cancel-all, so that doing it again meets nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from typing import Final

import msgspec

from common import failpoints
from common.lane_queue import Change, Seen
from orderlane.events import order_event
from orderlane.intents import AmendOrder, CancelAll, Intent, IntentInvalid, PlaceOrder
from orderlane.orders import Order, OrderStatus, Reason
from workers.command import CommandRun, NotDone
from workers.outcomes import guard, start_order
from workers.reading import read_fields
from workers.side_by_side import side_by_side
from workers.targets import has_ended, placed_by
from workers.thinking import entry_hold

TOGETHER: Final = 64
"""Entries of a lane ended by one script: bounds how long it holds Redis."""
ROUNDS: Final = 5
"""How often the lanes are gone through: whatever a rule changes in between is met the next time."""
AT_ONCE: Final = 8
"""Orders in work that are awaited side by side."""
IN_WORK: Final = (OrderStatus.SUBMITTED, OrderStatus.UNKNOWN)
LOOK_AGAIN_MS: Final = 100
MAYBE_SENT = Reason(
    code="redis_restarted",
    message="it waits, and Redis restarted after it was accepted and may have forgotten that it was sent: its lane "
    "asks the exchange first; cancel it once that is known",
)


class Others:
    """The account's other lanes, as one cancel-all sees to them."""

    def __init__(self, run: CommandRun, intent: CancelAll) -> None:
        self._run = run
        self._intent = intent
        self._before = position(run.hold.entry)
        self._in_work: list[Order] = []
        self._restless: dict[str, tuple[str, Order]] = {}
        """Client order id -> lane and record of what waits and could not be ended: it may have been sent and
        forgotten."""

    async def annul(self) -> None:
        """End what waits unsent, and note what can't be ended so: to be called before anything is cancelled.

        Raises:
            LeaseLost: the lane in hand is no longer this worker's.
            redis.exceptions.RedisError: Redis gave no answer.
        """
        run = self._run
        for _ in range(ROUNDS):
            waiting = await self._waiting()
            failpoints.reach("sweep.found")
            if not waiting:
                break
            for lane, changes in waiting.items():
                following = iter(changes)
                while some := list(islice(following, TOGETHER)):
                    await run.desk.queue.annul(run.hold, lane, some)
                failpoints.reach("sweep.ended")
        else:
            self._await_all(await self._waiting())
        on_record = await run.desk.journal.open_orders(self._intent.account)
        self._in_work = [
            order
            for order in on_record
            if order.status in IN_WORK and await self._is_meant(order) and await will_place(run, order)
        ]

    def _await_all(self, waiting: dict[str, list[Change]]) -> None:
        for lane, changes in waiting.items():
            for change in changes:
                self._restless[change.order.client_order_id] = lane, change.order

    async def await_in_work(self) -> dict[str, NotDone]:
        """Wait for what had begun, and cancel what of it is on the book; what was not, by intent id.

        Raises:
            LeaseLost, Stopping: somebody else will.
        """
        run, refused = self._run, dict[str, NotDone]()

        async def cancel(order: Order) -> None:
            known = await run.desk.journal.read(order.client_order_id)
            if known is None or has_ended(known):
                return
            result = await run.try_cancel(known)
            if isinstance(result, NotDone):
                refused[order.intent.id] = result

        in_work = [*self._in_work, *await self._no_longer_waiting()]
        await side_by_side(run.desk, in_work, cancel, AT_ONCE)
        for _, order in self._restless.values():
            refused[order.intent.id] = NotDone(OrderStatus.REJECTED, MAYBE_SENT)
        failpoints.reach("sweep.awaited")
        return refused

    async def _no_longer_waiting(self) -> list[Order]:
        """Those of which Redis may have forgotten that they were sent, once their lanes have found out about them."""
        desk, found = self._run.desk, []
        until = desk.now_ms() + desk.policy.unprovable_after_ms
        while self._restless:
            for name, (lane, order) in list(self._restless.items()):
                rank = await desk.queue.rank_of(lane, order.entry)
                if rank is None or rank == "!":
                    found.append(order)
                    del self._restless[name]
            if not self._restless or desk.now_ms() > until:
                break
            await desk.sleep(LOOK_AGAIN_MS)
        return found

    async def _waiting(self) -> dict[str, list[Change]]:
        """What ends each entry that waits and is meant, by lane."""
        desk, account = self._run.desk, self._intent.account
        found = [
            (lane, seen, intent)
            async for lane, seen in desk.queue.waiting_of(account)
            if lane != self._run.hold.lane
            and not seen.begun
            and (intent := _read(seen, lane)) is not None
            and guard(desk, intent) is None
        ]
        names = [desk.client_order_id(account, intent.id) for _, _, intent in found]
        records = await desk.journal.read_many(names)
        changes: dict[str, list[Change]] = defaultdict(list)
        meant: set[str] = set()
        for (lane, seen, intent), record in zip(found, records, strict=True):
            order = record or start_order(desk, entry_hold(seen), intent)
            if order.entry != seen.entry or order.status is not OrderStatus.QUEUED:
                continue
            if not await self._is_meant(order, meant):
                continue
            meant.add(intent.id)
            if desk.in_doubt(entry_hold(seen)):
                self._restless[order.client_order_id] = lane, order
            else:
                changes[lane].append(self._ending(order, seen.rank))
        return changes

    async def _is_meant(self, order: Order, with_them: Sequence[str] | set[str] = ()) -> bool:
        """Whether an intent places an order of the strategy (of any, without one), or places one of them anew.
        `with_them`: ids of waiting intents that are."""
        intent, strategy = order.intent, self._intent.strategy
        if position(order.entry) >= self._before or not isinstance(intent, PlaceOrder | AmendOrder):
            return False
        if not strategy or (isinstance(intent, AmendOrder) and intent.target in with_them):
            return True
        return await strategy_of(self._run, order) == strategy

    def _ending(self, order: Order, rank: str) -> Change:
        desk, now_ms = self._run.desk, self._run.desk.now_ms()
        by = self._intent.id
        ended = msgspec.structs.replace(
            order,
            status=OrderStatus.CANCELED,
            reason=Reason(
                code="cancelled_while_waiting",
                message=f"cancelled by {by!r}, a cancel-all of the account, while it waited: it is not sent",
            ),
            related=by,
            times=msgspec.structs.replace(order.times, updated_at=now_ms),
        )
        event = order_event(ended, OrderStatus.QUEUED, at=now_ms, worker=desk.dispatcher.worker_id)
        return Change(rank, ended, event)


async def will_place(run: CommandRun, order: Order) -> bool:
    """Whether an intent that has begun places an order, or may do so yet: an amend does where it can't change its
    target in place."""
    if not isinstance(order.intent, AmendOrder):
        return isinstance(order.intent, PlaceOrder)
    if order.amount is not None or not run.desk.exchange.amends_in_place:
        return True
    placed = await placed_by(run.desk, order)
    return placed is not None and placed.type.has_trigger


async def strategy_of(run: CommandRun, order: Order) -> str:
    """Whose order it is: an amend that places it anew need not carry the label of the place it changes."""
    if not isinstance(order.intent, AmendOrder):
        return order.intent.strategy
    placed = await placed_by(run.desk, order)
    return placed.strategy if placed is not None else order.intent.strategy


def position(entry: str) -> tuple[int, int]:
    """A stream id as what it counts: ms and sequence."""
    ms, _, sequence = entry.partition("-")
    return int(ms or 0), int(sequence or 0)


def _read(seen: Seen, lane: str) -> Intent | None:
    try:
        return read_fields(seen.fields, lane)
    except IntentInvalid:
        return None
