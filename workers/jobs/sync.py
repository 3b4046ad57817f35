"""The job that brings what changed at the exchange into the journal, by asking: the REST sync of open orders.

Each account is asked once for its open orders. What the list shows is merged into the record; what it should show
but does not is asked for by itself, since a list can't say how an order ended (`workers/jobs/stuck.py`). All of it is
paid for as background (`common/claims.py`): of each bucket a part is never touched by it, so that no order waits for
it.

An account's run may take longer than a tick of the job: it goes on, and the other accounts go on beside it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from typing import Any, Final

import msgspec
from msgspec import Struct
from redis.exceptions import RedisError

from common import failpoints
from common.exchange.base import ExchangeFailure, OrderReport, Outcome
from common.journal import Written, apply_report
from common.venue_limits import Operation
from orderlane.orders import Order
from orderlane.sync_status import SyncState, decode_syncs, encode_sync
from workers.external import Strangers
from workers.jobs.matching import Comparison, compare
from workers.jobs.open_exchange import LEAST_URGENT, OpenExchange
from workers.jobs.pace import Due, Pace, due_accounts, read_pace
from workers.jobs.plan import JobPlan
from workers.jobs.stuck import Attendance
from workers.jobs.time_limit import within
from workers.jobs.trimming import redis_now_ms
from workers.life import cancel_all

log: Final = logging.getLogger("orderlane.jobs")

ADVANCED_AT_ONCE: Final = 256
"""Records brought up to date together. What others write to one of them meanwhile is found by its version."""
TICK_SHARE: Final = 0.9
"""The part of a tick's time for which it waits for the accounts, so that other jobs get their turn."""
REQUESTS_IN_A_RUN: Final = 2
"""So many requests that never answer, one after the other, fit into an account's run."""
LOCK_SECONDS: Final = 6
"""How long a killed scheduler keeps an account from others. A run renews its lock four times as often."""


class Synced(Struct):
    """One account's run: requests sent, records changed, orders the exchange does not know, failed questions, orders
    told to be stuck; and how many orders the list showed."""

    asked: int = 0
    changed: int = 0
    not_found: int = 0
    failed: int = 0
    told: int = 0
    open: int = 0


async def sync_open_orders(one: OpenExchange, plan: JobPlan) -> None:
    """Start the sync of every account that is due, all at once, and wait for them as long as the tick lasts; what fails
    in one stays there.

    Raises:
        ExchangeFailure, redis.exceptions.RedisError: the exchange could not be made ready; no account was asked.
    """
    await one.ready()
    pace = await read_pace(one)
    for due in due_accounts(one.section.accounts, pace, one.settings.scheduler):
        running = one.syncing.get(due.account)
        if (running is None or running.done()) and (claim := await _claim(one, due, pace)):
            one.syncing[due.account] = asyncio.create_task(_run_account(one, due, claim))
    under_way = [task for task in one.syncing.values() if not task.done()]
    if under_way:
        await asyncio.wait(under_way, timeout=plan.run_seconds * TICK_SHARE)


def longest_run_seconds(one: OpenExchange, due: Due) -> float:
    """How long one account's run may take: its period, or some requests that never answer."""
    return max(due.period_seconds, REQUESTS_IN_A_RUN * one.section.request_timeout_ms / 1000)


async def _claim(one: OpenExchange, due: Due, pace: Pace) -> str:
    """Claim an account's sync for this process, noted so that it is due again in a period; the claim, or an empty text
    when another has it.

    Raises:
        redis.exceptions.RedisError: no answer; the claim ends by itself.
    """
    claim = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    lock = one.keys.lock(f"sync:{due.account}")
    if not await one.redis.set(lock, claim, nx=True, px=LOCK_SECONDS * 1000):
        return ""
    now = await read_pace(one)  # a scheduler that held the lock until now may have done it
    if now.states.get(due.account) != pace.states.get(due.account):
        await _give_back(one, due.account, claim)
        return ""
    state = now.states.get(due.account, SyncState(account=due.account, began=0))
    await _keep(one, msgspec.structs.replace(state, began=now.now_ms, period_seconds=due.period_seconds))
    return claim


async def _keep_claim(one: OpenExchange, account: str, claim: str, working: asyncio.Task[None]) -> None:
    """Renew the claim as long as the work lasts, and never longer: a cancellation that redis-py swallows would leave it
    renewed for ever. Returns earlier when the claim is another's by now, because this process stood still."""
    lock = one.keys.lock(f"sync:{account}")
    while not working.done():
        await asyncio.sleep(LOCK_SECONDS / 4)
        with suppress(RedisError, OSError):
            if await one.redis.get(lock) not in (claim.encode(), None):
                return
            await one.redis.set(lock, claim, px=LOCK_SECONDS * 1000)


async def _give_back(one: OpenExchange, account: str, claim: str) -> None:
    lock = one.keys.lock(f"sync:{account}")
    with suppress(RedisError, OSError):  # it ends by itself
        if await one.redis.get(lock) == claim.encode():
            await one.redis.delete(lock)


async def _sync_while_claimed(one: OpenExchange, account: str, claim: str, synced: Synced) -> None:
    """Sync the account until that is done, or the claim is another's."""
    working = asyncio.create_task(sync_account(one, account, synced))
    keeping = asyncio.create_task(_keep_claim(one, account, claim, working))
    try:
        await asyncio.wait((keeping, working), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        else:
            log.warning("an account's sync is another scheduler's by now", extra={"account": account})
    finally:
        await cancel_all([keeping, working])
        await _give_back(one, account, claim)


async def _run_account(one: OpenExchange, due: Due, claim: str) -> None:
    """Sync an account that was claimed. Nothing is raised: failures go to the log and to `synced`."""
    account, synced = due.account, Synced()
    seconds = longest_run_seconds(one, due)
    error = ""
    try:
        await within(seconds, _sync_while_claimed(one, account, claim, synced))
    except TimeoutError:
        error = f"out of its time, {seconds:g} s"
        log.warning("an account's sync ran out of its time", extra={"account": account, "seconds": seconds})
    except (ExchangeFailure, RedisError, OSError) as failure:
        error = str(failure)
        log.warning(
            "an account's open orders could not be synced", extra={"account": account, "reason": error}
        )
    except Exception as fault:
        error = f"a fault of ours: {type(fault).__name__}"
        log.error("an account's sync failed by a fault of ours", exc_info=fault, extra={"account": account})
    synced.failed += bool(error)
    if error:
        with suppress(RedisError, OSError):
            await _note_failure(one, account, error)
    level = logging.INFO if synced.changed or synced.failed or synced.told else logging.DEBUG
    log.log(
        level,
        "open orders synced",
        extra={"account": account, **{name: getattr(synced, name) for name in synced.__struct_fields__}},
    )


async def sync_account(one: OpenExchange, account: str, synced: Synced) -> None:
    """Bring one account's journal up to what the exchange says; `synced` counts along.

    Raises:
        ExchangeFailure: the list could not be had, or the exchange throttles (then every worker pauses).
        redis.exceptions.RedisError: Redis did not answer; what was written stands.
    """
    failure: ExchangeFailure | None = None
    comparison: Comparison | None = None
    # First of all, so that accounts wait for tokens in their turn; reading takes less than requests may spread.
    await one.throttle.acquire(Operation.OPEN_ORDERS_ALL, account, "", LEAST_URGENT)
    now_ms = await redis_now_ms(one.redis)
    state = before = await _state(one, account)
    records = await one.journal.open_orders(account)
    others = await _strangers(one).known(account)
    try:
        listed = await _list(one, account)
    except ExchangeFailure as error:
        failure = error
    else:
        synced.asked, synced.open = 1, len(listed)
        failpoints.reach("sync.asked", account)
        comparison = compare(one.settings.pool, records, listed, now_ms)
        await _advance_shown(one, comparison, synced, now_ms)
        state = msgspec.structs.replace(state, listed=now_ms, open=len(listed), error="")
        await _strangers(one).meet_listed(account, records, listed, others, now_ms)
    throttled = failure is not None and failure.outcome is Outcome.THROTTLED
    absent: frozenset[str] | None = None
    if comparison is not None:
        shown = {record.client_order_id for record, _ in comparison.shown}
        records = [record for record in records if record.client_order_id not in shown]
        absent = frozenset(record.client_order_id for record in comparison.missing)
    attendance = Attendance(one, account, now_ms)
    try:
        await attendance.run(records, absent, before.listed, may_ask=not throttled)
    finally:
        looked = attendance.looked
        for name in looked.__struct_fields__:
            setattr(synced, name, getattr(synced, name) + getattr(looked, name))
        state = msgspec.structs.replace(
            state, asked=synced.asked, changed=synced.changed, failed=synced.failed
        )
        await _keep(one, state)
    if failure is not None:
        raise failure


async def _advance_shown(one: OpenExchange, comparison: Comparison, synced: Synced, now_ms: int) -> None:
    for start in range(0, len(comparison.shown), ADVANCED_AT_ONCE):
        shown = comparison.shown[start : start + ADVANCED_AT_ONCE]
        news = [pair for pair in shown if apply_report(*pair, now_ms) is not None]
        for changed in await _all_of(_advance(one, *pair, now_ms) for pair in news):
            synced.changed += changed


async def _state(one: OpenExchange, account: str) -> SyncState:
    value: Any = await one.redis.hget(one.keys.synced, account)
    known = decode_syncs({account.encode(): value} if value else {})
    return known.get(account, SyncState(account=account, began=0))


async def _keep(one: OpenExchange, state: SyncState) -> None:
    await one.redis.hset(one.keys.synced, state.account, encode_sync(state))


async def _note_failure(one: OpenExchange, account: str, error: str) -> None:
    await _keep(one, msgspec.structs.replace(await _state(one, account), error=error[:300]))


async def _list(one: OpenExchange, account: str) -> list[OrderReport]:
    try:
        return await one.exchange.open_orders(account)
    except ExchangeFailure as failure:
        if failure.outcome is Outcome.THROTTLED:
            await one.throttle.pause(account, failure)
        raise


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


def _strangers(one: OpenExchange) -> Strangers:
    return Strangers(
        one.runner,
        one.keys,
        one.journal,
        action=one.section.external_orders,
        pools_too=one.section.external_pools,
        retention_ms=one.settings.scheduler.order_retention_seconds * 1000,
        writer="sync",
    )
