"""Bringing one account to agreement: what the exchange has and what the journal says, order by order.

One list of what is open. What it shows is merged into the records; what it should show and does not is asked for by its
id; what has no record is rebuilt, or is another's. Then the fills that happened meanwhile, which the user stream brings
in, and positions and balances. Every step only moves records forward, so it may be cut off anywhere and begun anew:
what was done need not be done again.

It ends when every question was answered. That the exchange does not know an order is an answer, and no evidence of what
became of it: such an order is told with the others that are stuck.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from common import failpoints
from common.claims import CATCHING_UP
from common.exchange.base import UNKNOWN_SYMBOL, Exchange, ExchangeFailure, OrderReport
from common.journal import Journal, Written, apply_report
from common.venue_limits import Operation
from orderlane.keys import Keys
from orderlane.orders import Order
from orderlane.reconcile_status import ReconcileState
from workers.desk import Throttle
from workers.external import Strangers
from workers.jobs.matching import compare, reference_to
from workers.reconcile.lease import Progress
from workers.user_stream.lease import LIVE

log: Final = logging.getLogger("orderlane.reconcile")

LIST_URGENCY: Final = 9
"""The list's place in the queue for tokens: the last, but not of the background's share, which a start would soon have
used up while everything of the account waits for this one request. What is asked for one by one goes behind it."""
ADVANCED_AT_ONCE: Final = 256
"""Records brought up to date together, so that their scripts leave together."""
ASKED_AT_ONCE: Final = 8
"""Orders asked for side by side; each waits for its tokens."""
LOOK_AGAIN_SECONDS: Final = 0.05
"""How often the user stream is looked at while its fills are waited for."""


@dataclass(frozen=True)
class Parts:
    """What the work needs, for all accounts of an exchange. `fills_seconds`: how long to wait for the user stream, 0
    where there is none; `compare_positions`: the last step."""

    exchange: Exchange
    journal: Journal
    throttle: Throttle
    strangers: Strangers
    redis: Any
    keys: Keys
    now_ms: Callable[[], int]
    fills_seconds: float
    compare_positions: Callable[[str], Awaitable[object]]


async def agree(parts: Parts, account: str, progress: Progress) -> None:
    """Bring the account to agreement; `progress` counts along.

    Raises:
        ExchangeFailure: a question was not answered.
        redis.exceptions.RedisError: no answer.
    """
    began_ms = parts.exchange.now_ms()
    missing = await _compare_list(parts, account, progress)
    progress.to_ask = len(missing)
    if missing:
        progress.state = ReconcileState.ASKING
        await _side_by_side(missing, lambda record: _ask_for_one(parts, record, progress))
    if progress.not_found:
        log.warning(
            "the exchange does not know orders that are open in the journal; they stay as they are",
            extra={"account": account, "orders": progress.not_found},
        )
    if progress.filled_further and parts.fills_seconds:
        progress.state = ReconcileState.FILLS
        await _wait_for_fills(parts, account, began_ms)
    progress.state = ReconcileState.POSITIONS
    await parts.compare_positions(account)


async def _compare_list(parts: Parts, account: str, progress: Progress) -> tuple[Order, ...]:
    """Merge what is listed, and deal with what has no record; the records that should be listed and are not."""
    await parts.throttle.acquire(Operation.OPEN_ORDERS_ALL, account, "", LIST_URGENCY)
    now_ms = parts.now_ms()
    records = await parts.journal.open_orders(account)
    others = await parts.strangers.known(account)
    listed = await parts.exchange.open_orders(account)
    failpoints.reach("reconcile.listed", account)
    comparison = compare(parts.keys.pool, records, listed, now_ms)
    progress.orders = len(records)
    for start in range(0, len(comparison.shown), ADVANCED_AT_ONCE):
        shown = comparison.shown[start : start + ADVANCED_AT_ONCE]
        await asyncio.gather(*(_advance(parts, record, report, progress) for record, report in shown))
    met = await parts.strangers.meet_listed(account, records, listed, others, now_ms)
    progress.rebuilt += met.rebuilt
    progress.external += met.external
    # Of an order that is rebuilt with fills, or met for the first time with some, none of them is known.
    progress.filled_further |= bool(met.rebuilt) and any(report.filled for report in listed)
    return comparison.missing


async def _ask_for_one(parts: Parts, record: Order, progress: Progress) -> None:
    reference = reference_to(record)
    await parts.throttle.acquire(
        Operation.FIND, reference.account, reference.symbol, CATCHING_UP, conditional=reference.conditional
    )
    report: OrderReport | None = None
    try:
        report = await parts.exchange.find(reference)
    except ExchangeFailure as failure:
        if failure.code != UNKNOWN_SYMBOL:
            raise
    failpoints.reach("reconcile.asked", reference.account)
    progress.asked += 1
    if report is None:
        progress.not_found += 1
        log.info("the exchange does not know this order", extra={"client_order_id": record.client_order_id})
        return
    await _advance(parts, record, report, progress)


async def _advance(parts: Parts, record: Order, report: OrderReport, progress: Progress) -> None:
    """Merge what the exchange said into the record, which may have moved on meanwhile."""
    now_ms = parts.now_ms()
    merged = apply_report(record, report, now_ms)
    if merged is None:
        return
    progress.filled_further |= merged.filled > record.filled
    progress.changed += 1
    if not isinstance(await parts.journal.write(merged, record), Written):
        await parts.journal.advance(record.client_order_id, report, now_ms)


async def _wait_for_fills(parts: Parts, account: str, since_ms: int) -> None:
    """Wait until all that happened before `since_ms`, by the exchange's clock, is in the journal as far as the
    account's user stream tells of it; or long enough."""
    deadline = asyncio.get_running_loop().time() + parts.fills_seconds
    key = parts.keys.stream(account)
    while asyncio.get_running_loop().time() < deadline:
        state, until, complete = await parts.redis.hmget(key, "state", "until", "complete_until")
        lives = until is not None and int(until) > parts.now_ms()
        if lives and state == LIVE.encode() and int(complete or 0) >= since_ms:
            return
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
    log.warning(
        "fills that happened before the start are not in the journal yet: the user stream brings them in later",
        extra={"account": account, "waited_seconds": parts.fills_seconds},
    )


async def _side_by_side(records: Sequence[Order], work: Callable[[Order], Awaitable[None]]) -> None:
    """Do the work for all, some at once; the first failure ends it, once those under way have ended."""
    waiting = iter(records)
    failed = False

    async def go_on() -> None:
        nonlocal failed
        for record in waiting:
            if failed:
                return
            try:
                await work(record)
            except BaseException:
                failed = True
                raise

    results = await asyncio.gather(*(go_on() for _ in range(ASKED_AT_ONCE)), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
