"""The exchange's limits as workers publish them, so that whoever looks can say who waits for which, and for how long.

The hash `limits` holds them, one field: `limits` (JSON). The buckets themselves hold only what is left in them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

LIMITS_FIELD: Final = "limits"
IP: Final = "ip"
"""The scope of the limits of the pool's address; no account can be called so."""
PENALTY: Final = "penalty"
"""The name of the key that says until when a scope is shut."""
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]")


class PublishedBucket(Struct, frozen=True, kw_only=True):
    """A token bucket: at most `capacity` tokens, refilled with `refill` in `refill_ms`; `reserve` of them are for what
    is urgent. `scope` says whom it counts: `ip`, `account` or `symbol` (each symbol of each account)."""

    name: str
    scope: str
    capacity: int
    refill: int
    refill_ms: int
    reserve: int

    def key_parts(self, account: str, symbol: str) -> tuple[str, str]:
        """Scope and name of the key that holds the bucket an account uses for a symbol."""
        if self.scope == IP:
            return IP, self.name
        return account, symbol_bucket(self.name, symbol) if self.scope == "symbol" else self.name

    def wait_ms(
        self, fields: Mapping[bytes, bytes], shut_until: int, cost: int, urgent: bool, now_ms: int
    ) -> int:
        """How long a request of this cost has to wait, ms, if nobody else takes any; as `buckets.lua` counts it."""
        full = self.capacity * self.refill_ms
        level, at = full, 0
        if b"level" in fields:
            level, at = int(fields[b"level"]), int(fields[b"at"])
            unit = int(fields[b"unit"])
            level = level * self.refill_ms // unit if unit != self.refill_ms else level
            level = min(level + max(now_ms - at, 0) * self.refill, full)
        if at < shut_until:
            level = min(level, (now_ms - shut_until) * self.refill)
        missing = (cost + (0 if urgent else self.reserve)) * self.refill_ms - level
        return max(math.ceil(missing / self.refill), 0)


class PublishedLimits(Struct, frozen=True, kw_only=True):
    """All buckets of an exchange, and what each kind of request takes from them: operation -> bucket -> tokens."""

    buckets: list[PublishedBucket]
    charges: dict[str, dict[str, int]]


def symbol_bucket(name: str, symbol: str) -> str:
    """The name of a limit's bucket for one symbol; symbols that differ only in signs share one."""
    return f"{name}_{_NOT_IN_NAMES.sub('_', symbol.lower())}"


_decoder: Final = msgspec.json.Decoder(PublishedLimits)


def decode_limits(value: bytes | None) -> PublishedLimits | None:
    """The field of the hash `limits`; None where there is none, or another version's."""
    try:
        return _decoder.decode(value) if value else None
    except msgspec.DecodeError:
        return None
