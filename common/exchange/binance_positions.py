"""Binance's answers about positions and balances: USDⓈ-M's `positionRisk` and `balance` (v3), spot's `account`.

Sources: "Position Information V3", "Futures Account Balance V3" of the USDⓈ-M documentation (weight 5 each), "Account
information" of the spot documentation (weight 20; `omitZeroBalances`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct
from msgspec.json import Decoder

from common.exchange.account_figures import (
    BalanceReport,
    PositionReport,
    each_once,
    finite,
    hedge_mode,
    not_negative,
)
from common.exchange.binance_replies import Confirmation, Text
from common.exchange.binance_requests import Endpoint
from common.exchange.fields import unreadable

USDM_POSITIONS: Final = Endpoint("GET", "fapiPrivateV3", "positionRisk", "fapiPrivateV3GetPositionRisk")
USDM_BALANCES: Final = Endpoint("GET", "fapiPrivateV3", "balance", "fapiPrivateV3GetBalance")
SPOT_ACCOUNT: Final = Endpoint("GET", "private", "account", "privateGetAccount")
WITHOUT_ZERO: Final = {"omitZeroBalances": True}


class PositionRisk(Struct, kw_only=True, rename="camel"):
    """A row of `positionRisk`: symbols with a position or open orders."""

    symbol: Text
    position_side: Text
    position_amt: Decimal
    entry_price: Decimal
    mark_price: Decimal
    un_realized_profit: Decimal


class FuturesBalance(Struct, kw_only=True, rename="camel"):
    """A row of `balance`."""

    asset: Text
    balance: Decimal
    available_balance: Decimal


class SpotBalance(Struct, kw_only=True, rename="camel"):
    """A row of `account`'s balances."""

    asset: Text
    free: Decimal
    locked: Decimal


class SpotAccount(Confirmation, kw_only=True, rename="camel"):
    """The account, as far as it is read."""

    account_type: Text
    balances: list[SpotBalance]


USDM_POSITION_ROWS: Final = Decoder(list[PositionRisk])
USDM_BALANCE_ROWS: Final = Decoder(list[FuturesBalance])
SPOT_ACCOUNT_REPLY: Final = Decoder(SpotAccount)


def usdm_positions(rows: Sequence[PositionRisk], symbol_of: Callable[[str], str]) -> list[PositionReport]:
    """The positions of a reply; `symbol_of` names a market id's symbol.

    Raises:
        ExchangeFailure: REFUSED, the account is in hedge mode; UNKNOWN, a row says what can't be.
    """
    for row in rows:
        if row.position_side != "BOTH":
            if row.position_side in ("LONG", "SHORT"):
                raise hedge_mode(row.symbol)
            raise unreadable("no such positionSide is known", row)
    return each_once(_position(row, symbol_of(row.symbol)) for row in rows if _is_open(row))


def usdm_balances(rows: Sequence[FuturesBalance]) -> list[BalanceReport]:
    """The balances of a reply. What is available counts the profit of what is open, so it may be more than the wallet.

    Raises:
        ExchangeFailure: UNKNOWN, a row says what can't be.
    """
    return each_once(_wallet(row) for row in rows if finite("balance", row.balance, row))


def spot_balances(account: SpotAccount) -> list[BalanceReport]:
    """The balances of a reply.

    Raises:
        ExchangeFailure: UNKNOWN, a row says what can't be.
    """
    found = (_balance(row) for row in account.balances)
    return each_once(report for report in found if report.total)


def _is_open(row: PositionRisk) -> bool:
    return bool(finite("positionAmt", row.position_amt, row))


def _position(row: PositionRisk, symbol: str) -> PositionReport:
    if not_negative("entryPrice", row.entry_price, row) == 0:
        raise unreadable("an open position has no entry price", row)
    return PositionReport(
        symbol=symbol,
        size=row.position_amt,
        entry_price=row.entry_price,
        mark_price=not_negative("markPrice", row.mark_price, row) or None,
        unrealised=finite("unRealizedProfit", row.un_realized_profit, row),
    )


def _wallet(row: FuturesBalance) -> BalanceReport:
    free = not_negative("availableBalance", row.available_balance, row)
    return BalanceReport(
        asset=row.asset, total=row.balance, free=free, used=max(row.balance - free, Decimal(0))
    )


def _balance(row: SpotBalance) -> BalanceReport:
    free, used = not_negative("free", row.free, row), not_negative("locked", row.locked, row)
    return BalanceReport(asset=row.asset, total=free + used, free=free, used=used)
