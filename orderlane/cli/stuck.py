"""When accounts were last compared with the exchange, and which orders are stuck: lines of `orderlane status`."""

from __future__ import annotations

from typing import Final

from rich.console import RenderableType
from rich.text import Text

from orderlane.cli.render import span, table
from orderlane.pool_status import ExchangeStatus
from orderlane.sync_status import SyncState

LATE_PERIODS: Final = 3
"""A comparison that is so many periods old is late."""
MOST_SHOWN: Final = 10
"""Stuck orders shown of each account, the longest first."""


def sync_line(one: SyncState, now_ms: int) -> Text:
    """How long ago an account's open orders were compared with the exchange's."""
    age_ms = now_ms - one.listed
    if not one.listed:
        shown = Text(f"{one.account} never yet", "bold red" if one.error else "yellow")
    else:
        late = one.period_seconds and age_ms > LATE_PERIODS * one.period_seconds * 1000
        shown = Text(f"{one.account} {span(age_ms)} ago, {one.open} open there", "bold red" if late else "")
    if one.error:
        shown.append(f"; the last one failed: {one.error}", "bold red")
    return shown


def stuck_orders(one: ExchangeStatus) -> list[RenderableType]:
    """The stuck orders of all accounts, with what is missing and what was answered."""
    if not any(account.stuck for account in one.stuck):
        return []
    made = table(
        "stuck order", "account", "symbol", "what", "for", "asked", "last answer", numbers=("for", "asked")
    )
    more = 0
    for account in one.stuck:
        more += max(len(account.stuck) - MOST_SHOWN, 0)
        for watch in account.stuck[:MOST_SHOWN]:
            made.add_row(
                Text(watch.intent_id, "bold red"), account.account, watch.symbol, watch.kind.value,
                span(one.at - watch.since), str(watch.asked), Text(watch.said),
            )  # fmt: skip
    notice = [Text(f"and {more} more", "bold red")] if more else []
    return [Text(), made, *notice]
