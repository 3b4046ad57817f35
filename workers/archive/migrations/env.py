"""What Alembic runs for each upgrade: on the connection it is given, in the transaction that is open there."""

from __future__ import annotations

from alembic import context

from orderlane.archive.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
