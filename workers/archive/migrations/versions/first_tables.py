"""The first tables: events, orders, trades, and how far the archive has come."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

from orderlane.archive.tables import ExactDecimal

revision: Final = "0001"
down_revision: Final = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "archive",
        sa.Column("one", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("archive", sa.Text(), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("began_at_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "positions",
        sa.Column("exchange", sa.Text(), primary_key=True),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("archived_at_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("exchange", sa.Text(), primary_key=True),
        sa.Column("event_id", sa.Text(), primary_key=True),
        sa.Column("event_ms", sa.BigInteger(), nullable=False),
        sa.Column("event_sequence", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger()),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("intent_id", sa.Text(), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("from_status", sa.Text(), nullable=False),
        sa.Column("to_status", sa.Text(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
    )
    op.create_index("events_in_order", "events", ["exchange", "event_ms", "event_sequence"])
    op.create_index("events_of_order", "events", ["exchange", "client_order_id"])
    op.create_table(
        "forgotten_events",
        sa.Column("notice", sa.Text(), primary_key=True),
        sa.Column("exchange", sa.Text(), primary_key=True),
        sa.Column("event_id", sa.Text(), primary_key=True),
        sa.Column("payload", sa.Text(), nullable=False),
    )
    op.create_table(
        "orders",
        sa.Column("exchange", sa.Text(), primary_key=True),
        sa.Column("client_order_id", sa.Text(), primary_key=True),
        sa.Column("entry", sa.Text(), primary_key=True),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("leg", sa.Text(), nullable=False),
        sa.Column("intent_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("amount", ExactDecimal()),
        sa.Column("price", ExactDecimal()),
        sa.Column("trigger_price", ExactDecimal()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=False),
        sa.Column("reason_message", sa.Text(), nullable=False),
        sa.Column("exchange_order_id", sa.Text(), nullable=False),
        sa.Column("filled", ExactDecimal()),
        sa.Column("average", ExactDecimal()),
        sa.Column("fees", sa.Text(), nullable=False),
        sa.Column("queued_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("sent_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("exchange_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
    )
    op.create_index("orders_by_time", "orders", ["updated_at_ms"])
    op.create_index("orders_of_account", "orders", ["exchange", "account", "updated_at_ms"])
    op.create_index("orders_of_strategy", "orders", ["strategy", "updated_at_ms"])
    op.create_table(
        "trades",
        sa.Column("exchange", sa.Text(), primary_key=True),
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("symbol", sa.Text(), primary_key=True),
        sa.Column("trade_id", sa.Text(), primary_key=True),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("intent_id", sa.Text(), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("exchange_order_id", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("liquidity", sa.Text(), nullable=False),
        sa.Column("amount", ExactDecimal()),
        sa.Column("price", ExactDecimal()),
        sa.Column("fee", ExactDecimal()),
        sa.Column("fee_currency", sa.Text(), nullable=False),
        sa.Column("traded_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
    )
    op.create_index("trades_by_time", "trades", ["traded_at_ms"])
    op.create_index("trades_of_order", "trades", ["exchange", "client_order_id"])
    op.create_index("trades_of_strategy", "trades", ["strategy", "traded_at_ms"])
    op.create_table(
        "notices",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("after_event_id", sa.Text(), nullable=False),
        sa.Column("before_event_id", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("noticed_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
    )
    op.create_index("notices_by_time", "notices", ["exchange", "noticed_at_ms"])
