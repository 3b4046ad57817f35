"""What stands still: orders whose outcome is not known, the lanes parked behind them, and letting these go on."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from orderlane.orders import Order
from orderlane.pool_link import PoolLink
from orderlane.scripts import script


class UnknownOrder(Struct, frozen=True, kw_only=True):
    """An order whose outcome is not known, `since` (ms). `parked`: its lane waits for a person."""

    order: Order
    since: int
    parked: bool


def list_unknown(link: PoolLink, exchange: str) -> list[UnknownOrder]:
    """The orders of an exchange whose outcome is not known, longest first."""
    keys = link.settings.keys(exchange)
    unknown: Any = link.ask(lambda: link.redis.zrange(keys.unknown, 0, -1, withscores=True))
    parked: Any = link.ask(lambda: link.redis.zrange(keys.parked, 0, -1))
    since = {identifier.decode(): int(ms) for identifier, ms in unknown}
    lanes = {lane.decode() for lane in parked}
    return [
        UnknownOrder(order=order, since=since[order.client_order_id], parked=order.intent.lane in lanes)
        for order in link.orders([keys.order(one) for one in since])
    ]


def unpark(link: PoolLink, exchange: str, lane: str) -> bool:
    """Let a parked lane (`account|symbol`) run again: its head is resolved once more. False: it was not parked."""
    keys = link.settings.keys(exchange)
    named = [keys.parked, keys.ready, keys.owners, keys.bell, keys.waiting, keys.intents]
    moved = link.ask(lambda: script("unpark").run(link.redis, named, [lane]))
    return bool(moved)
