"""What cancels, amends and replacements share: a record of their own, begun before anything is sent, ended on evidence.

A command ends DONE when the exchange confirmed the change. What it does to its target is written to the
target's record from what the exchange shows, never from what the command meant to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from itertools import count

import msgspec

from common import failpoints
from common.exchange.base import ExchangeFailure, OrderReport, Outcome
from common.journal import Conflict, Then
from common.lanes import Hold
from common.venue_limits import Operation
from orderlane.intents import AmendOrder, CancelAll, CancelOrder, PlaceOrder
from orderlane.orders import Order, OrderStatus, Reason
from workers.begin import Begun, begin_in_turn
from workers.desk import Desk, backoff_ms, reason_of
from workers.outcomes import expiry, finish_with, mark_unknown, on_conflict, start_order
from workers.place import NOTHING_HAPPENED, begun
from workers.targets import ascertain, has_ended, look_at, note, watch_until

Command = CancelOrder | AmendOrder | CancelAll | PlaceOrder
"""What acts on orders that others placed; a place does where it `replaces` one."""
ANSWERED = (Outcome.REFUSED, Outcome.NOT_FOUND)
"""Failures that are the exchange's answer: nothing was executed, and asking again changes nothing."""
Perform = Callable[[int], Awaitable[OrderReport | None]]
"""Sends the command's request, stamped with the time given (ms, exchange clock)."""


class NotDone(msgspec.Struct, frozen=True):
    """Why an order was not cancelled, and how a command for it alone ends."""

    status: OrderStatus
    reason: Reason


class CommandEnds(Exception):
    """The command can't go on: `finish` ends its entry; the lane's next run. Nothing else of it may run then."""

    def __init__(self, finish: Callable[[], Awaitable[Hold | None]]) -> None:
        super().__init__("the command ends")
        self.finish = finish


class CommandRun:
    """One command in hand. `order` is its record, `saved` the same as it stands in Redis (None before `begin`).

    Requests of one command may be under way side by side; each begins in its turn.
    """

    def __init__(self, desk: Desk, hold: Hold, intent: Command, saved: Order | None) -> None:
        self.desk = desk
        self.hold = hold
        self.intent = intent
        self.saved = saved
        self.replaying = saved is not None and saved.status is not OrderStatus.QUEUED
        self.order = saved if saved is not None and self.replaying else start_order(desk, hold, intent, saved)
        self.before_end: Callable[[], Awaitable[None]] | None = None
        """What to look at before a command that was sent ends: it may have had a part of its effect."""
        self._turn = asyncio.Lock()
        self._stopped: Exception | None = None

    async def end(self, status: OrderStatus, reason: Reason | None = None) -> Hold | None:
        """End the command in `status`; the lane's next run.

        A refusal before anything was sent is FAILED: the exchange has said nothing.
        """
        if status is OrderStatus.REJECTED and not self.order.attempts:
            status = OrderStatus.FAILED
        if self.before_end is not None and self.order.attempts:
            await self.before_end()
        return await finish_with(self.desk, self.hold, self.order, status, reason, self.saved)

    async def send(self, operation: Operation, perform: Perform) -> OrderReport | ExchangeFailure | None:
        """As `attempt`, for a command that a refusal ends.

        Raises:
            CommandEnds: the exchange refused, the deadline passed, or the record was taken by someone else.
        """
        outcome = await self.attempt(operation, perform)
        if isinstance(outcome, ExchangeFailure) and outcome.outcome is Outcome.REFUSED:
            raise CommandEnds(partial(self.end, OrderStatus.REJECTED, reason_of(outcome)))
        return outcome

    async def attempt(
        self, operation: Operation, perform: Perform, symbol: str = ""
    ) -> OrderReport | ExchangeFailure | None:
        """Begin and send once; again where it certainly was not executed. The reply; or REFUSED, NOT_FOUND, or a
        failure of which the effect is not certain. `symbol`: whose limits it counts against, if not the intent's.

        Raises:
            CommandEnds: the deadline passed, or the record was taken by someone else.
            Overtaken: nothing was begun.
        """
        waits = backoff_ms()
        while True:
            slot = self.desk.request_slot()
            try:
                async with self._in_turn():
                    start = await self._begin(
                        partial(
                            begin_in_turn, self.desk, self.hold, slot, self.intent, self.saved, operation,
                            self._begun, symbol=symbol,
                        )
                    )  # fmt: skip
                outcome = await self._send_once(perform, start.at_ms)
                failpoints.reach("command.replied")
            finally:
                slot.give_back()
            if not isinstance(outcome, ExchangeFailure) or outcome.outcome in ANSWERED:
                return outcome
            if outcome.outcome not in NOTHING_HAPPENED:
                await self._mark_unknown(reason_of(outcome))
                return outcome
            await self.desk.pause_if_throttled(self.intent.account, outcome)
            await self.desk.sleep(next(waits))

    def given_up(self, tries: int, outcome: ExchangeFailure | OrderReport | None) -> Reason | None:
        """Why a request is not sent again, once it was sent as often as may be without effect; else None.

        To be asked only when the last request can't take effect any more.
        """
        if tries < self.desk.policy.max_attempts:
            return None
        said = outcome.message if isinstance(outcome, ExchangeFailure) else "the exchange called it done"
        return Reason(
            code="given_up",
            message=f"sent {tries} times, and the exchange shows no effect; last: {said}",
            numbers={"attempts": str(tries)},
        )

    async def let_pass(self) -> None:
        """Wait until a request of this command that may still be under way can't be executed any more."""
        margin_ms = self.desk.policy.clock_margin_ms
        until = self.order.executable_until
        left_ms = (
            until + margin_ms - self.desk.exchange.now_ms() if until else self.desk.policy.unprovable_after_ms
        )
        if left_ms > 0:
            await self.desk.sleep(left_ms)

    async def make_cancelled(self, target: Order) -> Order:
        """Cancel the target unless it has ended; its record once it has.

        Raises:
            CommandEnds: the exchange refused, shows no effect after every attempt, or nobody knows what became of it.
        """
        result = await self.try_cancel(target)
        if isinstance(result, NotDone):
            raise CommandEnds(partial(self.end, result.status, result.reason))
        return result

    async def try_cancel(self, target: Order) -> Order | NotDone:
        """Cancel the target unless it has ended; its record once it has, or why it has not."""
        known = await ascertain(self.desk, target)
        if isinstance(known, Reason):
            return NotDone(OrderStatus.FAILED, known)
        target = known
        if self.replaying and not has_ended(target):
            target = await self._look(target)
        for tries in count(1):
            if has_ended(target):
                break
            cancel = partial(self.desk.exchange.cancel, self.desk.reference(target))
            outcome = await self.attempt(Operation.CANCEL, cancel, target.intent.symbol)
            if isinstance(outcome, ExchangeFailure):
                if outcome.outcome is Outcome.REFUSED:
                    return NotDone(OrderStatus.REJECTED, reason_of(outcome))
            else:
                target = await note(self.desk, target, outcome)
                if has_ended(target):
                    break
            target = await watch_until(self.desk, target, self.order.executable_until, has_ended)
            if not has_ended(target):
                if isinstance(outcome, ExchangeFailure) and outcome.outcome is Outcome.NOT_FOUND:
                    return NotDone(OrderStatus.REJECTED, reason_of(outcome))
                reason = self.given_up(tries, outcome)
                if reason is not None:
                    return NotDone(OrderStatus.FAILED, reason)
        return target

    def check_expiry(self) -> None:
        """Raise CommandEnds once the deadline has passed."""
        late = expiry(self.desk, self.intent)
        if late is not None:
            raise CommandEnds(partial(self.end, OrderStatus.EXPIRED, late))

    async def begin_unsent(self, order: Order) -> None:
        """Put the command on record as begun without sending anything, because it may have been sent and forgotten.

        Raises:
            CommandEnds: the record was taken by someone else.
        """
        until = self.desk.doubtful_until() if self.desk.exchange.receive_window_ms is not None else 0
        begun_order = msgspec.structs.replace(begun(self.desk, order, at_ms=0), executable_until=until)
        result = await self.desk.journal.write(begun_order, self.saved, hold=self.hold, then=Then.BEGIN)
        if isinstance(result, Conflict):
            raise CommandEnds(partial(on_conflict, self.desk, self.hold, self.intent, result))
        self.order = self.saved = result.order

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """The requests of a command begin one after another; whoever comes later only waits until then."""
        with self.desk.idle.here() if self._turn.locked() else nullcontext():
            await self._turn.acquire()
        try:
            yield
        finally:
            self._turn.release()

    async def _begin(self, begin: Callable[[], Awaitable[Begun | Conflict | Reason]]) -> Begun:
        """Begin a request; what stops one stops those that come after it."""
        if self._stopped is not None:
            raise self._stopped
        try:
            start = await begin()
            if isinstance(start, Reason):
                raise CommandEnds(partial(self.end, OrderStatus.EXPIRED, start))
            if isinstance(start, Conflict):
                raise CommandEnds(partial(on_conflict, self.desk, self.hold, self.intent, start))
            self.order = self.saved = start.order
            failpoints.reach("command.begun")
            self.check_expiry()  # Redis may have let us wait for its answer
        except Exception as error:
            self._stopped = error
            raise
        return start

    def _begun(self, at_ms: int) -> Order:
        failpoints.reach("command.admitted")
        order = begun(self.desk, self.order, at_ms)
        # Others of this command may be under way: its record covers them all.
        until = max(order.executable_until, self.order.executable_until)
        return msgspec.structs.replace(order, executable_until=until)

    async def _look(self, target: Order) -> Order:
        try:
            return await look_at(self.desk, target)
        except ExchangeFailure as failure:
            await self.desk.pause_if_throttled(self.intent.account, failure)
            return target

    async def _send_once(self, perform: Perform, at_ms: int) -> OrderReport | ExchangeFailure | None:
        self.desk.dispatcher.require_lease()
        try:
            return await perform(at_ms)
        except ExchangeFailure as failure:
            return failure

    async def _mark_unknown(self, why: Reason) -> None:
        async with self._turn:
            if self._stopped is not None:
                return
            marked = await mark_unknown(self.desk, self.hold, self.order, why)
            if isinstance(marked, Conflict):
                self._stopped = CommandEnds(partial(on_conflict, self.desk, self.hold, self.intent, marked))
                raise self._stopped
            self.order = self.saved = marked
