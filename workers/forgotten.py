"""What rules had made of a lane before Redis forgot it: found out again, from what the exchange has and has not.

After a restart of Redis no rule touches what may have been sent. But rules may have decided before, and what they
decided may be forgotten with the rest: an order on the exchange may then hold the amounts of intents that wait again,
and one that is not there may have been spared for good. Both show when the entry is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from common.exchange.base import OrderReport
from common.journal import Conflict
from common.lane_queue import Change, Seen
from common.lane_rules import (
    Annul,
    Ended,
    LaneRules,
    Replace,
    Waiting,
    after,
    consequences,
    decide,
)
from common.lanes import Hold
from orderlane.intents import IntentInvalid, PlaceOrder
from orderlane.orders import IntentReference, Order, OrderStatus, Reason
from workers.desk import Desk, log
from workers.reading import read_fields
from workers.thinking import ending, entry_hold

NEVER_EXPIRED: Final = 0
"""The clock that decisions are repeated by: what has expired since had not when they were made."""


async def recall_merge(desk: Desk, hold: Hold, order: Order, found: OrderReport) -> Order:
    """The record of an order found at the exchange, with the intents whose amounts are part of it; those that wait in
    the lane again end as MERGED.

    Which they are is decided anew, by the rules that made the order: as many as it takes to come to its amount.

    Raises:
        LeaseLost: the lane is no longer this worker's.
    """
    if not isinstance(order.intent, PlaceOrder) or found.amount is None:
        return order
    if not order.absorbed:
        lane = await _lane_of(desk, hold)
        merged = _merged_up_to(lane, hold.entry, found, desk.policy.lane_rules)
        if merged is None:
            return order
        changed = msgspec.structs.replace(order, edited=merged.intent, absorbed=merged.absorbed)
        written = await desk.journal.write(changed, order, hold=hold)
        if isinstance(written, Conflict):
            return order
        order = written.order
    await _end_absorbed(desk, hold, order)
    return order


async def spared(desk: Desk, hold: Hold, order: Order) -> Ended | None:
    """Why an order that was never sent need not be sent now either: a cancel of it waits, or one that replaces it.

    Raises:
        LeaseLost: the lane is no longer this worker's.
    """
    if not isinstance(order.intent, PlaceOrder):
        return None
    rules = _commands_of(desk.policy.lane_rules)
    lane = await _lane_of(desk, hold)
    for decision in decide(lane, rules, NEVER_EXPIRED):
        if isinstance(decision, Annul | Replace):
            done = consequences(lane, decision)
            if done.ended[0].entry == hold.entry:
                return done.ended[0]
        lane = after(lane, decision)
    return None


async def _lane_of(desk: Desk, hold: Hold) -> tuple[Waiting, ...]:
    """The lane as if the entry in hand, and what Redis may have forgotten behind it, had never begun."""
    intents = []
    for one in await desk.queue.look(hold, desk.policy.lane_rules.look_ahead):
        try:
            intents.append((one, read_fields(one.fields, hold.lane)))
        except IntentInvalid:
            break
    names = [desk.client_order_id(intent.account, intent.id) for _, intent in intents]
    records = await desk.journal.read_many(names)
    return tuple(
        Waiting(
            entry=one.entry, rank=0 if one.begun else int(one.rank), intent=intent, client_order_id=name,
            begun=one.entry != hold.entry and not (_waits(one, known) and desk.in_doubt(entry_hold(one))),
        )
        for (one, intent), name, known in zip(intents, names, records, strict=True)
    )  # fmt: skip


def _waits(one: Seen, known: Order | None) -> bool:
    return known is None or (known.entry == one.entry and known.status is OrderStatus.QUEUED)


def _commands_of(rules: LaneRules) -> LaneRules:
    """Of the rules in force those by which a place is spared because of another intent's word on it."""
    return LaneRules(
        look_ahead=rules.look_ahead, annul_cancelled=rules.annul_cancelled, replace_waiting=rules.replace_waiting,
        expire_waiting=False, edit_waiting=False, merge_closes=False, merge_amends=False,
    )  # fmt: skip


def _merged_up_to(
    lane: Sequence[Waiting], entry: str, found: OrderReport, rules: LaneRules
) -> Waiting | None:
    """The entry with what must have been merged into it for its order to have the amount it has; None: nothing."""
    for number in range(2, len(lane) + 1):
        left = tuple(lane[:number])
        for decision in decide(left, rules, NEVER_EXPIRED):
            left = after(left, decision)
        for waiting in left:
            is_it = waiting.entry == entry and bool(waiting.absorbed)
            if is_it and isinstance(waiting.intent, PlaceOrder) and waiting.intent.amount == found.amount:
                return waiting
    return None


async def _end_absorbed(desk: Desk, hold: Hold, order: Order) -> None:
    parts = {one.client_order_id for one in order.absorbed}
    changes: list[Change] = []
    for waiting in await _lane_of(desk, hold):
        if waiting.begun or waiting.client_order_id not in parts:
            continue
        parts.remove(waiting.client_order_id)
        record = Order(client_order_id=waiting.client_order_id, intent=waiting.intent, entry=waiting.entry)
        changes.append(ending(desk, record, str(waiting.rank), _absorbed_by(order, waiting)))
    if changes:
        log.warning(
            "an order that Redis forgot holds the amounts of others",
            extra={"intent": order.intent.id, "absorbed": " ".join(one.order.intent.id for one in changes)},
        )
        await desk.queue.reshape(hold, changes)


def _absorbed_by(order: Order, waiting: Waiting) -> Ended:
    return Ended(
        entry=waiting.entry,
        status=OrderStatus.MERGED,
        reason=Reason(
            code="merged",
            message=f"the order of {order.intent.id!r} on the exchange holds its amount: it is not sent",
        ),
        related=order.intent.id,
        merged_into=IntentReference(order.intent.id, order.client_order_id),
    )
