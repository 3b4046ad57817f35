"""An account's figures in Redis: read together, corrected one by one, each with its event and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from common import failpoints
from common.positions import corrected_balance, corrected_position
from orderlane.disabled import DisabledStrategy, disabled_event, encode_disabled
from orderlane.events import Event, encode_event
from orderlane.positions import (
    READINGS_FIELD,
    STATE_FIELD,
    AccountState,
    Balance,
    Kept,
    Position,
    Readings,
    decode_balance,
    decode_position,
    decode_state,
    encode_comparison,
    encode_figure,
)
from workers.positions.books import Books
from workers.positions.judging import Kind

RETRIES: Final = 50
"""Fills that may be counted while one correction is written."""


class Figures(Struct, frozen=True):
    """What is kept of an account, and how its last comparison went (None: there was none)."""

    positions: dict[str, Kept[Position]]
    balances: dict[str, Kept[Balance]]
    state: AccountState | None

    def of(self, kind: Kind, name: str) -> Position | Balance:
        """One figure; flat, or 0, where nothing is kept."""
        if kind is Kind.POSITION:
            position = self.positions.get(name)
            return position.figure if position else Position()
        balance = self.balances.get(name)
        return balance.figure if balance else Balance()


class Correction(Struct, frozen=True, kw_only=True):
    """What is written of one figure: by how much it was wrong, as of when (ms by the exchange's clock), at which entry
    price. `event` None: nobody is told. `disables`: what follows from it."""

    kind: Kind
    name: str
    drift: Decimal
    counted_from: int
    seen: Position | Balance
    entry_price: Decimal | None = None
    event: Event | None = None
    is_critical: bool = False
    disables: Sequence[DisabledStrategy] = ()


async def read_figures(books: Books, account: str) -> Figures:
    """Everything that is kept of an account.

    Raises:
        redis.exceptions.RedisError: no answer.
    """
    keys = books.keys
    async with books.redis.pipeline(transaction=False) as pipeline:
        pipeline.hgetall(keys.positions(account))
        pipeline.hgetall(keys.balances(account))
        pipeline.hget(keys.compared(account), STATE_FIELD)
        positions, balances, state = await pipeline.execute()
    return Figures(
        {symbol.decode(): decode_position(value) for symbol, value in positions.items()},
        {asset.decode(): decode_balance(value) for asset, value in balances.items()},
        decode_state(state),
    )


async def correct(books: Books, account: str, correction: Correction, now_ms: int) -> bool:
    """Write a correction, over whatever fills have been counted since the figure was seen; False when somebody else
    corrected it.

    Raises:
        redis.exceptions.RedisError: no answer; the correction may stand, and is not written again.
    """
    keys = books.keys
    is_position = correction.kind is Kind.POSITION
    where = keys.positions(account) if is_position else keys.balances(account)
    for _ in range(RETRIES):
        value: Any = await books.redis.hget(where, correction.name)
        version, figure = _corrected(correction, value, now_ms)
        if figure is None:
            return False
        arguments: list[str | bytes | int] = [
            correction.name,
            str(version),
            encode_figure(version + 1, figure),
            encode_event(correction.event) if correction.event else "",
        ]
        for disabled in correction.disables:
            event = disabled_event(disabled, keys.exchange, now_ms)
            arguments += [disabled.field, encode_disabled(disabled), encode_event(event)]
        failpoints.reach("positions.judged", account)
        reply = await books.runner.run("correct_figure", [where, keys.disabled, keys.events], arguments)
        if reply[0] == b"ok":
            failpoints.reach("positions.corrected", account)
            return True
    return False


def _corrected(
    correction: Correction, value: bytes | None, now_ms: int
) -> tuple[int, Position | Balance | None]:
    """The figure as it will stand; None when it was corrected since it was seen."""
    drift, counted_from = correction.drift, correction.counted_from
    if correction.kind is Kind.POSITION:
        position = decode_position(value)
        if position.figure.counted_from != correction.seen.counted_from:
            return position.version, None
        entry_price = correction.entry_price
        return position.version, corrected_position(position.figure, drift, entry_price, counted_from, now_ms)
    balance = decode_balance(value)
    if balance.figure.counted_from != correction.seen.counted_from:
        return balance.version, None
    return balance.version, corrected_balance(balance.figure, drift, counted_from, now_ms)


async def note_comparison(
    books: Books, account: str, state: AccountState, readings: Readings | None = None
) -> None:
    """Note how a comparison went, and what the exchange said, where it said something.

    Raises:
        redis.exceptions.RedisError: no answer.
    """
    fields: dict[str, bytes] = {STATE_FIELD: encode_comparison(state)}
    if readings is not None:
        fields[READINGS_FIELD] = encode_comparison(readings)
    await books.redis.hset(books.keys.compared(account), mapping=fields)
