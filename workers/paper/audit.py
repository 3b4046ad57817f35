"""The record others are judged by: every order-changing and every counted request, as it arrived."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class AuditEntry(msgspec.Struct, frozen=True):
    """One order-changing request that reached the exchange.

    ``at_us`` is epoch microseconds and strictly grows with ``sequence``; ``at_ms`` the same in
    milliseconds. ``kind`` is ``place``, ``cancel``, ``amend``, ``cancel_all`` or ``replace``. ``executed``
    is false for a refused one, whose ``code`` says why. ``reply_dropped`` is true if the sender never got
    the true answer because of ``fault``.
    """

    sequence: int
    at_ms: int
    at_us: int
    product: str
    account: str
    symbol: str
    kind: str
    client_order_id: str
    order_id: int
    side: str
    type: str
    quantity: str
    price: str
    executed: bool
    code: int = 0
    message: str = ""
    fault: str = ""
    reply_dropped: bool = False


class Arrival(msgspec.Struct, frozen=True):
    """A request counted against a limit: when (epoch microseconds), its cost, and whether it was turned
    away.
    """

    name: str
    at_us: int
    cost: int
    refused: bool


class WindowPeak(msgspec.Struct, frozen=True):
    """The most that any window of ``window_ms`` held, and when the first such window began."""

    name: str
    window_ms: int
    peak: int
    begins_us: int
    total: int


def peak_in_any_window(name: str, arrivals: Sequence[Arrival], window_ms: int) -> WindowPeak:
    """The greatest summed cost over every half-open window ``[t, t + window_ms)``. ``arrivals`` are in time
    order.
    """
    peak = running = begins_us = first = 0
    for arrival in arrivals:
        running += arrival.cost
        while arrivals[first].at_us <= arrival.at_us - window_ms * 1000:
            running -= arrivals[first].cost
            first += 1
        if running > peak:
            peak, begins_us = running, arrivals[first].at_us
    return WindowPeak(name, window_ms, peak, begins_us, sum(arrival.cost for arrival in arrivals))
