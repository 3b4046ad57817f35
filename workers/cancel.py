"""Cancelling one order, or everything open on a symbol."""

from __future__ import annotations

from functools import partial

from common.exchange.base import ExchangeFailure
from common.lanes import Hold
from common.venue_limits import Operation
from orderlane.intents import CancelAll, CancelOrder
from orderlane.orders import Order, OrderStatus, Reason
from workers.command import CommandEnded, CommandRun
from workers.desk import log
from workers.targets import closed_reason, find_target, has_ended, look_at

MAYBE_DONE = Reason(
    code="redis_restarted",
    message="Redis restarted after this cancel-all was appended, and may have forgotten that it was executed; done "
    "again it could cancel what was placed after it: look at the open orders, and send another if it is still wanted",
)


async def run_cancel(run: CommandRun, intent: CancelOrder) -> Hold | None:
    """Cancel the target; DONE when the exchange shows it as cancelled, refused when it ended otherwise."""
    target = await find_target(run.desk, intent)
    if isinstance(target, Reason):
        return await run.end(OrderStatus.FAILED, target)
    if has_ended(target) and not run.replaying:
        return await run.end(OrderStatus.FAILED, closed_reason(target))
    try:
        target = await run.make_cancelled(target)
    except CommandEnded as ended:
        return ended.next
    if target.status is OrderStatus.CANCELED:
        return await run.end(OrderStatus.DONE)
    return await run.end(OrderStatus.REJECTED, closed_reason(target))


async def run_cancel_all(run: CommandRun, intent: CancelAll) -> Hold | None:
    """Cancel everything open on the symbol.

    It is sent again, or left behind, only when an earlier request can't be executed any more: a late one would cancel
    what the lane places next. However it ends, the orders it may have met are looked at first: where it takes several
    requests, one may be carried out and the next refused.
    """
    account, symbol = intent.account, intent.symbol
    if run.saved is None and run.desk.is_forgotten(run.hold):
        return await run.end(OrderStatus.FAILED, MAYBE_DONE)
    run.before_end = partial(_bring_all_up_to_date, run, intent)
    try:
        if run.replaying:
            await run.let_pass()
        while True:
            outcome = await run.send(
                Operation.CANCEL_ALL, lambda at_ms: run.desk.exchange.cancel_all(account, symbol, at_ms)
            )
            if not isinstance(outcome, ExchangeFailure):
                break
            await run.let_pass()
            await run.check_attempts(outcome)
    except CommandEnded as ended:
        return ended.next
    return await run.end(OrderStatus.DONE)


async def _bring_all_up_to_date(run: CommandRun, intent: CancelAll) -> None:
    for order in await _open_on_record(run, intent):
        await _bring_up_to_date(run, order)


async def _open_on_record(run: CommandRun, intent: CancelAll) -> list[Order]:
    """The orders of the account on this symbol that the journal still shows as open."""
    orders = await run.desk.journal.open_orders(intent.account)
    return [order for order in orders if order.intent.symbol == intent.symbol and order.exchange_order_id]


async def _bring_up_to_date(run: CommandRun, order: Order) -> None:
    """Look once at an order that was cancelled with the others; the sync looks again at what could not be seen now."""
    try:
        await look_at(run.desk, order)
    except ExchangeFailure as failure:
        await run.desk.pause_if_throttled(order.intent.account, failure)
        log.warning("asking for a cancelled order failed", extra={"client_order_id": order.client_order_id})
