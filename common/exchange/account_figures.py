"""What an exchange says of an account's positions and balances, in values.

As with orders, a reply that was damaged, or says what can't be, is no answer: it raises `ExchangeFailure` UNKNOWN and
never becomes a position of another size, nor a missing one.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Protocol, TypeVar

from msgspec import Struct

from common.exchange.base import ExchangeFailure, Outcome
from common.exchange.fields import MOST_DIGITS, unreadable


class PositionReport(Struct, frozen=True, kw_only=True):
    """A position on a derivatives market, in one-way mode. `size` in base, negative when short, never 0; prices in
    quote per base; `unrealised` in quote. None: the venue doesn't say."""

    symbol: str
    size: Decimal
    entry_price: Decimal
    mark_price: Decimal | None = None
    unrealised: Decimal | None = None


class BalanceReport(Struct, frozen=True, kw_only=True):
    """What an account holds of an asset. `total`: spot, free and in use; derivatives, the wallet balance, without the
    profit of what is open. `free`: what new orders may use."""

    asset: str
    total: Decimal
    free: Decimal
    used: Decimal


class AccountFigures(Protocol):
    """What can be asked of a venue about an account. Every method may raise ExchangeFailure."""

    holds_positions: bool
    """Whether accounts have positions here; on a spot venue they have balances alone."""

    async def positions(self, account: str) -> list[PositionReport]:
        """Every position that is open, on markets whose amounts are in base.

        Raises:
            ExchangeFailure: REFUSED, the account is in hedge mode, which is not carried here.
        """
        ...

    async def balances(self, account: str) -> list[BalanceReport]:
        """Every balance that is not 0."""
        ...


def hedge_mode(symbol: object) -> ExchangeFailure:
    """The refusal of an account that keeps both sides of a market apart."""
    return ExchangeFailure(
        Outcome.REFUSED,
        "hedge_mode",
        f"the account keeps long and short positions of {symbol} apart (hedge mode), which is not carried here: set it "
        "to one-way mode at the exchange, or turn positions off for it",
    )


def finite(name: str, number: Decimal, row: object) -> Decimal:
    """A number that can be meant.

    Raises:
        ExchangeFailure: UNKNOWN, it is not finite, or far too large.
    """
    if not number.is_finite() or (number and abs(number.adjusted()) > MOST_DIGITS):
        raise unreadable(f"field {name} is no number", row)
    return number


def not_negative(name: str, number: Decimal, row: object) -> Decimal:
    """The same of a price, or of what can only be held.

    Raises:
        ExchangeFailure: UNKNOWN, it is negative, or no number.
    """
    if finite(name, number, row) < 0:
        raise unreadable(f"field {name} is negative", row)
    return number


Report = TypeVar("Report", PositionReport, BalanceReport)


def each_once(reports: Iterable[Report]) -> list[Report]:
    """The reports, once each symbol, or asset, is named but once.

    Raises:
        ExchangeFailure: UNKNOWN, one is named twice: which of the two holds isn't said.
    """
    found: dict[str, Report] = {}
    for report in reports:
        name = _name_of(report)
        if name in found:
            raise unreadable(f"{name} is listed twice", report)
        found[name] = report
    return list(found.values())


def _name_of(report: PositionReport | BalanceReport) -> str:
    return report.symbol if isinstance(report, PositionReport) else report.asset
