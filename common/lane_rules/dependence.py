"""Which intents of one lane may not change places, and why. Pure.

Two questions. `depends`: does the later one lose its meaning when it passes the earlier one? That is what a lane's
queue goes by when something urgent arrives (`enqueue.lua` says the same). `may_pass`: is the outcome the same
whichever of two goes first? That is asked before a rule moves an order, is stricter, and says no in doubt.
"""

from __future__ import annotations

from typing import Final

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

CLOSING_LEG: Final = "close"
"""What `leg` says of an order that closes where reduce-only does not exist, as on spot."""


def depends(later: Intent, earlier: Intent) -> bool:
    """Whether `later` would mean something else if it reached the exchange before `earlier`, which waits."""
    if isinstance(later, CancelAll):
        return _sweeps(later, earlier)
    if isinstance(later, CancelOrder):
        return _bears_on(earlier, later.target, CancelOrder)
    if isinstance(later, AmendOrder):
        # Where the venue can't amend it places an order anew, which a cancel-all that comes after it would not meet.
        return isinstance(earlier, CancelAll) or _bears_on(earlier, later.target, AmendOrder)
    if isinstance(earlier, CancelAll):
        return _sweeps(earlier, later)
    if later.replaces is not None and _bears_on(earlier, later.replaces, CancelOrder, AmendOrder):
        return True
    opens = isinstance(earlier, PlaceOrder) and not closes(earlier)
    return closes(later) and opens and earlier.strategy == later.strategy


def closes(order: PlaceOrder) -> bool:
    """Whether an order takes risk off: it is to find what its strategy has opened before."""
    return order.reduce_only or order.leg == CLOSING_LEG


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


def is_market_close(intent: Intent) -> bool:
    """Whether it is a reduce-only market order."""
    return isinstance(intent, PlaceOrder) and intent.reduce_only and intent.type is OrderType.MARKET


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


def _bears_on(intent: Intent, intent_id: str, *commands: type[CancelOrder] | type[AmendOrder]) -> bool:
    """Whether `intent` is the one of `intent_id`, replaces it, or is one of these commands for it."""
    if isinstance(intent, PlaceOrder) and intent.replaces == intent_id:
        return True
    spoken_of = isinstance(intent, commands) and intent.target == intent_id
    return intent.id == intent_id or spoken_of


def _rests_and_opens(order: PlaceOrder) -> bool:
    at_once = order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
    return order.type is OrderType.LIMIT and not closes(order) and not at_once
