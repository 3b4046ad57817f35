"""OKX v5's answers about positions and balances.

Sources: "Get positions" (`GET /api/v5/account/positions`) and "Get balance" (`GET /api/v5/account/balance`) of the v5
documentation, 10 requests in 2 s each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
from common.exchange.venue import base_amount, symbol_of


async def okx_positions(client: Any) -> list[PositionReport]:
    """Every open position on linear swaps; the venue counts them in contracts.

    Raises:
        ExchangeFailure: REFUSED, the account is in hedge mode; UNKNOWN, a row says what can't be.
    """
    reply = fields_in(await client.privateGetAccountPositions({"instType": "SWAP"}))
    found = (_position(client, row) for row in rows_in(reply.get("data")))
    return each_once(report for report in found if report is not None)


def _position(client: Any, row: Mapping[str, Any]) -> PositionReport | None:
    market_id, side = market_id_in(row, "instId"), row.get("posSide")
    contracts = decimal_in(row, "pos")
    if contracts is None or side not in ("net", "long", "short"):
        raise unreadable("a position lacks its size or side", row)
    market = client.markets.get(symbol_of(client, market_id, contract=True))
    if market is not None and not market.get("linear"):
        return None
    if side != "net":
        raise hedge_mode(market_id)
    if not contracts:
        return None
    entry_price = measure_in(row, "avgPx")
    if entry_price is None or market is None:
        raise unreadable("an open position has no entry price, or its market is not known", row)
    return PositionReport(
        symbol=str(market["symbol"]),
        size=base_amount(market, contracts),
        entry_price=entry_price,
        mark_price=measure_in(row, "markPx", may_be_empty=True),
        unrealised=decimal_in(row, "upl"),
    )


async def okx_balances(client: Any) -> list[BalanceReport]:
    """What the trading account holds of each currency.

    Raises:
        ExchangeFailure: UNKNOWN, a row says what can't be.
    """
    account = only_row(rows_in(fields_in(await client.privateGetAccountBalance({})).get("data")))
    found = (_balance(row) for row in rows_in(account.get("details")))
    return each_once(report for report in found if report.total)


def _balance(row: Mapping[str, Any]) -> BalanceReport:
    total, free, used = (decimal_in(row, name) for name in ("cashBal", "availBal", "frozenBal"))
    if total is None or free is None or used is None:
        raise unreadable("a currency lacks its balance", row)
    return BalanceReport(
        asset=text_in(row, "ccy"),
        total=total,
        free=not_negative("availBal", free, row),
        used=not_negative("frozenBal", used, row),
    )
