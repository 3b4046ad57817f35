"""Changing an open order: in place where the venue can, else by a replacement (`workers.replace`)."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import msgspec

from common.exchange.base import ExchangeFailure, OrderRequest
from common.lanes import Hold
from common.normalizer import Normalized, Refusal, RefusalCode
from common.venue_limits import Operation
from orderlane.intents import AmendOrder, PlaceOrder
from orderlane.orders import Order, OrderStatus, Reason
from workers.command import CommandEnded, CommandRun
from workers.replace import run_replace
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
    try:
        if not run.desk.exchange.amends_in_place or placed.type.has_trigger:
            return await run_replace(run, intent, target, placed)
        if not is_open(target) and not run.replaying:
            return await run.end(OrderStatus.FAILED, closed_reason(target))
        return await _amend_in_place(run, intent, target, placed)
    except CommandEnded as ended:
        return ended.next


async def _amend_in_place(
    run: CommandRun, intent: AmendOrder, target: Order, placed: PlaceOrder
) -> Hold | None:
    reference_price = await run.desk.reference_price(placed) if intent.price else None

    def becomes(order: Order) -> Normalized | Refusal:
        return run.desk.rules.normalize_amend(intent, order, placed, reference_price)

    def is_amended(order: Order) -> bool:
        unfilled = msgspec.structs.replace(order, filled=Decimal(0))
        answer = becomes(unfilled)
        return isinstance(answer, Refusal) and answer.reason.code == RefusalCode.AMEND_CHANGES_NOTHING

    def is_settled(order: Order) -> bool:
        return has_ended(order) or is_amended(order)

    if run.replaying:
        target = await watch_until(run.desk, target, run.order.executable_until, is_settled)
    if not run.replaying or not is_settled(target):
        wanted = becomes(target)
        if isinstance(wanted, Refusal):
            return await run.end(OrderStatus.FAILED, wanted.reason)
        run.order = msgspec.structs.replace(run.order, changes=wanted.changes)
        request = _request(target, placed, wanted)
        while not is_settled(target):
            reference = run.desk.reference(target)
            outcome = await run.send(Operation.AMEND, partial(run.desk.exchange.amend, reference, request))
            if not isinstance(outcome, ExchangeFailure):
                target = await note(run.desk, target, outcome)
            if not is_settled(target):
                target = await watch_until(run.desk, target, run.order.executable_until, is_settled)
            if not is_settled(target):
                await run.check_attempts(outcome)
    if not is_amended(target):
        return await run.end(OrderStatus.REJECTED, closed_reason(target))
    run.order = msgspec.structs.replace(run.order, exchange_order_id=target.exchange_order_id)
    return await run.end(OrderStatus.DONE)


def _request(target: Order, placed: PlaceOrder, wanted: Normalized) -> OrderRequest:
    """The request that gives the target its new numbers."""
    return OrderRequest(
        account=placed.account,
        symbol=placed.symbol,
        client_order_id=target.client_order_id,
        side=placed.side,
        type=wanted.type,
        amount=wanted.amount,
        price=wanted.price,
        time_in_force=wanted.time_in_force,
        reduce_only=wanted.reduce_only,
    )
