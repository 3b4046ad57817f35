"""How an entry ends: refused, concluded by the exchange's word, repeated, or parked for a person.

Each ends in one script: the record, its events and the end of the stream entry, or none of them.
"""

from __future__ import annotations

import msgspec

from common import failpoints
from common.exchange.base import OrderReport
from common.journal import Conflict, Then, Written, apply_report
from common.lanes import Hold, RedisForgot
from orderlane.events import Event, EventName, order_event
from orderlane.intents import Intent, PlaceOrder, intent_digest
from orderlane.orders import Order, OrderStatus, Reason, Times
from workers.desk import Desk


def start_order(desk: Desk, hold: Hold, intent: Intent, known: Order | None = None) -> Order:
    """The record an intent starts with, before anything is known but what was asked, and what others made of it while
    it waited (`known`, its record so far)."""
    if known is not None:
        times = msgspec.structs.replace(known.times, queued_at=hold.entry_ms, taken_at=desk.now_ms())
        return msgspec.structs.replace(known, times=times)
    return Order(
        client_order_id=desk.client_order_id(intent.account, intent.id),
        intent=intent,
        entry=hold.entry,
        times=Times(queued_at=hold.entry_ms, taken_at=desk.now_ms()),
    )


def guard(desk: Desk, intent: Intent) -> Reason | None:
    """Why this intent must not be executed here at all; None when it may."""
    if intent.exchange != desk.name:
        return Reason(
            code="wrong_exchange",
            message=f"the intent names exchange {intent.exchange!r} but was appended to the stream of {desk.name!r}",
        )
    if intent.account not in desk.policy.accounts:
        known = ", ".join(sorted(desk.policy.accounts))
        return Reason(
            code="unknown_account",
            message=f"account {intent.account!r} is not configured for {desk.name!r}; configured are: {known}",
        )
    if isinstance(intent, PlaceOrder):
        if intent.strategy in desk.policy.disabled_strategies and not intent.reduce_only:
            return Reason(
                code="strategy_disabled",
                message=f"strategy {intent.strategy!r} is disabled in the configuration: only its cancels and "
                "reduce-only orders pass",
            )
        disabled = desk.disabled(intent)
        if disabled:
            return disabled
        forbidden = desk.policy.forbidden_params(intent.params)
        if forbidden:
            return Reason(
                code="param_not_allowed",
                message=f"params {', '.join(forbidden)} may not be set by an intent on {desk.name!r}: leave them out",
            )
    return None


def expiry(desk: Desk, intent: Intent) -> Reason | None:
    """Why the intent is too late to be sent; None while it is in time."""
    deadline, now = intent.expires_at, desk.now_ms()
    if deadline is None or now <= deadline:
        return None
    return Reason(
        code="deadline_passed",
        message=f"expires_at was {deadline}, {now - deadline} ms before the request could be sent: it is not sent",
        numbers={"expires_at": str(deadline), "now": str(now)},
    )


async def finish_with(
    desk: Desk,
    hold: Hold,
    order: Order,
    status: OrderStatus,
    reason: Reason | None,
    before: Order | None = None,
) -> Hold | None:
    """End the intent in `status` for `reason`; the lane's next run.

    If someone recorded evidence meanwhile, that stands and this verdict is dropped.
    """
    ended = msgspec.structs.replace(
        order, status=status, reason=reason, times=_touched(order.times, desk.now_ms())
    )
    failpoints.reach("record.before")
    result = await desk.journal.write(ended, before, hold=hold, then=Then.FINISH)
    failpoints.reach("record.done")
    if isinstance(result, Written):
        return result.next
    return await on_conflict(desk, hold, order.intent, result, sent=bool(order.attempts))


async def conclude(desk: Desk, hold: Hold, order: Order, report: OrderReport) -> Hold | None:
    """Record what the exchange said and end the entry; the lane's next run.

    Raises:
        RedisForgot: the record is not even begun, though its request was sent.
    """
    now = desk.now_ms()
    current = order
    while True:
        merged = apply_report(current, report, now)
        if merged is None:
            break
        if not merged.times.acknowledged_at:
            merged = msgspec.structs.replace(
                merged, times=msgspec.structs.replace(merged.times, acknowledged_at=now)
            )
        failpoints.reach("record.before")
        result = await desk.journal.write(
            merged, current, hold=hold, then=Then.FINISH, extra_events=[latency_event(desk, merged)]
        )
        failpoints.reach("record.done")
        if isinstance(result, Written):
            return result.next
        if is_rolled_back(hold, result.current):
            raise RedisForgot(desk.dispatcher.worker_id)
        assert result.current is not None
        if result.current.entry != hold.entry:
            return await close_duplicate(desk, hold, order.intent, result.current)
        current = result.current
    return await desk.journal.close_entry(hold)


def is_rolled_back(hold: Hold, current: Order | None) -> bool:
    """Whether the record of a request that was sent is gone, or as if it had never begun: Redis lost its last writes,
    and whoever goes on with the entry must ask the exchange first."""
    return current is None or (current.entry == hold.entry and current.status is OrderStatus.QUEUED)


async def park(desk: Desk, hold: Hold, order: Order, reason: Reason) -> Hold | None:
    """Leave the order UNKNOWN and its lane standing still until evidence or a person moves it."""
    unknown = msgspec.structs.replace(
        order, status=OrderStatus.UNKNOWN, reason=reason, times=_touched(order.times, desk.now_ms())
    )
    result = await desk.journal.write(unknown, order, hold=hold, then=Then.PARK)
    if isinstance(result, Conflict):
        return await on_conflict(desk, hold, order.intent, result, sent=True)
    return None


async def mark_unknown(desk: Desk, hold: Hold, order: Order, reason: Reason) -> Order | Conflict:
    """Say at once that the outcome is not known, so that a person sees it while the exchange is asked."""
    if order.status is OrderStatus.UNKNOWN:
        return order
    unknown = msgspec.structs.replace(
        order, status=OrderStatus.UNKNOWN, reason=reason, times=_touched(order.times, desk.now_ms())
    )
    failpoints.reach("unknown.before")
    result = await desk.journal.write(unknown, order, hold=hold)
    failpoints.reach("unknown.marked")
    return result.order if isinstance(result, Written) else result


async def explain_unknown(desk: Desk, hold: Hold, order: Order, reason: Reason) -> Order:
    """Put on record why an order's outcome is still not known; the record (as it was, if someone else wrote it)."""
    explained = msgspec.structs.replace(order, reason=reason, times=_touched(order.times, desk.now_ms()))
    result = await desk.journal.write(explained, order, hold=hold)
    return result.order if isinstance(result, Written) else order


async def on_conflict(
    desk: Desk, hold: Hold, intent: Intent, conflict: Conflict, *, sent: bool = False
) -> Hold | None:
    """The record is not what it was: an id used before, or evidence recorded by someone else. Either stands.

    Raises:
        RedisForgot: it is gone, or (`sent`: a request was sent) not even begun.
    """
    current = conflict.current
    if current is None or (sent and is_rolled_back(hold, current)):
        raise RedisForgot(desk.dispatcher.worker_id)
    if current.entry != hold.entry:
        return await close_duplicate(desk, hold, intent, current)
    if current.status in (OrderStatus.QUEUED, OrderStatus.SUBMITTED, OrderStatus.UNKNOWN):
        return msgspec.structs.replace(hold, again=True)
    return await desk.journal.close_entry(hold)


async def close_duplicate(desk: Desk, hold: Hold, intent: Intent, known: Order) -> Hold | None:
    """The id was used before: the same intent again is dropped, another one under its id is buried. Where the record
    was rebuilt without its intent, that takes its place in it."""
    if known.may_be_of(intent):
        claimed = await _claim(desk, hold, intent, known)
        if isinstance(claimed, Written):
            return claimed.next
        known = claimed.current or known
    same = intent_digest(intent) == intent_digest(known.intent)
    if same:
        code, message = "duplicate", f"intent {intent.id!r} was already accepted as entry {known.entry}"
    else:
        code = "id_reused"
        message = (
            f"intent id {intent.id!r} was already used by entry {known.entry} with other content: "
            "give every intent an id of its own"
        )
    reason = Reason(code=code, message=f"{message}; that one is {known.status}")
    event = order_event(known, known.status, at=desk.now_ms(), name=EventName.DUPLICATE)
    event = msgspec.structs.replace(event, reason=reason, worker=desk.dispatcher.worker_id)
    return await desk.journal.close_entry(hold, dead=None if same else reason, events=[event])


async def _claim(desk: Desk, hold: Hold, intent: Intent, known: Order) -> Written | Conflict:
    """Put the intent into the record that was rebuilt without it, and end the entry: the order is not placed again.

    The record may have moved on meanwhile (a fill): then it is done on what it is by then.
    """
    while True:
        times = _touched(known.times, desk.now_ms())
        claimed = msgspec.structs.replace(known, intent=intent, rebuilt=False, entry=hold.entry, times=times)
        event = order_event(claimed, known.status, at=desk.now_ms(), name=EventName.DUPLICATE)
        reason = Reason(
            code="duplicate",
            message=f"intent {intent.id!r} was placed before its record was lost; the order found on the exchange is "
            f"{known.status}, and stands for it",
        )
        event = msgspec.structs.replace(event, reason=reason, worker=desk.dispatcher.worker_id)
        result = await desk.journal.write(claimed, known, hold=hold, then=Then.FINISH, extra_events=[event])
        if isinstance(result, Written) or result.current is None or not result.current.rebuilt:
            return result
        known = result.current


def latency_event(desk: Desk, order: Order) -> Event:
    """Where the time of one intent went, ms: in the queue, in the pipeline, at the exchange."""
    times = order.times
    numbers = {
        "queue_ms": times.taken_at - times.queued_at,
        "pipeline_ms": times.sent_at - times.taken_at,
        "exchange_ms": times.acknowledged_at - times.sent_at,
        "total_ms": times.acknowledged_at - times.queued_at,
    }
    event = order_event(order, order.status, at=times.acknowledged_at, name=EventName.LATENCY)
    return msgspec.structs.replace(
        event,
        numbers={name: str(value) for name, value in numbers.items()},
        worker=desk.dispatcher.worker_id,
    )


def _touched(times: Times, now_ms: int) -> Times:
    return msgspec.structs.replace(times, updated_at=now_ms)
