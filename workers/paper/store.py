"""Where the exchange keeps its books: one SQLite file, written in groups.

Everything that one turn of the event loop changed is committed in one transaction, and no reply leaves
before the commit that holds what it says (:meth:`Store.committed`). That makes a commit cost a share of a
turn, not of an order. WAL with ``synchronous=NORMAL`` writes to the page cache and doesn't wait for the
disk: a killed process loses nothing it answered; only a power cut could, and paper money doesn't survive
those.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import msgspec

from workers.paper.accounts import Account
from workers.paper.audit import Arrival, AuditEntry
from workers.paper.orders import AlgoOrder, Order

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (product TEXT, order_id INTEGER, body BLOB, PRIMARY KEY (product, order_id))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS algo_orders (algo_id INTEGER PRIMARY KEY, body BLOB);
CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS audit (sequence INTEGER PRIMARY KEY, body BLOB);
CREATE TABLE IF NOT EXISTS arrivals (
    number INTEGER PRIMARY KEY, name TEXT, at_us INTEGER, cost INTEGER, refused INTEGER);
CREATE INDEX IF NOT EXISTS arrivals_by_name ON arrivals (name, at_us);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID;
"""
TABLES = ("orders", "algo_orders", "accounts", "audit", "arrivals", "facts")


Fact = TypeVar("Fact", bound=msgspec.Struct)


class MarketState(msgspec.Struct):
    """Mid and anchor price by ``product:symbol``, held ones, and the step of the walk."""

    step: int = 0
    mids: dict[str, Decimal] = {}
    anchors: dict[str, Decimal] = {}
    held: set[str] = set()


class Store:
    """The database, and what has changed since its last commit. One thread, one event loop."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(SCHEMA)
        self._encode = msgspec.json.Encoder().encode
        self._pending: asyncio.Future[None] | None = None
        self.failed: asyncio.Event = asyncio.Event()
        self._clear()

    def _clear(self) -> None:
        self._orders: dict[tuple[str, int], Order] = {}
        self._algo_orders: dict[int, AlgoOrder] = {}
        self._accounts: dict[str, Account] = {}
        self._facts: dict[str, msgspec.Struct] = {}
        self._audit: list[AuditEntry] = []
        self._arrivals: list[Arrival] = []

    def put_order(self, order: Order) -> None:
        """Keep ``order`` as it will be at the end of this turn."""
        self._orders[order.product, order.order_id] = order
        self._schedule()

    def put_algo_order(self, order: AlgoOrder) -> None:
        """Keep a conditional order as it will be at the end of this turn."""
        self._algo_orders[order.algo_id] = order
        self._schedule()

    def put_account(self, account: Account) -> None:
        """Keep ``account`` as it will be at the end of this turn."""
        self._accounts[account.name] = account
        self._schedule()

    def put_fact(self, name: str, fact: msgspec.Struct) -> None:
        """Keep a single struct under ``name``."""
        self._facts[name] = fact
        self._schedule()

    def add_audit(self, entry: AuditEntry) -> None:
        """Append to the audit."""
        self._audit.append(entry)
        self._schedule()

    def add_arrival(self, arrival: Arrival) -> None:
        """Append a counted request."""
        self._arrivals.append(arrival)
        self._schedule()

    def _schedule(self) -> None:
        if self._pending is None:
            loop = asyncio.get_running_loop()
            self._pending = loop.create_future()
            loop.call_soon(self.flush)

    async def committed(self) -> None:
        """Wait until everything changed so far is on file. Raises ``sqlite3.Error`` if it can't be."""
        if self._pending is not None:
            await self._pending
        if self.failed.is_set():
            raise sqlite3.OperationalError("an earlier commit failed, so nothing is answered any more")

    def flush(self) -> None:
        """Commit what changed; on failure nothing more is answered and :attr:`failed` is set."""
        waiting, self._pending = self._pending, None
        assert waiting is not None, "a flush is scheduled together with its future"
        try:
            self._write()
        except sqlite3.Error as error:
            self.failed.set()
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # seen here: nobody may be waiting
        else:
            if not waiting.done():  # a waiter that was cancelled has cancelled it
                waiting.set_result(None)

    def flush_now(self) -> None:
        """Commit what changed before this turn ends, so that what is read next from the file is complete."""
        if self._pending is not None:
            self._write()

    def _write(self) -> None:
        encode, run = self._encode, self._connection
        run.execute("BEGIN")
        run.executemany(
            "INSERT OR REPLACE INTO orders VALUES (?, ?, ?)",
            [(*key, encode(order)) for key, order in self._orders.items()],
        )
        run.executemany(
            "INSERT OR REPLACE INTO algo_orders VALUES (?, ?)",
            [(key, encode(order)) for key, order in self._algo_orders.items()],
        )
        run.executemany(
            "INSERT OR REPLACE INTO accounts VALUES (?, ?)",
            [(name, encode(account)) for name, account in self._accounts.items()],
        )
        run.executemany(
            "INSERT OR REPLACE INTO facts VALUES (?, ?)",
            [(name, encode(fact)) for name, fact in self._facts.items()],
        )
        run.executemany(
            "INSERT INTO audit VALUES (?, ?)", [(entry.sequence, encode(entry)) for entry in self._audit]
        )
        run.executemany(
            "INSERT INTO arrivals (name, at_us, cost, refused) VALUES (?, ?, ?, ?)",
            [(a.name, a.at_us, a.cost, a.refused) for a in self._arrivals],
        )
        run.execute("COMMIT")
        self._clear()

    def orders(self) -> Iterator[Order]:
        """Every order on file, oldest first."""
        decoder = msgspec.json.Decoder(Order)
        for (body,) in self._connection.execute("SELECT body FROM orders ORDER BY product, order_id"):
            yield decoder.decode(body)

    def algo_orders(self) -> Iterator[AlgoOrder]:
        """Every conditional order on file, oldest first."""
        decoder = msgspec.json.Decoder(AlgoOrder)
        for (body,) in self._connection.execute("SELECT body FROM algo_orders ORDER BY algo_id"):
            yield decoder.decode(body)

    def accounts(self) -> Iterator[Account]:
        """Every account on file."""
        decoder = msgspec.json.Decoder(Account)
        for (body,) in self._connection.execute("SELECT body FROM accounts"):
            yield decoder.decode(body)

    def fact(self, name: str, kind: type[Fact]) -> Fact | None:
        """The struct kept under ``name``, if any."""
        row = self._connection.execute("SELECT body FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=kind)

    def audit(self, after: int, limit: int) -> list[AuditEntry]:
        """Up to ``limit`` audit entries whose sequence number is greater than ``after``."""
        decoder = msgspec.json.Decoder(AuditEntry)
        rows = self._connection.execute(
            "SELECT body FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, limit)
        )
        return [decoder.decode(body) for (body,) in rows]

    def last_sequence(self) -> int:
        """The sequence number of the latest audit entry, zero without any."""
        return int(self._connection.execute("SELECT COALESCE(MAX(sequence), 0) FROM audit").fetchone()[0])

    def arrivals(self, name: str, since_us: int = 0) -> list[Arrival]:
        """The counted requests of ``name`` from ``since_us`` on, in order of arrival."""
        rows = self._connection.execute(
            "SELECT name, at_us, cost, refused FROM arrivals WHERE name = ? AND at_us >= ? "
            "ORDER BY at_us, number",
            (name, since_us),
        )
        return [Arrival(name, at_us, cost, bool(refused)) for name, at_us, cost, refused in rows]

    def arrival_names(self) -> list[str]:
        """Every name requests were counted under."""
        return [
            name for (name,) in self._connection.execute("SELECT DISTINCT name FROM arrivals ORDER BY name")
        ]

    def erase(self) -> None:
        """Forget everything, also what isn't on file yet."""
        self._clear()
        self._connection.execute("BEGIN")
        for table in TABLES:
            self._connection.execute(f"DELETE FROM {table}")
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Commit what is left and close the file; after a failed commit there is nothing left to save."""
        if not self.failed.is_set():
            self._write()
        self._connection.close()
