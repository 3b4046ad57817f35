"""Kraken spot's answer about balances: `POST /0/private/BalanceEx`, "Get Extended Balance" of its REST documents."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from common.exchange.account_figures import BalanceReport, not_negative
from common.exchange.fields import decimal_in, fields_in, unreadable


def kraken_balances(client: Any, result: dict[str, Any]) -> list[BalanceReport]:
    """What the account holds of each asset. Kraken has several names for some (`XBT`, `XXBT`): these add up.

    Raises:
        ExchangeFailure: UNKNOWN, a row says what can't be.
    """
    totals: dict[str, tuple[Decimal, Decimal]] = {}
    for name, row in result.items():
        fields = fields_in(row)
        total, used = decimal_in(fields, "balance"), decimal_in(fields, "hold_trade")
        if not name or total is None or used is None:
            raise unreadable("an asset lacks its balance", {name: row})
        asset = str(client.safe_currency_code(name))
        known_total, known_used = totals.get(asset, (Decimal(0), Decimal(0)))
        totals[asset] = known_total + total, known_used + not_negative("hold_trade", used, row)
    return [
        BalanceReport(asset=asset, total=total, free=max(total - used, Decimal(0)), used=used)
        for asset, (total, used) in totals.items()
        if total
    ]
