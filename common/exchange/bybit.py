"""Bybit v5, spot and linear contracts, for unified trading accounts.

Sources: "Error Codes", "Place Order", "Get Open & Closed Orders", "Get Order History" of the v5 documentation
(bybit-exchange.github.io/docs/v5), the error list of ccxt 4.5.90, and what that version sends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any, ClassVar, Final

from common.exchange.base import ExchangeFailure, OrderReference, OrderReport, OrderRequest, Outcome
from common.exchange.classify import ErrorTable, MessageRule, VenueError
from common.exchange.settings import ExchangeSettings
from common.exchange.venue import (
    ZERO,
    Venue,
    about,
    accepted,
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
from orderlane.intents import OrderType, Side, TimeInForce
from orderlane.orders import OrderStatus

_UNKNOWN: Final = (
    10000,  # "Server Timeout"
    10016,  # "Internal server error" / "System error. Please try again later."
    110079,  # "The order is processing and cannot be operated during this time"
    170001,  # "Internal error."
    170007,  # "Timeout waiting for response from backend server."
    170032,  # "Network error. Please try again later"
    170146,  # "Order creation timeout"
    170147,  # "Order cancellation timeout"
    170149,  # "Create order failed": not why
    170150,  # "Cancel order failed": not why
    170191,  # "Can not cancel order, please try again later"
    170234,  # "System Error"
)
_THROTTLED: Final = (
    10006,  # "Too many visits. Exceeded the API Rate Limit."
    10018,  # "Exceeded the IP Rate Limit."
    10429,  # "System level frequency protection"
    170005,  # "Too many new orders; current limit is %s orders per %s."
    170222,  # "Too many requests in this time frame."
)
_NOT_FOUND: Final = (
    110001,  # "Order does not exist" / "order not exists or too late to cancel"
    110008,  # "Order has been finished or canceled"
    110010,  # "Order already cancelled"
    170139,  # "Order has been filled."
    170142,  # "Order has been canceled"
    170143,  # "Cannot be found on order book"
    170190,  # "Cancel order has been finished"
    170213,  # "Order does not exist."
)
_DUPLICATE: Final = (
    110072,  # "OrderLinkedID is duplicate"
    170141,  # "Duplicate clientOrderId"
)
_REFUSED: Final = (
    *(
        10001,
        10003,
        10004,
        10005,
        10007,
        10008,
        10009,
        10010,
    ),  # parameters, key, signature, permission, bans, address
    *(10017, 10020, 10024, 10027, 10028, 10029),  # route, account type, compliance, trading ban, symbol list
    *range(110003, 110008),  # price out of range, balance, position status
    *(110009, 110011, 110012, 110014),  # too many stop orders, liquidation, balance
    *range(110016, 110024),  # risk limit, reduce-only, too many orders, open interest, reduction only
    *(110031, 110032, 110034, 110039, 110040, 110042, 110044, 110045),
    *(110051, 110052, 110053, 110057, 110058, 110059, 110063, 110064, 110066, 110068, 110069, 110070),
    *(110092, 110093, 110094),  # trigger price on the wrong side, notional below the minimum
    *(170010, 170011, 170019, 170031, 170033, 170034, 170036, 170037, 170105),
    *(170115, 170116, 170117, 170121, 170124),  # time in force, type, side, symbol, amount too large
    *range(170130, 170138),  # parameter, balance, price and quantity bounds and decimals
    *(170140, 170144, 170145, 170148, 170151, 170157, 170159),
    *range(170192, 170195),  # price limits
    *range(170197, 170205),  # quantity against the book, restricted account, filter, trigger prices
    *(170206, 170209, 170210, 170217, 170218, 170221, 170223, 170224, 170226, 170227, 170228, 170229, 170241),
    *range(181000, 181005),  # category, symbol, side missing
)

ERRORS: Final = ErrorTable(
    outcomes={
        **{str(code): Outcome.UNKNOWN for code in _UNKNOWN},
        **{str(code): Outcome.THROTTLED for code in _THROTTLED},
        **{str(code): Outcome.NOT_FOUND for code in _NOT_FOUND},
        **{str(code): Outcome.DUPLICATE for code in _DUPLICATE},
        **{str(code): Outcome.REFUSED for code in _REFUSED},
        "10002": Outcome.LATE,  # "The request time exceeds the time window range."
        # "Request is duplicate": the same request arrived twice, so the order may be there.
        "10014": Outcome.DUPLICATE,
    },
    # "If you receive HTTP 403 'access too frequent', your IP has breached the limit": ten minutes.
    messages=(MessageRule("http_403", "access too frequent", Outcome.THROTTLED),),
    per_account=frozenset({"10006", "10429", "170005", "170222"}),
    retry_after_ms={"http_403": 600_000, "10018": 5_000},
)

_STATUSES: Final = {
    **dict.fromkeys(
        ("Created", "New", "Untriggered", "Triggered", "Active", "PendingCancel"), OrderStatus.ACTIVE
    ),
    "PartiallyFilled": OrderStatus.PARTIAL,
    "Filled": OrderStatus.FILLED,
    **dict.fromkeys(("Cancelled", "PartiallyFilledCanceled", "Deactivated"), OrderStatus.CANCELED),
    "Rejected": OrderStatus.REJECTED,
}
"""`orderStatus` of the enum definitions."""

_PAGE: Final = 50
_SETTLE_COINS: Final = ("USDT", "USDC")
"""What linear contracts settle in; a listing over all symbols has to name one."""
_TIMES_IN_FORCE: Final = {TimeInForce.PO: "PostOnly"}


class Bybit(Venue):
    """Bybit v5. A new order is answered with its ids alone; it may still be rejected after that."""

    errors = ERRORS
    amends_in_place = True
    receive_window_bounds_ms: ClassVar[tuple[int, int]] = (1, 60_000)
    options: ClassVar[Mapping[str, Any]] = {
        "fetchMarkets": {"types": ["spot", "linear"]},
        # Unified accounts: without these, ccxt asks two questions before its first order.
        "enableUnifiedMargin": False,
        "enableUnifiedAccount": True,
        "unifiedMarginStatus": 6,
    }

    def configure(self, client: Any, settings: ExchangeSettings) -> None:
        super().configure(client, settings)
        client.options["recvWindow"] = settings.receive_window_ms
        client.has["fetchCurrencies"] = False

    def error_in(self, decoded: Any) -> VenueError | None:
        if not isinstance(decoded, dict) or str(decoded.get("retCode")) == "0":
            return None
        if "retCode" not in decoded:
            return VenueError("no_ret_code", str(decoded)[:200])
        return VenueError(str(decoded["retCode"]), str(decoded.get("retMsg", "")))

    async def place(self, client: Any, request: OrderRequest, at_ms: int) -> OrderReport:
        params = order_params(market_of(client, request.symbol), request)
        reply = fields_in(await client.privatePostV5OrderCreate(params))
        result = _result(reply)
        same_order(request.client_order_id, text_in(result, "orderLinkId"))
        return accepted(request, text_in(result, "orderId"), int(reply.get("time") or 0))

    async def cancel(self, client: Any, reference: OrderReference, at_ms: int) -> OrderReport | None:
        market = market_of(client, reference.symbol)
        params = _named(market, reference)
        if market["spot"]:
            params["orderFilter"] = "StopOrder" if reference.conditional else "Order"
        text_in(_result(await client.privatePostV5OrderCancel(params)), "orderId")
        return None

    async def amend(
        self, client: Any, reference: OrderReference, request: OrderRequest, at_ms: int
    ) -> OrderReport:
        params = {**_named(market_of(client, reference.symbol), reference), "qty": wire_text(request.amount)}
        if request.price is not None:
            params["price"] = wire_text(request.price)
        try:
            text_in(_result(await client.privatePostV5OrderAmend(params)), "orderId")
        except ExchangeFailure as failure:
            if not (failure.code == "10001" and "remains unchanged" in failure.message):
                raise
        return await read_after(self.find(client, reference))

    async def cancel_all(self, client: Any, symbol: str, at_ms: int) -> None:
        market = market_of(client, symbol)
        on_symbol = {"category": _category(market), "symbol": market["id"]}
        # Spot keeps stop orders apart and cancels one kind at a time; linear cancels all kinds at once.
        filters = ({"orderFilter": "Order"}, {"orderFilter": "StopOrder"}) if market["spot"] else ({},)
        for kind in filters:
            _result(await client.privatePostV5OrderCancelAll({**on_symbol, **kind}))

    async def find(self, client: Any, reference: OrderReference) -> OrderReport | None:
        market = market_of(client, reference.symbol)
        # Open and recently closed orders; the history where that was cleared (it is, when their service restarts).
        for ask in (client.privateGetV5OrderRealtime, client.privateGetV5OrderHistory):
            rows = _rows(await ask(_named(market, reference)))
            if rows:
                return about(reference, _report(rows[0], market))
        return None

    async def open_orders(self, client: Any, symbol: str | None) -> list[OrderReport]:
        queries: list[dict[str, Any]]
        if symbol is not None:
            market = market_of(client, symbol)
            queries = [{"category": _category(market), "symbol": market["id"]}]
        else:
            queries = [{"category": "spot"}]
            queries += [{"category": "linear", "settleCoin": coin} for coin in _SETTLE_COINS]
        reports = []
        for query in queries:
            async for row in _pages(client, query):
                unified = symbol_of(client, text_in(row, "symbol"), contract=query["category"] == "linear")
                reports.append(_report(row, client.markets.get(unified) or {"symbol": unified}))
        return reports


def order_params(market: Mapping[str, Any], request: OrderRequest) -> dict[str, Any]:
    """The parameters of `POST /v5/order/create`."""
    spot = bool(market["spot"])
    if spot and request.reduce_only:
        raise refused(
            "unsupported_order", "spot has no reduce-only orders: nothing is held that could be reduced"
        )
    params: dict[str, Any] = {
        **request.params,
        "category": _category(market),
        "symbol": market["id"],
        "side": request.side.capitalize(),
        "orderType": "Limit" if request.type.has_price else "Market",
        "orderLinkId": request.client_order_id,
        "qty": wire_text(request.amount),
    }
    if spot and not request.type.has_price:
        params["marketUnit"] = "baseCoin"  # else a market buy's quantity would be read as an amount of quote
    if request.price is not None:
        params["price"] = wire_text(request.price)
    if request.time_in_force is not None:
        params["timeInForce"] = _TIMES_IN_FORCE.get(request.time_in_force, str(request.time_in_force))
    if request.reduce_only:
        params["reduceOnly"] = True
    if request.trigger_price is not None:
        params["triggerPrice"] = wire_text(request.trigger_price)
        if spot:
            params["orderFilter"] = "StopOrder"
        else:
            params["triggerDirection"] = 1 if _triggers_rising(request) else 2
    return params


def _triggers_rising(request: OrderRequest) -> bool:
    stops = request.type in (OrderType.STOP_MARKET, OrderType.STOP_LIMIT)
    return stops == (request.side is Side.BUY)


def _category(market: Mapping[str, Any]) -> str:
    return "spot" if market["spot"] else "linear"


def _named(market: Mapping[str, Any], reference: OrderReference) -> dict[str, Any]:
    named = {"category": _category(market), "symbol": market["id"]}
    if reference.exchange_order_id:
        return {**named, "orderId": reference.exchange_order_id}
    return {**named, "orderLinkId": reference.client_order_id}


def _result(decoded: Any) -> dict[str, Any]:
    return fields_in(fields_in(decoded).get("result"))


def _rows(decoded: Any) -> list[dict[str, Any]]:
    return rows_in(_result(decoded).get("list"))


async def _pages(client: Any, query: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    cursor = ""
    while True:
        page = _result(
            await client.privateGetV5OrderRealtime(
                {**query, "limit": _PAGE, **({"cursor": cursor} if cursor else {})}
            )
        )
        rows = rows_in(page.get("list"))
        for row in rows:
            yield row
        following = str(page.get("nextPageCursor") or "")
        if not following or len(rows) < _PAGE:
            return
        if following == cursor:
            raise unreadable("the list of open orders doesn't end", query)
        cursor = following


def _report(order: Mapping[str, Any], market: Mapping[str, Any]) -> OrderReport:
    filled = decimal_in(order, "cumExecQty") or ZERO
    return OrderReport(
        client_order_id=str(order.get("orderLinkId") or ""),
        exchange_order_id=text_in(order, "orderId"),
        symbol=str(market["symbol"]),
        status=status_in(_STATUSES, order.get("orderStatus")),
        amount=decimal_in(order, "qty"),
        price=positive(decimal_in(order, "price")),
        filled=filled,
        average=positive(decimal_in(order, "avgPrice")) if filled else None,
        fees=_fees(order, market),
        exchange_at=int(order.get("updatedTime") or order.get("createdTime") or 0),
    )


def _fees(order: Mapping[str, Any], market: Mapping[str, Any]) -> dict[str, Decimal]:
    by_coin = order.get("cumFeeDetail")
    if isinstance(by_coin, dict) and by_coin:
        return {str(coin): decimal_in(by_coin, coin) or ZERO for coin in by_coin}
    paid = decimal_in(order, "cumExecFee")
    settle = market.get("settle")
    return {str(settle): paid} if paid and settle else {}
