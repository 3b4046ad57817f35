"""Cancelling one order."""

from __future__ import annotations

from common.lanes import Hold
from orderlane.intents import CancelOrder
from orderlane.orders import OrderStatus, Reason
from workers.command import CommandEnds, CommandRun
from workers.targets import closed_reason, find_target, has_ended


async def run_cancel(run: CommandRun, intent: CancelOrder) -> Hold | None:
    """Cancel the target; DONE when the exchange shows it as cancelled, refused when it ended otherwise."""
    target = await find_target(run.desk, intent)
    if isinstance(target, Reason):
        return await run.end(OrderStatus.FAILED, target)
    if has_ended(target) and not run.replaying:
        return await run.end(OrderStatus.FAILED, closed_reason(target))
    try:
        target = await run.make_cancelled(target)
    except CommandEnds as ends:
        return await ends.finish()
    if target.status is OrderStatus.CANCELED:
        return await run.end(OrderStatus.DONE)
    return await run.end(OrderStatus.REJECTED, closed_reason(target))
