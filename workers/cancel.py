"""Cancelling one order."""

from __future__ import annotations

from common.lanes import Hold
from orderlane.intents import CancelOrder
from orderlane.orders import Order, OrderStatus, Reason
from workers.command import CommandEnds, CommandRun
from workers.targets import closed_reason, find_target, has_ended
from workers.withdraw import take_out


async def run_cancel(run: CommandRun, intent: CancelOrder) -> Hold | None:
    """Cancel the target; DONE when the exchange shows it as cancelled, refused when it ended otherwise."""
    target = await find_target(run.desk, intent)
    if isinstance(target, Reason):
        taken_out = await take_out(run, intent)
        if taken_out is not None:
            return taken_out.next
        return await run.end(OrderStatus.FAILED, target)
    if has_ended(target) and not (run.replaying or _may_be_its_effect(run, target)):
        return await run.end(OrderStatus.FAILED, closed_reason(target))
    try:
        target = await run.make_cancelled(target)
    except CommandEnds as ends:
        return await ends.finish()
    if target.status is OrderStatus.CANCELED:
        return await run.end(OrderStatus.DONE)
    return await run.end(OrderStatus.REJECTED, closed_reason(target))


def _may_be_its_effect(run: CommandRun, target: Order) -> bool:
    """Whether Redis may have forgotten that this cancel was carried out, and the exchange shows that it was."""
    is_cancelled = target.status is OrderStatus.CANCELED and bool(target.exchange_order_id)
    return is_cancelled and run.desk.in_doubt(run.hold)
