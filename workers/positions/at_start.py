"""The comparison that a start-up waits for, before an account may place anything."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from common.exchange.base import ExchangeFailure, Outcome
from orderlane.positions import ComparedState
from workers.positions.books import Books
from workers.positions.figures import read_figures
from workers.positions.reconcile import Compared, live_since, reconcile_positions

log: Final = logging.getLogger("orderlane.positions")

AGAIN_SECONDS: Final = 0.2
STREAM_SECONDS: Final = 30.0
"""How long a start-up waits for a user stream without a gap; after that the comparison follows when it has none."""
HEARTBEATS: Final = 2
_SOON_DONE: Final = (ComparedState.WAITING, ComparedState.BUSY, ComparedState.UNSETTLED)


async def reconcile_positions_at_start(books: Books, account: str) -> Compared | None:
    """Compare an account's figures with the exchange's before it goes on; None where that need not be waited for: the
    account was never compared, so there is nothing that could be wrong, or its figures are the exchange's anyway.

    Raises:
        ExchangeFailure: the exchange did not answer.
        redis.exceptions.RedisError: Redis did not.
    """
    if not books.section.positions.enabled or not books.counts_fills:
        return None
    state = (await read_figures(books, account)).state
    if state is None or not state.compared_at:
        return None
    ends_at = time.monotonic() + STREAM_SECONDS
    while not await live_since(books, account) and time.monotonic() < ends_at:  # noqa: ASYNC110 - Redis tells nobody
        await asyncio.sleep(AGAIN_SECONDS)
    while True:
        compared = await reconcile_positions(books, account)
        if compared.state is ComparedState.FAILED and not compared.refused:
            raise ExchangeFailure(Outcome.UNKNOWN, "positions_unread", compared.reason)
        if compared.state not in _SOON_DONE or time.monotonic() > ends_at:
            break
        await asyncio.sleep(AGAIN_SECONDS)
    if not compared.agreed:
        log.warning(
            "an account starts without a comparison of its positions; it follows",
            extra={"account": account, "state": compared.state.value, "reason": compared.reason},
        )
    elif await _has_disabled(books, account):
        # Before the account opens, every worker is to know what was disabled: they look at each heartbeat.
        await asyncio.sleep(HEARTBEATS * books.section.worker.heartbeat_ms / 1000)
    return compared


async def _has_disabled(books: Books, account: str) -> bool:
    fields: Any = await books.redis.hkeys(books.keys.disabled)
    return any(field.decode().startswith(f"{account}|") for field in fields)
