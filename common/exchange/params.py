"""Which extra request parameters an intent may carry to a venue: a list for each, and names that none may hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

ALLOWED: Final[Mapping[str, frozenset[str]]] = {
    "binance": frozenset({"selfTradePreventionMode", "strategyId", "strategyType"}),
    "binanceusdm": frozenset({"positionSide", "workingType", "priceProtect", "selfTradePreventionMode"}),
    "bybit": frozenset({"positionIdx", "triggerBy", "smpType"}),
    "okx": frozenset({"tdMode", "posSide", "stpMode"}),
    "kraken": frozenset({"stptype", "trigger"}),
}
"""By ccxt id, in the venue's own spelling. Any other venue: none."""

# What an order is known by, when it may be executed, what it is: the intent's own fields say these.
_NEVER = """
clientorderid newclientorderid origclientorderid clientalgoid newclientstrategyid orderlinkid clordid algoclordid
cl_ord_id userref client_order_id label text orderid ordid txid algoid tag
timestamp recvwindow recv_window nonce exptime deadline signature goodtilldate gtd expiretm expirytime starttm
symbol instid pair market product category side type ordtype ordertype algotype tdside newordertype
quantity qty sz size amount volume quoteorderqty cost notional funds closeposition icebergqty icebergamount
tgtccy marketunit contracts leverage displayvol closefraction
price price2 px limit_price stopprice triggerprice triggerpx trigger_price activationprice activateprice
callbackrate trailingdelta trailingpercent trailingamount pricematch stoplossprice takeprofitprice stoploss
takeprofit attachalgoords pegpricetype pegoffsetvalue triggerdirection orderfilter
timeinforce postonly reduceonly reduce_only oflags validate test sor method hedged marginmode portfoliomargin
papi stock trigger_by_client close[price] close[ordertype]
"""
NEVER_ALLOWED: Final = frozenset(_NEVER.split())
"""Names (in lower case) that no list of allowed parameters can allow: they could change an order's identity, time,
market, side, size or price."""


def forbidden_params(
    venue: str, params: Iterable[str], allowed: frozenset[str] | None = None
) -> tuple[str, ...]:
    """The names among an intent's `params` that may not go to the venue, in order.

    Args:
        venue: the ccxt id.
        params: the names.
        allowed: a list in place of the venue's own (`ExchangeSettings.allowed_params`).
    """
    permitted = ALLOWED.get(venue, frozenset()) if allowed is None else allowed
    return tuple(sorted(name for name in params if name not in permitted or name.lower() in NEVER_ALLOWED))
