"""Kraken: "Add Order", "Cancel Order", "Get Open Orders", "Get Closed Orders", "Query Orders Info", "Get Ticker
Information", "Get Server Time"."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any, Final

from common.exchange.base import Outcome
from common.exchange.kraken import client_order_uuid
from orderlane.orders import OrderStatus
from tests.common.exchange.documented.case import (
    A_REBATE,
    ANOTHER_ID,
    ANY_TEXT,
    NEW_ID,
    ROW_IDS,
    Case,
    Refusal,
    cancel,
    cancel_all,
    clock,
    find,
    open_orders,
    place,
    placed,
    price,
    report,
)
from tests.common.exchange.venues import AT_MS, ID, KRAKEN, SPOT

TXID: Final = "OAAAAA-BBBBB-CCCCCC"
KRAKEN_ORDER: Final = {
    "refid": None,
    "userref": 0,
    "cl_ord_id": client_order_uuid(ID),
    "status": "open",
    "opentm": AT_MS / 1000,
    "starttm": 0,
    "expiretm": 0,
    "descr": {
        "pair": "XBTUSDT",
        "type": "buy",
        "ordertype": "limit",
        "price": "64000.0",
        "price2": "0",
        "leverage": "none",
        "order": "buy 0.50000000 XBTUSDT @ limit 64000.0",
        "close": "",
    },
    "vol": "0.50000000",
    "vol_exec": "0.20000000",
    "cost": "12799.90",
    "fee": "7.04",
    "price": "63999.5",
    "stopprice": "0.00000",
    "limitprice": "0.00000",
    "misc": "",
    "oflags": "fciq",
}


def kraken(**result: Any) -> dict[str, Any]:
    return {"error": [], "result": result}


def kraken_cases() -> list[Case]:
    case = partial(Case, venue=KRAKEN, other_order_id="OCCCCC-BBBBB-AAAAAA")
    open_route, closed_route, query_route = (
        f"POST /0/private/{name}Orders" for name in ("Open", "Closed", "Query")
    )
    told = report(KRAKEN, TXID)
    filled = {**KRAKEN_ORDER, "status": "closed", "closetm": AT_MS / 1000, "opentm": AT_MS / 1000 - 1}
    ended = report(KRAKEN, TXID, status=OrderStatus.FILLED)
    nothing_open, nothing_closed = kraken(open={}), kraken(closed={}, count=0)

    def fee(book: str) -> tuple[str, tuple[str, ...], str]:
        return (f"result.{book}{TXID}.fee", A_REBATE, "a rebate is a negative fee")

    client_id = (
        f"result.open.{TXID}.cl_ord_id",
        ("missing", "null", "empty text", "renamed", *ANY_TEXT),
        "an order need not have one",
    )
    none_open = (
        ("result.open", ("empty object",), "no order is open"),
        (f"result.open.{TXID}", ("missing",), "no order is open"),
    )
    return [
        case(
            name="place",
            route=KRAKEN.place_route,
            reply=KRAKEN.accepted,
            ask=place(KRAKEN),
            means=placed(KRAKEN, TXID, exchange_at=0),
            decisive=("error", "result.txid"),
            unseen=(("result.txid.0", ANOTHER_ID, NEW_ID),),
        ),
        case(
            name="place refused",
            route=KRAKEN.place_route,
            reply={"error": ["EOrder:Insufficient funds"], "result": {}},
            ask=place(KRAKEN),
            means=Refusal(Outcome.REFUSED, "EOrder:Insufficient funds"),
            decisive=("error",),
            unseen=(("error", ("doubled",), "the same reason twice"),),
        ),
        case(
            name="cancel",
            route=KRAKEN.cancel_route,
            reply=kraken(count=1, pending=False),
            ask=cancel(KRAKEN),
            means=None,
            decisive=("error", "result.count", "result.pending"),
            unseen=(("result.pending", ("missing", "renamed", "true"), "it need not be said"),),
        ),
        case(
            name="cancel of none",
            route=KRAKEN.cancel_route,
            reply={"error": ["EOrder:Unknown order"]},
            ask=cancel(KRAKEN),
            means=Refusal(Outcome.NOT_FOUND, "EOrder:Unknown order"),
            decisive=("error",),
            unseen=(("error", ("doubled",), "the same reason twice"),),
        ),
        case(
            name="find",
            route=open_route,
            reply=kraken(open={TXID: KRAKEN_ORDER}),
            ask=find(KRAKEN),
            means=told,
            around={closed_route: nothing_closed},
            decisive=("error",),
            unseen=(fee("open."), *none_open),
        ),
        case(
            name="find closed",
            route=closed_route,
            reply=kraken(closed={TXID: filled}, count=1),
            ask=find(KRAKEN),
            means=ended,
            around={open_route: nothing_open},
            decisive=("error",),
            unseen=(fee("closed."),),
        ),
        case(
            name="find none open",
            route=open_route,
            reply=nothing_open,
            ask=find(KRAKEN),
            means=None,
            around={closed_route: nothing_closed},
            decisive=("error", "result"),
        ),
        case(
            name="find none closed",
            route=closed_route,
            reply=nothing_closed,
            ask=find(KRAKEN),
            means=None,
            around={open_route: nothing_open},
            decisive=("error", "result"),
        ),
        case(
            name="find by its own id",
            route=query_route,
            reply=kraken(**{TXID: KRAKEN_ORDER}),
            means=told,
            ask=find(KRAKEN, exchange_order_id=TXID),
            decisive=("error",),
            unseen=(fee(""),),
        ),
        case(
            name="find none by its own id",
            route=query_route,
            reply={"error": ["EOrder:Unknown order"]},
            means=None,
            ask=find(KRAKEN, exchange_order_id=TXID),
            decisive=("error",),
            unseen=(("error", ("doubled",), "the same reason twice"),),
        ),
        case(
            name="open orders",
            route=open_route,
            reply=kraken(open={TXID: KRAKEN_ORDER}),
            ask=open_orders(None),
            means=[told],
            decisive=("error",),
            unseen=(
                fee("open."),
                *none_open,
                client_id,
                (
                    f"result.open.{TXID}.descr.pair",
                    ("overflow", "other client id", "other order id"),
                    ROW_IDS,
                ),
            ),
        ),
        case(
            name="no open orders",
            route=open_route,
            reply=nothing_open,
            ask=open_orders(SPOT),
            means=[],
            decisive=("error", "result"),
        ),
        case(
            name="cancel all",
            route=KRAKEN.cancel_route,
            reply=kraken(count=1),
            ask=cancel_all(KRAKEN),
            means=None,
            around={open_route: kraken(open={TXID: KRAKEN_ORDER})},
            decisive=("error", "result.count"),
        ),
        case(
            name="reference price",
            route="GET /0/public/Ticker",
            ask=price(KRAKEN),
            means=Decimal(64000),
            reply=kraken(
                XBTUSDT={
                    "a": ["64001.0", "1", "1.000"],
                    "b": ["63999.0", "1", "1.000"],
                    "c": ["64010.0", "0.1"],
                }
            ),
        ),
        case(
            name="server time",
            route="GET /0/public/Time",
            ask=clock,
            means=AT_MS + 500,
            reply=kraken(unixtime=AT_MS // 1000, rfc1123="Thu, 09 Oct 25 08:53:20 +0000"),
        ),
    ]
