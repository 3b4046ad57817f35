"""Strategies whose new opening orders are refused on one symbol of an account, until a person lets them go on.

They are in Redis (hash `disabled`), so they hold for every worker and outlive all of them. Cancels and reduce-only
orders pass. Who sets them: the comparison of positions with the exchange, after a critical drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from orderlane.events import Event, EventName
from orderlane.orders import Reason

EVERY_STRATEGY: Final = "*"
"""Stands for all of them, and for intents that name none."""


class DisabledStrategy(Struct, frozen=True, kw_only=True):
    """A strategy (`*`: all) that opens nothing on a symbol, why, and since when (ms of Redis TIME)."""

    account: str
    symbol: str
    strategy: str
    reason: Reason
    since_ms: int

    @property
    def field(self) -> str:
        """Its field in the hash `disabled`."""
        return disabled_field(self.account, self.symbol, self.strategy)


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(DisabledStrategy)


def disabled_field(account: str, symbol: str, strategy: str) -> str:
    """The field of a strategy in the hash `disabled`.

    >>> disabled_field("main", "BTC/USDT", "grid")
    'main|BTC/USDT|grid'
    """
    return f"{account}|{symbol}|{strategy}"


def encode_disabled(disabled: DisabledStrategy) -> bytes:
    """The value that stands in Redis."""
    return _encoder.encode(disabled)


def decode_disabled(fields: Mapping[bytes, bytes]) -> list[DisabledStrategy]:
    """What is in the hash `disabled`, the oldest first; values that are none are passed over."""
    found: list[DisabledStrategy] = []
    for value in fields.values():
        try:
            found.append(_decoder.decode(value))
        except msgspec.MsgspecError:
            continue
    return sorted(found, key=lambda one: (one.since_ms, one.field))


def disabled_event(disabled: DisabledStrategy, exchange: str, at: int) -> Event:
    """The event that tells of it."""
    return Event(
        name=EventName.STRATEGY_DISABLED,
        at=at,
        exchange=exchange,
        account=disabled.account,
        symbol=disabled.symbol,
        strategy=disabled.strategy,
        reason=disabled.reason,
    )
