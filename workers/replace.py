"""Replacing an order by another one: cancel it, and place what is left under the new intent's own id.

Never both at once: the new order is sent only when the exchange has confirmed that the target is off its book. An
amend does so where the venue can't change an order (`workers.amend`), a place where it `replaces` one
(`workers.succeed`).

Whoever dies on the way leaves a record that says how far it came: begun without an amount, the cancel may be under way,
and the exchange is asked for the target; with one, the new order may be, and it is asked for by its own id.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial

import msgspec
from msgspec import Struct

from common import failpoints
from common.absorbed import own_amount
from common.exact import EXACT
from common.exchange.base import OrderReport
from common.lanes import Hold
from orderlane.intents import AmendOrder, PlaceOrder
from orderlane.orders import Order, OrderStatus, Reason
from workers.command import CommandEnds, CommandRun, NotDone
from workers.desk import log
from workers.forgotten import Later, accounted_for
from workers.outcomes import conclude, park
from workers.place import (
    FORGOTTEN,
    REPLAYED,
    CannotAsk,
    ask_waiting,
    end_accounted_for,
    look_again,
    send_until_known,
    settle,
    unprovable,
    with_doubt,
)
from workers.resolve import Absence, resolve
from workers.standing import wait_until_open
from workers.targets import has_ended, name_successor


class Replacing(Struct, frozen=True):
    """What is to take a target's place, and when it may."""

    intent: AmendOrder | PlaceOrder
    replacement: Callable[[Order], PlaceOrder | None]
    """What to place instead of the target, as it stands; None: nothing is left to place."""
    why_not: Callable[[Order], Awaitable[Reason | None]]
    """Why the target should not be given up for it; found out before anything is sent."""
    unless: Callable[[Order], NotDone | None]
    """Why nothing is placed after a target that ended as it did; None where the replacement goes on."""
    trigger_price: Decimal | None
    """Of the new order, if it is a conditional one."""
    already: Callable[[Order], bool] | None = None
    """Whether the target was sent as this intent wants it, which Redis may have forgotten."""


async def run_replace(run: CommandRun, target: Order, replacing: Replacing) -> Hold | None:
    """Bring the intent to its outcome; the lane's next run.

    Raises:
        CommandEnds: it can't go on.
    """
    desk, hold, intent_id = run.desk, run.hold, replacing.intent.id
    maybe_placed = run.replaying and run.order.amount is not None
    if maybe_placed and run.saved is not None and (replacement := replacing.replacement(target)):
        return await settle(desk, hold, with_doubt(desk, hold, run.saved), REPLAYED, replacement)
    in_doubt = desk.in_doubt(hold)
    if in_doubt and not run.replaying and hold.entry not in desk.proven_absent:
        return await _ask_while_waiting(run, target, replacing)
    if in_doubt and not run.replaying:
        ended = await _accounted_for(run, target, replacing)
        if ended is not None:
            return await end_accounted_for(desk, hold, ended, run.saved)
    elif maybe_placed or in_doubt:
        found = await _ask_for_placed(run, replacing, maybe_placed)
        if isinstance(found, OrderReport):
            return await _adopt(run, target, intent_id, found)
        if found is Absence.UNPROVABLE:
            return await park(desk, hold, run.order, unprovable(desk, FORGOTTEN))
    target = await _make_room(run, target, replacing)
    run.order = _succeeding(run.order, target)
    replacement = replacing.replacement(target)
    if replacement is None:
        return await run.end(OrderStatus.DONE, _nothing_left(target))
    fresh = msgspec.structs.replace(run.order, attempts=0, executable_until=0)
    return await send_until_known(desk, hold, fresh, run.saved, replacement)


async def _make_room(run: CommandRun, target: Order, replacing: Replacing) -> Order:
    """Bring the target off the exchange's book, and name its successor; its record then.

    Raises:
        CommandEnds: it can't go on.
    """
    intent_id = replacing.intent.id
    if target.successor == intent_id:
        return target
    if not run.order.attempts:
        late = await _wait_until_open(run, replacing, target)
        if late is not None:
            raise CommandEnds(partial(run.end, OrderStatus.EXPIRED, late))
        refusal = await replacing.why_not(target)
        if refusal is not None:
            raise CommandEnds(partial(run.end, OrderStatus.FAILED, refusal))
    target = await run.make_cancelled(target)
    not_done = replacing.unless(target)
    if not_done is not None:
        raise CommandEnds(partial(run.end, not_done.status, not_done.reason))
    failpoints.reach("replace.cancelled")
    target = await name_successor(run.desk, target, intent_id)
    failpoints.reach("replace.named")
    return target


async def _accounted_for(run: CommandRun, target: Order, replacing: Replacing) -> Order | Later | None:
    """How the intent ends of which the exchange has no order, and Redis may have forgotten why."""
    ended = await accounted_for(run.desk, run.hold, run.order, replacing.intent)
    if ended is None and replacing.already is not None and replacing.already(target):
        return msgspec.structs.replace(run.order, status=OrderStatus.DONE, reason=_is_so(target))
    return ended


async def _wait_until_open(run: CommandRun, replacing: Replacing, target: Order) -> Reason | None:
    """Keep the target while its replacement could not be placed; why it is too late, if it has become so."""
    replacement = replacing.replacement(target)
    if replacement is None:
        return None
    return await wait_until_open(run.desk, run.hold, replacement, run.saved)


def filled_of(target: Order) -> Decimal:
    """Base filled by the target and by the orders that it replaced."""
    return EXACT.add(target.filled_before, target.filled)


def _nothing_left(target: Order) -> Reason:
    filled = filled_of(target)
    return Reason(
        code="nothing_left",
        message=f"order {target.intent.id!r} is {target.status}, and the {filled} filled so far are all that was "
        "asked for: nothing is placed",
        numbers={"filled": str(filled)},
    )


def _succeeding(order: Order, target: Order) -> Order:
    """The record of the new order with what it inherits: the fills so far, and after an amend whose fills they are."""
    fresh = msgspec.structs.replace(order, filled_before=filled_of(target))
    if not target.absorbed or not isinstance(order.intent, AmendOrder):
        return fresh
    return msgspec.structs.replace(fresh, absorbed=target.absorbed, own_amount=own_amount(target))


async def _ask_while_waiting(run: CommandRun, target: Order, replacing: Replacing) -> Hold | None:
    """Redis may have forgotten that the new order was placed: find out. Where there is none, the entry goes on waiting,
    and its lane is looked at as if it had just been appended."""
    desk, hold = run.desk, run.hold
    order = msgspec.structs.replace(run.order, trigger_price=replacing.trigger_price)
    found: OrderReport | Absence | None
    try:
        found = await ask_waiting(desk, hold, order)
    except CannotAsk:
        found = None
    if found is Absence.PROVEN:
        return look_again(hold)
    await run.begin_unsent(order)
    if isinstance(found, OrderReport):
        return await _adopt(run, target, replacing.intent.id, found)
    if found is Absence.UNPROVABLE:
        return await park(desk, hold, run.order, unprovable(desk, FORGOTTEN))
    return msgspec.structs.replace(hold, again=True)


def _is_so(target: Order) -> Reason:
    return Reason(
        code="edited_while_waiting",
        message=f"{target.intent.id!r} was sent as amended, before Redis forgot that: nothing is left to change",
    )


async def _ask_for_placed(run: CommandRun, replacing: Replacing, maybe_placed: bool) -> OrderReport | Absence:
    """The new order may have been sent, and Redis may have forgotten that: ask for it by its id, sending nothing."""
    if maybe_placed:
        order = with_doubt(run.desk, run.hold, run.order)
    else:
        await run.begin_unsent(msgspec.structs.replace(run.order, trigger_price=replacing.trigger_price))
        order = run.order
    return await resolve(run.desk, run.desk.reference(order), order.executable_until)


async def _adopt(run: CommandRun, target: Order, intent_id: str, found: OrderReport) -> Hold | None:
    """The new order was placed before this was forgotten: record it, and what it did to the target."""
    if target.successor != intent_id:
        run.replaying = True
        try:
            known = await run.try_cancel(target)
        except CommandEnds as ends:  # too late to send anything: the new order is there all the same
            log.warning(
                "a replaced order was not looked at", extra={"intent": intent_id, "reason": str(ends)}
            )
            known = target
        if isinstance(known, Order) and has_ended(known):
            target = await name_successor(run.desk, known, intent_id)
    run.order = _succeeding(run.order, target)
    return await conclude(run.desk, run.hold, run.order, found)
