"""How a venue's limit becomes a token bucket that can't exceed it; pure.

A bucket that starts full and refills at `rate` lets `capacity + rate * span` through in the worst span. So,
for a limit of `limit` in any window, capacity and rate are chosen such that

    capacity + rate * (window + arrival spread) <= limit * safety

Tokens are taken at Redis' time, the venue counts at its own: what arrives within one window left within the
window plus the difference between the slowest and the quickest way there. That is the arrival spread. The
safety margin is for what nobody here counts: a person's own requests, a venue that charges a call higher
than documented.

The bound holds for every window, so also for the fixed minutes some venues count by. What it can't see is a
worker that stalls between taking tokens and sending: such requests leave later and together.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Final

import limits
from limits import RateLimitItem
from msgspec import Struct

SLOW_START_MS: Final = 60_000
"""A bucket that fills within this time restarts empty after its scope was shut; a longer one (orders per
day) keeps its level: it was not what the venue complained of, and would need hours to fill."""

EXACT_INTEGERS: Final = 2**53
"""Lua's numbers are doubles: integers below this are exact."""

SYNC_BLIND_MS: Final = 1_000
"""A count reported this soon after a window began may be the last window's: the reply took a while to get
here."""
SYNC_BLIND_PARTS: Final = 10
"""… but at most this part of a window goes unheeded."""

FAIR_PRICE: Final = 8
"""A bucket that its greatest request would empty is made larger by one token, to hold a reserve, where that costs less
than about a part in so many of what it lets through in the long run."""

_NOTATION = re.compile(r"(?P<item>[^;,|]+?)(?:\s+burst\s+(?P<burst>[0-9]{1,9}))?\s*", re.IGNORECASE)


class Margins(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far below a venue's limits the pool stays.

    `safety`: the part of each limit that is used, at most 1. `burst`: the part of that which may go at
    once, the rest comes evenly; more burst is a lower steady rate. `reserve`: the part of a bucket kept for
    urgent requests (cancels, reduce-only, priority 0 to 2): one token at least, wherever a bucket can hold one beside
    its greatest request. `background`: the part of a bucket that the pool's own questions may use (`background_floor`).
    `arrival_spread_ms`: how much longer one
    request may take to the venue than another.

    Raises ValueError (msgspec.ValidationError when decoded) for values out of range.
    """

    safety: float = 0.95
    burst: float = 0.2
    reserve: float = 0.1
    background: float = 0.5
    arrival_spread_ms: int = 250

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("safety", self.safety, 0.05, 1.0),
            ("burst", self.burst, 0.0, 0.9),
            ("reserve", self.reserve, 0.0, 0.9),
            ("background", self.background, 0.05, 1.0),
            ("arrival_spread_ms", self.arrival_spread_ms, 0, 60_000),
        ):
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}: expected {least} to {most}")


class Bucket(Struct, frozen=True, kw_only=True):
    """A token bucket: at most `capacity` tokens, refilled evenly with `refill` tokens in `refill_ms`.

    `reserve` tokens are out of reach of requests that aren't urgent. `window_ms` is the window of the
    venue's limit.
    """

    capacity: int
    refill: int
    refill_ms: int
    reserve: int
    window_ms: int

    @property
    def fill_ms(self) -> int:
        """How long it takes to fill from empty."""
        return -(-self.capacity * self.refill_ms // self.refill)

    @property
    def restarts_empty(self) -> bool:
        return self.fill_ms <= SLOW_START_MS

    def most_in(self, span_ms: int) -> int:
        """The most whole tokens that can be taken within a closed span of time."""
        return math.floor(self.capacity + Fraction(self.refill * span_ms, self.refill_ms))


def parse_notation(text: str) -> tuple[RateLimitItem, int | None]:
    """Read `300/10 seconds`, `6000/minute`, or, for a counter that decays, `1/3 seconds burst 15`.

    The first forms are those of the library `limits`. The last means: at most 15 at once, and one more
    every 3 s.

    Raises:
        ValueError: it is none of these, or a number in it is zero.
    """
    match = _NOTATION.fullmatch(text.strip())
    try:
        item = limits.parse(match["item"]) if match else None
    except ValueError:
        item = None
    burst = int(match["burst"]) if match and match["burst"] else None
    if item is None or item.amount < 1 or item.get_expiry() < 1 or burst == 0:
        raise ValueError(
            f'limit is {text!r}: expected such as "300/10 seconds", "6000/minute", "1/3 seconds burst 15"'
        )
    return item, burst


def plan_bucket(
    item: RateLimitItem, *, burst: int | None = None, greatest_cost: int = 1, margins: Margins | None = None
) -> Bucket:
    """The bucket that keeps a limit: `item.amount` in any `item.get_expiry()` seconds.

    With `burst` the limit is a counter instead: it may reach `burst` and decays by `item` (Kraken).
    `greatest_cost`: the most tokens one request takes; the bucket is made large enough for it, also beside
    the reserve.

    Raises:
        ValueError: one request costs more than the limit can ever allow.
    """
    margins = margins or Margins()
    window_ms = item.get_expiry() * 1_000
    limit = item.amount if burst is None else burst
    # A limit of 1 leaves no room for a margin: one request in each window is what it allows.
    budget = max(1, math.floor(limit * Fraction(str(margins.safety))))
    if burst is None:
        capacity = max(1, math.floor(budget * Fraction(str(margins.burst))), greatest_cost)
        if margins.reserve and capacity == greatest_cost and budget >= FAIR_PRICE * capacity:
            capacity += 1  # room for a reserve
        refill, refill_ms = budget - capacity, window_ms + margins.arrival_spread_ms
        if budget == capacity == 1:
            refill, refill_ms = 1, refill_ms + 1  # the next once the window is over, its last ms too
    else:
        capacity, refill, refill_ms = budget, item.amount, window_ms
    if refill < 1 or capacity < greatest_cost:
        raise ValueError(
            f"limit {item}{'' if burst is None else f' burst {burst}'} leaves {budget} tokens at a safety of "
            f"{margins.safety}, too few for a request of {greatest_cost}: raise the limit or the safety"
        )
    if capacity * refill_ms >= EXACT_INTEGERS:
        raise ValueError(
            f"limit {item} is too large or too long to be counted exactly: give it in a shorter window"
        )
    share = max(math.floor(capacity * Fraction(str(margins.reserve))), 1 if margins.reserve else 0)
    reserve = min(share, capacity - greatest_cost)
    divisor = math.gcd(refill, refill_ms)
    return Bucket(
        capacity=capacity,
        refill=refill // divisor,
        refill_ms=refill_ms // divisor,
        reserve=reserve,
        window_ms=window_ms,
    )


def background_floor(bucket: Bucket, cost: int, share: float) -> int:
    """The tokens that a question of the pool's own must leave in a bucket, so that orders never find it empty because
    of such questions: all but `share` of it, or as much as a request of this `cost` can leave at all."""
    kept = bucket.capacity - math.floor(bucket.capacity * Fraction(str(share)))
    return max(min(max(kept, bucket.reserve), bucket.capacity - cost), 0)


def ceiling_after_usage(bucket: Bucket, used: int, elapsed_ms: int) -> int | None:
    """The most grains a bucket may hold when the venue has counted `used` in `elapsed_ms`; None: no bound.

    `elapsed_ms`: the venue's clock when its reply came, modulo the window; `used` counts from that window's
    start to its end (Binance's `X-MBX-USED-WEIGHT-1M`, `X-MBX-ORDER-COUNT-10S`). A grain is `1 / refill_ms`
    token.

    The rule: at most what a bucket full at the window's start would hold now, had it paid for `used`. Then
    `used + level + rate * rest of the window` stays within the limit, whoever used it. As long as the pool
    alone uses the limit, its bucket already holds less than that, and nothing changes.

    Why it is safe against the late, the lost and the disordered:
    - it only lowers; a count that comes late within its window is smaller than the true one, so its bound
      is laxer;
    - a count from the last window, read against this one, would look like a flood: too soon after a
      window's start nothing is believed (SYNC_BLIND_MS);
    - whatever is claimed, the level gets back to zero by the end of the window the claim is about. So no
      claim holds the pool longer than that.
    """
    rest_ms = bucket.window_ms - elapsed_ms
    if elapsed_ms < min(SYNC_BLIND_MS, bucket.window_ms // SYNC_BLIND_PARTS) or rest_ms < 0:
        return None
    full = bucket.capacity * bucket.refill_ms
    ceiling = full + bucket.refill * elapsed_ms - used * bucket.refill_ms
    return None if ceiling >= full else max(ceiling, -bucket.refill * rest_ms)
