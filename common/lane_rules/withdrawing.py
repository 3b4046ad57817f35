"""A cancel of one of several intents that were merged into one order, while that waits: its amount is taken out again.
Pure.

Where the two stand makes no difference, nor what stands between them: the amount was never sent, and nobody wants it
sent any more. It is no matter of a switch, either: whoever merges orders must be able to part them. The intent whose
order it is goes on without an amount of its own as long as others need its order.
"""

from __future__ import annotations

import msgspec

from common.exact import EXACT
from common.lane_rules.merging import own_amount
from common.lane_rules.view import LaneView
from common.lane_rules.vocabulary import Waiting, Withdraw
from orderlane.intents import CancelOrder, PlaceOrder
from orderlane.orders import Absorbed


def withdraw_cancelled(view: LaneView, at: int) -> Withdraw | None:
    """A rule: the lane and a position in, a decision or None out. The position is that of the later of the two."""
    waiting = view.entries[at]
    if isinstance(waiting.intent, CancelOrder):
        with_parts = (index for index in range(at) if view.entries[index].absorbed)
        pairs = [(survivor_at, at) for survivor_at in with_parts]
    else:
        parts = (part.intent_id for part in waiting.absorbed)
        pairs = [(at, index) for part in parts for index in view.spoken_of(part) if index < at]
    for survivor_at, cancel_at in pairs:
        if view.may_touch(survivor_at) and view.may_touch(cancel_at):
            found = withdrawal(view.entries[survivor_at], view.entries[cancel_at])
            if found is not None:
                return found
    return None


def withdrawal(survivor: Waiting, cancel: Waiting) -> Withdraw | None:
    """The decision about two entries that wait, if the one is a cancel of a part of the other; else None."""
    order, command = survivor.intent, cancel.intent
    if not isinstance(order, PlaceOrder) or not isinstance(command, CancelOrder):
        return None
    own = Absorbed(survivor.id, survivor.client_order_id, own_amount(survivor))
    for part in (own, *survivor.absorbed):
        if part.intent_id == command.target and survivor.absorbed and part.amount:
            left = EXACT.subtract(order.amount, part.amount)
            edited = msgspec.structs.replace(order, amount=left) if left else None
            return Withdraw(survivor.entry, cancel.entry, part, edited)
    return None
