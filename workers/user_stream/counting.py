"""What new fills of an order make of the account's position and balances: pure.

Which figures they touch is known before anything is read; what is read, changed and written back carries versions, so
that nothing another writer did meanwhile is undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct

from common.exchange.base import TradeReport
from common.positions import Deal, balance_changes, instrument_of, is_counted, with_change, with_deal
from orderlane.positions import Balance, Kept, Position, decode_balance, decode_position, encode_figure

POSITIONS_KEY: Final = 5
BALANCES_KEY: Final = 6
"""Which of `note_fills.lua`'s keys holds what."""


class Fields(Struct, frozen=True):
    """What fills touch: a symbol's position, and assets. No symbol: nothing is counted."""

    symbol: str = ""
    assets: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """ARGV of `read_fills.lua`."""
        return [self.symbol, *self.assets]


class Figures(Struct, frozen=True):
    """The figures as they were read, each with its version."""

    position: Kept[Position]
    balances: dict[str, Kept[Balance]]


class Change(Struct, frozen=True):
    """One figure to be written: which key it is in, its field, the version it stands on, its new value."""

    key: int
    field: str
    expected_version: int
    value: bytes

    @property
    def arguments(self) -> list[str | bytes | int]:
        """ARGV of `note_fills.lua`."""
        return [self.key, self.field, str(self.expected_version), self.value]


def fields_of(trades: Iterable[TradeReport]) -> Fields:
    """What the fills of one order touch; nothing where the symbol's market isn't known."""
    found = list(trades)
    instrument = instrument_of(found[0].symbol) if found else None
    if instrument is None:
        return Fields()
    own = (instrument.settle,) if instrument.is_contract else (instrument.base, instrument.quote)
    fees = (trade.fee_currency for trade in found if trade.fee_currency)
    return Fields(found[0].symbol, tuple(dict.fromkeys((*own, *fees))))


def read_figures(asked: Fields, values: Sequence[bytes]) -> Figures:
    """The third part of `read_fills.lua`'s reply."""
    return Figures(
        decode_position(values[0] if values else None),
        {asset: decode_balance(value) for asset, value in zip(asked.assets, values[1:], strict=False)},
    )


def counted(
    figures: Figures, asked: Fields, trades: Iterable[TradeReport], strategy: str, now_ms: int
) -> list[Change]:
    """What the fills change, each counted for itself: one may be older than a figure's last correction."""
    instrument = instrument_of(asked.symbol)
    if instrument is None:
        return []
    position = figures.position.figure
    balances = {asset: kept.figure for asset, kept in figures.balances.items()}
    for trade in sorted(trades, key=lambda one: (one.traded_at, len(one.trade_id), one.trade_id)):
        deal = _deal(trade, strategy)
        after = with_deal(position, deal, instrument, now_ms)
        realised = after.realised - position.realised
        if is_counted(position, trade.traded_at):
            position = after
        else:
            realised = Decimal(0)
        for asset, change in balance_changes(deal, instrument, realised).items():
            if is_counted(balances[asset], trade.traded_at):
                balances[asset] = with_change(balances[asset], change, trade.traded_at, now_ms)
    return [
        *_changed(POSITIONS_KEY, asked.symbol, figures.position, position),
        *(
            change
            for asset, kept in figures.balances.items()
            for change in _changed(BALANCES_KEY, asset, kept, balances[asset])
        ),
    ]


def _changed(
    key: int, field: str, kept: Kept[Position] | Kept[Balance], figure: Position | Balance
) -> list[Change]:
    if figure is kept.figure:
        return []
    return [Change(key, field, kept.version, encode_figure(kept.version + 1, figure))]


def _deal(trade: TradeReport, strategy: str) -> Deal:
    return Deal(
        side=trade.side,
        amount=trade.amount,
        price=trade.price,
        fee=trade.fee,
        fee_currency=trade.fee_currency,
        realised=trade.realised,
        strategy=strategy,
        traded_at=trade.traded_at,
    )
