"""Writing the archive: a batch of rows and the new position in one transaction, or nothing at all.

A batch names the position it was read from. If the archive ends elsewhere by now (another archiver was quicker, or our
own last commit stood although its answer was lost), nothing is written and the reader starts again from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine, Table, and_, delete, func, insert, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from common import failpoints
from orderlane.archive.state import event_position
from orderlane.archive.tables import events, forgotten_events, notices, orders, positions, trades
from workers.archive.judging import START, Position
from workers.archive.rows import EventRow, OrderRow, TradeRow

IDS_AT_ONCE: Final = 500
_ORDER_KEY: Final = ("exchange", "client_order_id", "entry")
_TRADE_KEY: Final = ("exchange", "account", "symbol", "trade_id")
_LEARNT_LATER: Final = ("fee", "fee_currency", "liquidity", "client_order_id", "intent_id", "strategy")
"""Columns of a trade that a first report of it may lack."""


class Notice(Struct, frozen=True, kw_only=True):
    """A row of `notices`: what a reader of the history must know. `id` is unique, drawn by who noticed it."""

    id: str
    exchange: str
    kind: str
    after_event_id: str
    before_event_id: str
    message: str
    noticed_at_ms: int
    told: bool = False


class Batch(Struct, frozen=True, kw_only=True):
    """What is written at once. `keeps`: the archive's events after this one, up to `before`, are forgotten by Redis."""

    exchange: str
    before: str
    after: str
    at_ms: int
    events: Sequence[EventRow] = ()
    orders: Sequence[OrderRow] = ()
    trades: Sequence[TradeRow] = ()
    notices: Sequence[Notice] = ()
    keeps: str | None = None


class Store:
    """The archive of a pool. Raises sqlalchemy.exc.SQLAlchemyError where the database gives no answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def position(self, exchange: str) -> Position:
        """Where the archive of an exchange ends."""
        with self._engine.begin() as connection:
            event_id = connection.scalar(select(positions.c.event_id).where(positions.c.exchange == exchange))
            if event_id is None:
                return Position(START, None)
            payload = connection.scalar(
                select(events.c.payload).where(events.c.exchange == exchange, events.c.event_id == event_id)
            )
        return Position(event_id, payload)

    def payloads(self, exchange: str, event_ids: Sequence[str]) -> dict[str, str]:
        """The payloads of those of these events that are archived."""
        with self._engine.begin() as connection:
            return _payloads(connection, exchange, event_ids)

    def last_before(self, exchange: str, event_id: str) -> str:
        """The last archived event that is older than this id; `START` if there is none."""
        ms, sequence = event_position(event_id)
        earlier = or_(
            events.c.event_ms < ms, and_(events.c.event_ms == ms, events.c.event_sequence < sequence)
        )
        query = (
            select(events.c.event_id)
            .where(events.c.exchange == exchange, earlier)
            .order_by(events.c.event_ms.desc(), events.c.event_sequence.desc())
            .limit(1)
        )
        with self._engine.begin() as connection:
            return connection.scalar(query) or START

    def write(self, batch: Batch) -> bool:
        """Write a batch; False, and nothing is written, when the archive does not end where it was read from."""
        with self._engine.begin() as connection:
            if not _is_at(connection, batch.exchange, batch.before):
                return False
            if batch.keeps is not None:
                _forget(connection, batch.exchange, batch.keeps, batch.before, batch.notices[0].id)
            _write_events(connection, batch)
            for order in batch.orders:
                _write_order(connection, order)
            for trade in batch.trades:
                _write_trade(connection, trade)
            _insert(connection, notices, batch.notices)
            connection.execute(
                update(positions)
                .where(positions.c.exchange == batch.exchange)
                .values(event_id=batch.after, archived_at_ms=batch.at_ms)
            )
            failpoints.reach("archive.written", batch.exchange)
        failpoints.reach("archive.committed", batch.exchange)
        return True

    def untold(self, exchange: str) -> list[Notice]:
        """The notices about which no event was published yet, oldest first."""
        query = select(notices).where(notices.c.exchange == exchange, notices.c.told.is_(False))
        with self._engine.begin() as connection:
            rows = connection.execute(query.order_by(notices.c.noticed_at_ms)).mappings().all()
        return [Notice(**row) for row in rows]

    def mark_told(self, notice_id: str) -> None:
        """Note that the event about it was published."""
        with self._engine.begin() as connection:
            connection.execute(update(notices).where(notices.c.id == notice_id).values(told=True))

    def noticed(self, exchange: str) -> tuple[int, Notice | None]:
        """How many notices there are of an exchange, and the latest."""
        mine = notices.c.exchange == exchange
        with self._engine.begin() as connection:
            count = connection.scalar(select(func.count()).select_from(notices).where(mine)) or 0
            query = select(notices).where(mine).order_by(notices.c.noticed_at_ms.desc()).limit(1)
            row = connection.execute(query).mappings().one_or_none()
        return count, Notice(**row) if row else None


def _is_at(connection: Connection, exchange: str, event_id: str) -> bool:
    """Whether the archive ends there, with its position locked until the transaction ends."""
    query = select(positions.c.event_id).where(positions.c.exchange == exchange).with_for_update()
    current = connection.scalar(query)
    if current is None:
        first = (
            _dialect(connection).insert(positions).values(exchange=exchange, event_id=START, archived_at_ms=0)
        )
        connection.execute(first.on_conflict_do_nothing())
        current = connection.scalar(query)
    return bool(current == event_id)


def _write_events(connection: Connection, batch: Batch) -> None:
    """Add the events. One that is there already is not added again; another event under a known id takes its place, and
    that one goes among the forgotten."""
    known = _payloads(connection, batch.exchange, [one.event_id for one in batch.events])
    replaced = [one for one in batch.events if known.get(one.event_id, one.payload) != one.payload]
    for one in replaced:
        # Known ids can only turn up behind a position that went back, and that has left a notice.
        _forget_one(connection, batch.exchange, one.event_id)
    new = [one for one in batch.events if one.event_id not in known]
    _insert(connection, events, (*new, *replaced))


def _forget(connection: Connection, exchange: str, keeps: str, before: str, notice: str) -> None:
    """Move the events after `keeps`, up to and with `before`, to the forgotten ones."""
    chosen = and_(events.c.exchange == exchange, _after(keeps), ~_after(before))
    moved = select(literal(notice), events.c.exchange, events.c.event_id, events.c.payload).where(chosen)
    connection.execute(
        insert(forgotten_events).from_select(["notice", "exchange", "event_id", "payload"], moved)
    )
    connection.execute(delete(events).where(chosen))


def _forget_one(connection: Connection, exchange: str, event_id: str) -> None:
    query = select(notices.c.id).where(notices.c.exchange == exchange)
    notice = connection.scalar(query.order_by(notices.c.noticed_at_ms.desc()).limit(1)) or ""
    chosen = and_(events.c.exchange == exchange, events.c.event_id == event_id)
    moved = select(literal(notice), events.c.exchange, events.c.event_id, events.c.payload).where(chosen)
    connection.execute(
        insert(forgotten_events).from_select(["notice", "exchange", "event_id", "payload"], moved)
    )
    connection.execute(delete(events).where(chosen))


def _after(event_id: str) -> Any:
    ms, sequence = event_position(event_id)
    return or_(events.c.event_ms > ms, and_(events.c.event_ms == ms, events.c.event_sequence > sequence))


def _write_order(connection: Connection, row: OrderRow) -> None:
    values = msgspec.structs.asdict(row)
    same_id = and_(orders.c.exchange == row.exchange, orders.c.client_order_id == row.client_order_id)
    if row.record:
        # What only an event told before is now told by the record.
        connection.execute(delete(orders).where(same_id, orders.c.entry == "", orders.c.record == ""))
        _upsert(connection, orders, values, _ORDER_KEY, [name for name in values if name not in _ORDER_KEY])
        return
    known = select(orders.c.entry).where(same_id).order_by(orders.c.updated_at_ms.desc()).limit(1)
    entry = connection.scalar(known)
    told = {
        name: value
        for name, value in values.items()
        if name not in (*_ORDER_KEY, "record", "fees", "kind", "side", "type") and value not in (None, "", 0)
    }
    if entry is None:
        connection.execute(insert(orders).values(**values))
    else:
        connection.execute(update(orders).where(same_id, orders.c.entry == entry).values(**told))


def _write_trade(connection: Connection, row: TradeRow) -> None:
    """A fill is what it was when first reported; a later report of it adds what was not known then."""
    values = msgspec.structs.asdict(row)
    learnt = [name for name in _LEARNT_LATER if values[name] not in (None, "")]
    _upsert(connection, trades, values, _TRADE_KEY, learnt)


def _upsert(
    connection: Connection, table: Table, values: dict[str, Any], key: Sequence[str], changed: Sequence[str]
) -> None:
    statement = _dialect(connection).insert(table).values(**values)
    if changed:
        taken = {name: statement.excluded[name] for name in changed}
        connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=taken))
    else:
        connection.execute(statement.on_conflict_do_nothing())


def _insert(connection: Connection, table: Table, rows: Iterable[Struct]) -> None:
    values = [msgspec.structs.asdict(row) for row in rows]
    if values:
        connection.execute(insert(table), values)


def _payloads(connection: Connection, exchange: str, event_ids: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for start in range(0, len(event_ids), IDS_AT_ONCE):
        chunk = event_ids[start : start + IDS_AT_ONCE]
        query = select(events.c.event_id, events.c.payload).where(
            events.c.exchange == exchange, events.c.event_id.in_(chunk)
        )
        found.update({row.event_id: row.payload for row in connection.execute(query)})
    return found


def _dialect(connection: Connection) -> Any:
    """The module whose `insert` knows ON CONFLICT, which both databases write alike."""
    return postgresql if connection.dialect.name == "postgresql" else sqlite
