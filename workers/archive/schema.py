"""Bringing the archive's schema up to date, whoever does it first, and making sure it is this pool's archive.

All of it happens in one transaction behind a lock, so a process that is killed in the middle leaves nothing behind, and
of two that start together one finds the work done.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final
from uuid import uuid4

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, select, text

from common import failpoints
from orderlane.archive.opening import ArchiveUnusable
from orderlane.archive.tables import identity

MIGRATIONS: Final = Path(__file__).parent / "migrations"
LOCK_KEY: Final = 7_216_344_102
"""Any number that nothing else in the database uses for its advisory locks."""
MIGRATION_SECONDS: Final = 600

log: Final = logging.getLogger("orderlane.archive")


def prepare(engine: Engine, pool: str, now_ms: int) -> str:
    """Migrate to the newest schema, and return the archive's id.

    Raises:
        ArchiveUnusable: it holds another pool's history, or was written by a newer version of this program.
        sqlalchemy.exc.SQLAlchemyError: the database could not be used; call again.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = {MIGRATION_SECONDS * 1000}"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_KEY})"))
        _migrate(connection)
        archive = _identify(connection, pool, now_ms)
        failpoints.reach("archive.migrated")
    return archive


def _migrate(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        raise ArchiveUnusable(
            f"the archive's schema is {current!r}, which this version of the program does not know: "
            "run the version that wrote it, or a newer one"
        )
    if current != scripts.get_current_head():
        command.upgrade(config, "head")
        log.info("the archive's schema is up to date", extra={"revision": scripts.get_current_head()})


def _identify(connection: Connection, pool: str, now_ms: int) -> str:
    row = connection.execute(select(identity)).one_or_none()
    if row is None:
        archive = uuid4().hex
        connection.execute(identity.insert().values(one=1, archive=archive, pool=pool, began_at_ms=now_ms))
        return archive
    if row.pool != pool:
        raise ArchiveUnusable(
            f"the archive holds the history of the pool {row.pool!r}, and this is the pool {pool!r}: "
            "give each pool an archive of its own (archive.url)"
        )
    return str(row.archive)
