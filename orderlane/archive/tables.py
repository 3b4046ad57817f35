"""The tables of the archive, as SQLAlchemy Core knows them; migrations make them (`workers/archive/migrations`).

Times are whole milliseconds since 1970-01-01 UTC. Amounts, prices and fees are exact: NUMERIC in PostgreSQL, the
plain decimal text in SQLite, which has no exact number type.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, Numeric, String, Table, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

metadata: Final = MetaData()


class ExactDecimal(TypeDecorator[Decimal]):
    """A decimal that comes back as it went in, in every database."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(String() if dialect.name == "sqlite" else Numeric(asdecimal=True))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        return f"{value:f}" if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


identity: Final = Table(
    "archive",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("archive", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("began_at_ms", BigInteger, nullable=False),
)
"""One row: the archive's id, and the pool whose history it holds."""

positions: Final = Table(
    "positions",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("event_id", Text, nullable=False),
    Column("archived_at_ms", BigInteger, nullable=False),
)
"""The last event of each exchange's stream that the archive holds, written with the rows it stands for."""

events: Final = Table(
    "events",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("event_ms", BigInteger, nullable=False),
    Column("event_sequence", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("at_ms", BigInteger),
    Column("account", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("intent_id", Text, nullable=False),
    Column("client_order_id", Text, nullable=False),
    Column("from_status", Text, nullable=False),
    Column("to_status", Text, nullable=False),
    Column("reason_code", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Index("events_in_order", "exchange", "event_ms", "event_sequence"),
    Index("events_of_order", "exchange", "client_order_id"),
)
"""Every event of the stream. `payload` is the event's JSON as it stood there; `name` is empty where no version of this
program that archived it could read it."""

forgotten_events: Final = Table(
    "forgotten_events",
    metadata,
    Column("notice", Text, primary_key=True),
    Column("exchange", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("payload", Text, nullable=False),
)
"""Events that were archived and that a Redis restored from an older state no longer knows; see the notice."""

orders: Final = Table(
    "orders",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("client_order_id", Text, primary_key=True),
    Column("entry", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("leg", Text, nullable=False),
    Column("intent_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("amount", ExactDecimal),
    Column("price", ExactDecimal),
    Column("trigger_price", ExactDecimal),
    Column("status", Text, nullable=False),
    Column("reason_code", Text, nullable=False),
    Column("reason_message", Text, nullable=False),
    Column("exchange_order_id", Text, nullable=False),
    Column("filled", ExactDecimal),
    Column("average", ExactDecimal),
    Column("fees", Text, nullable=False),
    Column("queued_at_ms", BigInteger, nullable=False),
    Column("sent_at_ms", BigInteger, nullable=False),
    Column("acknowledged_at_ms", BigInteger, nullable=False),
    Column("exchange_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("record", Text, nullable=False),
    Index("orders_by_time", "updated_at_ms"),
    Index("orders_of_strategy", "strategy", "updated_at_ms"),
    Index("orders_of_account", "exchange", "account", "updated_at_ms"),
)
"""Each order as it stood when the event `event_id` was archived. `fees` is a JSON object of decimals by currency,
`record` the whole record as JSON; empty where Redis had it no longer, and then only what the event tells is known.
`entry` belongs to the key: an intent id sent again after its record has expired is another order."""

trades: Final = Table(
    "trades",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("account", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("trade_id", Text, primary_key=True),
    Column("strategy", Text, nullable=False),
    Column("intent_id", Text, nullable=False),
    Column("client_order_id", Text, nullable=False),
    Column("exchange_order_id", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("liquidity", Text, nullable=False),
    Column("amount", ExactDecimal),
    Column("price", ExactDecimal),
    Column("fee", ExactDecimal),
    Column("fee_currency", Text, nullable=False),
    Column("traded_at_ms", BigInteger, nullable=False),
    Column("event_id", Text, nullable=False),
    Index("trades_by_time", "traded_at_ms"),
    Index("trades_of_strategy", "strategy", "traded_at_ms"),
    Index("trades_of_order", "exchange", "client_order_id"),
)
"""Each fill once, by the exchange's own id of it, from the events `order.trade`."""

notices: Final = Table(
    "notices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("exchange", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("after_event_id", Text, nullable=False),
    Column("before_event_id", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("noticed_at_ms", BigInteger, nullable=False),
    Column("told", Boolean, nullable=False),
    Index("notices_by_time", "exchange", "noticed_at_ms"),
)
"""What a reader of this history must know: events missing from it, or a Redis that went back. `told`: the event about
it is in Redis' stream."""
