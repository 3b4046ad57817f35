"""What Redis may have forgotten about an entry that the exchange has no order of: whose order it may be part of all the
same, and by which one it may have been spared.

After a restart of Redis an entry is asked for at the exchange before it begins. One that is not there counts, for
the rules, as one that has just been appended (`workers.thinking`): a cancel, a replacement or a later amend of it that
waits again ends it again. What is left are the orders at the exchange which Redis can't account for:

- An order *larger* than the intents that it is known to be for holds the amounts of others, of the same kind: an
  intent that fits, and has no order of its own, is one of them, and ends as MERGED. So it makes no difference who
  brings the survivor's record up to date, in which order the parts come again, or whether a rule would decide the
  same now.
- An order of *no* intent that Redis knows is one whose entry is forgotten: it may hold this one's amount, or stand in
  its place. Its producer sends it again, so this one waits for that, for as long as Redis is doubted at all. Then it
  is refused, for a person to look at, unless it came after the restart and can't be part of the other: then it is
  sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum, auto
from functools import partial

import msgspec
from msgspec import Struct

from common import failpoints
from common.absorbed import own_amount, with_share
from common.exact import EXACT, multiple_at_most, times
from common.exchange.base import ExchangeFailure, Outcome
from common.journal import Conflict
from common.lane_queue import Change, Moved
from common.lane_rules import LaneRules, Waiting, after, are_alike, consequences, decide_about
from common.lane_rules.dependence import is_market_close
from common.lane_rules.vocabulary import LARGEST_LOOK_AHEAD
from common.lanes import Hold
from orderlane.events import EventName, order_event
from orderlane.intents import AmendOrder, Intent, OrderType, PlaceOrder
from orderlane.orders import Absorbed, IntentReference, Order, OrderStatus, Reason
from workers.desk import Behind, Desk, log
from workers.outcomes import expiry
from workers.overtaking import unless_begun
from workers.thinking import read_lane
from workers.unexplained import orders_behind

COMES_AGAIN_MS = 5_000
"""How long an entry that came after the restart, and can't be part of another's order, waits for the intent of an order
that Redis knows nothing of: whoever sends one of them again sends the other with it."""

LOOK_AGAIN_MS = 1_000
"""How soon it looks whether that intent has come."""


class Later(Enum):
    """Nothing can be said yet: the lane is to be looked at again."""

    AGAIN = auto()


class _Survivor(Struct, frozen=True):
    """An order that holds `excess` (base) of other intents than those it is known to be for."""

    order: Order
    rank: str
    """Its rank in the lane where it waits there, to be asked for in its turn; else empty."""
    excess: Decimal


async def accounted_for(desk: Desk, hold: Hold, order: Order, intent: Intent) -> Order | Later | None:
    """How an entry in doubt ends of which the exchange has no order; None: it was never sent, and may be.

    Raises:
        LeaseLost, Stopping: somebody else will look.
        Overtaken: something more urgent has come while it waited; nothing is begun.
    """
    rules = desk.policy.lane_rules
    part = _may_be_part(rules, order, intent)
    if order.attempts or not (part or _may_be_spared(rules, intent)):
        return None
    try:
        behind = await orders_behind(desk, hold)
    except ExchangeFailure as failure:
        await desk.pause_if_throttled(intent.account, failure)
        log.warning("asking for a lane's orders failed", extra={"lane": hold.lane, "reason": str(failure)})
        if failure.outcome is Outcome.REFUSED:
            return (
                _refused(order, "what the exchange has of this market can't be asked for") if part else None
            )
        return await _later(desk, hold, order, max(desk.policy.resolve_delays_ms))
    seen = await desk.queue.look(hold, LARGEST_LOOK_AHEAD)
    lane, waiting = await read_lane(desk, hold.lane, seen, doubted=True)
    spared = _spared_by_rebuilt(order, hold.entry, lane, waiting, rules)
    if spared is not None:
        return spared
    ranks = {one.entry: one.rank for one in seen}
    remembered_until = await desk.queue.remembered_until()
    survivors, strays = await _compared(desk, order, behind, lane, waiting, ranks, remembered_until)
    if part and order.status is OrderStatus.QUEUED:
        ended = await _claimed(desk, hold, order, intent, survivors)
        if ended is not None:
            return ended
    unclear = [one.order.client_order_id for one in survivors if part and _is_alike(one.order, intent)]
    unclear += [
        one.client_order_id for one in strays if _is_suspicious(hold, one, intent, part, remembered_until)
    ]
    if not unclear or expiry(desk, intent) is not None:
        return None
    came_after = hold.entry_ms > desk.dispatcher.doubt.since_ms
    patience_ms = desk.dispatcher.doubt.before_ms - desk.now_ms()
    if came_after and not part:
        patience_ms = min(patience_ms, hold.entry_ms + COMES_AGAIN_MS - desk.now_ms())
    if patience_ms >= 0:
        return await _later(desk, hold, order, min(LOOK_AGAIN_MS, patience_ms + 1))
    if part or not came_after:
        return _refused(
            order, f"order {unclear[0]} on the exchange may hold its amount, or stand in its place"
        )
    return None


async def _later(desk: Desk, hold: Hold, order: Order, wait_ms: int) -> Later:
    """Wait before the next look, while the entry gives way to what is more urgent in its lane.

    Raises:
        Overtaken: something has arrived there that should be looked at first.
        LeaseLost, Stopping: somebody else will look.
    """
    with desk.overtaking.giving_way(unless_begun(hold, order)) as patience:
        if patience is None:
            await desk.sleep(wait_ms)
        else:
            patience.waits()
            await patience.bear(partial(desk.sleep, wait_ms))
    return Later.AGAIN


async def push_shares(desk: Desk, ended: Order) -> None:
    """Tell an intent that has just ended as MERGED of what its order filled in the meantime."""
    assert ended.merged_into is not None
    order = await desk.journal.read(ended.merged_into.client_order_id)
    if order is None or ended.client_order_id not in {part.client_order_id for part in order.absorbed}:
        return
    if order.status is not OrderStatus.QUEUED and with_share(ended, order) != ended:
        await desk.journal.write(order, order)


def _may_be_part(rules: LaneRules, order: Order, intent: Intent) -> bool:
    """Whether its amount may have become part of another order."""
    if not isinstance(intent, PlaceOrder) or order.absorbed or intent.replaces is not None:
        return False
    if is_market_close(intent):
        return rules.merge_closes
    is_limit = intent.type is OrderType.LIMIT and intent.price is not None
    return (
        rules.merge_small_limits
        and is_limit
        and times(intent.amount, intent.price or Decimal(0)) <= rules.small_notional
    )


def _may_be_spared(rules: LaneRules, intent: Intent) -> bool:
    """Whether another order may have taken its place before it had one."""
    return rules.merge_amends if isinstance(intent, AmendOrder) else rules.replace_waiting


def _spared_by_rebuilt(
    order: Order, entry: str, lane: Sequence[Waiting], waiting: Mapping[str, Order], rules: LaneRules
) -> Order | None:
    """How the order ends by one behind it that is on the exchange, and has its record again before its turn."""
    placed = {one.entry for one in lane if waiting[one.entry].rebuilt}
    as_appended = tuple(
        msgspec.structs.replace(one, begun=False) if one.entry in placed else one for one in lane
    )
    left: tuple[Waiting, ...] = as_appended
    for decision in decide_about(left, entry, rules):
        done = consequences(left, decision)
        [ended] = done.ended[:1]
        if ended.entry == entry and done.kept is not None and done.kept.entry in placed:
            return msgspec.structs.replace(
                order,
                status=ended.status,
                reason=ended.reason,
                related=ended.related,
                merged_into=ended.merged_into,
                successor=ended.successor,
            )
        left = after(left, decision)
    return None


async def _compared(
    desk: Desk,
    order: Order,
    behind: Mapping[str, Behind],
    lane: Sequence[Waiting],
    waiting: Mapping[str, Order],
    ranks: Mapping[str, str],
    remembered_until: int,
) -> tuple[list[_Survivor], list[Behind]]:
    """What is on the exchange beside what Redis knows: orders that are too large, and those that it doesn't know.

    A record that was rebuilt from the exchange knows nothing of the intent: that waits in the lane, or is gone. If the
    order was placed before this memory ends, its intent was forgotten long ago, and is not waited for any more.
    """
    names = [name for name in behind if name != order.client_order_id]
    records = await desk.journal.read_many(names)
    by_name = {one.client_order_id: one for one in lane}
    survivors: list[_Survivor] = []
    strays: list[Behind] = []
    for name, record in zip(names, records, strict=True):
        known, again = record, by_name.get(name)
        if record is not None and record.rebuilt and not record.absorbed:
            if again is None and _placed_before(desk, record, remembered_until):
                continue
            wanted = again.intent if again is not None else None
            known = None
            if isinstance(wanted, PlaceOrder | AmendOrder):
                known = msgspec.structs.replace(record, edited=wanted)
        elif record is None and again is not None:
            known = waiting[again.entry]
        if known is None:
            strays.append(behind[name])
            continue
        asked = known.asked
        if isinstance(asked, PlaceOrder):
            excess = EXACT.subtract(behind[name].amount, asked.amount)
            if excess < 0 and _holds_others_alone(desk, known, asked):
                known = msgspec.structs.replace(known, own_amount=Decimal(0))
                excess = behind[name].amount
            is_part = order.client_order_id in {one.client_order_id for one in known.absorbed}
            if excess > 0 or is_part:
                waits = known.status is OrderStatus.QUEUED
                survivors.append(_Survivor(known, ranks.get(known.entry, "") if waits else "", excess))
    return survivors, strays


def _holds_others_alone(desk: Desk, known: Order, asked: PlaceOrder) -> bool:
    """Whether a close smaller than its intent was sent for others, after a cancel had taken the intent's own amount
    out: no market order is made smaller otherwise."""
    market = desk.rules.market(asked.symbol)
    if known.absorbed or known.status is OrderStatus.QUEUED or market is None or not is_market_close(asked):
        return False
    return multiple_at_most(asked.amount, market.market_lot_size) == asked.amount


def _placed_before(desk: Desk, record: Order, moment_ms: int) -> bool:
    """Whether the exchange says that the order was placed before then (ms, Redis' clock)."""
    clocks_apart_ms = desk.exchange.now_ms() - desk.now_ms()
    return 0 < record.times.sent_at < moment_ms + clocks_apart_ms - desk.policy.clock_margin_ms


async def _claimed(
    desk: Desk, hold: Hold, order: Order, intent: Intent, survivors: list[_Survivor]
) -> Order | Later | None:
    """The order's end as part of another one that has room for it; written into that one's record first."""
    assert isinstance(intent, PlaceOrder)
    for one in survivors:
        if order.client_order_id in {part.client_order_id for part in one.order.absorbed}:
            return _merged(desk, order, one.order)
    fitting = [one for one in survivors if _is_alike(one.order, intent) and one.excess >= intent.amount]
    if not fitting:
        return None
    survivor = min(fitting, key=lambda one: one.excess)
    larger = _with_part(survivor.order, order, intent, desk.now_ms())
    if survivor.rank:
        event = order_event(
            larger, OrderStatus.QUEUED, at=desk.now_ms(), worker=desk.dispatcher.worker_id,
            name=EventName.AMENDED,
        )  # fmt: skip
        if isinstance(await desk.queue.reshape(hold, [Change(survivor.rank, larger, event)]), Moved):
            return Later.AGAIN
    else:
        written = await desk.journal.write(larger, survivor.order)
        if isinstance(written, Conflict):
            return Later.AGAIN
        larger = written.order
    failpoints.reach("recall.claimed", hold.lane)
    log.warning(
        "an order that Redis forgot holds the amount of another",
        extra={"intent": larger.intent.id, "absorbed": order.intent.id},
    )
    return _merged(desk, order, larger)


def _is_alike(survivor: Order, intent: Intent) -> bool:
    asked = survivor.asked
    return isinstance(asked, PlaceOrder) and isinstance(intent, PlaceOrder) and are_alike(asked, intent)


def _with_part(survivor: Order, part: Order, intent: PlaceOrder, now_ms: int) -> Order:
    asked = survivor.asked
    assert isinstance(asked, PlaceOrder)
    before = Decimal(0) if survivor.own_amount == 0 and not survivor.absorbed else asked.amount
    return msgspec.structs.replace(
        survivor,
        edited=msgspec.structs.replace(asked, amount=EXACT.add(before, intent.amount)),
        absorbed=(*survivor.absorbed, Absorbed(part.intent.id, part.client_order_id, intent.amount)),
        own_amount=own_amount(survivor) if survivor.own_amount is not None else None,
        related=part.intent.id,
        times=msgspec.structs.replace(survivor.times, updated_at=now_ms),
    )


def _merged(desk: Desk, order: Order, survivor: Order) -> Order:
    name = survivor.intent.id
    merged = msgspec.structs.replace(
        order,
        status=OrderStatus.MERGED,
        reason=Reason("merged", f"the order of {name!r} on the exchange holds its amount: it is not sent"),
        related=name,
        merged_into=IntentReference(name, survivor.client_order_id),
    )
    return merged if survivor.status is OrderStatus.QUEUED else with_share(merged, survivor)


def _is_suspicious(hold: Hold, stray: Behind, intent: Intent, part: bool, remembered_until: int) -> bool:
    """Whether an order whose intent Redis has forgotten may have to do with this entry."""
    if isinstance(intent, PlaceOrder) and stray.side not in (None, intent.side):
        return False
    if part and isinstance(intent, PlaceOrder):
        # Parts are appended after the intent whose order they join, which is then known if they are.
        return hold.entry_ms > remembered_until and stray.amount > intent.amount
    return True


def _refused(order: Order, why: str) -> Order:
    return msgspec.structs.replace(
        order,
        status=OrderStatus.FAILED,
        reason=Reason(
            code="redis_restarted",
            message=f"Redis restarted and may have forgotten what became of it: {why}; "
            "look at the exchange, and send it anew under another id if it is still wanted",
        ),
    )
