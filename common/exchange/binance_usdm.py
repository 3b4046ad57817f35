"""Binance USDⓈ-M futures. Stop and take-profit orders live apart, under the algo order endpoints.

A conditional order keeps its algo id as exchange order id. Once triggered it continues as an ordinary order of
another id (`actualOrderId`), whose fills and end are reported under the conditional order's ids.
Sources: "Trade" of the USDⓈ-M documentation (developers.binance.com), and what ccxt 4.5.90 sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, Final

import msgspec

from common.exchange.base import ExchangeFailure, OrderReference, OrderReport, OrderRequest, Outcome
from common.exchange.binance import STATUSES, Binance
from common.exchange.binance_codes import UNCHANGED, USDM_ERRORS
from common.exchange.venue import (
    about,
    decimal_in,
    fields_in,
    filled_in,
    market_of,
    number_id_in,
    positive,
    refused,
    rows_in,
    same_order,
    status_in,
    symbol_of,
    text_in,
    unreadable,
    wire_text,
)
from orderlane.intents import OrderType, TimeInForce
from orderlane.orders import OrderStatus

_TYPES: Final = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.STOP_MARKET: "STOP_MARKET",
    OrderType.STOP_LIMIT: "STOP",
    OrderType.TAKE_PROFIT_MARKET: "TAKE_PROFIT_MARKET",
    OrderType.TAKE_PROFIT_LIMIT: "TAKE_PROFIT",
}

_ALGO_STATUSES: Final = {
    "NEW": OrderStatus.ACTIVE,
    "TRIGGERING": OrderStatus.ACTIVE,
    "CANCELED": OrderStatus.CANCELED,
    "EXPIRED": OrderStatus.EXPIRED,
    "REJECTED": OrderStatus.REJECTED,
}
_TRIGGERED: Final = ("TRIGGERED", "FINISHED")
"""The rest of `algoStatus`: the order it became is on the book, or has ended there."""


class BinanceUsdm(Binance):
    """Binance USDⓈ-M futures."""

    errors = USDM_ERRORS
    amends_in_place = True
    options: ClassVar[Mapping[str, Any]] = {
        "fetchMarkets": {"types": ["linear"]},
        "fetchCurrencies": False,
        "fetchMargins": False,
    }

    def use_testnet(self, client: Any) -> None:
        client.enable_demo_trading(
            True
        )  # ccxt refuses its sandbox for futures since Binance moved to demo trading

    async def place(self, client: Any, request: OrderRequest, at_ms: int) -> OrderReport:
        params = usdm_order(market_of(client, request.symbol)["id"], request)
        if request.type.has_trigger:
            reply = fields_in(await client.fapiPrivatePostAlgoOrder(params))
            same_order(request.client_order_id, text_in(reply, "clientAlgoId"))
            return _algo_report(reply, request.symbol)
        reply = fields_in(await client.fapiPrivatePostOrder(params))
        same_order(request.client_order_id, text_in(reply, "clientOrderId"))
        return usdm_report(reply, request.symbol)

    async def cancel(self, client: Any, reference: OrderReference, at_ms: int) -> OrderReport | None:
        if reference.conditional:
            return await self._cancel_conditional(client, reference)
        reply = fields_in(await client.fapiPrivateDeleteOrder(_named(client, reference)))
        return about(reference, usdm_report(reply, reference.symbol))

    async def _cancel_conditional(self, client: Any, reference: OrderReference) -> OrderReport | None:
        try:
            await client.fapiPrivateDeleteAlgoOrder(_named(client, reference))
        except ExchangeFailure as failure:
            if failure.outcome is not Outcome.NOT_FOUND:
                raise
            algo = fields_in(await client.fapiPrivateGetAlgoOrder(_named(client, reference)))
            if algo.get("algoStatus") not in _TRIGGERED:
                raise failure from None
            reply = fields_in(await client.fapiPrivateDeleteOrder(_actual(client, reference.symbol, algo)))
            return _under_algo_ids(algo, usdm_report(reply, reference.symbol))
        return None  # the reply says "success" and nothing of the order

    async def amend(
        self, client: Any, reference: OrderReference, request: OrderRequest, at_ms: int
    ) -> OrderReport:
        if reference.conditional or request.type is not OrderType.LIMIT or request.price is None:
            raise refused("amend_unsupported", f"USDⓈ-M amends limit orders alone, not {request.type} ones")
        params = {
            **_named(client, reference),
            "side": request.side.upper(),
            "quantity": wire_text(request.amount),
            "price": wire_text(request.price),
        }
        try:
            reply = fields_in(await client.fapiPrivatePutOrder(params))
        except ExchangeFailure as failure:
            if failure.code != UNCHANGED:
                raise
            reply = fields_in(await client.fapiPrivateGetOrder(_named(client, reference)))
        return about(reference, usdm_report(reply, reference.symbol))

    async def cancel_all(self, client: Any, symbol: str, at_ms: int) -> None:
        on_symbol = {"symbol": market_of(client, symbol)["id"]}
        # Conditional ones first: one that triggers in between becomes an ordinary order, and is met as such.
        for cancel in (client.fapiPrivateDeleteAlgoOpenOrders, client.fapiPrivateDeleteAllOpenOrders):
            try:
                await cancel(dict(on_symbol))
            except ExchangeFailure as failure:
                if failure.outcome is not Outcome.NOT_FOUND:  # nothing was open
                    raise

    async def find(self, client: Any, reference: OrderReference) -> OrderReport | None:
        ask = client.fapiPrivateGetAlgoOrder if reference.conditional else client.fapiPrivateGetOrder
        try:
            reply = fields_in(await ask(_named(client, reference)))
        except ExchangeFailure as failure:
            if failure.outcome is Outcome.NOT_FOUND:
                return None
            raise
        if not reference.conditional:
            return about(reference, usdm_report(reply, reference.symbol))
        if reply.get("algoStatus") not in _TRIGGERED:
            return about(reference, _algo_report(reply, reference.symbol))
        actual = fields_in(await self._actual_order(client, reference.symbol, reply))
        return about(reference, _under_algo_ids(reply, usdm_report(actual, reference.symbol)))

    async def _actual_order(self, client: Any, symbol: str, algo: Mapping[str, Any]) -> Any:
        try:
            return await client.fapiPrivateGetOrder(_actual(client, symbol, algo))
        except ExchangeFailure as failure:
            # The conditional order exists: "no such order" about its successor must not read as its absence.
            raise ExchangeFailure(
                Outcome.UNKNOWN, failure.code, f"the triggered order can't be read: {failure.message}"
            ) from None

    async def open_orders(self, client: Any, symbol: str | None) -> list[OrderReport]:
        narrowed = {"symbol": market_of(client, symbol)["id"]} if symbol else {}
        conditional = rows_in(await client.fapiPrivateGetOpenAlgoOrders(dict(narrowed)))
        ordinary = rows_in(await client.fapiPrivateGetOpenOrders(dict(narrowed)))
        return [_algo_report(row, _symbol(client, row)) for row in conditional] + [
            usdm_report(row, _symbol(client, row)) for row in ordinary
        ]

    async def reference_price(self, client: Any, symbol: str) -> Decimal:
        reply = fields_in(await client.fapiPublicGetPremiumIndex({"symbol": market_of(client, symbol)["id"]}))
        mark = positive(decimal_in(reply, "markPrice"))
        if mark is None:
            raise unreadable(f"{symbol} has no mark price now", reply)
        return mark


def usdm_order(market_id: str, request: OrderRequest) -> dict[str, Any]:
    """The parameters of `POST /fapi/v1/order`, or of `POST /fapi/v1/algoOrder` for a conditional order."""
    params: dict[str, Any] = {
        **request.params,
        "symbol": market_id,
        "side": request.side.upper(),
        "newOrderRespType": "RESULT",
        "type": _TYPES[request.type],
        "quantity": wire_text(request.amount),
    }
    if request.price is not None:
        params["price"] = wire_text(request.price)
    time_in_force = request.time_in_force
    if time_in_force is None and request.type is OrderType.LIMIT:
        time_in_force = TimeInForce.GTC
    if time_in_force is not None:
        params["timeInForce"] = "GTX" if time_in_force is TimeInForce.PO else str(time_in_force)
    if request.reduce_only:
        params["reduceOnly"] = True
    if request.trigger_price is not None:
        params["triggerPrice"] = wire_text(request.trigger_price)
        params["algoType"] = "CONDITIONAL"
        params["clientAlgoId"] = request.client_order_id
    else:
        params["newClientOrderId"] = request.client_order_id
    return params


def usdm_report(order: Mapping[str, Any], symbol: str) -> OrderReport:
    """A report from an ordinary order; these replies carry no fees."""
    amount = decimal_in(order, "origQty")
    return OrderReport(
        client_order_id=str(order.get("clientOrderId") or ""),
        exchange_order_id=number_id_in(order, "orderId"),
        symbol=symbol,
        status=status_in(STATUSES, order.get("status")),
        amount=amount,
        price=positive(decimal_in(order, "price")),
        filled=filled_in(order, "executedQty", amount),
        average=positive(decimal_in(order, "avgPrice")),
        exchange_at=int(order.get("updateTime") or order.get("time") or 0),
    )


def _algo_report(order: Mapping[str, Any], symbol: str) -> OrderReport:
    triggered = order.get("algoStatus") in _TRIGGERED
    return OrderReport(
        client_order_id=str(order.get("clientAlgoId") or ""),
        exchange_order_id=number_id_in(order, "algoId"),
        symbol=symbol,
        status=OrderStatus.ACTIVE if triggered else status_in(_ALGO_STATUSES, order.get("algoStatus")),
        amount=decimal_in(order, "quantity"),
        price=positive(decimal_in(order, "price")),
        exchange_at=int(order.get("updateTime") or order.get("createTime") or 0),
    )


def _under_algo_ids(algo: Mapping[str, Any], report: OrderReport) -> OrderReport:
    return msgspec.structs.replace(
        report,
        client_order_id=str(algo.get("clientAlgoId") or ""),
        exchange_order_id=number_id_in(algo, "algoId"),
    )


def _actual(client: Any, symbol: str, algo: Mapping[str, Any]) -> dict[str, Any]:
    return {"symbol": market_of(client, symbol)["id"], "orderId": number_id_in(algo, "actualOrderId")}


def _named(client: Any, reference: OrderReference) -> dict[str, Any]:
    named: dict[str, Any] = {"symbol": market_of(client, reference.symbol)["id"]}
    if reference.conditional:
        by_id, by_client_id = "algoId", "clientAlgoId"
    else:
        by_id, by_client_id = "orderId", "origClientOrderId"
    if reference.exchange_order_id:
        named[by_id] = reference.exchange_order_id
    else:
        named[by_client_id] = reference.client_order_id
    return named


def _symbol(client: Any, row: Mapping[str, Any]) -> str:
    return symbol_of(client, text_in(row, "symbol"), contract=True)
