"""What cancels and amends act on: the order that another intent placed, and what the exchange says of it now."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from common import failpoints
from common.exchange.base import ExchangeFailure, OrderReport
from common.journal import Written
from common.venue_limits import Operation
from orderlane.intents import URGENT_PRIORITY, AmendOrder, CancelOrder, PlaceOrder
from orderlane.orders import Order, OrderStatus, Reason
from workers.desk import Desk, log
from workers.resolve import Absence, delays_ms, is_executable, resolve

MAX_SUCCESSORS = 64
"""How long a chain of replaced orders is followed before it counts as broken."""
ABSENT = Reason(
    code="given_up",
    message="proven absent from the exchange when another intent was to cancel or replace it: it is not sent again",
)


async def find_target(desk: Desk, intent: CancelOrder | AmendOrder) -> Order | Reason:
    """The order now standing for `intent.target`: the last of those that replaced it, short of the one that
    `intent` itself replaced it by. Or why there is none."""
    target_id = intent.target
    for _ in range(MAX_SUCCESSORS):
        target = await read_target(desk, intent, target_id)
        if isinstance(target, Reason) or target.successor in ("", intent.id):
            return target
        target_id = target.successor
    return Reason(
        code="target_unknown", message=f"intent {intent.target!r} was replaced over {MAX_SUCCESSORS} times"
    )


async def read_target(
    desk: Desk, intent: CancelOrder | AmendOrder | PlaceOrder, target_id: str
) -> Order | Reason:
    """The record of an intent that `intent` speaks of, or why nothing can be done to an order of it."""
    target = await desk.journal.read(desk.client_order_id(intent.account, target_id))
    if target is None or target.intent.symbol != intent.symbol:
        return Reason(
            code="target_unknown",
            message=f"no intent {target_id!r} of account {intent.account!r} on {intent.symbol} is on record: "
            "give the id, account and symbol it was submitted with",
        )
    if target.status is OrderStatus.QUEUED:
        return Reason(
            code="target_waiting",
            message=f"intent {target_id!r} comes after this one and has not been sent: send this one again after it",
        )
    if target.merged_into is not None:
        survivor = target.merged_into.intent_id
        return Reason(
            code="target_merged",
            message=f"intent {target_id!r} was merged into {survivor!r} and is part of its order, which is sent for "
            f"both: to take this part out, amend the amount of {survivor!r} to so much less; to change or cancel the "
            f"whole, name {survivor!r}",
        )
    return target


async def ascertain(desk: Desk, target: Order) -> Order | Reason:
    """The target's record once it is known whether the exchange has its order; or why that can't be known now.

    An order that is proven absent ends here, as FAILED: if its lane still means to send it again, that finds this.

    Raises:
        Stopping, LeaseLost: somebody else will ask.
    """
    while target.status in (OrderStatus.SUBMITTED, OrderStatus.UNKNOWN):
        until = target.executable_until
        if until and int(target.entry.partition("-")[0]) <= desk.dispatcher.doubt.before_ms:
            until = max(until, desk.doubtful_until())
        found = await resolve(desk, desk.reference(target), until)
        if isinstance(found, OrderReport):
            return await note(desk, target, found)
        if found is Absence.UNPROVABLE:
            return Reason(
                code="target_unknown",
                message=f"what became of order {target.intent.id!r} is not known, and {desk.name!r} shows none "
                "such: look at the exchange, then send this again",
            )
        times = msgspec.structs.replace(target.times, updated_at=desk.now_ms())
        absent = msgspec.structs.replace(target, status=OrderStatus.FAILED, reason=ABSENT, times=times)
        result = await desk.journal.write(absent, target)
        if isinstance(result, Written):
            return result.order
        target = result.current or absent
    return target


async def placed_by(desk: Desk, order: Order) -> PlaceOrder | None:
    """The place intent at the root of an order, which amends may have replaced since; None when it is forgotten."""
    known: Order | None = order
    for _ in range(MAX_SUCCESSORS):
        if known is None or isinstance(known.intent, PlaceOrder):
            break
        if not isinstance(known.intent, AmendOrder):
            return None
        known = await desk.journal.read(desk.client_order_id(known.intent.account, known.intent.target))
    return known.intent if known is not None and isinstance(known.intent, PlaceOrder) else None


def closed_reason(target: Order) -> Reason:
    """Why nothing can be done to an order that has ended."""
    why = f" ({target.reason.code}: {target.reason.message})" if target.reason else ""
    was_sent = target.exchange_order_id or not isinstance(target.intent, PlaceOrder)
    how = f"with {target.filled} filled" if was_sent else "and never came to the exchange"
    return Reason(
        code="target_closed",
        message=f"order {target.intent.id!r} is {target.status} {how}{why}: nothing is left to change",
        numbers={"filled": str(target.filled)},
    )


async def look_at(desk: Desk, target: Order) -> Order:
    """Ask the exchange for the target once and bring its record up to date; the record.

    Raises:
        ExchangeFailure: the query failed, which says nothing of the order.
    """
    reference = desk.reference(target)
    await desk.throttle.acquire(
        Operation.FIND,
        reference.account,
        reference.symbol,
        URGENT_PRIORITY,
        conditional=reference.conditional,
    )
    async with desk.request_slot():
        report = await desk.exchange.find(reference)
    failpoints.reach("target.asked")
    return await note(desk, target, report)


async def note(desk: Desk, target: Order, report: OrderReport | None) -> Order:
    """Bring the target's record up to date with a report, where there is one; the record."""
    if report is None:
        return target
    noted = await desk.journal.advance(target.client_order_id, report, desk.now_ms()) or target
    failpoints.reach("target.noted")
    return noted


async def watch_until(
    desk: Desk, target: Order, executable_until: int, done: Callable[[Order], bool]
) -> Order:
    """Look at the target until `done(record)`, or until the request that should change it can't be executed any more
    and has not been; the record as last seen.

    Raises:
        Stopping, LeaseLost: somebody else will look.
    """
    started_at = desk.now_ms()
    for delay in delays_ms(desk.policy):
        closed = _is_over(desk, executable_until, started_at)
        try:
            target = await look_at(desk, target)
        except ExchangeFailure as failure:
            await desk.pause_if_throttled(target.intent.account, failure)
            log.warning("asking for a target failed", extra={"reason": str(failure)})
            closed = False
        if done(target) or closed:
            return target
        await desk.sleep(_capped(desk, delay, executable_until))
    raise AssertionError("unreachable")


async def name_successor(desk: Desk, target: Order, intent_id: str) -> Order:
    """Write into the target's record that this intent's order stands in its place from now on; the record.

    Others (sync, user stream) may write it meanwhile: theirs stands, and the name is added to it.
    """
    while True:
        times = msgspec.structs.replace(target.times, updated_at=desk.now_ms())
        named = msgspec.structs.replace(target, successor=intent_id, times=times)
        result = await desk.journal.write(named, target)
        if isinstance(result, Written):
            return result.order
        if result.current is None:
            return named  # forgotten after its retention time: nobody will look for a successor either
        target = result.current


def has_ended(target: Order) -> bool:
    """Whether nothing more can happen to it."""
    return target.status.terminal


def is_open(target: Order) -> bool:
    """Whether it is on the exchange's book."""
    return target.status in (OrderStatus.ACTIVE, OrderStatus.PARTIAL)


def _is_over(desk: Desk, executable_until: int, started_at: int) -> bool:
    if executable_until:
        return not is_executable(executable_until, desk.exchange.now_ms(), desk.policy.clock_margin_ms)
    return desk.now_ms() - started_at > desk.policy.unprovable_after_ms


def _capped(desk: Desk, delay_ms: int, executable_until: int) -> float:
    if not executable_until:
        return delay_ms
    left_ms = executable_until + desk.policy.clock_margin_ms - desk.exchange.now_ms()
    return min(delay_ms, max(left_ms + 1, desk.policy.resolve_delays_ms[0]))
