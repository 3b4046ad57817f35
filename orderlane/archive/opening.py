"""From an archive's URL to an engine: SQLite in a file, or PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

BUSY_SECONDS: Final = 20
"""How long to wait for another writer of the same SQLite file."""
LOCK_TIMEOUT_MS: Final = 10_000
IDLE_TIMEOUT_MS: Final = 60_000
"""PostgreSQL ends the transaction of a writer that stands still for longer, so that another may go on."""
_LINK_CHECKS: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""libpq's: a connection that is dead is noticed within half a minute."""


class ArchiveUnusable(ValueError):
    """The URL, or what is there, is no archive that this program can use; the message says why and what to do."""


def open_for_writing(url: str) -> Engine:
    """An engine whose transactions write, one at a time. A SQLite file and its folder are made when missing.

    Raises:
        ArchiveUnusable: the URL can't be read.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "postgresql":
        engine = create_engine(parsed, pool_pre_ping=True, connect_args=dict(_LINK_CHECKS))
        event.listen(engine, "begin", _bound_waits)
        return engine
    path = Path(str(parsed.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArchiveUnusable(f"the folder of {path} can't be made: {error.strerror}") from None
    engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite_writer)
    event.listen(engine, "begin", _begin_immediately)
    return engine


def open_for_reading(url: str) -> Engine:
    """An engine that makes no file and changes nothing.

    Raises:
        ArchiveUnusable: the URL can't be read, or there is no such SQLite file.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(parsed, connect_args=dict(_LINK_CHECKS))
    path = Path(str(parsed.database))
    if not path.is_file():
        raise ArchiveUnusable(
            f"there is no archive at {path}: start the archiver, or say where it is (--archive, ORDERLANE_ARCHIVE_URL)"
        )
    engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite_reader)
    return engine


def _parsed(url: str) -> Any:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ArchiveUnusable(
            "the archive's URL can't be read: expected sqlite:///PATH or postgresql://…"
        ) from None
    backend = parsed.drivername.partition("+")[0]
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ArchiveUnusable(
        f"the archive's URL begins with {parsed.drivername}: expected sqlite:///PATH or postgresql://user@host/database"
    )


def _prepare_sqlite_writer(connection: Any, _record: Any) -> None:
    """Readers go on while we write (WAL), and what is committed survives a power cut (synchronous FULL)."""
    connection.isolation_level = None  # sqlite3 begins no transaction of its own: `_begin_immediately` does
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _prepare_sqlite_reader(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA query_only=ON").close()


def _begin_immediately(connection: Any) -> None:
    """Take the write lock first: a transaction that reads and then writes can't be refused half-way."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _bound_waits(connection: Any) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
    connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_TIMEOUT_MS}")
