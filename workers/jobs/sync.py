"""The job that brings what changed at the exchange into the journal, by asking: the REST sync of open orders.

Each account is asked once for its open orders. What the list shows is merged into the record; what it should show
but does not is asked for by itself, since a list can't say how an order ended. The exchange's "there is no such
order" changes nothing here: it is no evidence of what became of one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterable
from typing import Final

from msgspec import Struct
from redis.exceptions import RedisError

from common import failpoints
from common.exchange.base import ExchangeFailure, OrderReport, Outcome
from common.journal import Written, apply_report
from common.venue_limits import Operation
from orderlane.orders import Order
from workers.jobs.matching import compare, next_to_ask, reference_to
from workers.jobs.open_exchange import LEAST_URGENT, OpenExchange
from workers.jobs.plan import JobPlan
from workers.jobs.time_limit import within
from workers.jobs.trimming import redis_now_ms

log: Final = logging.getLogger("orderlane.jobs")

ASK_SINGLY: Final = 50
"""Orders of one account asked for by themselves in one run: bounds what a long list of missing ones costs."""
ADVANCED_AT_ONCE: Final = 256
"""Records brought up to date together. What others write to one of them meanwhile is found by its version."""
ACCOUNT_SHARE: Final = 0.9
"""The part of a run's time that one account may take, so that the others' outcome is still reported."""
NAMED: Final = 5
"""Client order ids that one log line names."""


class Synced(Struct):
    """One account's run: requests sent, records changed, orders the exchange does not know, failed questions."""

    asked: int = 0
    changed: int = 0
    not_found: int = 0
    failed: int = 0


async def sync_open_orders(one: OpenExchange, plan: JobPlan) -> None:
    """Sync every account of the exchange, all at once; what fails in one stays there.

    Raises:
        ExchangeFailure, redis.exceptions.RedisError: the exchange could not be made ready; no account was asked.
    """
    started_at = time.monotonic()
    await one.ready()
    seconds = plan.run_seconds * ACCOUNT_SHARE - (time.monotonic() - started_at)
    # Where the limits don't allow for all, those that waited longest go first: nobody is left out for ever.
    accounts = sorted(one.section.accounts, key=lambda account: one.listed_at.get(account, 0))
    runs = await asyncio.gather(*(_run_account(one, account, seconds) for account in accounts))
    log.info(
        "open orders synced",
        extra={
            "accounts": len(runs),
            "asked": sum(run.asked for run in runs),
            "changed": sum(run.changed for run in runs),
            "not_found": sum(run.not_found for run in runs),
            "failed": sum(run.failed for run in runs),
            "ms": int((time.monotonic() - started_at) * 1000),
        },
    )


async def _run_account(one: OpenExchange, account: str, seconds: float) -> Synced:
    synced = Synced()
    try:
        await within(seconds, sync_account(one, account, synced))
    except TimeoutError:
        synced.failed += 1
        log.warning("an account's sync ran out of its time", extra={"account": account, "seconds": seconds})
    except (ExchangeFailure, RedisError, OSError) as error:
        synced.failed += 1
        log.warning(
            "an account's open orders could not be synced", extra={"account": account, "reason": str(error)}
        )
    except Exception as error:
        synced.failed += 1
        log.error("an account's sync failed by a fault of ours", exc_info=error, extra={"account": account})
    return synced


async def sync_account(one: OpenExchange, account: str, synced: Synced) -> None:
    """Bring one account's journal up to what the exchange says; `synced` counts along.

    Raises:
        ExchangeFailure: the list could not be had, or the exchange throttles (then every worker pauses).
        redis.exceptions.RedisError: Redis did not answer; what was written stands.
    """
    # First of all, so that accounts wait for tokens in their turn; reading takes less than requests may spread.
    await one.throttle.acquire(Operation.OPEN_ORDERS_ALL, account, "", LEAST_URGENT)
    one.listed_at[account] = next(one.turns)
    now_ms = await redis_now_ms(one.redis)
    records = await one.journal.open_orders(account)
    listed = await _list(one, account)
    synced.asked += 1
    failpoints.reach("sync.asked", account)
    comparison = compare(one.settings.pool, records, listed, now_ms)
    for start in range(0, len(comparison.shown), ADVANCED_AT_ONCE):
        shown = comparison.shown[start : start + ADVANCED_AT_ONCE]
        news = [pair for pair in shown if apply_report(*pair, now_ms) is not None]
        for changed in await _all_of(_advance(one, *pair, now_ms) for pair in news):
            synced.changed += changed
    await _name_strangers(one, account, comparison.strangers)
    before = one.asked_at.get(account, {})
    asked_at = {
        record.client_order_id: before.get(record.client_order_id, 0) for record in comparison.missing
    }
    one.asked_at[account] = asked_at
    for record in next_to_ask(comparison.missing, asked_at, ASK_SINGLY):
        asked_at[record.client_order_id] = now_ms
        await _ask_for_one(one, record, synced, now_ms)
    if synced.not_found:
        log.warning(
            "the exchange does not know orders that are open in the journal; they stay as they are",
            extra={"account": account, "orders": synced.not_found},
        )


async def _list(one: OpenExchange, account: str) -> list[OrderReport]:
    try:
        return await one.exchange.open_orders(account)
    except ExchangeFailure as failure:
        if failure.outcome is Outcome.THROTTLED:
            await one.throttle.pause(account, failure)
        raise


async def _ask_for_one(one: OpenExchange, record: Order, synced: Synced, now_ms: int) -> None:
    """Ask for an order the list does not show, and merge the answer."""
    reference = reference_to(record)
    await one.throttle.acquire(
        Operation.FIND,
        reference.account,
        reference.symbol,
        LEAST_URGENT,
        conditional=reference.conditional,
    )
    synced.asked += 1
    try:
        report = await one.exchange.find(reference)
    except ExchangeFailure as failure:
        if failure.outcome is Outcome.THROTTLED:
            await one.throttle.pause(reference.account, failure)
            raise
        synced.failed += 1
        log.warning(
            "asking for an open order failed",
            extra={"client_order_id": record.client_order_id, "reason": str(failure)},
        )
        return
    if report is None:
        synced.not_found += 1
        log.info("the exchange does not know this order", extra={"client_order_id": record.client_order_id})
        return
    synced.changed += await _advance(one, record, report, now_ms)


async def _advance(one: OpenExchange, record: Order, report: OrderReport, now_ms: int) -> bool:
    """Merge what the exchange said into the record, which may have moved on meanwhile; whether it changed."""
    merged = apply_report(record, report, now_ms)
    if merged is None:
        return False
    after: Order | None
    written = await one.journal.write(merged, record)
    if isinstance(written, Written):
        after = written.order
    else:
        after = await one.journal.advance(record.client_order_id, report, now_ms)
    failpoints.reach("sync.noted", record.intent.id)
    return after is not None and after.version > record.version


async def _all_of(works: Iterable[Awaitable[bool]]) -> list[bool]:
    """The results of all, run at once, so that their scripts leave together; the first error once all have ended."""
    results = await asyncio.gather(*works, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if isinstance(result, bool)]


async def _name_strangers(one: OpenExchange, account: str, names: tuple[str, ...]) -> None:
    """Say which open orders of this pool the journal never heard of; those it has were placed a moment ago."""
    records = await one.journal.read_many(names)
    lost = [name for name, record in zip(names, records, strict=True) if record is None]
    if lost:
        log.warning(
            "the exchange has open orders of this pool of which the journal has no record: cancel them by hand, "
            "or find out who deleted the records",
            extra={"account": account, "orders": len(lost), "client_order_ids": lost[:NAMED]},
        )
