"""Placing an order: the pipeline from a decoded intent to a recorded outcome.

    guard -> normalise -> begin (tokens taken and journal SUBMITTED, fenced) -> send -> record and finish

Dying anywhere leaves a journal from which the next worker goes on: before `begin` nothing was sent; after it the
order's fate is found out (`resolve`) before anything is sent again.
"""

from __future__ import annotations

from functools import partial

import msgspec

from common import failpoints
from common.exchange.base import ExchangeFailure, OrderReport, OrderRequest, Outcome
from common.journal import Conflict, Then
from common.lanes import Hold
from common.normalizer import Normalized, Refusal
from common.venue_limits import Operation
from orderlane.intents import PlaceOrder
from orderlane.orders import Order, OrderStatus, Reason
from workers.begin import begin_in_turn
from workers.desk import Desk, backoff_ms, reason_of
from workers.forgotten import Later, accounted_for, push_shares
from workers.outcomes import (
    close_duplicate,
    conclude,
    expiry,
    explain_unknown,
    finish_with,
    guard,
    mark_unknown,
    on_conflict,
    park,
    start_order,
)
from workers.overtaking import unless_begun
from workers.resolve import Absence, resolve
from workers.standing import HeldBack, require_open, wait_until_open

NOTHING_HAPPENED = (Outcome.NOT_SENT, Outcome.LATE, Outcome.THROTTLED)
"""Failures after which the same request may be sent again: it certainly was not executed."""

REPLAYED = Reason(code="replay", message="the worker that sent it gave no account of it")
FORGOTTEN = Reason(
    code="redis_restarted",
    message="Redis restarted and may have forgotten whether this order was sent: the exchange is asked first",
)


async def run_place(desk: Desk, hold: Hold, intent: PlaceOrder) -> Hold | None:
    """Bring one place intent to its recorded outcome; the lane's next run.

    Raises:
        LeaseLost, Stopping: the entry stays, and its journal says how far it came.
    """
    known = await _known_before(desk, hold, intent)
    if known is not None and known.entry != hold.entry:
        return await close_duplicate(desk, hold, intent, known)
    fresh = start_order(desk, hold, intent, known)
    if known is not None and isinstance(known.edited, PlaceOrder):
        intent = known.edited
    if known is not None and known.status is not OrderStatus.QUEUED:
        return await _replay(desk, hold, intent, known)
    refusal = guard(desk, intent)
    if refusal is not None:
        return await finish_with(desk, hold, fresh, OrderStatus.FAILED, refusal, known)
    if desk.in_doubt(hold):
        if hold.entry not in desk.proven_absent:
            return await _ask_before_sending(desk, hold, fresh, known, intent)
        ended = await accounted_for(desk, hold, fresh, intent)
        if ended is not None:
            return await end_accounted_for(desk, hold, ended, known)
    return await send_until_known(desk, hold, fresh, known, intent)


async def _known_before(desk: Desk, hold: Hold, intent: PlaceOrder) -> Order | None:
    """The record, read only where one may matter before `begin`: for a replay, or after a restart of Redis."""
    if not (hold.begun or hold.deaths or desk.in_doubt(hold)):
        return None
    return await desk.journal.read(desk.client_order_id(intent.account, intent.id))


async def _replay(desk: Desk, hold: Hold, intent: PlaceOrder, known: Order) -> Hold | None:
    """Go on from where a dead, paused or cut-off worker left the order."""
    if known.status not in (OrderStatus.SUBMITTED, OrderStatus.UNKNOWN):
        return await desk.journal.close_entry(hold)
    return await settle(desk, hold, with_doubt(desk, hold, known), REPLAYED, intent)


def with_doubt(desk: Desk, hold: Hold, known: Order) -> Order:
    """The record with the bound that holds when Redis may have forgotten a request later than the one on record."""
    if not desk.in_doubt(hold) or not known.executable_until:
        return known
    until = max(known.executable_until, desk.doubtful_until())
    return msgspec.structs.replace(known, executable_until=until)


class CannotAsk(Exception):
    """The exchange refuses to say whether it has an order."""


async def ask_waiting(desk: Desk, hold: Hold, order: Order) -> OrderReport | Absence:
    """Ask for an order that Redis may have forgotten, while its entry waits on; where there is none, that is noted.

    Raises:
        CannotAsk: the exchange refuses to say; a person is to see that.
        LeaseLost, Stopping: somebody else will ask.
    """
    until = desk.doubtful_until() if desk.exchange.receive_window_ms is not None else 0

    async def give_up(reason: Reason) -> None:
        raise CannotAsk(reason.message)

    failpoints.reach("recall.before", hold.lane)
    found = await resolve(desk, desk.reference(order), until, on_refusal=give_up)
    if found is Absence.PROVEN:
        desk.proven_absent.add(hold.entry)
        failpoints.reach("recall.absent", hold.lane)
    return found


def look_again(hold: Hold) -> Hold:
    """The same entry anew, with another look at its lane first."""
    return msgspec.structs.replace(hold, again=True, news=True)


async def end_accounted_for(
    desk: Desk, hold: Hold, ended: Order | Later, before: Order | None
) -> Hold | None:
    """End an entry that is not to be sent for what Redis forgot, or look at it again later."""
    if isinstance(ended, Later):
        return look_again(hold)
    following = await finish_with(desk, hold, ended, ended.status, ended.reason, before)
    if ended.merged_into is not None:
        await push_shares(desk, ended)
    return following


async def _ask_before_sending(
    desk: Desk, hold: Hold, order: Order, before: Order | None, intent: PlaceOrder
) -> Hold | None:
    """Redis may have forgotten that this order was sent: find out. Where the exchange has none it goes on waiting, and
    the lane is looked at as if it had just been appended."""
    shaped = desk.rules.normalize(intent, None)
    if isinstance(shaped, Refusal) and shaped.reason.code == "unknown_symbol":  # it can't even be asked for
        return await finish_with(desk, hold, order, OrderStatus.FAILED, shaped.reason, before)
    fresh = msgspec.structs.replace(order, trigger_price=intent.trigger_price)
    found: OrderReport | Absence | None
    try:
        found = await ask_waiting(desk, hold, fresh)
    except CannotAsk:
        found = None
    if found is Absence.PROVEN:
        return look_again(hold)
    order = begun(desk, fresh, at_ms=0)
    if desk.exchange.receive_window_ms is not None:
        order = msgspec.structs.replace(order, executable_until=desk.doubtful_until())
    result = await desk.journal.write(order, before, hold=hold, then=Then.BEGIN)
    if isinstance(result, Conflict):
        return await on_conflict(desk, hold, intent, result)
    if isinstance(found, OrderReport):
        return await conclude(desk, hold, result.order, found)
    if found is Absence.UNPROVABLE:
        return await park(desk, hold, result.order, unprovable(desk, FORGOTTEN))
    return await settle(desk, hold, result.order, FORGOTTEN, intent)


async def _wait_until_allowed(
    desk: Desk, hold: Hold, intent: PlaceOrder, before: Order | None
) -> tuple[OrderStatus, Reason] | None:
    """Wait as long as new orders of the account do; then None, or why this one may not be placed any more.

    Its strategy is looked at again: it may have waited for long since it was guarded.
    """
    late = expiry(desk, intent) or await wait_until_open(desk, hold, intent, before)
    if late is not None:
        return OrderStatus.EXPIRED, late
    disabled = desk.disabled(intent)
    return None if disabled is None else (OrderStatus.FAILED, disabled)


def _require_allowed(desk: Desk, intent: PlaceOrder) -> None:
    """Raise HeldBack where the intent must not begin now: it is looked at anew, and waits, or is refused."""
    require_open(desk, intent)
    if desk.disabled(intent) is not None:
        raise HeldBack


async def send_until_known(
    desk: Desk, hold: Hold, order: Order, before: Order | None, intent: PlaceOrder
) -> Hold | None:
    """Begin and send, again where it is certain that nothing happened, until the outcome is on record.

    `intent` says what to place: the order's own, or what an amend replaces its target by.
    """
    waits = backoff_ms()
    while True:
        barred = await _wait_until_allowed(desk, hold, intent, before)
        if barred is not None:
            return await finish_with(desk, hold, order, *barred, before)
        normalized = desk.rules.normalize(
            intent, await desk.reference_price(intent, unless_begun(hold, before))
        )
        if isinstance(normalized, Refusal):
            return await finish_with(desk, hold, order, OrderStatus.FAILED, normalized.reason, before)
        failpoints.reach("place.normalized")
        slot = desk.request_slot()
        try:
            start = await begin_in_turn(
                desk, hold, slot, intent, before, Operation.PLACE,
                partial(_begun_to_place, desk, order, normalized), conditional=intent.type.has_trigger,
                admit=partial(_require_allowed, desk, intent),
            )  # fmt: skip
            if isinstance(start, Reason):
                return await finish_with(desk, hold, order, OrderStatus.EXPIRED, start, before)
            if isinstance(start, Conflict):
                return await on_conflict(desk, hold, order.intent, start)
            order = before = start.order
            failpoints.reach("place.begun")
            late = expiry(desk, intent)  # Redis may have let us wait for its answer
            if late is not None:
                return await finish_with(desk, hold, order, OrderStatus.EXPIRED, late, before)
            outcome = await _send(desk, order, normalized, start.at_ms)
            failpoints.reach("place.replied")
            if isinstance(outcome, OrderReport):
                return await conclude(desk, hold, order, outcome)
            if outcome.outcome is Outcome.REFUSED:
                return await finish_with(desk, hold, order, OrderStatus.REJECTED, reason_of(outcome), before)
        except HeldBack:
            continue
        finally:
            slot.give_back()
        if outcome.outcome not in NOTHING_HAPPENED:
            seen = outcome.outcome is Outcome.DUPLICATE
            return await settle(desk, hold, order, reason_of(outcome), intent, seen=seen)
        await desk.pause_if_throttled(intent.account, outcome)
        await desk.sleep(next(waits))


def _begun_to_place(desk: Desk, order: Order, normalized: Normalized, at_ms: int) -> Order:
    failpoints.reach("place.admitted")
    return begun(desk, _shaped(order, normalized), at_ms)


async def _send(
    desk: Desk, order: Order, normalized: Normalized, at_ms: int
) -> OrderReport | ExchangeFailure:
    """Send the request: the last look at the lease is here, right before bytes can leave this process."""
    request = request_of(order, normalized)
    desk.dispatcher.require_lease()
    try:
        return await desk.places.place(request, at_ms)
    except ExchangeFailure as failure:
        return failure


async def settle(
    desk: Desk, hold: Hold, order: Order, why: Reason, intent: PlaceOrder, *, seen: bool = False
) -> Hold | None:
    """The outcome is not known: say so, find out, and act on what is found."""
    marked = await mark_unknown(desk, hold, order, why)
    if isinstance(marked, Conflict):
        return await on_conflict(desk, hold, order.intent, marked, sent=True)
    current = marked

    async def explain(reason: Reason) -> None:
        nonlocal current
        current = await explain_unknown(desk, hold, current, reason)

    found = await resolve(
        desk, desk.reference(marked), marked.executable_until, seen=seen, on_refusal=explain
    )
    marked = current
    if isinstance(found, OrderReport):
        return await conclude(desk, hold, marked, found)
    if found is Absence.UNPROVABLE:
        return await park(desk, hold, marked, unprovable(desk, why))
    failpoints.reach("resolve.absent")
    if desk.in_doubt(hold) and (ended := await accounted_for(desk, hold, marked, intent)) is not None:
        return await end_accounted_for(desk, hold, ended, marked)
    late = expiry(desk, order.intent)
    if late is not None:
        return await finish_with(desk, hold, marked, OrderStatus.EXPIRED, late, marked)
    absent = msgspec.structs.replace(marked, absences=marked.absences + (1 if marked.attempts else 0))
    if absent.absences >= desk.policy.max_attempts:
        return await finish_with(desk, hold, absent, OrderStatus.FAILED, _given_up(absent, why), marked)
    return await send_until_known(desk, hold, absent, marked, intent)


def begun(desk: Desk, order: Order, at_ms: int) -> Order:
    """The order as it is written before its request leaves: from here on its outcome may be unknown."""
    now, window_ms = desk.now_ms(), desk.exchange.receive_window_ms
    times = msgspec.structs.replace(order.times, begun_at=now, sent_at=now, updated_at=now)
    return msgspec.structs.replace(
        order,
        status=OrderStatus.SUBMITTED,
        reason=None,
        attempts=order.attempts + (1 if at_ms else 0),
        executable_until=at_ms + window_ms if at_ms and window_ms is not None else 0,
        times=times,
    )


def _shaped(order: Order, normalized: Normalized) -> Order:
    return msgspec.structs.replace(
        order,
        amount=normalized.amount,
        price=normalized.price,
        trigger_price=normalized.trigger_price,
        changes=normalized.changes,
    )


def request_of(order: Order, normalized: Normalized) -> OrderRequest:
    """The request that places this order."""
    return OrderRequest(
        account=order.intent.account,
        symbol=order.intent.symbol,
        client_order_id=order.client_order_id,
        side=normalized.side,
        type=normalized.type,
        amount=normalized.amount,
        price=normalized.price,
        trigger_price=normalized.trigger_price,
        time_in_force=normalized.time_in_force,
        reduce_only=normalized.reduce_only,
        params=normalized.params,
        expires_at=order.asked.expires_at,
    )


def unprovable(desk: Desk, why: Reason) -> Reason:
    """The reason of an order that is parked because nothing can prove its absence."""
    return Reason(
        code="outcome_unprovable",
        message=f"{desk.name!r} shows no such order, and nothing rules out that it still appears ({why.message}): "
        "look at the exchange, then resolve the lane by hand",
    )


def _given_up(order: Order, why: Reason) -> Reason:
    return Reason(
        code="given_up",
        message=f"sent {order.attempts} times, and proven absent from the exchange {order.absences} times; last: "
        f"{why.message}",
        numbers={"attempts": str(order.attempts), "absences": str(order.absences)},
    )
