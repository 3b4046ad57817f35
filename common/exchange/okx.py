"""OKX v5, spot and linear contracts. Conditional orders are refused: their endpoints carry no request expiry.

Sources: "Error Code" and "Order Book Trading" of the v5 documentation (okx.com/docs-v5), the error list of ccxt
4.5.90, and what that version sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, Final

from common.exchange.base import ExchangeFailure, OrderReference, OrderReport, OrderRequest, Outcome
from common.exchange.classify import ErrorTable, VenueError
from common.exchange.settings import ExchangeSettings
from common.exchange.transport import Call
from common.exchange.venue import (
    ZERO,
    Venue,
    about,
    accepted,
    base_amount,
    contracts_of,
    decimal_in,
    fields_in,
    market_of,
    positive,
    read_after,
    refused,
    rows_in,
    same_order,
    status_in,
    symbol_of,
    text_in,
    unreadable,
    wire_text,
)
from orderlane.intents import TimeInForce
from orderlane.orders import OrderStatus

_UNKNOWN: Final = (
    50001,  # "Service temporarily unavailable"
    50004,  # "Endpoint request timeout (does not indicate success or failure of order …)"
    50005,  # "API is offline or unavailable"
    50013,  # "System is busy, please try again later", with status 429
    50026,  # "System error, please try again later."
    51149,  # "Order timed out. Please try again later."
    51410,  # "Cancellation failed as the order is already under cancelling status"
)
_THROTTLED: Final = (
    50011,  # "Request too frequent"
    50040,  # "Too frequent operations, please try again later"
    50061,  # "You've reached the maximum order rate limit for this account."
    51113,  # "Market-price liquidation requests too frequent"
)
_NOT_FOUND: Final = (
    51400,  # "Cancellation failed as the order does not exist" (or is filled, or canceled)
    51401,  # "Cancellation failed as the order is already canceled"
    51402,  # "Cancellation failed as the order is already completed"
    51503,  # "Order modification failed as the order does not exist"
    51509,  # "Modification failed as the order has been canceled"
    51510,  # "Modification failed as the order has been completed"
    51603,  # "Order does not exist"
)
_REFUSED: Final = (
    *(50000, 50002, 50006, 50007, 50008, 50009, 50010, 50012),  # body, account blocked, user
    *range(50014, 50026),  # parameters; position, currency or account frozen
    *(50027, 50028, 50030, 50044, 50062),  # account restricted, permission, feature
    *(
        50100,
        50101,
        50103,
        50104,
        50105,
        50106,
        50107,
        50108,
        50109,
        50110,
        50111,
        50112,
        50113,
        50114,
        50115,
    ),
    *(50119, 50120),  # key doesn't exist, no permission
    *range(51000, 51011),  # parameter, instrument, amount, price, balance, account mode
    51012,  # token doesn't exist
    *(
        51014,
        51015,
        51017,
        51018,
        51019,
        51020,
        51021,
        51022,
        51023,
        51024,
        51025,
        51026,
        51027,
        51028,
        51029,
    ),
    *(51030, 51031, 51046, 51047, 51051),
    *range(51100, 51113),
    *range(51115, 51123),
    *range(51124, 51140),
    *(51155, 51156, 51159, 51162, 51163, 51166, 51174, 51185),
    *range(51201, 51206),
    *range(51403, 51406),
    *(51407, 51408, 51409),
    *(51500, 51501, 51502, 51506, 51508, 51511),
)

ERRORS: Final = ErrorTable(
    outcomes={
        **{str(code): Outcome.UNKNOWN for code in _UNKNOWN},
        **{str(code): Outcome.THROTTLED for code in _THROTTLED},
        **{str(code): Outcome.NOT_FOUND for code in _NOT_FOUND},
        **{str(code): Outcome.REFUSED for code in _REFUSED},
        "51016": Outcome.DUPLICATE,  # "Client order ID already exists."
        "50102": Outcome.LATE,  # "Timestamp request expired"
    },
    per_account=frozenset({"50011", "50040", "50061", "51113"}),  # private requests count by user
    default_retry_after_ms=2_000,  # the order limits count 2 s
)

_STATUSES: Final = {
    "live": OrderStatus.ACTIVE,
    "partially_filled": OrderStatus.PARTIAL,
    "filled": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELED,
    "mmp_canceled": OrderStatus.CANCELED,
}
"""`state` of "GET / Order details"."""

_ORDER_TYPES: Final = {TimeInForce.PO: "post_only", TimeInForce.IOC: "ioc", TimeInForce.FOK: "fok"}
_EXPIRING_PATHS: Final = frozenset({"trade/order", "trade/amend-order"})
"""Requests whose header `expTime` OKX heeds, of those sent here."""
_PAGE: Final = 100
_CANCEL_BATCH: Final = 20
_GONE: Final = frozenset({"51400", "51401", "51402", "51410"})


class Okx(Venue):
    """OKX v5. Contracts are counted by the venue in contracts, here in base."""

    errors = ERRORS
    amends_in_place = True
    receive_window_bounds_ms: ClassVar[tuple[int, int]] = (1, 60_000)
    options: ClassVar[Mapping[str, Any]] = {"fetchMarkets": {"types": ["spot", "swap"]}}

    def configure(self, client: Any, settings: ExchangeSettings) -> None:
        super().configure(client, settings)
        client.has["fetchCurrencies"] = False

    def error_in(self, decoded: Any) -> VenueError | None:
        """The error of a request, or of its only order: code 1 or 2, and the reason in the row's `sCode`."""
        if not isinstance(decoded, dict):
            return None
        rows = decoded.get("data")
        for row in rows if isinstance(rows, list) else ():
            code = str(row.get("sCode") or "0") if isinstance(row, dict) else "0"
            if code != "0":
                return VenueError(code, str(row.get("sMsg", "")))
        if str(decoded.get("code")) == "0":
            return None
        return VenueError(str(decoded.get("code", "no_code")), str(decoded.get("msg", "")))

    def after_sign(self, path: str, method: str, signed: dict[str, Any], call: Call) -> None:
        if method == "POST" and path in _EXPIRING_PATHS and self.receive_window_ms is not None and call.at_ms:
            signed["headers"]["expTime"] = str(call.at_ms + self.receive_window_ms)

    async def place(self, client: Any, request: OrderRequest, at_ms: int) -> OrderReport:
        params = order_params(market_of(client, request.symbol), request)
        row = _only_row(await client.privatePostTradeOrder(params))
        same_order(request.client_order_id, text_in(row, "clOrdId"))
        return accepted(request, text_in(row, "ordId"), int(row.get("ts") or 0))

    async def cancel(self, client: Any, reference: OrderReference, at_ms: int) -> OrderReport | None:
        params = _named(market_of(client, reference.symbol), reference)
        text_in(_only_row(await client.privatePostTradeCancelOrder(params)), "ordId")
        return None

    async def amend(
        self, client: Any, reference: OrderReference, request: OrderRequest, at_ms: int
    ) -> OrderReport:
        market = market_of(client, reference.symbol)
        params = {**_named(market, reference), "newSz": wire_text(contracts_of(market, request.amount))}
        if request.price is not None:
            params["newPx"] = wire_text(request.price)
        text_in(_only_row(await client.privatePostTradeAmendOrder(params)), "ordId")
        return await read_after(self.find(client, reference))

    async def cancel_all(self, client: Any, symbol: str, at_ms: int) -> None:
        market = market_of(client, symbol)
        found = await self.open_orders(client, symbol)
        for start in range(0, len(found), _CANCEL_BATCH):
            batch = [
                {"instId": market["id"], "ordId": report.exchange_order_id}
                for report in found[start : start + _CANCEL_BATCH]
            ]
            try:
                await client.privatePostTradeCancelBatchOrders(batch)
            except ExchangeFailure as failure:
                if failure.code not in _GONE:  # it ended in between, or is about to
                    raise

    async def find(self, client: Any, reference: OrderReference) -> OrderReport | None:
        market = market_of(client, reference.symbol)
        try:
            row = _only_row(await client.privateGetTradeOrder(_named(market, reference)))
        except ExchangeFailure as failure:
            if failure.outcome is Outcome.NOT_FOUND:
                return None
            raise
        return about(reference, _report(row, market))

    async def open_orders(self, client: Any, symbol: str | None) -> list[OrderReport]:
        query: dict[str, Any] = {"limit": str(_PAGE)}
        if symbol is not None:
            market = market_of(client, symbol)
            query |= {"instId": market["id"], "instType": "SPOT" if market["spot"] else "SWAP"}
        reports: list[OrderReport] = []
        while True:
            rows = rows_in(fields_in(await client.privateGetTradeOrdersPending(dict(query))).get("data"))
            for row in rows:
                unified = symbol_of(client, text_in(row, "instId"), contract=row.get("instType") != "SPOT")
                reports.append(_report(row, client.markets.get(unified) or {"symbol": unified}))
            if len(rows) < _PAGE:
                return reports
            if query.get("after") == rows[-1].get("ordId"):
                raise unreadable("the list of open orders doesn't end", query)
            query["after"] = text_in(rows[-1], "ordId")


def order_params(market: Mapping[str, Any], request: OrderRequest) -> dict[str, Any]:
    """The parameters of `POST /api/v5/trade/order`.

    Raises:
        ExchangeFailure: REFUSED, the venue has no such order, or none that a request expiry would cover.
    """
    spot = bool(market["spot"])
    if request.type.has_trigger:
        raise refused(
            "unsupported_order", f"{request.type} orders are not sent to OKX: nothing bounds when they arrive"
        )
    if spot and request.reduce_only:
        raise refused(
            "unsupported_order", "spot has no reduce-only orders: nothing is held that could be reduced"
        )
    order_type = "limit" if request.type.has_price else "market"
    if request.time_in_force is not None:
        order_type = _ORDER_TYPES.get(request.time_in_force, order_type)
    params: dict[str, Any] = {
        "tdMode": "cash" if spot else "cross",
        **request.params,
        "instId": market["id"],
        "side": str(request.side),
        "ordType": order_type,
        "sz": wire_text(contracts_of(market, request.amount)),
        "clOrdId": request.client_order_id,
    }
    if spot:
        params["tgtCcy"] = "base_ccy"  # else a market buy's size would be read as an amount of quote
    if request.price is not None:
        params["px"] = wire_text(request.price)
    if request.reduce_only:
        params["reduceOnly"] = True
    return params


def _only_row(decoded: Any) -> dict[str, Any]:
    rows = rows_in(fields_in(decoded).get("data"))
    if len(rows) != 1:
        raise unreadable("expected one order", decoded)
    return rows[0]


def _named(market: Mapping[str, Any], reference: OrderReference) -> dict[str, Any]:
    if reference.exchange_order_id:
        return {"instId": market["id"], "ordId": reference.exchange_order_id}
    return {"instId": market["id"], "clOrdId": reference.client_order_id}


def _report(order: Mapping[str, Any], market: Mapping[str, Any]) -> OrderReport:
    size, filled = decimal_in(order, "sz"), decimal_in(order, "accFillSz") or ZERO
    return OrderReport(
        client_order_id=str(order.get("clOrdId") or ""),
        exchange_order_id=text_in(order, "ordId"),
        symbol=str(market["symbol"]),
        status=status_in(_STATUSES, order.get("state")),
        amount=base_amount(market, size) if size is not None else None,
        price=positive(decimal_in(order, "px")),
        filled=base_amount(market, filled),
        average=positive(decimal_in(order, "avgPx")),
        fees=_fees(order),
        exchange_at=int(order.get("uTime") or order.get("cTime") or 0),
    )


def _fees(order: Mapping[str, Any]) -> dict[str, Decimal]:
    """OKX writes a fee as a negative number and a rebate as a positive one."""
    change = decimal_in(order, "fee")
    return {text_in(order, "feeCcy"): -change} if change else {}
