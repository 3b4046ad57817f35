"""A cancel that comes to its turn, and whose target was merged into an order that waits still: it takes the amount out.

Mostly the rules see both in their lane (`common.lane_rules`). Here is what they did not see together: a cancel goes
before orders, and the lane between the two may be long.
"""

from __future__ import annotations

from typing import Final

from common import failpoints
from common.lane_queue import BEGUN, Reshaped, Seen
from common.lane_rules import Waiting, withdrawal
from orderlane.intents import CancelOrder
from orderlane.orders import Order, OrderStatus
from workers.command import CommandRun
from workers.desk import Desk
from workers.thinking import changes_of, entry_hold, parted, tell

TRIES: Final = 3
"""How often the order is looked for: it may be changed by a rule, or moved, right then."""


async def take_out(run: CommandRun, intent: CancelOrder) -> Reshaped | None:
    """End the cancel and its target without a request, if the target is part of an order that has not begun; None where
    it is not: nothing has changed.

    Raises:
        LeaseLost: the lane is no longer this worker's.
        redis.exceptions.RedisError: Redis gave no answer.
    """
    desk, hold = run.desk, run.hold
    if run.replaying or desk.in_doubt(hold):
        return None
    for _ in range(TRIES):
        survivor = await _waiting_order_of(desk, intent)
        rank = await desk.queue.rank_of(hold.lane, survivor.entry) if survivor else None
        if survivor is None or rank is None or rank == BEGUN:
            return None
        pair = (_waiting(survivor, rank), _waiting(run.order, hold.rank))
        decision = withdrawal(*pair)
        if decision is None:
            return None
        ranks, orders = {survivor.entry: rank, hold.entry: hold.rank}, {survivor.entry: survivor}
        changes = changes_of(desk, pair, orders | {hold.entry: run.order}, ranks, decision)
        changes += await parted(desk, pair, decision)
        failpoints.reach("withdraw.decided")
        result = await desk.queue.reshape(hold, changes)
        failpoints.reach("withdraw.done")
        if isinstance(result, Reshaped):
            tell(decision, changes)
            return result
    return None


async def _waiting_order_of(desk: Desk, intent: CancelOrder) -> Order | None:
    """The record of the intent that the target was merged into, if nothing has been sent for it."""
    part = await desk.journal.read(desk.client_order_id(intent.account, intent.target))
    if part is None or part.merged_into is None:
        return None
    order = await desk.journal.read(part.merged_into.client_order_id)
    if order is None or order.status is not OrderStatus.QUEUED:
        return None
    maybe_sent = desk.in_doubt(entry_hold(Seen(BEGUN, order.entry, ())))
    return None if maybe_sent else order


def _waiting(order: Order, rank: str) -> Waiting:
    return Waiting(
        entry=order.entry, rank=int(rank), intent=order.asked, client_order_id=order.client_order_id,
        absorbed=order.absorbed,
    )  # fmt: skip
