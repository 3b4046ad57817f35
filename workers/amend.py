"""Changing an open order: in place where the venue can, else by cancelling it and placing what is left."""

from __future__ import annotations

from functools import partial

import msgspec

from common import failpoints
from common.exchange.base import ExchangeFailure, OrderRequest
from common.journal import Conflict
from common.lanes import Hold
from common.normalizer import Refusal
from common.venue_limits import Operation
from orderlane.intents import AmendOrder, PlaceOrder
from orderlane.orders import Order, OrderStatus, Reason
from workers.command import CommandEnded, CommandRun
from workers.outcomes import on_conflict
from workers.place import REPLAYED, send_until_known, settle
from workers.targets import closed_reason, find_target, has_ended, is_open, note, placed_by, watch_until


async def run_amend(run: CommandRun, intent: AmendOrder) -> Hold | None:
    """Change the target's amount, price or both; DONE once the exchange shows the change.

    A replacement (where the venue can't amend, or the order is conditional) lives under this intent's own id:
    its record then goes on as an order's.
    """
    target = await find_target(run.desk, intent)
    if isinstance(target, Reason):
        return await run.end(OrderStatus.FAILED, target)
    placed = await placed_by(run.desk, target)
    if placed is None:
        message = (
            f"the place intent behind {intent.target!r} is not on record any more: cancel it and place anew"
        )
        return await run.end(OrderStatus.FAILED, Reason(code="target_unknown", message=message))
    if not is_open(target) and not run.replaying:
        return await run.end(OrderStatus.FAILED, closed_reason(target))
    try:
        if run.desk.exchange.amends_in_place and not placed.type.has_trigger:
            return await _amend_in_place(run, intent, target, placed)
        return await _replace(run, intent, target, placed)
    except CommandEnded as ended:
        return ended.next


async def _amend_in_place(
    run: CommandRun, intent: AmendOrder, target: Order, placed: PlaceOrder
) -> Hold | None:
    wanted = run.desk.rules.normalize_amend(intent, target, placed)
    if isinstance(wanted, Refusal):
        return await run.end(OrderStatus.FAILED, wanted.reason)
    request = OrderRequest(
        account=intent.account,
        symbol=intent.symbol,
        client_order_id=target.client_order_id,
        side=placed.side,
        type=wanted.type,
        amount=wanted.amount,
        price=wanted.price,
        time_in_force=wanted.time_in_force,
        reduce_only=wanted.reduce_only,
    )

    def is_amended(order: Order) -> bool:
        return (order.amount, order.price) == (wanted.amount, wanted.price)

    def is_settled(order: Order) -> bool:
        return has_ended(order) or is_amended(order)

    if run.replaying:
        target = await watch_until(run.desk, target, run.order.executable_until, is_settled)
    while not is_settled(target):
        reference = run.desk.reference(target)
        outcome = await run.send(Operation.AMEND, partial(run.desk.exchange.amend, reference, request))
        if isinstance(outcome, ExchangeFailure):
            await run.check_attempts(outcome)
        else:
            target = await note(run.desk, target, outcome)
        if not is_settled(target):
            target = await watch_until(run.desk, target, run.order.executable_until, is_settled)
    if not is_amended(target):
        return await run.end(OrderStatus.REJECTED, closed_reason(target))
    run.order = msgspec.structs.replace(
        run.order, changes=wanted.changes, exchange_order_id=target.exchange_order_id
    )
    return await run.end(OrderStatus.DONE)


async def _replace(run: CommandRun, intent: AmendOrder, target: Order, placed: PlaceOrder) -> Hold | None:
    """Cancel the target; only when that is confirmed place what is left. Never both at once."""
    if target.successor != intent.id:
        target = await run.make_cancelled(target)
        if target.status is not OrderStatus.CANCELED:
            return await run.end(OrderStatus.REJECTED, closed_reason(target))
        failpoints.reach("replace.cancelled")
        target = await _name_successor(run, target)
        failpoints.reach("replace.named")
    replacement = replacement_of(intent, target, placed)
    if replacement is None:
        return await run.end(OrderStatus.DONE)
    if run.saved is not None and run.order.amount is not None:
        return await settle(run.desk, run.hold, run.saved, REPLAYED, replacement)
    fresh = msgspec.structs.replace(run.order, attempts=0, executable_until=0)
    return await send_until_known(run.desk, run.hold, fresh, run.saved, replacement)


def replacement_of(intent: AmendOrder, target: Order, placed: PlaceOrder) -> PlaceOrder | None:
    """What to place instead of a cancelled target: the new total less what the target filled. None: nothing is left."""
    amount = (intent.amount or target.amount or placed.amount) - target.filled
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


async def _name_successor(run: CommandRun, target: Order) -> Order:
    """Write into the cancelled target's record that this intent's order stands in its place from now on."""
    times = msgspec.structs.replace(target.times, updated_at=run.desk.now_ms())
    named = msgspec.structs.replace(target, successor=run.intent.id, times=times)
    result = await run.desk.journal.write(named, target)
    if isinstance(result, Conflict):
        raise CommandEnded(await on_conflict(run.desk, run.hold, run.intent, result))
    return result.order
