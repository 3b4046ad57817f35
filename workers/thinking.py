"""What a worker does about the intents that wait in a lane it runs, before it makes the next request for one of them.

The lane is read, the pure rules decide (`common.lane_rules`), and each decision is carried out by one script. Nothing
here is needed for an intent to end well: whatever is lost on the way costs a request that could have been spared.

Where Redis may have forgotten what was done about the entry in hand, nothing is decided before the exchange was asked
for it (`workers.forgotten`). Where that has none, the rules may touch it again, but nothing else of the lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from common import failpoints
from common.lane_queue import Change, Moved, Seen
from common.lane_rules import (
    Decision,
    Ended,
    Kept,
    LaneRules,
    MergeBounds,
    Waiting,
    Withdraw,
    after,
    consequences,
    decide,
    decide_about,
    merge_bounds,
)
from common.lanes import Dispatcher, Hold
from common.telemetry import log_context
from orderlane.events import EventName, order_event
from orderlane.intents import Intent, IntentInvalid
from orderlane.orders import Order, OrderStatus
from workers.desk import Desk, log
from workers.outcomes import guard, start_order
from workers.reading import read_fields

NOT_THOUGHT_ABOUT: Final = 3
"""Looks at one lane, one after the other, that each found something moved: then its next entry is simply run."""


async def think(desk: Desk, hold: Hold) -> Hold | None:
    """Apply the rules to the lane of the entry in hand; what to run next in it, None when it was freed.

    Raises:
        LeaseLost: the lane is no longer this worker's.
    """
    current: Hold | None = hold
    for _ in range(NOT_THOUGHT_ABOUT):
        if current is None or not is_worth_a_look(desk, current):
            return current
        current, complete = await _look_and_act(desk, current)
        if complete:
            break
    return current


def is_worth_a_look(desk: Desk, hold: Hold) -> bool:
    """Whether rules may find something to do: nothing has begun, nothing may have been forgotten, and there is news."""
    rules = desk.policy.lane_rules
    looks_at_all = rules.merge_small_limits or rules.annul_open_and_close
    if hold.rank == "!" or not (hold.news or looks_at_all):
        return False
    if desk.in_doubt(hold):
        absent = hold.entry in desk.proven_absent and hold.deaths < desk.policy.max_deaths
        return absent and rules.look_ahead > 1
    return heeds_news(rules, desk.dispatcher, hold)


def heeds_news(rules: LaneRules, dispatcher: Dispatcher, hold: Hold) -> bool:
    """Whether the rules may touch the entry in hand: nobody has died with it, and nothing about it may be forgotten."""
    return rules.look_ahead > 1 and not hold.deaths and not dispatcher.doubt.covers(hold)


async def _look_and_act(desk: Desk, hold: Hold) -> tuple[Hold | None, bool]:
    """One look; what to run next, and whether everything decided was carried out."""
    seen = await desk.queue.look(hold, desk.policy.lane_rules.look_ahead)
    failpoints.reach("think.seen", hold.lane)
    lane, orders = await read_lane(desk, hold.lane, seen, doubted=desk.in_doubt(hold))
    held = msgspec.structs.replace(hold, news=False)
    if len(lane) < 2 and not (lane and lane[0].entry == hold.entry):
        return await _in_order(desk, held, seen), True
    ranks = {one.entry: one.rank for one in seen}
    for decision in _decided(desk, hold, lane):
        changes = changes_of(desk, lane, orders, ranks, decision)
        if isinstance(decision, Withdraw):
            changes += await parted(desk, lane, decision)
        failpoints.reach("think.decided", hold.lane)
        result = await desk.queue.reshape(held, changes)
        failpoints.reach("think.done", hold.lane)
        if isinstance(result, Moved):
            return await desk.queue.give_way(held), False
        tell(decision, changes)
        orders |= {change.order.entry: change.order for change in changes}
        lane = after(lane, decision)
        if any(change.order.entry == held.entry for change in changes):
            if result.held_ended:
                if result.next is None:
                    return None, True
                held = result.next
            else:
                held = msgspec.structs.replace(held, again=True)
    left = {waiting.entry for waiting in lane}
    return await _in_order(desk, held, [one for one in seen if one.entry in left]), True


def _decided(desk: Desk, hold: Hold, lane: Sequence[Waiting]) -> tuple[Decision, ...]:
    rules = desk.policy.lane_rules
    if desk.in_doubt(hold):
        return decide_about(lane, hold.entry, rules)
    return decide(lane, rules, desk.now_ms(), _bounds(desk, lane))


async def _in_order(desk: Desk, hold: Hold, seen: Sequence[Seen]) -> Hold | None:
    """The entry in hand, unless something more urgent stands before it."""
    if seen and seen[0].entry != hold.entry:
        return await desk.queue.give_way(hold)
    return hold


async def read_lane(
    desk: Desk, name: str, seen: Sequence[Seen], *, doubted: bool = False
) -> tuple[tuple[Waiting, ...], dict[str, Order]]:
    """The lane for the rules, up to the first entry that is no intent, and the record of each entry.

    `doubted`: with what Redis may have forgotten as it stands there.
    """
    intents: list[tuple[Seen, Intent]] = []
    for one in seen:
        try:
            intents.append((one, read_fields(one.fields, name)))
        except IntentInvalid:
            break
    ids = [desk.client_order_id(intent.account, intent.id) for _, intent in intents]
    records = await desk.journal.read_many(ids)
    lane, orders = [], {}
    for (one, intent), client_order_id, record in zip(intents, ids, records, strict=True):
        order = record or start_order(desk, entry_hold(one), intent)
        untouchable = (
            one.begun
            or (desk.in_doubt(entry_hold(one)) and not doubted)
            or order.entry != one.entry
            or order.status is not OrderStatus.QUEUED
            or guard(desk, intent) is not None
        )
        orders[one.entry] = order
        lane.append(
            Waiting(
                entry=one.entry,
                rank=0 if one.begun else int(one.rank),
                intent=order.asked if not untouchable else intent,
                client_order_id=client_order_id,
                begun=untouchable,
                absorbed=order.absorbed if not untouchable else (),
            )
        )
    return tuple(lane), orders


def entry_hold(one: Seen) -> Hold:
    """The entry as if it were in hand, for what is asked about entries in hand."""
    return Hold(lane="", owner="", rank=one.rank, entry=one.entry, deaths=0, fields=one.fields)


def _bounds(desk: Desk, lane: Sequence[Waiting]) -> MergeBounds | None:
    market = desk.rules.market(lane[0].intent.symbol)
    return merge_bounds(market) if market is not None else None


def changes_of(
    desk: Desk,
    lane: Sequence[Waiting],
    orders: dict[str, Order],
    ranks: dict[str, str],
    decision: Decision,
) -> list[Change]:
    """What a decision writes: the entries that end, then the one that goes on."""
    done = consequences(lane, decision)
    changes = [ending(desk, orders[one.entry], ranks[one.entry], one) for one in done.ended]
    if done.kept is not None:
        changes.append(_goes_on(desk, orders[done.kept.entry], ranks[done.kept.entry], done.kept))
    return changes


async def parted(desk: Desk, lane: Sequence[Waiting], decision: Withdraw) -> list[Change]:
    """What becomes of the record of an intent that is taken out of the order it was merged into: nothing, where it is
    forgotten after its retention time, or the order is its own."""
    withdrawn = consequences(lane, decision).withdrawn
    if withdrawn is None:
        return []
    record = await desk.journal.read(withdrawn.client_order_id)
    if record is None or record.status is not OrderStatus.MERGED:
        return []
    now_ms = desk.now_ms()
    cancelled = msgspec.structs.replace(
        record,
        status=OrderStatus.CANCELED,
        reason=withdrawn.reason,
        related=withdrawn.related,
        merged_into=None,
        times=msgspec.structs.replace(record.times, updated_at=now_ms),
    )
    event = order_event(cancelled, OrderStatus.MERGED, at=now_ms, worker=desk.dispatcher.worker_id)
    return [Change("", cancelled, event)]


def ending(desk: Desk, order: Order, rank: str, how: Ended) -> Change:
    """What ends a waiting entry without a request."""
    now_ms = desk.now_ms()
    ended = msgspec.structs.replace(
        order,
        status=how.status,
        reason=how.reason,
        related=how.related,
        merged_into=how.merged_into,
        successor=how.successor or order.successor,
        times=msgspec.structs.replace(order.times, updated_at=now_ms),
    )
    event = order_event(ended, OrderStatus.QUEUED, at=now_ms, worker=desk.dispatcher.worker_id)
    return Change(rank, ended, event)


def _goes_on(desk: Desk, order: Order, rank: str, how: Kept) -> Change:
    now_ms = desk.now_ms()
    kept = msgspec.structs.replace(
        order,
        status=OrderStatus.QUEUED,
        edited=how.edited,
        absorbed=how.absorbed,
        related=how.related,
        times=msgspec.structs.replace(order.times, updated_at=now_ms),
    )
    event = order_event(
        kept, OrderStatus.QUEUED, at=now_ms, worker=desk.dispatcher.worker_id, name=EventName.AMENDED
    )
    return Change(rank, kept, event)


def tell(decision: Decision, changes: Sequence[Change]) -> None:
    """Log a decision that was carried out, under the first intent that it is about."""
    names = [change.order.intent.id for change in changes]
    with log_context(intent=names[0]):
        log.info(f"lane rule: {type(decision).__name__.lower()}", extra={"intents": " ".join(names)})
