"""One exchange's way from Redis into the archive, step by step; each step may end anywhere and be done again.

The archive alone says how far it has come. A step reads the stream from there, and first of all finds the last archived
event where it was: a stream that does not show it lacks something, or is not the one that was archived.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from common import failpoints
from orderlane.archive.state import ArchiveState, event_position
from orderlane.events import Event, EventName
from orderlane.orders import Reason
from workers.archive.judging import START, Finding, Position, StreamFacts, is_continued, judge
from workers.archive.rows import (
    Entry,
    OrderRow,
    TradeRow,
    ends_an_order,
    event_row,
    moves_an_order,
    order_row,
    read,
    trade_row,
)
from workers.archive.store import Batch, Notice, Store
from workers.archive.stream import EventStream

PUBLISH_MS: Final = 5_000
"""How often the archive says that it is there, while nothing is new."""

log: Final = logging.getLogger("orderlane.archive")


class Pump:
    """Archives the events of one exchange.

    Every method raises redis.exceptions.RedisError or sqlalchemy.exc.SQLAlchemyError where one of the two gives no
    answer: what was written stands, and the next call goes on from there.
    """

    def __init__(
        self, exchange: str, archive: str, stream: EventStream, store: Store, batch_size: int
    ) -> None:
        self._exchange = exchange
        self._archive = archive
        self._stream = stream
        self._store = store
        self._batch_size = batch_size
        self._published = ArchiveState(archive=archive, event_id="", at=0)

    def step(self) -> int:
        """Archive the next events, at most a batch of them; how many."""
        position = self._store.position(self._exchange)
        found = self._stream.from_position(position.event_id, self._batch_size + 1)
        at_position = found[0] if found and found[0].id == position.event_id else None
        if at_position is not None and is_continued(position, at_position):
            done = self._archive_entries(position, found[1:])
        else:
            done = self._look_into(position, at_position, found)
        self._tell_notices()
        self._publish()
        return done

    def _look_into(self, position: Position, at_position: Entry | None, found: Sequence[Entry]) -> int:
        facts = self._stream.facts()
        finding = judge(position, at_position, facts)
        news = [one for one in found if one.id != position.event_id]
        if finding is Finding.WENT_BACK:
            self._go_back(position, facts)
            return 0
        if finding is Finding.GAP:
            return self._archive_entries(
                position, news, self._gap(position, news, facts), facts.last_generated
            )
        return self._archive_entries(position, news)

    def _archive_entries(
        self, position: Position, entries: Sequence[Entry], notice: Notice | None = None, at_least: str = ""
    ) -> int:
        """Write entries that follow the position, and what they tell of orders and trades."""
        if not entries and notice is None:
            return 0
        failpoints.reach("archive.read", self._exchange)
        events = [read(one) for one in entries]
        orders, missing = self._orders([event for event in events if event is not None])
        now_ms = self._stream.now_ms()
        batch = Batch(
            exchange=self._exchange,
            before=position.event_id,
            after=entries[-1].id if entries else at_least,
            at_ms=now_ms,
            events=[event_row(self._exchange, *pair) for pair in zip(entries, events, strict=True)],
            orders=orders,
            trades=self._trades([event for event in events if event is not None]),
            notices=[
                one for one in (notice, self._records_missing(position, entries, missing, now_ms)) if one
            ],
        )
        unread = [entry.id for entry, event in zip(entries, events, strict=True) if event is None]
        if unread:
            log.warning(
                "events that this version can't read are archived as they are",
                extra={"exchange": self._exchange, "events": len(unread), "first": unread[0]},
            )
        return len(entries) if self._store.write(batch) else 0

    def _orders(self, events: Sequence[Event]) -> tuple[list[OrderRow], int]:
        """The rows of the orders that the events move, and how many that ended have no record any more."""
        last = {event.client_order_id: event for event in events if moves_an_order(event)}
        records = self._stream.records(list(last))
        rows = [order_row(self._exchange, event, records[name]) for name, event in last.items()]
        ended = {event.client_order_id for event in events if ends_an_order(event)}
        return rows, sum(1 for row in rows if not row.record and row.client_order_id in ended)

    def _trades(self, events: Sequence[Event]) -> list[TradeRow]:
        found = []
        for event in events:
            row = trade_row(self._exchange, event)
            if row is not None:
                found.append(row)
            elif event.name is EventName.TRADE:
                log.warning(
                    "an event order.trade names no trade_id: it is among the events, and not among the trades",
                    extra={"exchange": self._exchange, "event": event.id},
                )
        return found

    # What a reader of the history must know

    def _gap(self, position: Position, news: Sequence[Entry], facts: StreamFacts) -> Notice:
        until = news[0].id if news else facts.last_generated
        return self._notice(
            "gap",
            position.event_id,
            until,
            f"events after {position.event_id} and before {until} may be missing from the archive: they were gone from "
            "Redis before they were archived (trimmed while the archiver was away, or Redis was emptied)",
        )

    def _records_missing(
        self, position: Position, entries: Sequence[Entry], missing: int, now_ms: int
    ) -> Notice | None:
        if not missing:
            return None
        return self._notice(
            "records_missing",
            position.event_id,
            entries[-1].id,
            f"{missing} orders that ended had no record in Redis any more when they were archived: of them the archive "
            "has what their events tell, without side, type, amount, price and fees",
            now_ms,
        )

    def _go_back(self, position: Position, facts: StreamFacts) -> None:
        """Continue where the stream and the archive last agree; what Redis forgot is set apart."""
        if facts.last_generated == START:
            common, keeps = START, None  # the stream is gone altogether: that tells nothing of single events
        else:
            common = self._common(position)
            keeps = common
        notice = self._notice(
            "went_back",
            common,
            position.event_id,
            f"Redis went back: its events after {common} are not those that were archived up to {position.event_id} "
            "(restored from an older state, failed over to a replica that lacked them, or emptied); "
            "those Redis does not know any more are in the table forgotten_events",
        )
        self._store.write(
            Batch(
                exchange=self._exchange,
                before=position.event_id,
                after=common,
                at_ms=notice.noticed_at_ms,
                notices=[notice],
                keeps=keeps,
            )
        )

    def _common(self, position: Position) -> str:
        """The newest event that stands in the stream as it was archived; else the last one older than the stream."""
        upper, inclusive, oldest = position.event_id, True, ""
        while page := self._stream.back_from(upper, self._batch_size, inclusive=inclusive):
            archived = self._store.payloads(self._exchange, [one.id for one in page])
            for one in page:
                if archived.get(one.id) == one.payload:
                    return one.id
            upper = oldest = page[-1].id
            inclusive = False
        if oldest:
            return self._store.last_before(self._exchange, oldest)
        # Nothing is left in the stream up to here: all that it ever generated was trimmed.
        return min(self._stream.facts().last_generated, position.event_id, key=event_position)

    def _notice(self, kind: str, after: str, before: str, message: str, now_ms: int = 0) -> Notice:
        return Notice(
            id=uuid4().hex,
            exchange=self._exchange,
            kind=kind,
            after_event_id=after,
            before_event_id=before,
            message=message,
            noticed_at_ms=now_ms or self._stream.now_ms(),
        )

    def _tell_notices(self) -> None:
        """Publish an event about each notice; one that a kill interrupted is published again, under the same number."""
        for notice in self._store.untold(self._exchange):
            log.error(
                "the archive's history has a flaw",
                extra={"exchange": self._exchange, "kind": notice.kind, "reason": notice.message},
            )
            self._stream.tell(_event_about(notice))
            failpoints.reach("archive.told", self._exchange)
            self._store.mark_told(notice.id)

    def _publish(self) -> None:
        """Say in Redis how far the archive has come, as it now stands in the database."""
        position = self._store.position(self._exchange).event_id
        now_ms = self._stream.now_ms()
        if position == self._published.event_id and 0 <= now_ms - self._published.at < PUBLISH_MS:
            return
        count, latest = self._store.noticed(self._exchange)
        state = ArchiveState(
            archive=self._archive,
            event_id=position,
            at=now_ms,
            notices=count,
            last_notice=latest.message if latest else "",
            last_notice_at=latest.noticed_at_ms if latest else 0,
        )
        self._stream.publish(state)
        self._published = state
        failpoints.reach("archive.published", self._exchange)


def _event_about(notice: Notice) -> Event:
    return Event(
        name=EventName.SYSTEM_ERROR,
        at=notice.noticed_at_ms,
        exchange=notice.exchange,
        reason=Reason(
            code=f"archive_{notice.kind}",
            message=notice.message,
            numbers={
                "notice": notice.id,
                "after": notice.after_event_id,
                "before": notice.before_event_id,
            },
        ),
    )
