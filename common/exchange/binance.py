"""Binance spot, and what spot and USDⓈ-M futures share. Orders take the direct way: our parameters, ccxt's signature.

Sources: "Trading endpoints" of the spot documentation (developers.binance.com), and what ccxt 4.5.90 sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, Final

from common.exchange.base import ExchangeFailure, OrderReference, OrderReport, OrderRequest, Outcome, Usage
from common.exchange.binance_codes import SPOT_ERRORS
from common.exchange.classify import VenueError
from common.exchange.settings import ExchangeSettings
from common.exchange.venue import (
    ZERO,
    Venue,
    about,
    decimal_in,
    fields_in,
    filled_in,
    market_of,
    middle,
    number_id_in,
    positive,
    refused,
    rows_in,
    same_order,
    status_in,
    symbol_of,
    text_in,
    wire_text,
)
from orderlane.intents import OrderType, TimeInForce
from orderlane.orders import OrderStatus

STATUSES: Final = {
    "NEW": OrderStatus.ACTIVE,
    "PENDING_NEW": OrderStatus.ACTIVE,
    "PARTIALLY_FILLED": OrderStatus.PARTIAL,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELED,
    "PENDING_CANCEL": OrderStatus.ACTIVE,
    "REJECTED": OrderStatus.REJECTED,
    "EXPIRED": OrderStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
}
"""Order status (`status`) of the spot and USDⓈ-M enum definitions."""

_SPOT_TYPES: Final = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.STOP_MARKET: "STOP_LOSS",
    OrderType.STOP_LIMIT: "STOP_LOSS_LIMIT",
    OrderType.TAKE_PROFIT_MARKET: "TAKE_PROFIT",
    OrderType.TAKE_PROFIT_LIMIT: "TAKE_PROFIT_LIMIT",
}

_USED_WEIGHT: Final = "x-mbx-used-weight-"
_ORDER_COUNT: Final = "x-mbx-order-count-"


class Binance(Venue):
    """What both Binance products share: codes in `{"code": …, "msg": …}`, headers, the receive window."""

    receive_window_bounds_ms: ClassVar[tuple[int, int]] = (1, 60_000)

    def configure(self, client: Any, settings: ExchangeSettings) -> None:
        super().configure(client, settings)
        client.options["recvWindow"] = settings.receive_window_ms

    def error_in(self, decoded: Any) -> VenueError | None:
        if not isinstance(decoded, dict) or "code" not in decoded or str(decoded["code"]) in ("0", "200"):
            return None
        return VenueError(str(decoded["code"]), str(decoded.get("msg", "")))

    def usage(self, headers: Mapping[str, str]) -> tuple[Usage, ...]:
        """X-MBX-USED-WEIGHT-1M -> weight_1m of the address, X-MBX-ORDER-COUNT-10S -> orders_10s of the account."""
        found = []
        for name, value in headers.items():
            if name.startswith("x-mbx-") and value.isdecimal():
                if name.startswith(_USED_WEIGHT):
                    found.append(Usage("ip", f"weight_{name.removeprefix(_USED_WEIGHT)}", int(value)))
                elif name.startswith(_ORDER_COUNT):
                    found.append(Usage("account", f"orders_{name.removeprefix(_ORDER_COUNT)}", int(value)))
        return tuple(found)


class BinanceSpot(Binance):
    """Binance spot. Stop and take-profit orders are ordinary orders here."""

    errors = SPOT_ERRORS
    options: ClassVar[Mapping[str, Any]] = {
        "fetchMarkets": {"types": ["spot"]},
        "fetchCurrencies": False,
        "fetchMargins": False,
    }

    async def place(self, client: Any, request: OrderRequest, at_ms: int) -> OrderReport:
        market = market_of(client, request.symbol)
        reply = fields_in(await client.privatePostOrder(spot_order(market["id"], request)))
        same_order(request.client_order_id, text_in(reply, "clientOrderId"))
        return spot_report(reply, request.symbol)

    async def cancel(self, client: Any, reference: OrderReference, at_ms: int) -> OrderReport | None:
        reply = fields_in(await client.privateDeleteOrder(_named(client, reference)))
        return about(reference, spot_report(reply, reference.symbol))

    async def cancel_all(self, client: Any, symbol: str, at_ms: int) -> None:
        try:
            await client.privateDeleteOpenOrders({"symbol": market_of(client, symbol)["id"]})
        except ExchangeFailure as failure:
            if failure.outcome is not Outcome.NOT_FOUND:  # -2011 also says that nothing was open
                raise

    async def find(self, client: Any, reference: OrderReference) -> OrderReport | None:
        try:
            reply = fields_in(await client.privateGetOrder(_named(client, reference)))
        except ExchangeFailure as failure:
            if failure.outcome is Outcome.NOT_FOUND:
                return None
            raise
        return about(reference, spot_report(reply, reference.symbol))

    async def open_orders(self, client: Any, symbol: str | None) -> list[OrderReport]:
        narrowed = {"symbol": market_of(client, symbol)["id"]} if symbol else {}
        rows = rows_in(await client.privateGetOpenOrders(narrowed))
        return [spot_report(row, symbol_of(client, text_in(row, "symbol"), contract=False)) for row in rows]

    async def reference_price(self, client: Any, symbol: str) -> Decimal:
        ticker = fields_in(
            await client.publicGetTickerBookTicker({"symbol": market_of(client, symbol)["id"]})
        )
        return middle(symbol, ticker.get("bidPrice"), ticker.get("askPrice"))


def spot_order(market_id: str, request: OrderRequest) -> dict[str, Any]:
    """The parameters of `POST /api/v3/order`, as ccxt's `create_order` would send them.

    Raises:
        ExchangeFailure: REFUSED, spot has no such order.
    """
    if request.reduce_only:
        raise refused(
            "unsupported_order", "spot has no reduce-only orders: nothing is held that could be reduced"
        )
    post_only = request.time_in_force is TimeInForce.PO
    if post_only and request.type is not OrderType.LIMIT:
        raise refused(
            "unsupported_order", f"spot has no post-only {request.type} order: only limit orders can be"
        )
    params: dict[str, Any] = {
        **request.params,
        "symbol": market_id,
        "side": request.side.upper(),
        "newClientOrderId": request.client_order_id,
        "newOrderRespType": "FULL",
        "type": "LIMIT_MAKER" if post_only else _SPOT_TYPES[request.type],
        "quantity": wire_text(request.amount),
    }
    if request.price is not None:
        params["price"] = wire_text(request.price)
        if not post_only:
            params["timeInForce"] = str(request.time_in_force or TimeInForce.GTC)
    if request.trigger_price is not None:
        params["stopPrice"] = wire_text(request.trigger_price)
    return params


def spot_report(order: Mapping[str, Any], symbol: str) -> OrderReport:
    """A report from an order as spot writes it: new (FULL), queried, listed or cancelled."""
    amount = decimal_in(order, "origQty")
    filled = filled_in(order, "executedQty", amount)
    # "For some historical orders cummulativeQuoteQty will be < 0, meaning the data is not available."
    spent = positive(decimal_in(order, "cummulativeQuoteQty"))
    return OrderReport(
        # A cancelled order's `clientOrderId` is that of the cancel; the order's own stands beside it.
        client_order_id=str(order.get("origClientOrderId") or order.get("clientOrderId") or ""),
        exchange_order_id=number_id_in(order, "orderId"),
        symbol=symbol,
        status=status_in(STATUSES, order.get("status")),
        amount=amount,
        price=positive(decimal_in(order, "price")),
        filled=filled,
        average=spent / filled if spent and filled else None,
        fees=_fees(order.get("fills") or ()),
        exchange_at=int(order.get("updateTime") or order.get("transactTime") or order.get("time") or 0),
    )


def _fees(fills: Any) -> dict[str, Decimal]:
    fees: dict[str, Decimal] = {}
    for fill in fills:
        paid = decimal_in(fill, "commission")
        if paid:
            currency = text_in(fill, "commissionAsset")
            fees[currency] = fees.get(currency, ZERO) + paid
    return fees


def _named(client: Any, reference: OrderReference) -> dict[str, Any]:
    market_id = market_of(client, reference.symbol)["id"]
    if reference.exchange_order_id:
        return {"symbol": market_id, "orderId": reference.exchange_order_id}
    return {"symbol": market_id, "origClientOrderId": reference.client_order_id}
