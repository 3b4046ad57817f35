"""Looking after stuck orders, as a part of each sync of an account: asked for by id, ended on evidence, or told.

It runs with the sync, not in the exchange workers: deadlines are tens of seconds, the sync has the account's open
records and the exchange's list in hand, and only one scheduler at a time looks after an account. What was asked and
when is noted in Redis before the question leaves, so that neither a second scheduler nor a restart asks sooner.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from common import failpoints
from common.exchange.base import ExchangeFailure, OrderReport, Outcome
from common.journal import Written
from common.venue_limits import Operation
from orderlane.events import EventName, encode_event, order_event
from orderlane.identity import client_order_id
from orderlane.intents import AmendOrder, CancelOrder
from orderlane.keys import EVENT_FIELD
from orderlane.orders import Order, OrderStatus, Reason
from orderlane.stuck import StuckKind, Watch, decode_watches, encode_watch
from orderlane.tries import Try, add_try
from workers.jobs.matching import reference_to
from workers.jobs.open_exchange import LEAST_URGENT, OpenExchange
from workers.jobs.stuck_rules import (
    PROOFS,
    asked_now,
    due,
    end_of_cancel,
    forgotten,
    placing,
    report_of_trades,
    stuck_numbers,
    stuck_reason,
    to_tell,
    watched,
)

log: Final = logging.getLogger("orderlane.jobs")

MOST_ASKED: Final = 1_000
"""Orders of one account asked for by themselves in one run, within its time and its tokens."""
SIDE_BY_SIDE: Final = 8
"""Questions under way at once."""
MAX_SUCCESSORS: Final = 64
"""How long a chain of replaced orders is followed before it counts as broken."""
BY: Final = "scheduler"


class Looked(Struct):
    """What looking after an account's stuck orders came to: questions sent, records changed, answers "no such order",
    questions that failed, orders told to be stuck."""

    asked: int = 0
    changed: int = 0
    not_found: int = 0
    failed: int = 0
    told: int = 0


class Attendance:
    """One run over an account's stuck orders."""

    def __init__(self, one: OpenExchange, account: str, now_ms: int) -> None:
        self._one = one
        self._account = account
        self._ahead_ms = now_ms - time.monotonic() * 1000
        self._key = one.keys.stuck(account)
        self._section = one.settings.scheduler.stuck
        self._watches: dict[str, Watch] = {}
        self._records: dict[str, Order] = {}
        self._stopped: ExchangeFailure | None = None
        self.looked = Looked()

    async def run(
        self, records: Sequence[Order], absent: frozenset[str] | None, listed_at: int, *, may_ask: bool = True
    ) -> None:
        """Watch those of the open `records` that are stuck, ask for those that are due, tell those that are late.

        `absent` and `listed_at` as for `watched`. `may_ask`: False while the exchange throttles.

        Raises:
            ExchangeFailure: it throttles; then every worker pauses.
            redis.exceptions.RedisError: Redis did not answer; what was noted stands.
        """
        fields: Any = await self._one.redis.hgetall(self._key)
        before = decode_watches(fields)
        self._records = {record.client_order_id: record for record in records}
        self._watches = watched(records, absent, before, listed_at, self._now(), self._section)
        await self._forget([name.decode() for name in fields if name.decode() not in self._watches])
        if may_ask:
            await self._ask_for_those_due()
        await self._tell_those_late()
        fresh = [
            one
            for name, one in self._watches.items()
            if name not in before and not one.asked and not one.told
        ]
        await self._keep(fresh)
        if self._stopped is not None and self._stopped.outcome is Outcome.THROTTLED:
            raise self._stopped

    def _now(self) -> int:
        """Redis' clock, as this run estimates it."""
        return int(time.monotonic() * 1000 + self._ahead_ms)

    async def _ask_for_those_due(self) -> None:
        waiting = due(self._watches.values(), self._now(), MOST_ASKED)
        queue = iter(waiting)

        async def ask_on() -> None:
            for watch in queue:
                if self._stopped is not None:
                    return
                await self._ask(watch)

        tasks = [asyncio.create_task(ask_on()) for _ in range(min(SIDE_BY_SIDE, len(waiting)))]
        try:
            for task in tasks:
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, watch: Watch) -> None:
        """Ask about one order, and act on the answer."""
        record = self._records[watch.client_order_id]
        subject = await self._subject_of(record)
        if isinstance(subject, str):
            cap_ms = self._section.ask_cap_seconds * 1000
            watch = msgspec.structs.replace(watch, last=self._now(), next=self._now() + cap_ms)
            await self._note(watch, "nothing: there is no one order to ask for", subject)
            return
        if subject is not record and await self._end_command(record, subject):
            return
        reference = reference_to(subject)
        await self._pay(Operation.FIND, reference.symbol, conditional=reference.conditional)
        watch = asked_now(watch, self._now(), self._section)
        await self._keep([watch])
        self.looked.asked += 1
        failpoints.reach("stuck.asking", watch.intent_id)
        try:
            report = await self._one.exchange.find(reference)
        except ExchangeFailure as failure:
            await self._failed(watch, failure)
            return
        failpoints.reach("stuck.asked", watch.intent_id)
        if report is not None:
            await self._found(watch, record, subject, report)
        else:
            await self._not_found(watch, record, subject)

    async def _subject_of(self, record: Order) -> Order | str:
        """The order whose state answers the question: the record's own, or a command's target; or why there is none."""
        intent = record.intent
        if placing(record):
            return record
        if not isinstance(intent, CancelOrder | AmendOrder):
            return "it acts on many orders"
        target_id = intent.target
        for _ in range(MAX_SUCCESSORS):
            name = client_order_id(self._one.settings.pool, self._one.name, intent.account, target_id)
            target = await self._one.journal.read(name)
            if target is None:
                return f"its target {target_id!r} has no record any more"
            if target.successor in ("", intent.id):
                return target
            target_id = target.successor
        return "the chain of orders that replaced its target does not end"

    async def _found(self, watch: Watch, record: Order, subject: Order, report: OrderReport) -> None:
        after = await self._one.journal.advance(subject.client_order_id, report, self._now())
        moved = after is not None and after.version > subject.version
        self.looked.changed += moved
        name = f"order {subject.intent.id!r}" if subject is not record else "the order"
        await self._note(watch, f"for {name}", f"it is {report.status}, {report.filled:f} filled")
        if subject is not record and after is not None:
            await self._end_command(record, after)

    async def _not_found(self, watch: Watch, record: Order, subject: Order) -> None:
        self.looked.not_found += 1
        watch = msgspec.structs.replace(watch, not_found=watch.not_found + 1)
        name = f"order {subject.intent.id!r}" if subject is not record else "the order"
        await self._note(watch, f"for {name}", "no such order")
        if watch.kind is StuckKind.ABSENT and watch.not_found >= PROOFS:
            await self._look_for_fills(self._watches[watch.client_order_id], record)

    async def _look_for_fills(self, watch: Watch, record: Order) -> None:
        """The exchange neither lists nor knows an open order: its fills may say how it ended, or that it has none."""
        reference = reference_to(record)
        if reference.conditional or not reference.exchange_order_id:
            return  # fills name the ordinary order that it may have become, by an id that is not known
        await self._pay(Operation.HISTORY, reference.symbol)
        self.looked.asked += 1
        try:
            trades = await self._one.exchange.trades(
                self._account, reference.symbol, 0, of_order=reference.exchange_order_id
            )
        except ExchangeFailure as failure:
            await self._failed(watch, failure, asked="for its fills")
            return
        report = report_of_trades(record, trades)
        said = f"{len(trades)} fills, {record.filled if report is None else report.filled:f} in all"
        await self._note(watch, "for its fills", said, together=f"no such order; {said}")
        if report is not None:
            after = await self._one.journal.advance(record.client_order_id, report, self._now())
            self.looked.changed += after is not None and after.version > record.version
            return
        why = None if trades else forgotten(record, watch, self._one.section.venue, self._now())
        if why is not None:
            await self._end(record, OrderStatus.CANCELED, why)

    async def _end_command(self, record: Order, target: Order) -> bool:
        """End a cancel whose target has ended; whether it was."""
        end = end_of_cancel(record, target)
        if end is None:
            return False
        await self._end(record, *end)
        return True

    async def _end(self, record: Order, status: OrderStatus, reason: Reason | None) -> None:
        """Write how an order ended, unless someone else has written it meanwhile: theirs stands."""
        times = msgspec.structs.replace(record.times, updated_at=self._now())
        ended = msgspec.structs.replace(record, status=status, reason=reason, times=times)
        if isinstance(await self._one.journal.write(ended, record), Written):
            self.looked.changed += 1
            log.info(
                "a stuck order has ended",
                extra={"client_order_id": record.client_order_id, "status": status.value},
            )
        failpoints.reach("stuck.ended", record.intent.id)

    async def _failed(self, watch: Watch, failure: ExchangeFailure, *, asked: str = "for the order") -> None:
        self.looked.failed += 1
        watch = msgspec.structs.replace(watch, failed=watch.failed + 1)
        await self._note(watch, asked, f"no answer ({failure.code}: {failure.message})"[:300])
        if failure.outcome is Outcome.THROTTLED:
            await self._one.throttle.pause(self._account, failure)
        if failure.outcome is not Outcome.REFUSED:
            self._stopped = failure  # it would fail for the others, too: they are not asked for in vain

    async def _pay(self, operation: Operation, symbol: str, *, conditional: bool = False) -> None:
        await self._one.throttle.acquire(
            operation, self._account, symbol, LEAST_URGENT, conditional=conditional
        )

    async def _note(self, watch: Watch, asked: str, said: str, together: str = "") -> None:
        """Keep the watch with the answer (`together` with the one before), and note the try for the order."""
        watch = msgspec.structs.replace(watch, said=together or said)
        self._watches[watch.client_order_id] = watch
        one = Try(at=self._now(), by=BY, asked=asked, said=said, next=watch.next)
        async with self._one.redis.pipeline(transaction=False) as pipeline:
            pipeline.hset(self._key, watch.client_order_id, encode_watch(watch))
            key = self._one.keys.tries(watch.client_order_id)
            add_try(pipeline, key, one, self._one.settings.scheduler.order_retention_seconds * 1000)
            await pipeline.execute()

    async def _keep(self, watches: Sequence[Watch]) -> None:
        if watches:
            self._watches |= {one.client_order_id: one for one in watches}
            mapping: dict[Any, Any] = {one.client_order_id: encode_watch(one) for one in watches}
            await self._one.redis.hset(self._key, mapping=mapping)

    async def _forget(self, names: Sequence[str]) -> None:
        if names:
            await self._one.redis.hdel(self._key, *names)

    async def _tell_those_late(self) -> None:
        """Publish `order.stuck` for those past their deadline whose record still stands so: the event and the note that
        it was told are one step."""
        late = to_tell(self._watches.values(), self._now())
        records = await self._one.journal.read_many([one.client_order_id for one in late])
        for watch, record in zip(late, records, strict=True):
            before = self._records[watch.client_order_id]
            if record is None or record.status is not before.status:
                continue
            told = msgspec.structs.replace(watch, told=self._now())
            reason = stuck_reason(watch, self._now())
            event = order_event(record, record.status, at=self._now(), name=EventName.STUCK, worker=BY)
            event = msgspec.structs.replace(event, reason=reason, numbers=stuck_numbers(watch, self._now()))
            async with self._one.redis.pipeline(transaction=True) as pipeline:
                pipeline.hset(self._key, watch.client_order_id, encode_watch(told))
                pipeline.xadd(self._one.keys.events, {EVENT_FIELD: encode_event(event)})
                await pipeline.execute()
            failpoints.reach("stuck.told", watch.intent_id)
            self._watches[watch.client_order_id] = told
            self.looked.told += 1
            log.warning(
                "an order is stuck",
                extra={"client_order_id": watch.client_order_id, "reason": reason.message, **reason.numbers},
            )
