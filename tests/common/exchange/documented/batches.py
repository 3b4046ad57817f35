"""Batches: "Place Multiple Orders" (USDⓈ-M), "Batch Place Order" (Bybit), "Place multiple orders" (OKX)."""

from __future__ import annotations

from typing import Any, Final

from common.exchange.base import ExchangeFailure, OrderReport, OrderRequest, Outcome
from common.exchange.ccxt_exchange import CcxtExchange
from orderlane.identity import client_order_id
from tests.common.exchange.documented.case import ANOTHER_ID, NEW_ID, Case, Refusal, placed
from tests.common.exchange.documented.okx import okx, okx_row
from tests.common.exchange.venues import AT_MS, BYBIT, BYBIT_ID, OKX, USDM, VenueUnderTest, order

IDS: Final = [client_order_id("orderlane", "test", "main", f"batch-{number}") for number in range(3)]
USDM_ROUTE: Final = "POST /fapi/v1/batchOrders"
BYBIT_ROUTE: Final = "POST /v5/order/create-batch"
OKX_ROUTE: Final = "POST /api/v5/trade/batch-orders"


def three(venue: VenueUnderTest) -> list[OrderRequest]:
    return [order(venue, client_order_id=name) for name in IDS]


async def place_batch(
    exchange: CcxtExchange, requests: list[OrderRequest]
) -> list[OrderReport | ExchangeFailure]:
    """As a worker calls it."""
    return await exchange.place_batch(requests, AT_MS)


def usdm_row(name: str, order_id: int) -> dict[str, Any]:
    return {**USDM.accepted, "clientOrderId": name, "orderId": order_id}


def bybit_batch(*rows: tuple[str, str, int]) -> dict[str, Any]:
    """Rows of (client order id, order id, code)."""
    ids = [
        {
            "category": "linear",
            "symbol": "BTCUSDT",
            "orderId": order_id,
            "orderLinkId": name,
            "createAt": str(AT_MS) if order_id else "",
        }
        for name, order_id, _ in rows
    ]
    codes = [{"code": code, "msg": "OK" if code == 0 else "words"} for _, _, code in rows]
    return {
        "retCode": 0,
        "retMsg": "OK",
        "result": {"list": ids},
        "retExtInfo": {"list": codes},
        "time": AT_MS,
    }


def batch_cases() -> list[Case]:
    return [
        Case(
            venue=USDM,
            name="batch",
            route=USDM_ROUTE,
            reply=[
                usdm_row(IDS[0], 29),
                {"code": -2022, "msg": "ReduceOnly Order is rejected."},
                usdm_row(IDS[2], 31),
            ],
            ask=lambda exchange: place_batch(exchange, three(USDM)),
            means=[
                placed(USDM, "29", client_order_id=IDS[0]),
                Refusal(Outcome.REFUSED, "-2022"),
                placed(USDM, "31", client_order_id=IDS[2]),
            ],
            other_order_id=312999,
            unseen=tuple((f"{row}.orderId", ANOTHER_ID, NEW_ID) for row in (0, 2)),
        ),
        Case(
            venue=BYBIT,
            name="batch",
            route=BYBIT_ROUTE,
            reply=bybit_batch(
                (IDS[0], BYBIT_ID, 0), (IDS[1], "", 110007), (IDS[2], "1666800494330512128", 0)
            ),
            ask=lambda exchange: place_batch(exchange, three(BYBIT)),
            means=[
                placed(BYBIT, BYBIT_ID, client_order_id=IDS[0]),
                Refusal(Outcome.REFUSED, "110007"),
                placed(BYBIT, "1666800494330512128", client_order_id=IDS[2]),
            ],
            other_order_id="1666800494330512999",
            unseen=tuple((f"result.list.{row}.orderId", ANOTHER_ID, NEW_ID) for row in (0, 2)),
        ),
        Case(
            venue=OKX,
            name="batch",
            route=OKX_ROUTE,
            reply=okx(
                okx_row(client_id=IDS[0]), okx_row("51008", "", IDS[1]), okx_row("0", "314", IDS[2]), code="2"
            ),
            ask=lambda exchange: place_batch(exchange, three(OKX)),
            means=[
                placed(OKX, "312", client_order_id=IDS[0]),
                Refusal(Outcome.REFUSED, "51008"),
                placed(OKX, "314", client_order_id=IDS[2]),
            ],
            unseen=tuple((f"data.{row}.ordId", ANOTHER_ID, NEW_ID) for row in (0, 2)),
        ),
    ]
