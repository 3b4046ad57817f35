"""OKX: "Place order", "Cancel order", "Amend order", "Cancel multiple orders", "Order details", "Order List", "Get
ticker", "Get system time"."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any, Final

from common.exchange.base import Outcome
from tests.common.exchange.documented.case import (
    AN_EMPTY_LIST,
    ANOTHER_ID,
    ANY_TEXT,
    NEW_ID,
    ROW_IDS,
    Case,
    Refusal,
    amend,
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
from tests.common.exchange.venues import AT_MS, ID, LINEAR, OKX

OKX_ORDER: Final = {
    "instType": "SWAP",
    "instId": "BTC-USDT-SWAP",
    "ordId": "312",
    "clOrdId": ID,
    "tag": "",
    "px": "64000",
    "sz": "50",
    "ordType": "limit",
    "side": "buy",
    "tdMode": "cross",
    "accFillSz": "20",
    "fillPx": "63999.5",
    "fillSz": "20",
    "avgPx": "63999.5",
    "state": "partially_filled",
    "lever": "1",
    "fee": "-7.04",
    "feeCcy": "USDT",
    "rebate": "0",
    "rebateCcy": "USDT",
    "reduceOnly": "false",
    "uTime": str(AT_MS),
    "cTime": str(AT_MS - 1000),
}


def okx(*rows: Any, code: str = "0") -> dict[str, Any]:
    return {"code": code, "msg": "", "data": list(rows)}


def okx_row(s_code: str = "0", order_id: str = "312", client_id: str = ID) -> dict[str, str]:
    return {"ordId": order_id, "clOrdId": client_id, "sCode": s_code, "sMsg": "", "tag": "", "ts": str(AT_MS)}


OKX_GONE: Final = {"code": "51603", "data": [], "msg": "Order does not exist"}
OKX_FEE = (
    "data.0.fee",
    ("negative", "negative text"),
    "any negative number can be a fee",
)


def okx_cases() -> list[Case]:
    case = partial(Case, venue=OKX)
    told, pending, batch = (
        report(OKX, "312"),
        "GET /api/v5/trade/orders-pending",
        "POST /api/v5/trade/cancel-batch-orders",
    )
    new_id = (("data.0.ordId", ANOTHER_ID, NEW_ID),)
    coin = ("data.0.feeCcy", ANY_TEXT, "any text can be a coin")
    ids_of_a_row = (
        ("data.0.ordId", ANOTHER_ID, ROW_IDS),
        ("data.0.clOrdId", ("empty text", *ANY_TEXT), ROW_IDS),
    )
    row = ("code", "data", "data.0.sCode", "data.0.clOrdId")
    return [
        case(
            name="place",
            route=OKX.place_route,
            reply=okx(okx_row()),
            ask=place(OKX),
            means=placed(OKX, "312"),
            unseen=new_id,
            decisive=row,
        ),
        case(
            name="place refused",
            route=OKX.place_route,
            reply=okx(okx_row("51008", ""), code="1"),
            ask=place(OKX),
            means=Refusal(Outcome.REFUSED, "51008"),
            decisive=(*row, "data.0.ordId"),
        ),
        case(
            name="cancel",
            route=OKX.cancel_route,
            reply=okx(okx_row()),
            ask=cancel(OKX),
            means=None,
            decisive=row,
        ),
        case(
            name="cancel by its own id",
            route=OKX.cancel_route,
            reply=okx(okx_row()),
            means=None,
            ask=cancel(OKX, exchange_order_id="312"),
            decisive=("code", "data", "data.0.sCode", "data.0.ordId"),
        ),
        case(
            name="cancel of none",
            route=OKX.cancel_route,
            reply=okx(okx_row("51400", ""), code="1"),
            ask=cancel(OKX),
            means=Refusal(Outcome.NOT_FOUND, "51400"),
            decisive=("code", "data", "data.0.sCode"),
        ),
        case(
            name="amend",
            route="POST /api/v5/trade/amend-order",
            reply=okx(okx_row()),
            ask=amend(OKX),
            means=told,
            around={OKX.find_route: okx(OKX_ORDER)},
            decisive=row,
        ),
        case(
            name="amend read back",
            route=OKX.find_route,
            reply=okx(OKX_ORDER),
            ask=amend(OKX),
            means=told,
            around={"POST /api/v5/trade/amend-order": okx(okx_row())},
            unseen=(OKX_FEE, coin, *new_id),
            decisive=("code", "data"),
        ),
        case(
            name="find",
            route=OKX.find_route,
            reply=okx(OKX_ORDER),
            ask=find(OKX),
            means=told,
            unseen=(OKX_FEE, coin, *new_id),
            decisive=("code",),
        ),
        case(
            name="find by its own id",
            route=OKX.find_route,
            reply=okx(OKX_ORDER),
            means=told,
            ask=find(OKX, exchange_order_id="312"),
            unseen=(OKX_FEE, coin),
        ),
        case(
            name="find none",
            route=OKX.find_route,
            reply=OKX_GONE,
            ask=find(OKX),
            means=None,
            decisive=("code", "data"),
        ),
        case(
            name="open orders",
            route=pending,
            reply=okx(OKX_ORDER),
            ask=open_orders(LINEAR),
            means=[told],
            unseen=(
                OKX_FEE,
                coin,
                *ids_of_a_row,
                ("data", (*AN_EMPTY_LIST, "doubled"), "no order is open; the same row twice"),
                ("data.0", ("missing",), "no order is open"),
            ),
            decisive=("code",),
        ),
        case(
            name="no open orders",
            route=pending,
            reply=okx(),
            ask=open_orders(LINEAR),
            means=[],
            decisive=("code", "data"),
        ),
        case(
            name="cancel all",
            unseen=(("data", ("doubled",), "the same row twice"),),
            route=batch,
            reply=okx(okx_row()),
            ask=cancel_all(OKX),
            means=None,
            around={pending: okx(OKX_ORDER)},
            decisive=("code", "data", "data.0.sCode", "data.0.ordId"),
        ),
        case(
            name="cancel all, the list",
            route=pending,
            reply=okx(OKX_ORDER),
            ask=cancel_all(OKX),
            means=None,
            around={batch: okx(okx_row())},
            unseen=(
                ("data", (*AN_EMPTY_LIST, "doubled"), "no order is open; the same row twice"),
                ("data.0", ("missing",), "no order is open"),
            ),
            decisive=("code", "data"),
        ),
        case(
            name="reference price",
            route="GET /api/v5/market/ticker",
            ask=price(OKX),
            means=Decimal(64000),
            reply=okx(
                {
                    "instType": "SWAP",
                    "instId": "BTC-USDT-SWAP",
                    "last": "64010",
                    "askPx": "64001",
                    "askSz": "11",
                    "bidPx": "63999",
                    "bidSz": "5",
                    "ts": str(AT_MS),
                }
            ),
        ),
        case(
            name="server time",
            route="GET /api/v5/public/time",
            reply=okx({"ts": str(AT_MS)}),
            ask=clock,
            means=AT_MS,
        ),
    ]
