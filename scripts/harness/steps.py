"""Whether the events tell how each record came to its state: step by step, none missing. Pure."""

from __future__ import annotations

from orderlane.orders import OrderStatus, may_follow
from scripts.harness.material import Journalled


def gaps(journal: Journalled) -> list[tuple[str, str]]:
    """Client order id, and where its events do not lead from nothing to the state on record.

    What Redis forgets it forgets of both: a script writes a record and its events, or neither. A record that was made
    anew from what the exchange shows begins there.
    """
    if journal.steps is None:
        return []
    reached: dict[str, OrderStatus | None] = {}
    found: dict[str, str] = {}
    for step in journal.steps:
        name = step.client_order_id
        before = reached.get(name)
        stands = step.before if step.before is not None else OrderStatus.QUEUED
        if stands is not (before or OrderStatus.QUEUED):
            found.setdefault(
                name, f"an event comes from {stands}, the one before it led to {before or 'nothing'}"
            )
        elif before is None and name in journal.rebuilt:
            pass  # its first state is what the exchange showed
        elif step.after is not stands and not may_follow(step.before, step.after):
            found.setdefault(name, f"an event leads from {stands} to {step.after}, which may not follow it")
        reached[name] = step.after
    for name, order in journal.orders.items():
        last = reached.get(name) or OrderStatus.QUEUED
        if last is not order.status:
            found.setdefault(
                name, f"the record is {order.status}, its events end at {reached.get(name) or 'none'}"
            )
    return list(found.items())
