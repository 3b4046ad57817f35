"""Waiting while new placements are held: by failures, a ban, an operator, or a start that is not over yet.

What waits here is queued as before: it holds no room and no request, and gives way to what is more urgent in its lane.
"""

from __future__ import annotations

import asyncio

from common.lane_rules.dependence import closes
from common.lanes import Hold
from orderlane.intents import PlaceOrder
from orderlane.orders import Order, OrderStatus, Reason
from workers.desk import Desk
from workers.outcomes import expiry


class HeldBack(Exception):
    """A new placement must not begin now; nothing of it was begun, and no token was taken."""


def require_open(desk: Desk, placing: PlaceOrder) -> None:
    """Raise HeldBack if this order may not be placed now."""
    if is_held(desk, placing):
        raise HeldBack


def is_held(desk: Desk, placing: PlaceOrder) -> bool:
    """Whether this order has to wait; one that takes risk off never does."""
    return not closes(placing) and desk.standings.holding(placing.account, placing.id) is not None


async def wait_until_open(desk: Desk, hold: Hold, placing: PlaceOrder, before: Order | None) -> Reason | None:
    """Wait as long as this order may not be placed; then None, or why it is too late for it.

    `before` is the record of its intent so far. Once that has begun it can't give way any more.

    Raises:
        Overtaken: something has arrived in the lane that should be looked at first.
    """
    if not is_held(desk, placing):
        return None
    has_begun = hold.rank == "!" or (before is not None and before.status is not OrderStatus.QUEUED)
    if has_begun:
        with desk.idle.here():
            return await _wait(desk, placing)
    patience = desk.overtaking.patience(hold)
    reason: Reason | None = None

    async def wait() -> None:
        nonlocal reason
        reason = await _wait(desk, placing)

    try:
        patience.waits()
        with desk.idle.here():
            await patience.bear(wait)
    finally:
        desk.overtaking.leave(
            hold, patience, overtaken=True
        )  # it keeps its place among those that wait for tokens
    return reason


async def _wait(desk: Desk, placing: PlaceOrder) -> Reason | None:
    while (standing := desk.standings.holding(placing.account, placing.id)) is not None:
        late = expiry(desk, placing)
        if late is not None:
            return late
        ends = [at for at in (placing.expires_at, standing.ends_at_ms) if at]
        left_ms = max(min(ends) - desk.now_ms(), 0) + 1 if ends else None
        try:
            async with asyncio.timeout(None if left_ms is None else left_ms / 1000):
                await desk.standings.changed()
        except TimeoutError:
            continue
    return None
