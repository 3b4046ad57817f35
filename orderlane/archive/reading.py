"""Questions to the archive: which orders, which trades, between when and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import Connection, Engine, Select, Table, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from orderlane.archive.opening import ArchiveUnusable, open_for_reading
from orderlane.archive.tables import ExactDecimal, notices, orders, positions, trades

ROWS_AT_ONCE: Final = 1_000
WHEN: Final[Mapping[str, str]] = {"orders": "updated_at_ms", "trades": "traded_at_ms"}
"""By which column each table is in order, and what `since` and `until` are compared with."""
_TABLES: Final[Mapping[str, Table]] = {"orders": orders, "trades": trades}


class Filter(Struct, frozen=True, kw_only=True):
    """What rows are asked for; what is None or empty does not matter. `since` and `until` are ms, `until` excluded."""

    since_ms: int | None = None
    until_ms: int | None = None
    exchange: str | None = None
    account: str | None = None
    symbol: str | None = None
    strategy: str | None = None
    intent_id: str | None = None
    statuses: tuple[str, ...] = ()


class ColumnKind(Struct, frozen=True):
    """A column of an answer: its name, and whether it holds an exact decimal, a whole number or text."""

    name: str
    kind: str


class Archive:
    """An archive opened for reading.

    Raises:
        ArchiveUnusable: there is none, it can't be read, or the database does not answer; so does every method.
    """

    def __init__(self, url: str) -> None:
        self._engine: Engine = open_for_reading(url)
        with self._reading() as connection:
            missing = {table.name for table in (*_TABLES.values(), notices, positions)} - set(
                inspect(connection).get_table_names()
            )
        if missing:
            raise ArchiveUnusable(
                "the database holds no archive of orderlane: is it the one the archiver writes?"
            )

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()

    def rows(self, table: str, chosen: Filter, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """The rows of `orders` or `trades` that fit, oldest first; with a limit, the newest so many of them."""
        query = _query(_TABLES[table], WHEN[table], chosen)
        with self._reading() as connection:
            if limit is not None:
                newest = (
                    connection.execute(_ordered(query, table, newest_first=True).limit(limit))
                    .mappings()
                    .all()
                )
                yield from (dict(row) for row in reversed(newest))
                return
            streamed = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(_ordered(query, table))
            for row in streamed.mappings():
                yield dict(row)

    def notices(self) -> list[dict[str, Any]]:
        """What is wrong with the history, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(select(notices).order_by(notices.c.noticed_at_ms)).mappings().all()
        return [dict(row) for row in rows]

    def positions(self) -> list[dict[str, Any]]:
        """How far the archive has come with each exchange."""
        with self._reading() as connection:
            rows = connection.execute(select(positions).order_by(positions.c.exchange)).mappings().all()
        return [dict(row) for row in rows]

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            why = str(getattr(error, "orig", None) or error).partition("\n")[0]
            raise ArchiveUnusable(f"the archive's database does not answer: {why}") from None


def columns(table: str) -> list[ColumnKind]:
    """The columns of the rows of a table, in order."""
    return [
        ColumnKind(
            column.name,
            "decimal"
            if isinstance(column.type, ExactDecimal)
            else "integer"
            if column.type.python_type is int
            else "text",
        )
        for column in _TABLES[table].columns
    ]


def _query(table: Table, when: str, chosen: Filter) -> Select[Any]:
    query = select(table)
    for name in ("exchange", "account", "symbol", "strategy", "intent_id"):
        value = getattr(chosen, name)
        if value is not None:
            query = query.where(table.c[name] == value)
    if chosen.since_ms is not None:
        query = query.where(table.c[when] >= chosen.since_ms)
    if chosen.until_ms is not None:
        query = query.where(table.c[when] < chosen.until_ms)
    if chosen.statuses:
        query = query.where(table.c.status.in_(chosen.statuses))
    return query


def _ordered(query: Select[Any], table: str, *, newest_first: bool = False) -> Select[Any]:
    known = _TABLES[table]
    keys = [known.c[WHEN[table]], *known.primary_key.columns]
    return query.order_by(*(key.desc() if newest_first else key for key in keys))
