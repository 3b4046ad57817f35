"""Changing an open order: in place where the venue can, else by cancelling it and placing the rest."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from itertools import count

import msgspec

from common.exact import EXACT
from common.exchange.base import ExchangeFailure, OrderRequest
from common.lanes import Hold
from common.normalizer import Normalized, Refusal, RefusalCode
from common.venue_limits import Operation
from orderlane.intents import AmendOrder, PlaceOrder
from orderlane.orders import Order, OrderStatus, Reason
from workers.command import CommandEnds, CommandRun, NotDone
from workers.overtaking import unless_begun
from workers.place import with_doubt
from workers.replace import Replacing, filled_of, run_replace
from workers.targets import (
    ascertain,
    closed_reason,
    find_target,
    has_ended,
    is_open,
    note,
    placed_by,
    watch_until,
)


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
            replacing = Replacing(
                intent=intent,
                replacement=partial(replacement_of, intent, placed),
                why_not=partial(_why_not, run, intent, placed),
                unless=_unless_cancelled,
                trigger_price=target.trigger_price or placed.trigger_price,
                already=partial(_is_as_wanted, run, intent, placed),
            )
            return await run_replace(run, target, replacing)
        known = await ascertain(run.desk, target)
        if isinstance(known, Reason):
            return await run.end(OrderStatus.FAILED, known)
        forgotten = not run.replaying and run.desk.in_doubt(run.hold)
        if forgotten:
            await run.begin_unsent(run.order)
        elif not is_open(known) and not run.replaying:
            return await run.end(OrderStatus.FAILED, closed_reason(known))
        return await _amend_in_place(run, intent, known, placed)
    except CommandEnds as ends:
        return await ends.finish()


def replacement_of(intent: AmendOrder, placed: PlaceOrder, target: Order) -> PlaceOrder | None:
    """What to place instead of a cancelled target; None: nothing is left to place.

    A new amount is a total: what the target filled, and orders that it replaced itself, count towards it.
    """
    if intent.amount is not None:
        amount = EXACT.subtract(intent.amount, filled_of(target))
    else:
        amount = EXACT.subtract(target.amount or placed.amount, target.filled)
    if amount <= 0:
        return None
    return msgspec.structs.replace(
        placed,
        id=intent.id,
        amount=amount,
        price=(intent.price or target.price or placed.price) if placed.type.has_price else None,
        trigger_price=target.trigger_price or placed.trigger_price,
        expires_at=intent.expires_at,
        priority=intent.urgency,
    )


async def _why_not(run: CommandRun, intent: AmendOrder, placed: PlaceOrder, target: Order) -> Reason | None:
    """Why the amend can't stand; found out before the target is given up for it."""
    if not is_open(target):
        return closed_reason(target)
    replacement, of_target = replacement_of(intent, placed, target), _of_target(intent, target)
    if replacement is None or of_target is None:
        return _below_filled(intent, target)
    reference_price = await run.desk.reference_price(replacement, unless_begun(run.hold, run.saved))
    amended = run.desk.rules.normalize_amend(of_target, target, placed, reference_price)
    if isinstance(amended, Refusal):
        return amended.reason
    placeable = run.desk.rules.normalize(replacement, reference_price)
    return placeable.reason if isinstance(placeable, Refusal) else None


def _is_as_wanted(run: CommandRun, intent: AmendOrder, placed: PlaceOrder, target: Order) -> bool:
    """Whether the target has the numbers that the amend gives it, whatever has filled of it since."""
    of_target = _of_target(intent, target)
    if of_target is None:
        return False
    unfilled = msgspec.structs.replace(target, filled=Decimal(0))
    answer = run.desk.rules.normalize_amend(of_target, unfilled, placed, intent.price)
    return isinstance(answer, Refusal) and answer.reason.code == RefusalCode.AMEND_CHANGES_NOTHING


def _unless_cancelled(target: Order) -> NotDone | None:
    cancelled = target.status is OrderStatus.CANCELED
    return None if cancelled else NotDone(OrderStatus.REJECTED, closed_reason(target))


def _of_target(intent: AmendOrder, target: Order) -> AmendOrder | None:
    """The amend as the target's own order sees it: its total without what filled before that; None: nothing is left."""
    if intent.amount is None:
        return intent
    amount = EXACT.subtract(intent.amount, target.filled_before)
    return msgspec.structs.replace(intent, amount=amount) if amount > 0 else None


def _below_filled(intent: AmendOrder, target: Order) -> Reason:
    filled = filled_of(target)
    return Reason(
        code=RefusalCode.AMEND_BELOW_FILLED,
        message=f"amount {intent.amount} is not above the {filled} already filled of order {intent.target}: "
        "cancel it to end it there",
        numbers={"amount": str(intent.amount), "filled": str(filled)},
    )


async def _amend_in_place(
    run: CommandRun, intent: AmendOrder, target: Order, placed: PlaceOrder
) -> Hold | None:
    """Change the target, unless an amend that was sent before, or may have been and was forgotten, has done so."""
    of_target = _of_target(intent, target)
    if of_target is None:
        return await run.end(OrderStatus.FAILED, _below_filled(intent, target))
    waiting = unless_begun(run.hold, run.saved)
    reference_price = await run.desk.reference_price(placed, waiting) if intent.price else None

    def becomes(order: Order) -> Normalized | Refusal:
        return run.desk.rules.normalize_amend(of_target, order, placed, reference_price)

    def is_amended(order: Order) -> bool:
        # Judged by its numbers alone: the market may have left the price behind since, and fills may have come.
        unfilled = msgspec.structs.replace(order, filled=Decimal(0))
        answer = run.desk.rules.normalize_amend(of_target, unfilled, placed, intent.price)
        return isinstance(answer, Refusal) and answer.reason.code == RefusalCode.AMEND_CHANGES_NOTHING

    def is_settled(order: Order) -> bool:
        return has_ended(order) or is_amended(order)

    maybe_sent = run.saved is not None and run.saved.status is not OrderStatus.QUEUED
    if maybe_sent:
        until = with_doubt(run.desk, run.hold, run.order).executable_until
        target = await watch_until(run.desk, target, until, is_settled)
    if not maybe_sent or not is_settled(target):
        wanted = becomes(target)
        if isinstance(wanted, Refusal):
            return await run.end(OrderStatus.FAILED, wanted.reason)
        run.order = msgspec.structs.replace(run.order, changes=wanted.changes)
        target = await _send_until_settled(run, target, _request(target, placed, wanted), is_settled)
    if not is_amended(target):
        return await run.end(OrderStatus.REJECTED, closed_reason(target))
    run.order = msgspec.structs.replace(run.order, exchange_order_id=target.exchange_order_id)
    return await run.end(OrderStatus.DONE)


async def _send_until_settled(
    run: CommandRun, target: Order, request: OrderRequest, is_settled: Callable[[Order], bool]
) -> Order:
    """Amend until the target is as wanted or has ended; its record then.

    Raises:
        CommandEnds: the exchange refused, or shows no effect after every attempt.
    """
    for tries in count(1):
        if is_settled(target):
            break
        reference = run.desk.reference(target)
        outcome = await run.send(Operation.AMEND, partial(run.desk.exchange.amend, reference, request))
        if not isinstance(outcome, ExchangeFailure):
            target = await note(run.desk, target, outcome)
        if not is_settled(target):
            target = await watch_until(run.desk, target, run.order.executable_until, is_settled)
        given_up = None if is_settled(target) else run.given_up(tries, outcome)
        if given_up is not None:
            raise CommandEnds(partial(run.end, OrderStatus.FAILED, given_up))
    return target


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
