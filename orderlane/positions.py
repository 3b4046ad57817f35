"""Positions and balances of the pool's accounts: what fills add up to, and what the exchange said of it last.

Kept in Redis: `positions:<account>` and `balances:<account>` by whoever notes fills, `compared:<account>` by whoever
compares with the exchange. Sizes are in base, prices in quote per base, times in ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from orderlane.keys import Keys

Trail = tuple[tuple[int, Decimal], ...]
"""How a figure changed lately: since when (ms of Redis TIME) it was what, oldest first; the last stands now."""


class Source(StrEnum):
    """Where an account's figures come from."""

    FILLS = "fills"
    """From each fill that the user stream told, or a backfill found."""
    EXCHANGE = "exchange"
    """From the exchange's own reading, each time it is asked: no stream tells of the account's fills."""


class Position(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An account's net position on one symbol.

    On derivatives (one-way mode) `size` is the position: negative when short. On spot it is what the pool's own fills
    bought less what they sold, base fees taken off; what is held of an asset in all is its balance.

    Args:
        size: base; positive long, negative short.
        entry_price: the average price at which what is open was opened; None: nothing is, or it is not known.
        realised: profit of what was closed, in quote (what the venue says where it does), before fees.
        fees: paid, by currency.
        shares: the size by strategy, as far as fills tell; a strategy that has traded here stays, with 0.
        fills: how many fills were counted.
        last_price: of the last fill.
        changed_at: of the last fill, ms by the exchange's clock.
        counted_from: fills that the exchange made before this moment (ms by its clock) are part of a correction.
        trail: what the size was lately.
    """

    size: Decimal = Decimal(0)
    entry_price: Decimal | None = None
    realised: Decimal = Decimal(0)
    fees: dict[str, Decimal] = {}
    shares: dict[str, Decimal] = {}
    fills: int = 0
    last_price: Decimal | None = None
    changed_at: int = 0
    counted_from: int = 0
    trail: Trail = ((0, Decimal(0)),)


class Balance(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an account holds of one asset in all: spot, free and in use; derivatives, the wallet balance."""

    total: Decimal = Decimal(0)
    changed_at: int = 0
    counted_from: int = 0
    trail: Trail = ((0, Decimal(0)),)


Figure = TypeVar("Figure", Position, Balance)


class Kept(Struct, Generic[Figure], frozen=True):
    """A figure with the version it has in Redis; 0: it is not there."""

    version: int
    figure: Figure


class ComparedState(StrEnum):
    """How a comparison with the exchange went."""

    AGREED = "agreed"
    """What fills add up to is what the exchange says."""
    CORRECTED = "corrected"
    """Something was not, was put right, and is told by an event."""
    CRITICAL = "critical"
    """The same, and it was beyond the thresholds."""
    UNSETTLED = "unsettled"
    """Figures differ, and two readings did not agree on by how much: fills are under way. It is tried again soon."""
    WAITING = "waiting"
    """Not compared: the account's user stream has a gap, so its fills are not complete."""
    FAILED = "failed"
    """Not compared: the exchange, or what it answered, did not allow for it."""
    BUSY = "busy"
    """Not compared here: another process is at it."""


class AccountState(Struct, frozen=True, kw_only=True):
    """How an account's last comparison went. `compared_at`: when figures last were as the exchange says, ms of Redis
    TIME (0: never yet); `tried_at`: when that was last tried. `since`: how long the user stream had been without a gap
    then."""

    state: ComparedState
    source: Source
    tried_at: int
    compared_at: int = 0
    since: int = 0
    reason: str = ""


class PositionReading(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the exchange said of a position, at `at` (ms of Redis TIME). `drift`: by how much fills said otherwise."""

    size: Decimal
    entry_price: Decimal | None = None
    mark_price: Decimal | None = None
    unrealised: Decimal | None = None
    drift: Decimal = Decimal(0)
    at: int = 0


class BalanceReading(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the exchange said of a balance."""

    total: Decimal
    free: Decimal
    used: Decimal
    drift: Decimal = Decimal(0)
    at: int = 0


class Readings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the exchange said of an account, by symbol and by asset."""

    positions: dict[str, PositionReading] = {}
    balances: dict[str, BalanceReading] = {}


class PositionStatus(Struct, frozen=True, kw_only=True):
    """A position as an operator or a strategy sees it. `at`: the clock of Redis when it was read.

    `side` is `long`, `short` or `flat`. `unrealised` and `mark_price` are the exchange's last word, at
    `compared_at`, and `exchange_size` too. `shares` is the size by strategy; `unattributed` what of it is nobody's
    (opened behind the pool's back, or before it).
    """

    exchange: str
    account: str
    symbol: str
    size: Decimal
    side: str
    entry_price: Decimal | None
    realised: Decimal
    unrealised: Decimal | None
    mark_price: Decimal | None
    fees: dict[str, Decimal]
    shares: dict[str, Decimal]
    unattributed: Decimal
    fills: int
    changed_at: int
    exchange_size: Decimal | None
    drift: Decimal
    compared_at: int


class BalanceStatus(Struct, frozen=True, kw_only=True):
    """A balance likewise. `free` and `used` are the exchange's last word, at `compared_at`; None: never asked."""

    exchange: str
    account: str
    asset: str
    total: Decimal
    free: Decimal | None
    used: Decimal | None
    changed_at: int
    drift: Decimal
    compared_at: int


class AccountPositions(Struct, frozen=True, kw_only=True):
    """All that is known of one account, and how far it can be relied on (`comparison`; None: never compared)."""

    exchange: str
    account: str
    at: int
    comparison: AccountState | None
    positions: list[PositionStatus]
    balances: list[BalanceStatus]


_encoder: Final = msgspec.json.Encoder(decimal_format="string")
_position: Final = msgspec.json.Decoder(Position)
_balance: Final = msgspec.json.Decoder(Balance)
_state: Final = msgspec.json.Decoder(AccountState)
_readings: Final = msgspec.json.Decoder(Readings)

STATE_FIELD: Final = "state"
READINGS_FIELD: Final = "readings"


def encode_figure(version: int, figure: Position | Balance) -> bytes:
    """The value that stands in Redis."""
    return b"%d %b" % (version, _encoder.encode(figure))


def decode_position(value: bytes | None) -> Kept[Position]:
    """The counterpart of `encode_figure`; a flat position of version 0 where there is none, or what is none."""
    return _decoded(value, _position, Position())


def decode_balance(value: bytes | None) -> Kept[Balance]:
    """The same of a balance."""
    return _decoded(value, _balance, Balance())


def _decoded(value: bytes | None, decoder: msgspec.json.Decoder[Figure], none: Figure) -> Kept[Figure]:
    version, _, payload = (value or b"").partition(b" ")
    if not version.isdigit():
        return Kept(0, none)
    try:
        return Kept(int(version), decoder.decode(payload))
    except msgspec.MsgspecError:
        # A foreign value must stop nothing: it is written over, and the next comparison puts the figure right.
        return Kept(int(version), none)


def encode_comparison(value: AccountState | Readings) -> bytes:
    """One of the two fields of `compared:<account>`."""
    return _encoder.encode(value)


def decode_state(value: bytes | None) -> AccountState | None:
    """The field `state` of `compared:<account>`."""
    return _state.decode(value) if value else None


def decode_readings(value: bytes | None) -> Readings:
    """The field `readings` of `compared:<account>`."""
    return _readings.decode(value) if value else Readings()


def side_of(size: Decimal) -> str:
    """`long`, `short` or `flat`."""
    return "flat" if not size else "long" if size > 0 else "short"


def positions_of(
    exchange: str,
    account: str,
    positions: Mapping[bytes, bytes],
    balances: Mapping[bytes, bytes],
    compared: Mapping[bytes, bytes],
    now_ms: int,
) -> AccountPositions:
    """All that the three hashes say of an account."""
    readings = decode_readings(compared.get(READINGS_FIELD.encode()))
    kept = {field.decode(): decode_position(value).figure for field, value in positions.items()}
    held = {field.decode(): decode_balance(value).figure for field, value in balances.items()}
    return AccountPositions(
        exchange=exchange,
        account=account,
        at=now_ms,
        comparison=decode_state(compared.get(STATE_FIELD.encode())),
        positions=[
            _position_status(exchange, account, symbol, kept[symbol], readings.positions.get(symbol))
            for symbol in sorted(kept)
        ],
        balances=[
            _balance_status(exchange, account, asset, held[asset], readings.balances.get(asset))
            for asset in sorted(held)
        ],
    )


def _position_status(
    exchange: str, account: str, symbol: str, kept: Position, reading: PositionReading | None
) -> PositionStatus:
    return PositionStatus(
        exchange=exchange,
        account=account,
        symbol=symbol,
        size=kept.size,
        side=side_of(kept.size),
        entry_price=kept.entry_price,
        realised=kept.realised,
        unrealised=reading.unrealised if reading else None,
        mark_price=reading.mark_price if reading else None,
        fees=kept.fees,
        shares=kept.shares,
        unattributed=kept.size - sum(kept.shares.values(), Decimal(0)),
        fills=kept.fills,
        changed_at=kept.changed_at,
        exchange_size=reading.size if reading else None,
        drift=reading.drift if reading else Decimal(0),
        compared_at=reading.at if reading else 0,
    )


def _balance_status(
    exchange: str, account: str, asset: str, kept: Balance, reading: BalanceReading | None
) -> BalanceStatus:
    return BalanceStatus(
        exchange=exchange,
        account=account,
        asset=asset,
        total=kept.total,
        free=reading.free if reading else None,
        used=reading.used if reading else None,
        changed_at=kept.changed_at,
        drift=reading.drift if reading else Decimal(0),
        compared_at=reading.at if reading else 0,
    )


def hashes_of(keys: Keys, account: str) -> tuple[str, str, str]:
    """The hashes of an account, in the order in which `positions_of` takes them."""
    return keys.positions(account), keys.balances(account), keys.compared(account)


def read_answers(
    places: Sequence[tuple[str, str]], answers: Sequence[Any], now_ms: int
) -> list[AccountPositions]:
    """The answers to an HGETALL of each of `hashes_of`, for each (exchange, account), as values."""
    thirds = zip(answers[0::3], answers[1::3], answers[2::3], strict=True)
    return [
        positions_of(exchange, account, positions, balances, compared, now_ms)
        for (exchange, account), (positions, balances, compared) in zip(places, thirds, strict=True)
    ]
