"""Amending an order that the venue can't amend: cancel it, and place what is left under the amend's own id.

Never both at once: the replacement is sent only when the exchange has confirmed that the target is off its book.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from common import failpoints
from common.exchange.base import OrderReport
from common.lanes import Hold
from common.normalizer import Refusal, RefusalCode
from orderlane.intents import AmendOrder, PlaceOrder
from orderlane.orders import Order, OrderStatus, Reason
from workers.command import CommandRun
from workers.outcomes import conclude, park
from workers.place import FORGOTTEN, REPLAYED, send_until_known, settle, unprovable, with_doubt
from workers.resolve import Absence, resolve
from workers.targets import closed_reason, filled_before, is_open, name_successor


async def run_replace(run: CommandRun, intent: AmendOrder, target: Order, placed: PlaceOrder) -> Hold | None:
    """Bring the amend to its outcome; the lane's next run.

    Raises:
        CommandEnded: it ended on the way.
    """
    before = await filled_before(run.desk, target, placed)
    if run.saved is not None and run.replaying and run.order.amount is not None:
        replacement = replacement_of(intent, target, placed, before)
        if replacement is not None:
            known = with_doubt(run.desk, run.hold, run.saved)
            return await settle(run.desk, run.hold, known, REPLAYED, replacement)
    if run.desk.in_doubt(run.hold):
        found = await _ask_for_forgotten(run, target, placed)
        if isinstance(found, OrderReport):
            return await _adopt(run, intent, target, found)
        if found is Absence.UNPROVABLE:
            return await park(run.desk, run.hold, run.order, unprovable(run.desk, FORGOTTEN))
    if target.successor != intent.id:
        if not run.order.attempts:
            refusal = await _why_not(run, intent, target, placed, before)
            if refusal is not None:
                return await run.end(OrderStatus.FAILED, refusal)
        target = await run.make_cancelled(target)
        if target.status is not OrderStatus.CANCELED:
            return await run.end(OrderStatus.REJECTED, closed_reason(target))
        failpoints.reach("replace.cancelled")
        target = await name_successor(run.desk, target, intent.id)
        failpoints.reach("replace.named")
    replacement = replacement_of(intent, target, placed, before)
    if replacement is None:
        return await run.end(OrderStatus.DONE)
    fresh = msgspec.structs.replace(run.order, attempts=0, executable_until=0)
    return await send_until_known(run.desk, run.hold, fresh, run.saved, replacement)


def replacement_of(
    intent: AmendOrder, target: Order, placed: PlaceOrder, before: Decimal
) -> PlaceOrder | None:
    """What to place instead of a cancelled target; None: nothing is left to place.

    A new amount is a total: `before`, filled by orders that the target itself replaced, and what the target filled
    count towards it.
    """
    total = intent.amount - before if intent.amount is not None else target.amount or placed.amount
    amount = total - target.filled
    if amount <= 0:
        return None
    price = (intent.price or target.price or placed.price) if placed.type.has_price else None
    return msgspec.structs.replace(
        placed,
        id=intent.id,
        amount=amount,
        price=price,
        trigger_price=target.trigger_price or placed.trigger_price,
        expires_at=intent.expires_at,
        priority=intent.urgency,
    )


async def _why_not(
    run: CommandRun, intent: AmendOrder, target: Order, placed: PlaceOrder, before: Decimal
) -> Reason | None:
    """Why the amend can't stand; found out before the target is given up for it."""
    if not is_open(target):
        return closed_reason(target)
    replacement = replacement_of(intent, target, placed, before)
    if replacement is None:
        filled = before + target.filled
        return Reason(
            code=RefusalCode.AMEND_BELOW_FILLED,
            message=f"amount {intent.amount} is not above the {filled} already filled of order {intent.target}: "
            "cancel it to end it there",
            numbers={"amount": str(intent.amount), "filled": str(filled)},
        )
    reference_price = await run.desk.reference_price(replacement)
    as_total = intent
    if intent.amount is not None:
        as_total = msgspec.structs.replace(intent, amount=intent.amount - before)
    amended = run.desk.rules.normalize_amend(as_total, target, placed, reference_price)
    if isinstance(amended, Refusal):
        return amended.reason
    placeable = run.desk.rules.normalize(replacement, reference_price)
    return placeable.reason if isinstance(placeable, Refusal) else None


async def _ask_for_forgotten(run: CommandRun, target: Order, placed: PlaceOrder) -> OrderReport | Absence:
    """Redis may have forgotten that the replacement was sent: begin, without sending, and ask for it by its id."""
    trigger_price = target.trigger_price or placed.trigger_price
    await run.begin_unsent(msgspec.structs.replace(run.order, trigger_price=trigger_price))
    return await resolve(run.desk, run.desk.reference(run.order), run.order.executable_until)


async def _adopt(run: CommandRun, intent: AmendOrder, target: Order, found: OrderReport) -> Hold | None:
    """The replacement was placed before Redis forgot it: record it, and what it did to the target."""
    if target.successor != intent.id:
        run.replaying = True
        target = await run.make_cancelled(target)
        await name_successor(run.desk, target, intent.id)
    return await conclude(run.desk, run.hold, run.order, found)
