"""An archive, a Redis with somebody who plays the pool, and archivers by hand: what the tests of the archive use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, Table, select, text

from orderlane.archive.opening import open_for_writing
from orderlane.archive.state import decode_states
from orderlane.archive.tables import events, forgotten_events, metadata, notices, orders, positions, trades
from orderlane.connection import connect
from orderlane.events import Event, EventName, encode_event
from orderlane.orders import OrderStatus
from tests.orderlane.played_pool import ACCOUNT, EXCHANGE, PlayedPool, an_intent
from workers.archive.pump import Pump
from workers.archive.schema import prepare
from workers.archive.store import Store
from workers.archive.stream import EventStream

TABLES = {table.name: table for table in (events, forgotten_events, notices, orders, positions, trades)}
PATIENCE_SECONDS = 30.0


class Scene:
    """Everything about one archive. `pump` is an archiver by hand; `another` makes one more."""

    def __init__(self, redis_url: str, archive_url: str) -> None:
        self.redis_url = redis_url
        self.archive_url = archive_url
        self.pool = PlayedPool(redis_url)
        self.redis: Any = self.pool.raw
        self.keys = self.pool.keys()
        self.engine: Engine = open_for_writing(archive_url)
        self._clients: list[Any] = []
        self._pump: Pump | None = None

    @property
    def pump(self) -> Pump:
        if self._pump is None:
            self._pump = self.another()
        return self._pump

    def another(self, *, batch_size: int = 100, redis_url: str | None = None) -> Pump:
        """One more archiver of the same archive."""
        archive = prepare(self.engine, "orderlane", 1)
        client = connect(redis_url or self.redis_url, socket_timeout_seconds=1.0)
        self._clients.append(client)
        return Pump(EXCHANGE, archive, EventStream(client, self.keys), Store(self.engine), batch_size)

    def catch_up(self) -> int:
        """Step until nothing is new; how many events were archived."""
        done, quiet = 0, 0
        while quiet < 2:
            step = self.pump.step()
            done, quiet = done + step, 0 if step else quiet + 1
        return done

    def add(self, number: int = 1, name: str = "order") -> list[str]:
        """Append events that no two have in common; their ids."""
        return [
            self.redis.xadd(self.keys.events, {"event": encode_event(self.event(f"{name}-{one}"))}).decode()
            for one in range(number)
        ]

    def event(self, intent_id: str, **changes: Any) -> Event:
        fields: dict[str, Any] = {
            "name": EventName.LATENCY,
            "at": 5,
            "intent_id": intent_id,
            "exchange": EXCHANGE,
        }
        return Event(**(fields | {"account": ACCOUNT} | changes))

    def publish(self, event: Event) -> str:
        return str(self.redis.xadd(self.keys.events, {"event": encode_event(event)}).decode())

    def play(self, intent_id: str, *statuses: OrderStatus, **changes: Any) -> None:
        """Bring an order to one status after the other, records and events."""
        for status in statuses:
            self.pool.advance(an_intent(intent_id, **changes), status, filled=Decimal("0.25"))

    def streamed(self) -> list[tuple[str, str]]:
        """Id and payload of every event in Redis."""
        found = self.redis.xrange(self.keys.events)
        return [(entry.decode(), fields[b"event"].decode()) for entry, fields in found]

    def archived(self) -> list[tuple[str, str]]:
        """Id and payload of every event in the archive, in order."""
        rows = sorted(self.rows("events"), key=lambda row: (row["event_ms"], row["event_sequence"]))
        return [(row["event_id"], row["payload"]) for row in rows]

    def rows(self, table: str) -> list[dict[str, Any]]:
        known: Table = TABLES[table]
        with self.engine.begin() as connection:
            return [dict(row) for row in connection.execute(select(known)).mappings()]

    def kinds(self) -> list[str]:
        return [row["kind"] for row in sorted(self.rows("notices"), key=lambda row: row["noticed_at_ms"])]

    def told(self) -> list[str]:
        """The reason codes of the archive's events in the stream."""
        codes = [
            msgspec.json.decode(payload).get("reason", {}).get("code", "") for _, payload in self.streamed()
        ]
        return [code for code in codes if code.startswith("archive_")]

    def published(self) -> str:
        """The last archived event as Redis knows it."""
        [state] = decode_states(self.redis.hgetall(self.keys.archive))
        return state.event_id

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not ready():
            assert time.monotonic() < deadline, f"never came: {what}"
            time.sleep(0.02)

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.pool.close()
        self.engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def archive_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, of each kind there is."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/archive.sqlite"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def scene(redis_url: str, archive_url: str) -> Iterator[Scene]:
    made = Scene(redis_url, archive_url)
    yield made
    made.close()


def is_empty(engine: Engine) -> bool:
    """Whether the database holds no table of ours."""
    with engine.begin() as connection:
        for table in metadata.tables:
            with suppress(Exception), connection.begin_nested():
                connection.execute(text(f"SELECT 1 FROM {table}"))
                return False
    return True
