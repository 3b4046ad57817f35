"""Which intents of one lane may not change places, and why. Pure.

Two questions. `depends`: does the later one lose its meaning when it passes the earlier one? That is what a lane's
queue goes by when something urgent arrives (`enqueue.lua` says the same). `may_pass`: is the outcome the same
whichever of two goes first? That is asked before a rule moves an order, is stricter, and says no in doubt.
"""

from __future__ import annotations

from orderlane.intents import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    Intent,
    OrderType,
    PlaceOrder,
    Side,
    TimeInForce,
)


def depends(later: Intent, earlier: Intent) -> bool:
    """Whether `later` would mean something else if it reached the exchange before `earlier`, which waits."""
    if isinstance(later, CancelAll):
        return _sweeps(later, earlier)
    if isinstance(later, CancelOrder | AmendOrder):
        same = isinstance(earlier, type(later)) and earlier.target == later.target
        return earlier.id == later.target or same
    if isinstance(earlier, CancelAll):
        return _sweeps(earlier, later)
    if later.replaces is not None and _speaks_of(earlier, later.replaces):
        return True
    opens = isinstance(earlier, PlaceOrder) and not earlier.reduce_only
    return later.reduce_only and opens and earlier.strategy == later.strategy


def may_pass(moving: PlaceOrder, over: Intent) -> bool:
    """Whether `moving` may reach the exchange before `over`, which stands before it, with the same outcome.

    Two opening limit orders only add to the position, and don't meet on the book unless their prices cross. All
    else may matter: what a reduce-only closes depends on every order before it; a market order takes what stands
    on the book; a cancel or an amend before it may make room, on the book or in the position, that it needs. An IOC
    or FOK order takes from the same liquidity as the one it would pass.
    """
    if not isinstance(over, PlaceOrder) or over.replaces is not None or moving.replaces is not None:
        return False
    if not all(_rests_and_opens(one) for one in (moving, over)):
        return False
    if moving.side is over.side:
        return True
    buy, sell = (moving, over) if moving.side is Side.BUY else (over, moving)
    return buy.price is not None and sell.price is not None and buy.price < sell.price


def targets(intent: Intent) -> str | None:
    """The intent id that another intent speaks of: its target, or what it replaces."""
    if isinstance(intent, CancelOrder | AmendOrder):
        return intent.target
    return intent.replaces if isinstance(intent, PlaceOrder) else None


def _sweeps(sweep: CancelAll, other: Intent) -> bool:
    """Whether a cancel-all and `other` may not change places.

    One for a strategy leaves alone what other strategies place. An amend may place its order anew, and its own
    label need not be that of the order, so it counts.
    """
    if not sweep.strategy or isinstance(other, AmendOrder | CancelAll):
        return True
    return isinstance(other, PlaceOrder) and other.strategy == sweep.strategy


def _speaks_of(intent: Intent, intent_id: str) -> bool:
    """Whether `intent` places the order of `intent_id` or changes it in a way that its replacement waits for."""
    if isinstance(intent, PlaceOrder):
        return intent.id == intent_id or intent.replaces == intent_id
    return isinstance(intent, AmendOrder) and intent.target == intent_id


def _rests_and_opens(order: PlaceOrder) -> bool:
    at_once = order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
    return order.type is OrderType.LIMIT and not order.reduce_only and not at_once
