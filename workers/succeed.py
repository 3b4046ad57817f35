"""A place that `replaces` an older order: it takes that one's place, and both are never on the book."""

from __future__ import annotations

from functools import partial

import msgspec

from common.exact import EXACT
from common.lanes import Hold
from common.normalizer import Refusal
from orderlane.intents import PlaceOrder
from orderlane.orders import Order, OrderStatus, Reason
from workers.command import CommandEnds, CommandRun, NotDone
from workers.overtaking import unless_begun
from workers.replace import Replacing, filled_of, run_replace
from workers.targets import MAX_SUCCESSORS, closed_reason, placed_by, read_target


async def run_succeed(run: CommandRun, intent: PlaceOrder, replaces: str) -> Hold | None:
    """Cancel the order of `replaces`, if it is live, and place what is left of `intent`; the lane's next run.

    FAILED, with nothing sent, where there is no such order, where it has filled, or where another one has taken its
    place already. DONE where nothing is left to place.
    """
    target = await _find_replaced(run, intent, replaces)
    if isinstance(target, Reason):
        return await run.end(OrderStatus.FAILED, target)
    replacing = Replacing(
        intent=intent,
        replacement=partial(rest_of, intent),
        why_not=partial(_why_not, run, intent),
        unless=_unless_filled,
        trigger_price=intent.trigger_price,
    )
    try:
        return await run_replace(run, target, replacing)
    except CommandEnds as ends:
        return await ends.finish()


def rest_of(intent: PlaceOrder, target: Order) -> PlaceOrder | None:
    """What to place of `intent`, whose amount is a total towards which count the fills of the target and of those that
    it replaced; None: nothing is left."""
    amount = EXACT.subtract(intent.amount, filled_of(target))
    return msgspec.structs.replace(intent, amount=amount) if amount > 0 else None


async def _find_replaced(run: CommandRun, intent: PlaceOrder, replaces: str) -> Order | Reason:
    """The order that stands for `replaces` now: an amend may have placed it anew. Or why it can't be replaced."""
    target_id = replaces
    for _ in range(MAX_SUCCESSORS):
        target = await read_target(run.desk, intent, target_id)
        if isinstance(target, Reason):
            return target
        if target_id == replaces and not isinstance(target.intent, PlaceOrder):
            return Reason(
                code="target_unknown",
                message=f"intent {replaces!r}, which this one replaces, places no order of its own: "
                "name the place intent behind the order",
            )
        if isinstance(target.intent, PlaceOrder) and target_id != replaces:
            return Reason(
                code="target_replaced",
                message=f"order {replaces!r} was already replaced by {target_id!r}, and two would stand for it: "
                f"replace {target_id!r}",
            )
        if target.successor in ("", intent.id):
            return await _on_the_same_side(run, intent, target)
        target_id = target.successor
    return Reason(
        code="target_unknown", message=f"intent {replaces!r} was replaced over {MAX_SUCCESSORS} times"
    )


async def _on_the_same_side(run: CommandRun, intent: PlaceOrder, target: Order) -> Order | Reason:
    placed = await placed_by(run.desk, target)
    if placed is None:
        return Reason(
            code="target_unknown",
            message=f"the place intent behind {target.intent.id!r} is not on record any more: cancel it and place anew",
        )
    if placed.side is intent.side:
        return target
    return Reason(
        code="target_other_side",
        message=f"this {intent.side} can't replace {target.intent.id!r}, a {placed.side}: what that one filled "
        "could not count towards its amount; cancel that one, then place this without `replaces`",
    )


async def _why_not(run: CommandRun, intent: PlaceOrder, target: Order) -> Reason | None:
    if target.status is OrderStatus.FILLED:
        return closed_reason(target)
    rest = rest_of(intent, target)
    if rest is None:
        return None
    waiting = unless_begun(run.hold, run.saved)
    placeable = run.desk.rules.normalize(rest, await run.desk.reference_price(rest, waiting))
    return placeable.reason if isinstance(placeable, Refusal) else None


def _unless_filled(target: Order) -> NotDone | None:
    """A target that filled before its cancel reached it leaves nothing to replace."""
    filled = target.status is OrderStatus.FILLED
    return NotDone(OrderStatus.FAILED, closed_reason(target)) if filled else None
