"""Poloniex spot, which stands for the venues without a file here: "Create Order", "Order Details", "Open Orders",
"Order History" of its documentation (api-docs.poloniex.com)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import Final

from msgspec.structs import replace

from common.exchange import open_exchange
from common.exchange.ccxt_exchange import CcxtExchange
from orderlane.orders import OrderStatus
from tests.common.exchange.documented.case import (
    AN_EMPTY_LIST,
    ANY_TEXT,
    NEW_ID,
    Case,
    find,
    open_orders,
    place,
    placed,
    report,
)
from tests.common.exchange.stub_server import Answer, Stub, running_stub
from tests.common.exchange.venues import AT_MS, ID, SPOT, VenueUnderTest, settings_on

POLONIEX: Final = VenueUnderTest(
    venue="poloniex",
    symbol=SPOT,
    place_route="POST /orders",
    cancel_route="DELETE /orders/5",
    find_route="GET /orders/5",
    accepted={"id": "5", "clientOrderId": ID},
)
ORDER: Final = {
    "id": "5",
    "clientOrderId": ID,
    "symbol": "BTC_USDT",
    "state": "PARTIALLY_FILLED",
    "accountType": "SPOT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.5",
    "price": "64000",
    "avgPrice": "63999.5",
    "amount": "0",
    "filledQuantity": "0.2",
    "filledAmount": "12799.9",
    "createTime": AT_MS - 1000,
    "updateTime": AT_MS,
}
MARKET: Final = {
    "symbol": "BTC_USDT",
    "baseCurrencyName": "BTC",
    "quoteCurrencyName": "USDT",
    "displayName": "BTC/USDT",
    "state": "NORMAL",
    "symbolTradeLimit": {
        "priceScale": 2,
        "quantityScale": 6,
        "amountScale": 4,
        "minQuantity": "0.000001",
        "minAmount": "1",
    },
}


@asynccontextmanager
async def poloniex() -> AsyncIterator[tuple[CcxtExchange, Stub]]:
    """Poloniex with one spot market."""
    async with running_stub() as stub:
        stub.answer("GET /markets", Answer([MARKET]))
        stub.answer("GET /v3/market/allInstruments", Answer({"code": 200, "data": []}))
        stub.answer("GET /currencies", Answer([]))
        stub.answer("GET /v2/currencies", Answer([]))
        exchange = open_exchange(settings_on(stub.url, "poloniex"))
        try:
            await exchange.fetch_ccxt_markets()
            stub.seen.clear()
            yield exchange, stub
        finally:
            await exchange.close()


NONE: Final = ("missing", "renamed", "null", "empty text", "empty list", "empty object", "true", "in a list")
"""What ccxt reads as "not there"."""
ODD: Final = (*ANY_TEXT, *NONE, "negative", "huge")
NOT_TOLD: Final = (
    ("avgPrice", NONE, "a venue need not tell the average"),
    ("createTime", ODD, "the report then counts as an old one"),
)
OWN_ID: Final = ("id", (*ANY_TEXT, "negative", "huge"), NEW_ID)
LISTED: Final = (
    ("", (*AN_EMPTY_LIST, "in a list"), "no order is listed, which proves nothing here"),
    ("0", ODD, "ccxt drops what is no order, and absence is never proven here"),
    ("0.symbol", ODD, "ccxt drops the orders of other markets, and absence is never proven here"),
    ("0.clientOrderId", ODD, "an order need not have one, and absence is never proven here"),
    *(("0." + path, kinds, why) for path, kinds, why in (*NOT_TOLD, OWN_ID)),
)


def poloniex_cases() -> list[Case]:
    case = partial(Case, venue=POLONIEX, other_order_id="6")
    told = report(POLONIEX, "5", fees={}, exchange_at=AT_MS - 1000)
    return [
        case(
            name="place",
            route=POLONIEX.place_route,
            reply=POLONIEX.accepted,
            ask=place(POLONIEX),
            means=placed(POLONIEX, "5", exchange_at=0),
            unseen=(OWN_ID,),
        ),
        case(
            name="find by its own id",
            route=POLONIEX.find_route,
            reply=ORDER,
            ask=find(POLONIEX, exchange_order_id="5"),
            means=told,
            unseen=NOT_TOLD,
        ),
        case(
            name="find filled",
            route=POLONIEX.find_route,
            reply={**ORDER, "state": "FILLED", "filledQuantity": "0.5", "filledAmount": "31999.75"},
            ask=find(POLONIEX, exchange_order_id="5"),
            means=replace(told, status=OrderStatus.FILLED, filled=Decimal("0.5")),
            unseen=NOT_TOLD,
        ),
        case(
            name="find",
            route="GET /orders",
            reply=[ORDER],
            ask=find(POLONIEX),
            means=told,
            around={"GET /orders/history": []},
            unseen=LISTED,
        ),
        case(
            name="open orders",
            route="GET /orders",
            reply=[ORDER],
            ask=open_orders(SPOT),
            means=[told],
            unseen=LISTED,
        ),
    ]
