"""Bybit: "Place Order", "Cancel Order", "Amend Order", "Cancel All Orders", "Get Open & Closed Orders", "Get Order
History", "Get Tickers", "Get Bybit Server Time"."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any, Final

from common.exchange.base import Outcome
from tests.common.exchange.documented.case import (
    A_REBATE,
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
from tests.common.exchange.venues import AT_MS, BYBIT, BYBIT_ID, ID, LINEAR

BYBIT_ORDER: Final = {
    "orderId": BYBIT_ID,
    "orderLinkId": ID,
    "symbol": "BTCUSDT",
    "price": "64000",
    "qty": "0.5",
    "side": "Buy",
    "positionIdx": 0,
    "orderStatus": "PartiallyFilled",
    "cancelType": "UNKNOWN",
    "rejectReason": "EC_NoError",
    "avgPrice": "63999.5",
    "leavesQty": "0.3",
    "cumExecQty": "0.2",
    "cumExecValue": "12799.9",
    "cumExecFee": "7.04",
    "timeInForce": "GTC",
    "orderType": "Limit",
    "triggerPrice": "",
    "reduceOnly": False,
    "createdTime": str(AT_MS - 1000),
    "updatedTime": str(AT_MS),
    "cumFeeDetail": {"USDT": "7.04"},
}


def bybit(result: Any) -> dict[str, Any]:
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": AT_MS}


def bybit_list(*rows: Any) -> dict[str, Any]:
    cursor = "page_args%3Dfd4300ae" if rows else ""
    return bybit({"list": list(rows), "nextPageCursor": cursor, "category": "linear"})


BYBIT_REALTIME, BYBIT_HISTORY = "GET /v5/order/realtime", "GET /v5/order/history"
FEE: Final = (
    (
        "result.list.0.cumFeeDetail.USDT",
        (*A_REBATE, "missing", "renamed"),
        "a rebate; no fee yet; another coin",
    ),
    ("result.list.0.cumFeeDetail", ("empty object",), "no fee yet"),
)
NEW: Final = ("result.list.0.orderId", ANOTHER_ID, NEW_ID)
BYBIT_ACK = bybit({"orderId": BYBIT_ID, "orderLinkId": ID})
BYBIT_ACKNOWLEDGED = ("retCode", "result")
BYBIT_PAGE = ("retCode", "result.category", "result.list", "result.nextPageCursor")


def bybit_cases() -> list[Case]:
    case = partial(Case, venue=BYBIT, other_order_id="1666800494330512999")
    ids_of_a_row = (
        ("result.list.0.orderId", ANOTHER_ID, ROW_IDS),
        ("result.list.0.orderLinkId", ("empty text", *ANY_TEXT), ROW_IDS),
    )
    by_own_id = partial(find, BYBIT, exchange_order_id=BYBIT_ID)
    told = report(BYBIT, BYBIT_ID)
    return [
        case(
            name="place",
            route=BYBIT.place_route,
            reply=BYBIT.accepted,
            ask=place(BYBIT),
            means=placed(BYBIT, BYBIT_ID),
            decisive=BYBIT_ACKNOWLEDGED,
            unseen=(("result.orderId", ("other order id", "other client id"), NEW_ID),),
        ),
        case(
            name="place refused",
            route=BYBIT.place_route,
            reply=BYBIT.error("110007", "ab not enough for new order"),
            ask=place(BYBIT),
            means=Refusal(Outcome.REFUSED, "110007"),
            decisive=("retCode",),
        ),
        case(
            name="cancel",
            route=BYBIT.cancel_route,
            reply=BYBIT_ACK,
            ask=cancel(BYBIT),
            means=None,
            decisive=("retCode", "result.orderLinkId"),
        ),
        case(
            name="cancel by its own id",
            route=BYBIT.cancel_route,
            reply=BYBIT_ACK,
            ask=cancel(BYBIT, exchange_order_id=BYBIT_ID),
            means=None,
            decisive=("retCode", "result.orderId"),
        ),
        case(
            name="cancel of none",
            route=BYBIT.cancel_route,
            reply=BYBIT.error("110001", "Order does not exist"),
            ask=cancel(BYBIT),
            means=Refusal(Outcome.NOT_FOUND, "110001"),
            decisive=("retCode",),
        ),
        case(
            name="amend",
            route="POST /v5/order/amend",
            reply=BYBIT_ACK,
            ask=amend(BYBIT),
            means=told,
            around={BYBIT_REALTIME: bybit_list(BYBIT_ORDER)},
            decisive=("retCode", "result.orderLinkId"),
        ),
        case(
            name="amend read back",
            route=BYBIT_REALTIME,
            reply=bybit_list(BYBIT_ORDER),
            ask=amend(BYBIT),
            means=told,
            around={"POST /v5/order/amend": BYBIT_ACK, BYBIT_HISTORY: bybit_list()},
            unseen=(*FEE, NEW),
        ),
        case(
            name="find",
            route=BYBIT_REALTIME,
            reply=bybit_list(BYBIT_ORDER),
            ask=find(BYBIT),
            means=told,
            around={BYBIT_HISTORY: bybit_list()},
            unseen=(*FEE, NEW),
            decisive=("retCode", "result.category"),
        ),
        case(
            name="find by its own id",
            route=BYBIT_REALTIME,
            reply=bybit_list(BYBIT_ORDER),
            ask=by_own_id(),
            means=told,
            around={BYBIT_HISTORY: bybit_list()},
            unseen=FEE,
        ),
        case(
            name="find in the history",
            route=BYBIT_HISTORY,
            reply=bybit_list(BYBIT_ORDER),
            ask=find(BYBIT),
            means=told,
            around={BYBIT_REALTIME: bybit_list()},
            unseen=(*FEE, NEW),
        ),
        case(
            name="find none",
            route=BYBIT_REALTIME,
            reply=bybit_list(),
            ask=find(BYBIT),
            means=None,
            around={BYBIT_HISTORY: bybit_list()},
            decisive=BYBIT_PAGE,
        ),
        case(
            name="find none in the history",
            route=BYBIT_HISTORY,
            reply=bybit_list(),
            ask=find(BYBIT),
            means=None,
            around={BYBIT_REALTIME: bybit_list()},
            decisive=BYBIT_PAGE,
        ),
        case(
            name="open orders",
            route=BYBIT_REALTIME,
            reply=bybit_list(BYBIT_ORDER),
            ask=open_orders(LINEAR),
            means=[told],
            unseen=(*FEE, *ids_of_a_row),
            decisive=("retCode", "result.category"),
        ),
        case(
            name="no open orders",
            route=BYBIT_REALTIME,
            reply=bybit_list(),
            ask=open_orders(LINEAR),
            means=[],
            decisive=BYBIT_PAGE,
        ),
        case(
            name="cancel all",
            route="POST /v5/order/cancel-all",
            ask=cancel_all(BYBIT),
            means=None,
            reply=bybit({"list": [{"orderId": BYBIT_ID, "orderLinkId": ID}], "success": "1"}),
            decisive=("retCode", "result.success"),
        ),
        case(
            name="reference price",
            route="GET /v5/market/tickers",
            ask=price(BYBIT),
            means=Decimal(64000),
            reply=bybit(
                {
                    "category": "linear",
                    "list": [
                        {
                            "symbol": "BTCUSDT",
                            "lastPrice": "64010",
                            "bid1Price": "63999",
                            "bid1Size": "1",
                            "ask1Price": "64001",
                            "ask1Size": "2",
                        }
                    ],
                }
            ),
        ),
        case(
            name="server time",
            route="GET /v5/market/time",
            ask=clock,
            means=AT_MS,
            reply=bybit({"timeSecond": str(AT_MS // 1000), "timeNano": f"{AT_MS}000000"}),
        ),
    ]
