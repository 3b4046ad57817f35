"""Binance USDⓈ-M futures. Stop and take-profit orders live apart, under the algo order endpoints.

A conditional order keeps its algo id as exchange order id. Once triggered it continues as an ordinary order of
another id (`actualOrderId`), whose fills and end are reported under the conditional order's ids.
Sources: "Trade" of the USDⓈ-M documentation (developers.binance.com), and what ccxt 4.5.90 sends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Final

import msgspec

from common.exchange import binance_batch, binance_positions, binance_trades
from common.exchange import binance_requests as endpoints
from common.exchange.account_figures import BalanceReport, PositionReport
from common.exchange.base import (
    ExchangeFailure,
    OrderReference,
    OrderReport,
    OrderRequest,
    Outcome,
    TradeReport,
)
from common.exchange.binance import Binance
from common.exchange.binance_codes import UNCHANGED, USDM_ERRORS
from common.exchange.binance_replies import (
    ALGO_ORDER,
    ALGO_ORDERS,
    CONFIRMATION,
    TRIGGERED,
    USDM_LISTED,
    USDM_ORDER,
    USDM_ORDERS,
    AlgoOrder,
    UsdmOrder,
    algo_report,
    number_id,
    usdm_report,
)
from common.exchange.binance_streams import UsdmStreamReader
from common.exchange.fields import (
    confirmed,
    distinct,
    fields_in,
    market_id_in,
    measure_in,
    same_order,
    unreadable,
)
from common.exchange.venue import market_of, refused, symbol_of, wire_text
from orderlane.intents import OrderType, TimeInForce

_TYPES: Final = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.STOP_MARKET: "STOP_MARKET",
    OrderType.STOP_LIMIT: "STOP",
    OrderType.TAKE_PROFIT_MARKET: "TAKE_PROFIT_MARKET",
    OrderType.TAKE_PROFIT_LIMIT: "TAKE_PROFIT",
}


class BinanceUsdm(Binance):
    """Binance USDⓈ-M futures."""

    errors = USDM_ERRORS
    stream_reader = UsdmStreamReader()
    amends_in_place = True
    holds_positions = True
    batch_limit = binance_batch.BATCH_LIMIT
    options: ClassVar[Mapping[str, Any]] = {
        "fetchMarkets": {"types": ["linear"]},
        # Else each opening of a user stream asks for all positions, beside the shared limits, and for nobody's use.
        "watchPositions": {"fetchPositionsSnapshot": False, "awaitPositionsSnapshot": False},
        "fetchCurrencies": False,
        "fetchMargins": False,
    }

    def use_testnet(self, client: Any) -> None:
        client.enable_demo_trading(
            True
        )  # ccxt refuses its sandbox for futures since Binance moved to demo trading

    async def place(self, client: Any, request: OrderRequest, at_ms: int) -> OrderReport:
        market_id = market_of(client, request.symbol)["id"]
        params = usdm_order(market_id, request)
        if request.type.has_trigger:
            algo = await self.ask(client, endpoints.ALGO_PLACE, params, ALGO_ORDER)
            same_order(request.client_order_id, algo.client_algo_id)
            return algo_report(algo, market_id, request.symbol)
        order = await self.ask(client, endpoints.USDM_PLACE, params, USDM_ORDER)
        same_order(request.client_order_id, order.client_order_id)
        return usdm_report(order, market_id, request.symbol)

    def batches(self, request: OrderRequest) -> bool:
        return binance_batch.batches(request)

    async def place_batch(
        self, client: Any, requests: Sequence[OrderRequest], at_ms: int
    ) -> list[OrderReport | ExchangeFailure]:
        return await binance_batch.place_batch(self, client, requests, at_ms, usdm_order)

    async def cancel(self, client: Any, reference: OrderReference, at_ms: int) -> OrderReport | None:
        if reference.conditional:
            return await self._cancel_conditional(client, reference)
        named = _named(client, reference)
        order = await self.ask(client, endpoints.USDM_CANCEL, named, USDM_ORDER)
        return confirmed(reference, usdm_report(order, named["symbol"], reference.symbol))

    async def _cancel_conditional(self, client: Any, reference: OrderReference) -> OrderReport | None:
        named = _named(client, reference)
        try:
            await self.ask(client, endpoints.ALGO_CANCEL, named, CONFIRMATION)
        except ExchangeFailure as failure:
            if failure.outcome is not Outcome.NOT_FOUND:
                raise
            algo = await self.ask(client, endpoints.ALGO_FIND, named, ALGO_ORDER)
            if algo.algo_status not in TRIGGERED:
                raise failure from None
            confirmed(reference, algo_report(algo, named["symbol"], reference.symbol))
            order = await self.ask(client, endpoints.USDM_CANCEL, _actual(algo), USDM_ORDER)
            return _under_algo_ids(algo, order, reference.symbol)
        return None  # the reply says "success" and nothing of the order

    async def amend(
        self, client: Any, reference: OrderReference, request: OrderRequest, at_ms: int
    ) -> OrderReport:
        if reference.conditional or request.type is not OrderType.LIMIT or request.price is None:
            raise refused("amend_unsupported", f"USDⓈ-M amends limit orders alone, not {request.type} ones")
        named = _named(client, reference)
        params = {
            **named,
            "side": request.side.upper(),
            "quantity": wire_text(request.amount),
            "price": wire_text(request.price),
        }
        try:
            order = await self.ask(client, endpoints.USDM_AMEND, params, USDM_ORDER)
        except ExchangeFailure as failure:
            if failure.code != UNCHANGED:
                raise
            order = await self.ask(client, endpoints.USDM_FIND, named, USDM_ORDER)
        return confirmed(reference, usdm_report(order, named["symbol"], reference.symbol))

    async def cancel_all(self, client: Any, symbol: str, at_ms: int) -> None:
        on_symbol = {"symbol": market_of(client, symbol)["id"]}
        # Conditional ones first: one that triggers in between becomes an ordinary order, and is met as such.
        for endpoint in (endpoints.ALGO_CANCEL_ALL, endpoints.USDM_CANCEL_ALL):
            try:
                await self.ask(client, endpoint, on_symbol, CONFIRMATION)
            except ExchangeFailure as failure:
                if failure.outcome is not Outcome.NOT_FOUND:  # nothing was open
                    raise

    async def find(self, client: Any, reference: OrderReference) -> OrderReport | None:
        try:
            return await (self._find_conditional if reference.conditional else self._find)(client, reference)
        except ExchangeFailure as failure:
            if failure.outcome is Outcome.NOT_FOUND:
                return None
            raise

    async def _find(self, client: Any, reference: OrderReference) -> OrderReport:
        named = _named(client, reference)
        order = await self.ask(client, endpoints.USDM_FIND, named, USDM_LISTED)
        return confirmed(reference, usdm_report(order, named["symbol"], reference.symbol))

    async def _find_conditional(self, client: Any, reference: OrderReference) -> OrderReport:
        named = _named(client, reference)
        algo = await self.ask(client, endpoints.ALGO_FIND, named, ALGO_ORDER)
        report = confirmed(reference, algo_report(algo, named["symbol"], reference.symbol))
        if algo.algo_status not in TRIGGERED:
            return report
        try:
            order = await self.ask(client, endpoints.USDM_FIND, _actual(algo), USDM_ORDER)
        except ExchangeFailure as failure:
            # The conditional order exists: "no such order" about its successor must not read as its absence.
            raise ExchangeFailure(
                Outcome.UNKNOWN, failure.code, f"the triggered order can't be read: {failure.message}"
            ) from None
        return msgspec.structs.replace(_under_algo_ids(algo, order, reference.symbol), terms=report.terms)

    async def open_orders(self, client: Any, symbol: str | None) -> list[OrderReport]:
        narrowed = {"symbol": market_of(client, symbol)["id"]} if symbol else {}
        conditional = await self.ask(client, endpoints.ALGO_OPEN, narrowed, ALGO_ORDERS)
        ordinary = await self.ask(client, endpoints.USDM_OPEN, narrowed, USDM_ORDERS)
        expected = narrowed.get("symbol")
        return [
            *distinct(algo_report(row, expected or row.symbol, _symbol(client, row)) for row in conditional),
            *distinct(usdm_report(row, expected or row.symbol, _symbol(client, row)) for row in ordinary),
        ]

    async def trades(
        self, client: Any, symbol: str, since_ms: int, after_id: str, of_order: str = ""
    ) -> list[TradeReport]:
        market_id = market_of(client, symbol)["id"]
        page = binance_trades.page_of(market_id, since_ms, after_id, of_order)
        rows = await self.ask(client, binance_trades.USDM_TRADES, page, binance_trades.USDM_ROWS)
        return binance_trades.usdm_trades(rows, market_id, symbol)

    async def positions(self, client: Any) -> list[PositionReport]:
        rows = await self.ask(
            client, binance_positions.USDM_POSITIONS, {}, binance_positions.USDM_POSITION_ROWS
        )
        return binance_positions.usdm_positions(
            rows, lambda market_id: symbol_of(client, market_id, contract=True)
        )

    async def balances(self, client: Any) -> list[BalanceReport]:
        rows = await self.ask(
            client, binance_positions.USDM_BALANCES, {}, binance_positions.USDM_BALANCE_ROWS
        )
        return binance_positions.usdm_balances(rows)

    async def reference_price(self, client: Any, symbol: str) -> Decimal:
        market_id = market_of(client, symbol)["id"]
        reply = fields_in(await client.fapiPublicGetPremiumIndex({"symbol": market_id}))
        market_id_in(reply, "symbol", market_id)
        mark = measure_in(reply, "markPrice")
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


def _under_algo_ids(algo: AlgoOrder, order: UsdmOrder, symbol: str) -> OrderReport:
    actual = number_id("actualOrderId", algo.actual_order_id)
    report = usdm_report(order, algo.symbol, symbol)
    same_order(actual, report.exchange_order_id)
    return msgspec.structs.replace(
        report, client_order_id=algo.client_algo_id, exchange_order_id=number_id("algoId", algo.algo_id)
    )


def _actual(algo: AlgoOrder) -> dict[str, Any]:
    return {"symbol": algo.symbol, "orderId": number_id("actualOrderId", algo.actual_order_id)}


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


def _symbol(client: Any, row: UsdmOrder | AlgoOrder) -> str:
    return symbol_of(client, row.symbol, contract=True)
