"""Binance spot and USDⓈ-M: "New order", "Query order", "Current open orders", "Cancel order", "Cancel all open orders",
"Modify Order", "New Algo Order", "Query Algo Order", "Symbol order book ticker", "Mark Price", "Check server time"."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Final

from common.exchange.base import Outcome
from orderlane.orders import OrderStatus
from tests.common.exchange.documented.case import (
    A_REBATE,
    AN_EMPTY_LIST,
    ANOTHER_ID,
    ANY_TEXT,
    NEW_ID,
    ROW_IDS,
    Case,
    Refusal,
    Unseen,
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
from tests.common.exchange.venues import AT_MS, BINANCE, ID, LINEAR, SPOT, USDM

SPOT_ORDER: Final = {
    "symbol": "BTCUSDT",
    "orderId": 28,
    "orderListId": -1,
    "clientOrderId": ID,
    "price": "64000.00",
    "origQty": "0.50000",
    "executedQty": "0.20000",
    "cummulativeQuoteQty": "12799.90000000",
    "status": "PARTIALLY_FILLED",
    "timeInForce": "GTC",
    "type": "LIMIT",
    "side": "BUY",
    "time": AT_MS - 1000,
    "updateTime": AT_MS,
    "isWorking": True,
}
SPOT_NEW: Final = {
    "symbol": "BTCUSDT",
    "orderId": 28,
    "orderListId": -1,
    "clientOrderId": ID,
    "transactTime": AT_MS,
    "price": "64000.00",
    "origQty": "0.50000",
    "executedQty": "0.20000",
    "cummulativeQuoteQty": "12799.90000000",
    "status": "PARTIALLY_FILLED",
    "timeInForce": "GTC",
    "type": "LIMIT",
    "side": "BUY",
    "fills": [
        {"price": "63999.5", "qty": "0.20000", "commission": "7.04", "commissionAsset": "USDT", "tradeId": 56}
    ],
}
SPOT_CANCELLED: Final = {
    **{name: value for name, value in SPOT_NEW.items() if name != "fills"},
    "origClientOrderId": ID,
    "clientOrderId": "cancelMyOrder1",
    "status": "CANCELED",
}
USDM_ORDER: Final = {
    "symbol": "BTCUSDT",
    "orderId": 29,
    "clientOrderId": ID,
    "avgPrice": "63999.5",
    "cumQuote": "12799.9",
    "executedQty": "0.200",
    "origQty": "0.500",
    "origType": "LIMIT",
    "price": "64000.00",
    "reduceOnly": False,
    "side": "BUY",
    "positionSide": "BOTH",
    "status": "PARTIALLY_FILLED",
    "stopPrice": "0",
    "timeInForce": "GTC",
    "type": "LIMIT",
    "time": AT_MS - 1000,
    "updateTime": AT_MS,
}
ALGO_ORDER: Final = {
    "algoId": 7,
    "clientAlgoId": ID,
    "algoType": "CONDITIONAL",
    "orderType": "STOP",
    "symbol": "BTCUSDT",
    "side": "BUY",
    "quantity": "0.5",
    "algoStatus": "NEW",
    "actualOrderId": "",
    "triggerPrice": "63000",
    "price": "64000",
    "createTime": AT_MS - 1000,
    "updateTime": AT_MS,
}
GONE: Final = {"code": -2013, "msg": "Order does not exist."}
SPENT: Final = (
    "cummulativeQuoteQty",
    A_REBATE,
    "a negative one says that the venue doesn't know it any more",
)
FEES: Final = (
    ("fills.0.commission", A_REBATE, "a rebate is a negative fee"),
    ("fills.0.commissionAsset", ANY_TEXT, "any text can be a coin"),
)
OWN_ID: Final = ("orderId", ANOTHER_ID, NEW_ID)
AVERAGE: Final = ("avgPrice", ("missing", "renamed"), "the reply to a cancel has none")
EMPTY: Final = (
    ("quantity", ("empty text",), "an order that closes a position has none"),
    ("price", ("empty text",), "a market order has none"),
)


def of_rows(*unseen: Unseen) -> tuple[Unseen, ...]:
    """The same in a list, whose rows alone say which orders they are about."""
    ids = (
        *(("0." + name, ANOTHER_ID, ROW_IDS) for name in ("orderId", "algoId")),
        *(("0." + name, ANY_TEXT, ROW_IDS) for name in ("clientOrderId", "clientAlgoId")),
    )
    none_open = (("", AN_EMPTY_LIST, "no order is open"), ("0", ("missing",), "no order is open"))
    return (*ids, *none_open, *(("0." + path, kinds, why) for path, kinds, why in unseen))


def spot_cases() -> list[Case]:
    case = partial(Case, venue=BINANCE, other_order_id=312999)
    told = report(BINANCE, "28", fees={})
    return [
        case(
            name="place",
            unseen=(SPENT, OWN_ID, *FEES),
            route=BINANCE.place_route,
            reply=SPOT_NEW,
            ask=place(BINANCE),
            means=report(BINANCE, "28"),
        ),
        case(
            name="place refused",
            route=BINANCE.place_route,
            reply={"code": -1013, "msg": "Filter failure: LOT_SIZE"},
            status=400,
            ask=place(BINANCE),
            means=Refusal(Outcome.REFUSED, "-1013"),
        ),
        case(
            name="cancel",
            unseen=(SPENT, OWN_ID),
            route=BINANCE.cancel_route,
            reply=SPOT_CANCELLED,
            ask=cancel(BINANCE),
            means=report(BINANCE, "28", fees={}, status=OrderStatus.CANCELED),
        ),
        case(
            name="find",
            unseen=(SPENT, OWN_ID),
            route=BINANCE.find_route,
            reply=SPOT_ORDER,
            ask=find(BINANCE),
            means=told,
        ),
        case(
            name="find by its own id",
            unseen=(SPENT,),
            route=BINANCE.find_route,
            reply=SPOT_ORDER,
            ask=find(BINANCE, exchange_order_id="28"),
            means=told,
        ),
        case(
            name="find none",
            route=BINANCE.find_route,
            reply=GONE,
            status=400,
            ask=find(BINANCE),
            means=None,
            decisive=("code",),
        ),
        case(
            name="open orders",
            unseen=of_rows(SPENT),
            route="GET /api/v3/openOrders",
            reply=[SPOT_ORDER],
            ask=open_orders(SPOT),
            means=[told],
        ),
        case(
            name="no open orders", route="GET /api/v3/openOrders", reply=[], ask=open_orders(SPOT), means=[]
        ),
        case(
            name="cancel all",
            route="DELETE /api/v3/openOrders",
            reply=[SPOT_CANCELLED],
            ask=cancel_all(BINANCE),
            means=None,
        ),
        case(
            name="reference price",
            route="GET /api/v3/ticker/bookTicker",
            ask=price(BINANCE),
            means=Decimal(64000),
            reply={
                "symbol": "BTCUSDT",
                "bidPrice": "63999",
                "bidQty": "1",
                "askPrice": "64001",
                "askQty": "2",
            },
        ),
        case(
            name="server time", route="GET /api/v3/time", reply={"serverTime": AT_MS}, ask=clock, means=AT_MS
        ),
    ]


def usdm_cases() -> list[Case]:
    case = partial(Case, venue=USDM, other_order_id=312999)
    told = report(USDM, "29", fees={})
    waiting = placed(USDM, "7")
    return [
        case(
            name="place",
            unseen=(OWN_ID, AVERAGE),
            route=USDM.place_route,
            reply=USDM_ORDER,
            ask=place(USDM),
            means=told,
        ),
        case(
            name="place refused",
            route=USDM.place_route,
            reply={"code": -2019, "msg": "Margin is insufficient."},
            status=400,
            ask=place(USDM),
            means=Refusal(Outcome.REFUSED, "-2019"),
        ),
        case(
            name="cancel",
            unseen=(OWN_ID, AVERAGE),
            route=USDM.cancel_route,
            reply={**USDM_ORDER, "status": "CANCELED"},
            ask=cancel(USDM),
            means=report(USDM, "29", fees={}, status=OrderStatus.CANCELED),
        ),
        case(
            name="amend",
            unseen=(OWN_ID, AVERAGE),
            route="PUT /fapi/v1/order",
            reply=USDM_ORDER,
            ask=amend(USDM),
            means=told,
        ),
        case(
            name="find",
            unseen=(OWN_ID, AVERAGE),
            route=USDM.find_route,
            reply=USDM_ORDER,
            ask=find(USDM),
            means=told,
        ),
        case(
            name="find by its own id",
            unseen=(AVERAGE,),
            route=USDM.find_route,
            reply=USDM_ORDER,
            ask=find(USDM, exchange_order_id="29"),
            means=told,
        ),
        case(
            name="find none",
            route=USDM.find_route,
            reply=GONE,
            status=400,
            ask=find(USDM),
            means=None,
            decisive=("code",),
        ),
        case(
            name="find conditional",
            unseen=(("algoId", ANOTHER_ID, NEW_ID), *EMPTY),
            route="GET /fapi/v1/algoOrder",
            reply=ALGO_ORDER,
            ask=find(USDM, conditional=True),
            means=waiting,
        ),
        case(
            name="cancel conditional",
            route="DELETE /fapi/v1/algoOrder",
            reply={"algoId": 7, "clientAlgoId": ID, "code": "200", "msg": "success"},
            ask=cancel(USDM, conditional=True),
            means=None,
        ),
        case(
            name="open orders",
            unseen=of_rows(AVERAGE),
            route="GET /fapi/v1/openOrders",
            reply=[USDM_ORDER],
            ask=open_orders(LINEAR),
            means=[told],
            around={"GET /fapi/v1/openAlgoOrders": []},
        ),
        case(
            name="open conditional orders",
            unseen=of_rows(*EMPTY),
            route="GET /fapi/v1/openAlgoOrders",
            reply=[ALGO_ORDER],
            ask=open_orders(LINEAR),
            means=[waiting],
            around={"GET /fapi/v1/openOrders": []},
        ),
        case(
            name="cancel all",
            route="DELETE /fapi/v1/allOpenOrders",
            reply={"code": 200, "msg": "The operation of cancel all open order is done."},
            ask=cancel_all(USDM),
            means=None,
            around={"DELETE /fapi/v1/algoOpenOrders": {"code": 200, "msg": "done"}},
        ),
        case(
            name="reference price",
            route="GET /fapi/v1/premiumIndex",
            ask=price(USDM),
            means=Decimal(64000),
            reply={"symbol": "BTCUSDT", "markPrice": "64000", "indexPrice": "64001", "time": AT_MS},
        ),
        case(
            name="server time", route="GET /fapi/v1/time", reply={"serverTime": AT_MS}, ask=clock, means=AT_MS
        ),
    ]
