"""Running a lane: one entry after the other, each decoded, judged and brought to its recorded outcome."""

from __future__ import annotations

import msgspec
from redis.exceptions import RedisError

from common import failpoints
from common.gate import Overtaken
from common.lanes import Hold, LeaseLost
from common.telemetry import log_context, traced
from orderlane.events import Event, EventName
from orderlane.intents import (
    CancelAll,
    CancelOrder,
    Intent,
    IntentInvalid,
    PlaceOrder,
)
from orderlane.orders import OrderStatus, Reason
from workers.amend import run_amend
from workers.cancel import run_cancel
from workers.cancel_all import run_cancel_all
from workers.command import Command, CommandRun
from workers.desk import Desk, Stopping, log
from workers.outcomes import close_duplicate, finish_with, guard, park, start_order
from workers.place import run_place
from workers.reading import read_entry
from workers.succeed import run_succeed
from workers.thinking import think

MAX_FAULTS = 3
"""How often an entry may fail by a bug of ours before it is ended or parked. While Redis refuses, it waits."""
DEATHS_BEFORE_UNREAD = 2
"""Deaths past the limit after which an entry is buried without even being decoded."""


async def run_lane(desk: Desk, hold: Hold) -> None:
    """Run a lane until it is empty, given up, parked, or the worker's life ends.

    Raises:
        LeaseLost: the whole worker must start over.
    """
    following: Hold | None = hold
    faults = 0
    try:
        while following is not None and not desk.stopping.is_set():
            hold = following
            try:
                following = await _run_next(desk, hold)
                faults = 0
            except (Stopping, LeaseLost):
                raise
            except Exception as error:  # noqa: BLE001 - one entry must never take the worker down
                faults += 1
                following = await _after_fault(desk, hold, error, faults)
    except Stopping:
        return


async def _after_fault(desk: Desk, hold: Hold, error: Exception, faults: int) -> Hold | None:
    """What to run after a step failed for a reason of ours: the same entry again, after a wait, while that may help."""
    if isinstance(error, (RedisError, OSError)):
        log.warning("Redis refused a step of a lane", extra={"lane": hold.lane, "reason": str(error)})
    else:
        log.error("a fault of the pool's own", exc_info=error, extra={"lane": hold.lane, "entry": hold.entry})
        if faults >= MAX_FAULTS:
            return await _give_up(desk, hold, error)
    await desk.sleep(min(100 * 2**faults, 5_000))
    return msgspec.structs.replace(hold, again=True)


async def _run_next(desk: Desk, hold: Hold) -> Hold | None:
    """Run what the rules leave as the lane's next entry; the lane's next run after it, or the same lane anew when
    something arrived that should be looked at before the request leaves."""
    following = await think(desk, hold)
    if following is None or following.entry != hold.entry:
        return following
    try:
        return await run_entry(desk, following)
    except Overtaken:
        failpoints.reach("give_way.before", hold.lane)
        first = await desk.queue.give_way(following)
        failpoints.reach("give_way.done", hold.lane)
        return first


async def run_entry(desk: Desk, hold: Hold) -> Hold | None:
    """Bring one entry to its end; the lane's next run."""
    failpoints.reach("lane.taken", hold.lane, hold.entry)
    if not hold.fields:
        return await desk.journal.close_entry(hold)
    if hold.deaths >= desk.policy.max_deaths + DEATHS_BEFORE_UNREAD:
        return await bury(desk, hold, _poisonous(hold))
    try:
        intent = read_entry(hold)
    except IntentInvalid as error:
        return await bury(desk, hold, Reason(code=error.code, message=error.message))
    if hold.deaths >= desk.policy.max_deaths:
        return await _end_poisonous(desk, hold, intent)
    with (
        log_context(intent=intent.id, account=intent.account, symbol=intent.symbol, strategy=intent.strategy),
        traced(
            "intent",
            exchange=desk.name,
            account=intent.account,
            symbol=intent.symbol,
            strategy=intent.strategy,
        ),
    ):
        failpoints.reach("lane.decoded")
        if isinstance(intent, PlaceOrder) and intent.replaces is None:
            return await run_place(desk, hold, intent)
        return await _run_command(desk, hold, intent)


async def bury(desk: Desk, hold: Hold, reason: Reason) -> Hold | None:
    """Move an entry that is no intent to `dead`, with an event; the lane's next run."""
    event = Event(
        name=EventName.REJECTED,
        at=desk.now_ms(),
        exchange=desk.name,
        reason=reason,
        worker=desk.dispatcher.worker_id,
        numbers={"entry": hold.entry},
    )
    log.warning("entry buried", extra={"entry": hold.entry, "reason": reason.code, "detail": reason.message})
    return await desk.journal.close_entry(hold, dead=reason, events=[event])


async def _run_command(desk: Desk, hold: Hold, intent: Command) -> Hold | None:
    known = await desk.journal.read(desk.client_order_id(intent.account, intent.id))
    if known is not None and known.entry != hold.entry:
        return await close_duplicate(desk, hold, intent, known)
    if known is not None and known.status not in (
        OrderStatus.QUEUED,
        OrderStatus.SUBMITTED,
        OrderStatus.UNKNOWN,
    ):
        return await desk.journal.close_entry(hold)
    if known is not None and known.edited is not None:
        if isinstance(known.edited, PlaceOrder) and known.edited.replaces is None:
            assert isinstance(intent, PlaceOrder), "an edited place was a place"
            return await run_place(desk, hold, intent)
        intent = known.edited
    run = CommandRun(desk, hold, intent, known)
    refusal = guard(desk, intent)
    if refusal is not None:
        return await run.end(OrderStatus.FAILED, refusal)
    if isinstance(intent, CancelOrder):
        return await run_cancel(run, intent)
    if isinstance(intent, CancelAll):
        return await run_cancel_all(run, intent)
    if isinstance(intent, PlaceOrder):
        assert intent.replaces is not None, "a place that replaces nothing is no command"
        return await run_succeed(run, intent, intent.replaces)
    return await run_amend(run, intent)


def _poisonous(hold: Hold) -> Reason:
    return Reason(
        code="killed_workers",
        message=f"{hold.deaths} workers died with this entry in hand: it is not run again; "
        "look into their logs, then send it anew",
        numbers={"deaths": str(hold.deaths)},
    )


async def _end_poisonous(desk: Desk, hold: Hold, intent: Intent) -> Hold | None:
    """Not begun: refused. Begun: an order may exist, so it is parked as UNKNOWN for a person."""
    known = await desk.journal.read(desk.client_order_id(intent.account, intent.id))
    if known is None or known.status is OrderStatus.QUEUED:
        return await finish_with(
            desk, hold, start_order(desk, hold, intent, known), OrderStatus.FAILED, _poisonous(hold), known
        )
    if known.entry != hold.entry:
        return await close_duplicate(desk, hold, intent, known)
    if known.status not in (OrderStatus.SUBMITTED, OrderStatus.UNKNOWN):
        return await desk.journal.close_entry(hold)
    return await park(desk, hold, known, _poisonous(hold))


async def _give_up(desk: Desk, hold: Hold, error: Exception) -> Hold | None:
    """A bug met the same entry again and again: end it where nothing was sent, else park it."""
    reason = Reason(
        code="internal_error",
        message=f"the pool failed on it {MAX_FAULTS} times ({type(error).__name__}); the log has the trace",
    )
    try:
        intent = read_entry(hold)
    except IntentInvalid as invalid:
        return await bury(desk, hold, Reason(code=invalid.code, message=invalid.message))
    known = await desk.journal.read(desk.client_order_id(intent.account, intent.id))
    if known is not None and known.entry != hold.entry:
        return await close_duplicate(desk, hold, intent, known)
    if known is None or known.status is OrderStatus.QUEUED:
        return await finish_with(
            desk, hold, start_order(desk, hold, intent, known), OrderStatus.FAILED, reason, known
        )
    if known.status in (OrderStatus.SUBMITTED, OrderStatus.UNKNOWN):
        return await park(desk, hold, known, reason)
    return await desk.journal.close_entry(hold)
