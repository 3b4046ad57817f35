"""Bybit v5's answers about positions and balances of a unified account.

Sources: "Get Position Info" (`GET /v5/position/list`, 200 rows a page) and "Get Wallet Balance" (`GET
/v5/account/wallet-balance`) of the v5 documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from common.exchange.account_figures import BalanceReport, PositionReport, each_once, hedge_mode, not_negative
from common.exchange.fields import (
    decimal_in,
    fields_in,
    market_id_in,
    measure_in,
    only_row,
    rows_in,
    text_in,
    unreadable,
)
from common.exchange.venue import symbol_of

PAGE: Final = 200
_ONE_WAY: Final = 0
"""`positionIdx`; 1 and 2 are the two sides of hedge mode."""
_SIGNS: Final = {"Buy": 1, "Sell": -1}


async def bybit_positions(client: Any, settle_coins: tuple[str, ...]) -> list[PositionReport]:
    """Every open linear position.

    Raises:
        ExchangeFailure: REFUSED, the account is in hedge mode; UNKNOWN, a reply says what can't be.
    """
    found: list[PositionReport] = []
    for coin in settle_coins:
        cursor = ""
        while True:
            asked = {"category": "linear", "settleCoin": coin, "limit": PAGE}
            reply = await client.privateGetV5PositionList({**asked, **({"cursor": cursor} if cursor else {})})
            rows, following = position_page(reply)
            found += [report for row in rows if (report := position_in(client, row)) is not None]
            if not following or len(rows) < PAGE:
                break
            if following == cursor:
                raise unreadable("the list of positions doesn't end", asked)
            cursor = following
    return each_once(found)


def position_page(reply: Any) -> tuple[list[dict[str, Any]], str]:
    """The rows of one page, and the cursor of the next."""
    result = fields_in(fields_in(reply).get("result"))
    following = result.get("nextPageCursor")
    if result.get("category") != "linear" or not isinstance(following, str):
        raise unreadable("no list of linear positions", result)
    return rows_in(result.get("list")), following


def position_in(client: Any, row: Mapping[str, Any]) -> PositionReport | None:
    """The position of a row; None for a flat one."""
    market_id, side = market_id_in(row, "symbol"), row.get("side")
    index = row.get("positionIdx")
    if not isinstance(index, int) or isinstance(index, bool) or index not in (0, 1, 2):
        raise unreadable("no such positionIdx is known", row)
    if index != _ONE_WAY:
        raise hedge_mode(market_id)
    size = measure_in(row, "size")
    if size is None:
        return None
    if side not in _SIGNS:
        raise unreadable("an open position has no side", row)
    entry_price = measure_in(row, "avgPrice")
    if entry_price is None:
        raise unreadable("an open position has no entry price", row)
    return PositionReport(
        symbol=symbol_of(client, market_id, contract=True),
        size=_SIGNS[str(side)] * size,
        entry_price=entry_price,
        mark_price=measure_in(row, "markPrice", may_be_empty=True),
        unrealised=decimal_in(row, "unrealisedPnl"),
    )


async def bybit_balances(client: Any) -> list[BalanceReport]:
    """What the unified account holds of each coin; `locked` is what spot orders hold back.

    Raises:
        ExchangeFailure: UNKNOWN, the reply says what can't be.
    """
    reply = await client.privateGetV5AccountWalletBalance({"accountType": "UNIFIED"})
    account = only_row(rows_in(fields_in(fields_in(reply).get("result")).get("list")))
    found = (_balance(row) for row in rows_in(account.get("coin")))
    return each_once(report for report in found if report.total)


def _balance(row: Mapping[str, Any]) -> BalanceReport:
    total, locked = decimal_in(row, "walletBalance"), decimal_in(row, "locked")
    if total is None or locked is None:
        raise unreadable("a coin lacks its balance", row)
    used = not_negative("locked", locked, row)
    return BalanceReport(
        asset=text_in(row, "coin"), total=total, free=max(total - used, Decimal(0)), used=used
    )
