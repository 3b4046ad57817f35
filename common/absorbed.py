"""Intents that were merged into another one: their shares of what its order fills, and who writes them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from common.exact import EXACT, plain
from common.lane_rules.shares import shares
from orderlane.events import Event, EventName, order_event
from orderlane.intents import PlaceOrder
from orderlane.keys import Keys
from orderlane.orders import Order, OrderStatus, encode_record


class Followers(Struct, frozen=True):
    """What `transition.lua` is told of them: their keys, its arguments from the number of them on, and the events."""

    keys: tuple[str, ...]
    arguments: tuple[int | str | bytes, ...]
    events: tuple[Event, ...]


NOBODY: Final = Followers((), (0,), ())


def own_amount(order: Order) -> Decimal:
    """Base that the order's own intent asked for, without those that were merged into it."""
    if order.own_amount is not None:
        return order.own_amount
    assert isinstance(order.asked, PlaceOrder), "only places absorb others"
    own = order.asked.amount
    for one in order.absorbed:
        own = EXACT.subtract(own, one.amount)
    return own


def with_share(record: Order, order: Order) -> Order:
    """The record of an intent that was merged into `order`, with its share of what that one filled.

    Shares only grow, as fills do. The average is that of the whole order (who got which fill is not known), and of the
    fees each has the part that its share is of all that is filled.
    """
    filled = EXACT.add(order.filled_before, order.filled)
    parts = shares(filled, own_amount(order), [one.amount for one in order.absorbed])[1:]
    share = next(
        part
        for part, one in zip(parts, order.absorbed, strict=True)
        if one.client_order_id == record.client_order_id
    )
    if not share:
        return record
    fees = {currency: plain(fee * share / filled) for currency, fee in order.fees.items()}
    return msgspec.structs.replace(
        record, filled=max(share, record.filled), average=order.average, fees=fees or record.fees
    )


def follow(order: Order, records: Sequence[Order | None], keys: Keys, writer: str) -> Followers:
    """The followers of `order`, which is about to be written; `records` are theirs, in the order of `order.absorbed`.

    Each gets its share of the fills (`with_share`).
    """
    named: list[str] = []
    arguments: list[int | str | bytes] = []
    events: list[Event] = []
    for record in records:
        if record is None or record.status is not OrderStatus.MERGED:
            continue
        named.append(keys.order(record.client_order_id))
        shared = with_share(record, order)
        if shared != record:
            times = msgspec.structs.replace(record.times, updated_at=order.times.updated_at)
            record = msgspec.structs.replace(shared, times=times)
            arguments += [record.entry, encode_record(record)]
            events.append(
                order_event(record, record.status, at=times.updated_at, name=EventName.MERGED, worker=writer)
            )
        else:
            arguments += [record.entry, ""]
    return Followers(tuple(named), (len(named), *arguments), tuple(events))
