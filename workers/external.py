"""What is done about orders on the exchange of which the journal has no record, wherever they are met: in a list of
open orders, in a user stream, at a start.

A record is written before the first byte of a request leaves. So whoever has seen an order on the exchange, and reads
the journal *after* that, knows that a record that is missing is missing for good: Redis forgot it, or nobody of this
pool placed the order. What is written then is written once, whoever comes first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import MsgspecError, Struct

from common import failpoints
from common.exchange.base import OrderReport
from common.journal import Journal, Written
from common.redis import ScriptRunner
from orderlane.events import Event, decode_event, encode_event
from orderlane.external import ExternalAction, decode_externals, encode_external
from orderlane.identity import client_order_id
from orderlane.intents import IntentInvalid, decode_intent, encode_intent, intent_digest
from orderlane.keys import EVENT_FIELD, INTENT_FIELD, Keys
from orderlane.orders import Order, encode_record
from workers.external_orders import (
    action_on,
    adopted,
    adopted_event,
    can_be_recorded,
    cancel_of,
    external_event,
    external_order,
    is_lost,
    name_of,
    rebuilt,
    rebuilt_event,
    without_records,
)

log: Final = logging.getLogger("orderlane.external")

ENDED_KEPT_MS: Final = 3_600_000
ENDED_KEPT: Final = 10_000
"""How long, and how many at most, orders of others are remembered after their end: a list or a message about one may be
late."""
READ_TOGETHER: Final = 1_000
EVENTS_LOOKED_AT: Final = 20_000
"""The newest events in which the intent of a lost record is looked for."""
NAMED: Final = 5
"""Orders that one log line names."""


class Met(Struct):
    """What was done: orders of the pool that are on record again, orders of others that were told for the first time,
    orders that have a record now (whoever wrote it), and orders that can't have one, because the venue does not say
    what they are."""

    rebuilt: int = 0
    external: int = 0
    recorded: int = 0
    unreadable: int = 0


class Strangers:
    """Deals with orders without a record, for one exchange. `writer`: who is named in the events."""

    def __init__(
        self,
        runner: ScriptRunner,
        keys: Keys,
        journal: Journal,
        *,
        action: str,
        pools_too: bool,
        retention_ms: int,
        writer: str,
    ) -> None:
        self._runner = runner
        self._keys = keys
        self._journal = journal
        self._action = ExternalAction(action)
        self._pools_too = pools_too
        self._retention_ms = retention_ms
        self._writer = writer

    def record_name(self, account: str, report: OrderReport) -> str:
        """The client order id of the record that an order has, or would have."""
        if is_lost(self._keys.pool, report):
            return report.client_order_id
        return client_order_id(self._keys.pool, self._keys.exchange, account, name_of(report))

    async def meet(self, account: str, reports: Sequence[OrderReport], now_ms: int) -> Met:
        """Deal with orders that the exchange has shown and that had no record when last looked.

        Raises:
            redis.exceptions.RedisError: no answer; what was written stands, and the rest may be done again.
        """
        met = Met()
        lost = [report for report in reports if is_lost(self._keys.pool, report)]
        if lost:
            await self._rebuild(account, lost, now_ms, met)
        for report in reports:
            if not is_lost(self._keys.pool, report):
                await self._note(account, report, now_ms, met)
        return met

    async def meet_listed(
        self,
        account: str,
        records: Iterable[Order],
        listed: Sequence[OrderReport],
        known: Mapping[str, ExternalAction],
        now_ms: int,
    ) -> Met:
        """As `meet`, for a list of everything that is open and the journal's open records. What of others was `known`
        to be open before the list was asked for, and is not in it, has ended.

        Raises:
            redis.exceptions.RedisError: no answer; what was written stands, and the rest may be done again.
        """
        names = {name_of(report): report for report in listed}
        strangers = without_records(records, listed)
        # What was adopted before has a record; now more is asked for.
        strangers += [
            report
            for name, report in names.items()
            if known.get(name) is ExternalAction.ADOPT and self._action is ExternalAction.CANCEL
        ]
        met = await self.meet(account, strangers, now_ms)
        gone = known.keys() - names.keys()
        if gone:
            await self.end(account, sorted(gone))
        return met

    async def known(self, account: str) -> dict[str, ExternalAction]:
        """The orders of others that are open as far as is known, and what was done about each; to be read before a list
        is asked for.

        Raises:
            redis.exceptions.RedisError: no answer.
        """
        fields: Any = await self._runner.client.hgetall(self._keys.external(account))
        if not fields:
            return {}
        ended: Any = await self._runner.client.zrange(self._keys.external_ended(account), 0, -1)
        over = {name.decode() for name in ended}
        return {order.id: order.action for order in decode_externals(fields) if order.id not in over}

    async def end(self, account: str, names: Sequence[str]) -> int:
        """Note that these orders of others are not open any more; how many had been, as far as was known.

        Raises:
            redis.exceptions.RedisError: no answer; it may be done again.
        """
        keys = [self._keys.external(account), self._keys.external_ended(account)]
        return int(await self._runner.run("end_external", keys, [ENDED_KEPT_MS, ENDED_KEPT, *names]))

    async def _note(self, account: str, report: OrderReport, now_ms: int, met: Met) -> None:
        keys, pool = self._keys, self._keys.pool
        action = action_on(report, self._action, pool, pools_too=self._pools_too)
        seen = external_order(account, report, action)
        record = None
        if action is not ExternalAction.REPORT:
            record = adopted(pool, keys.exchange, account, report, now_ms)
        event = (
            external_event(keys.exchange, seen, now_ms, self._writer)
            if record is None
            else adopted_event(record, seen, self._writer)
        )
        name = self.record_name(account, report)
        cancel = cancel_of(record) if record is not None and action is ExternalAction.CANCEL else None
        failpoints.reach("external.seen", account)
        told = await self._runner.run(
            "note_external",
            [
                keys.external(account), keys.external_ended(account), keys.events, keys.order(name),
                keys.open(account), keys.intents,
            ],
            [
                seen.id, action.value, encode_external(seen), encode_event(event), name,
                encode_record(record) if record else "", record.status.value if record else "",
                intent_digest(record.intent) if record else "",
                self._retention_ms if record and record.status.terminal else 0,
                encode_intent(cancel) if cancel else "",
            ],
        )  # fmt: skip
        failpoints.reach("external.noted", account)
        met.recorded += record is not None
        if told:
            met.external += 1
            log.warning(
                "an order on the account is none of this pool's",
                extra={
                    "account": account, "order": seen.id, "client_order_id": seen.client_order_id,
                    "action": action.value,
                },
            )  # fmt: skip
        if report.status.terminal:
            await self.end(account, [seen.id])

    async def _rebuild(self, account: str, lost: Sequence[OrderReport], now_ms: int, met: Met) -> None:
        names = [report.client_order_id for report in lost]
        records = await self._journal.read_many(names)
        missing = {
            report.client_order_id: report
            for report, record in zip(lost, records, strict=True)
            if record is None
        }
        for name in await self._waiting(missing):
            del missing[name]  # its lane asks the exchange before it sends, and knows more of it
        unreadable = [name for name, report in missing.items() if not can_be_recorded(report)]
        if unreadable:
            met.unreadable += len(unreadable)
            log.error(
                "orders of this pool have no record, and the exchange does not say enough of them to rebuild one: "
                "look at them there",
                extra={
                    "account": account, "orders": len(unreadable), "client_order_ids": unreadable[:NAMED]
                },
            )  # fmt: skip
        told = await self._last_events({*missing} - {*unreadable})
        made = [
            rebuilt(self._keys.exchange, account, report, now_ms, told.get(name))
            for name, report in missing.items()
            if name not in unreadable
        ]
        failpoints.reach("external.lost", account)
        results = await asyncio.gather(*(self._write(record) for record in made))
        met.rebuilt += sum(results)
        met.recorded += len(records) - records.count(None) + len(made)
        if any(results):
            log.warning(
                "records of this pool's orders were lost; they are rebuilt from the exchange",
                extra={"account": account, "orders": sum(results)},
            )

    async def _write(self, record: Order) -> bool:
        written = await self._journal.write(record, None, extra_events=[rebuilt_event(record, self._writer)])
        failpoints.reach("external.rebuilt", record.intent.account)
        return isinstance(written, Written)

    async def _waiting(self, names: dict[str, OrderReport]) -> set[str]:
        """Those of these orders whose intents are in the stream, and are asked for at the exchange before they are
        sent, because Redis was restarted after they were appended."""
        found: set[str] = set()
        after = "-"
        doubt: Any = await self._runner.client.hget(self._keys.control, "doubt_before") if names else None
        last = doubt.decode() if doubt else ""
        while names and last:
            entries: Any = await self._runner.client.xrange(
                self._keys.intents, after, last, count=READ_TOGETHER
            )
            for _, fields in entries:
                try:
                    intent = decode_intent(fields.get(INTENT_FIELD.encode(), b""))
                except IntentInvalid:
                    continue
                name = client_order_id(self._keys.pool, self._keys.exchange, intent.account, intent.id)
                if name in names:
                    found.add(name)
            if len(entries) < READ_TOGETHER:
                break
            after = f"({entries[-1][0].decode()}"
        return found

    def _is_about(self, event: Event) -> bool:
        keys = self._keys
        own = client_order_id(keys.pool, keys.exchange, event.account, event.intent_id)
        return own == event.client_order_id

    async def _last_events(self, names: set[str]) -> dict[str, Event]:
        """The newest event about each of these orders that tells of an intent, where there is one left."""
        found: dict[str, Event] = {}
        before, looked_at = "+", 0
        while names - set(found) and looked_at < EVENTS_LOOKED_AT:
            entries: Any = await self._runner.client.xrevrange(
                self._keys.events, before, "-", count=READ_TOGETHER
            )
            for entry_id, fields in entries:
                try:
                    event = decode_event(entry_id.decode(), fields.get(EVENT_FIELD.encode(), b""))
                except MsgspecError:
                    continue
                if event.client_order_id in names and self._is_about(event):
                    found.setdefault(event.client_order_id, event)
            if len(entries) < READ_TOGETHER:
                break
            looked_at += len(entries)
            before = f"({entries[-1][0].decode()}"
        return found
