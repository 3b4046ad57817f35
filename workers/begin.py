"""Beginning a request in its turn: a place among the requests under way, its tokens and its journal entry in one step.

Tokens and journal are one script, so that Redis is asked once before a request leaves, and a request that may not be
begun (its lane is lost, its id was used) costs no tokens. A request that must wait for tokens holds no slot meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from common.claims import Claim
from common.journal import Conflict, MustWait
from common.lanes import Hold
from common.venue_limits import Operation
from orderlane.intents import Intent
from orderlane.orders import Order, Reason
from workers.desk import Desk, RequestSlot
from workers.outcomes import expiry
from workers.overtaking import unless_begun


class Begun(Struct, frozen=True):
    """The request is on record and paid for: send it at once, stamped with `at_ms` (exchange clock)."""

    order: Order
    at_ms: int


async def begin_in_turn(
    desk: Desk,
    hold: Hold,
    slot: RequestSlot,
    intent: Intent,
    before: Order | None,
    operation: Operation,
    prepare: Callable[[int], Order],
    *,
    conditional: bool = False,
    symbol: str = "",
    admit: Callable[[], None] = lambda: None,
) -> Begun | Conflict | Reason:
    """Wait until a request of `intent` may be sent within every limit, and begin it; or why it may not be any more.

    `prepare` makes the record as it is written before the request leaves, from the request's time stamp (ms, exchange
    clock). `symbol`: whose limits it counts against, if not the intent's. `admit` is called right before it begins, and
    raises where it may not. When this returns, `slot` is taken; the caller gives it back once the outcome is on record.

    Raises:
        LeaseLost, Stopping: nothing was begun.
        Overtaken: nothing was begun; something has arrived in the lane that should be looked at first.
        redis.exceptions.RedisError: Redis gave no answer.
    """
    result: Begun | Conflict | Reason | None = None

    async def attempt(claim: Claim) -> int:
        nonlocal result
        await slot.take()
        late = expiry(desk, intent)
        if late is not None:
            result = late
            return 0
        admit()
        at_ms = desk.exchange.now_ms()
        written = await desk.journal.begin(prepare(at_ms), before, hold, claim)
        if isinstance(written, MustWait):
            slot.give_back()
            return written.wait_ms
        result = written if isinstance(written, Conflict) else Begun(written.order, at_ms)
        return 0

    with desk.overtaking.giving_way(unless_begun(hold, before)) as patience:
        await desk.throttle.in_turn(
            operation, intent.account, symbol or intent.symbol, intent.urgency, attempt,
            conditional=conditional, patience=patience,
        )  # fmt: skip
    assert result is not None, "the gate lets nobody pass whose attempt has not"
    return result
