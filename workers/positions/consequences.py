"""What a confirmed drift leads to: its correction, the event with the numbers, and the strategies it disables. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec
from msgspec import Struct

from common.config import PositionsSection
from common.exact import plain
from common.positions import instrument_of
from orderlane.disabled import EVERY_STRATEGY, DisabledStrategy
from orderlane.events import Event, EventName
from orderlane.orders import Order, Reason
from orderlane.positions import Position
from workers.positions.figures import Correction, Figures
from workers.positions.judging import Kind, is_critical, worth_of
from workers.positions.reading import Look


class Comparison(Struct, frozen=True, kw_only=True):
    """A comparison that has come to its end: two readings, and the figures and open records as they stand after them.

    `is_first`: the account was never compared before.
    """

    exchange: str
    account: str
    section: PositionsSection
    first: Look
    last: Look
    figures: Figures
    records: Sequence[Order]
    now_ms: int
    is_first: bool


def correction_of(seen_in: Comparison, kind: Kind, name: str, drift: Decimal) -> Correction:
    """The correction of one figure.

    The first comparison of an account takes over what was there before: nobody is told, and nothing follows.
    """
    kept = seen_in.figures.of(kind, name)
    report = seen_in.last.positions.get(name) if kind is Kind.POSITION else None
    bare = Correction(
        kind=kind,
        name=name,
        drift=drift,
        counted_from=seen_in.first.exchange_at,
        seen=kept,
        entry_price=report.entry_price if report else None,
    )
    if seen_in.is_first:
        return bare
    expected = kept.size if isinstance(kept, Position) else kept.total
    symbols = [name] if kind is Kind.POSITION else markets_held(name, seen_in.figures)
    price = (report.mark_price or report.entry_price) if report else last_price(symbols, seen_in.figures)
    critical = bool(symbols) and is_critical(expected, drift, price, seen_in.section)
    numbers = _numbers(kind, name, expected, drift, worth_of(drift, price) if symbols else None)
    numbers |= {"at": str(seen_in.last.exchange_at), **({"critical": "1"} if critical else {})}
    event = Event(
        name=EventName.POSITION_CORRECTED if kind is Kind.POSITION else EventName.BALANCE_CORRECTED,
        at=seen_in.now_ms,
        exchange=seen_in.exchange,
        account=seen_in.account,
        symbol=name if kind is Kind.POSITION else "",
        numbers=numbers,
    )
    disables = critical and seen_in.section.on_critical == "disable"
    reason = _reason(kind, name, numbers, seen_in.section.confirm_delay_seconds)
    return msgspec.structs.replace(
        bare,
        event=event,
        is_critical=critical,
        disables=_disabled(seen_in, symbols, reason) if disables else (),
    )


def _disabled(seen_in: Comparison, symbols: Sequence[str], reason: Reason) -> list[DisabledStrategy]:
    return [
        DisabledStrategy(
            account=seen_in.account,
            symbol=symbol,
            strategy=strategy,
            reason=reason,
            since_ms=seen_in.now_ms,
        )
        for symbol in symbols
        for strategy in strategies_on(symbol, seen_in.figures, seen_in.records)
    ]


def _numbers(
    kind: Kind, name: str, expected: Decimal, drift: Decimal, worth: Decimal | None
) -> dict[str, str]:
    return {
        "expected": f"{plain(expected):f}",
        "exchange": f"{plain(expected + drift):f}",
        "drift": f"{plain(drift):f}",
        **({"asset": name} if kind is Kind.BALANCE else {}),
        **({} if worth is None else {"worth": f"{worth:.2f}"}),
    }


def markets_held(asset: str, figures: Figures) -> list[str]:
    """The spot markets on which the pool has traded this asset: what it holds of it is their strategies'."""
    instruments = {symbol: instrument_of(symbol) for symbol in figures.positions}
    return sorted(
        symbol
        for symbol, instrument in instruments.items()
        if instrument and not instrument.is_contract and instrument.base == asset
    )


def strategies_on(symbol: str, figures: Figures, records: Iterable[Order]) -> list[str]:
    """Whom a drift on a symbol concerns: each strategy with fills or open orders there; all (`*`) where none is known,
    or one of them has no name."""
    kept = figures.positions.get(symbol)
    names = set(kept.figure.shares) if kept else set()
    names |= {record.intent.strategy for record in records if record.intent.symbol == symbol}
    return sorted(names) if names and "" not in names else [EVERY_STRATEGY]


def last_price(symbols: Iterable[str], figures: Figures) -> Decimal | None:
    """Of the newest fill on one of these markets; None where there was none."""
    found = [figures.positions[symbol].figure for symbol in symbols if symbol in figures.positions]
    priced = [(one.changed_at, one.last_price) for one in found if one.last_price is not None]
    return max(priced)[1] if priced else None


def _reason(kind: Kind, name: str, numbers: dict[str, str], delay_seconds: int) -> Reason:
    worth = f", worth {numbers['worth']}" if "worth" in numbers else ""
    return Reason(
        code=f"{kind.value}_drift",
        message=f"the {kind.value} of {name} was {numbers['expected']} by the pool's fills and {numbers['exchange']} "
        f"at the exchange, in two readings {delay_seconds} s apart (a drift of {numbers['drift']}{worth})",
        numbers=numbers,
    )
