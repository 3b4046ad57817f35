"""Any other venue, through ccxt's unified methods alone: nothing of it was verified, so nothing is taken for certain.

It has no receive window that we know, so a lost reply parks its lane until somebody looks. Of ccxt's exception
classes only the few are verdicts here that can't also stand for "it happened".
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, Final

from common.exchange.base import (
    ExchangeFailure,
    Liquidity,
    OrderReference,
    OrderReport,
    OrderRequest,
    Outcome,
    TradeReport,
)
from common.exchange.ccxt_package import errors as ccxt_errors
from common.exchange.classify import SHOWN_LENGTH, ErrorTable, Operation, Reply, VenueError, classify
from common.exchange.fields import (
    confirmed,
    decimal_in,
    distinct,
    filled_in,
    measure_in,
    moment_in,
    same_order,
    status_in,
    text_in,
    unreadable,
)
from common.exchange.terms import read_terms
from common.exchange.venue import (
    Venue,
    accepted,
    base_amount,
    contracts_of,
    market_of,
    refused,
    wire_text,
)
from orderlane.intents import OrderType, Side
from orderlane.orders import OrderStatus

_STATUSES: Final = {
    "open": OrderStatus.ACTIVE,
    "closed": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELED,
    "canceling": OrderStatus.ACTIVE,
    "expired": OrderStatus.EXPIRED,
    "rejected": OrderStatus.REJECTED,
}
"""ccxt's unified order status."""

_TYPES: Final = {"market": OrderType.MARKET, "limit": OrderType.LIMIT}
"""ccxt's unified order types, of orders without a trigger: whether one is a stop, it doesn't say."""

_VERDICTS: Final[tuple[tuple[type[Exception], Outcome], ...]] = (
    (ccxt_errors.RateLimitExceeded, Outcome.THROTTLED),
    (ccxt_errors.OrderNotFound, Outcome.NOT_FOUND),
    (ccxt_errors.InsufficientFunds, Outcome.REFUSED),
    (ccxt_errors.AuthenticationError, Outcome.REFUSED),
    (ccxt_errors.BadSymbol, Outcome.REFUSED),
)
"""InvalidOrder is not among them: duplicates of an order that is there come as that."""


class Unified(Venue):
    """A venue without a file of its own."""

    errors: ClassVar[ErrorTable] = ErrorTable(outcomes={})

    def failure_in(
        self,
        client: Any,
        reply: Reply,
        decoded: Any,
        operation: Operation,
        request: dict[str, Any],
        now_ms: int,
    ) -> ExchangeFailure | None:
        if decoded == {} and 200 <= reply.status < 300:
            # ccxt would read an empty list out of it.
            return ExchangeFailure(Outcome.UNKNOWN, "empty_object", "the reply is empty", status=reply.status)
        body = reply.body.decode(errors="replace")
        try:
            client.handle_errors(
                reply.status, "", request["url"], request["method"], dict(reply.headers), body, decoded,
                request["headers"], request["body"],
            )  # fmt: skip
        except ccxt_errors.BaseError as error:
            return _failure(error, reply, self.errors, operation, now_ms)
        return classify(reply, None, self.errors, operation, now_ms)

    def error_in(self, decoded: Any) -> VenueError | None:
        return None

    async def place(self, client: Any, request: OrderRequest, at_ms: int) -> OrderReport:
        market = market_of(client, request.symbol)
        params: dict[str, Any] = {**request.params, "clientOrderId": request.client_order_id}
        if request.time_in_force is not None:
            params["timeInForce"] = str(request.time_in_force)
        if request.reduce_only:
            params["reduceOnly"] = True
        if request.trigger_price is not None:
            trigger = "stopLossPrice" if request.type.startswith("stop") else "takeProfitPrice"
            params[trigger] = wire_text(request.trigger_price)
        order = await client.create_order(
            request.symbol,
            "limit" if request.type.has_price else "market",
            str(request.side),
            wire_text(contracts_of(market, request.amount)),
            wire_text(request.price) if request.price is not None else None,
            params,
        )
        if order.get("clientOrderId") is not None:
            same_order(request.client_order_id, text_in(order, "clientOrderId"))
        return _placed(order, market, request)

    async def cancel(self, client: Any, reference: OrderReference, at_ms: int) -> OrderReport | None:
        order_id = reference.exchange_order_id
        if not order_id:
            found = await self.find(client, reference)
            if found is None:
                raise ExchangeFailure(
                    Outcome.NOT_FOUND, "not_listed", "no order of this client order id is listed"
                )
            order_id = found.exchange_order_id
        await client.cancel_order(order_id, reference.symbol, _trigger(reference))
        return None

    async def cancel_all(self, client: Any, symbol: str, at_ms: int) -> None:
        # One by one: what a venue cancels when told "all" differs from venue to venue.
        for report in await self.open_orders(client, symbol):
            try:
                await client.cancel_order(report.exchange_order_id, symbol)
            except ExchangeFailure as failure:
                if failure.outcome is not Outcome.NOT_FOUND:
                    raise

    async def find(self, client: Any, reference: OrderReference) -> OrderReport | None:
        market = market_of(client, reference.symbol)
        if reference.exchange_order_id:
            try:
                order = await client.fetch_order(
                    reference.exchange_order_id, reference.symbol, _trigger(reference)
                )
            except ExchangeFailure as failure:
                if failure.outcome is Outcome.NOT_FOUND:
                    return None
                raise
            return confirmed(reference, _report(order, market, reference.client_order_id))
        listings = [client.fetch_open_orders]
        listings += [client.fetch_closed_orders] if client.has.get("fetchClosedOrders") else []
        for listing in listings:
            try:
                orders = await listing(reference.symbol)
            except ccxt_errors.NotSupported:  # for this kind of market, which `has` doesn't tell
                continue
            found = [order for order in orders if order.get("clientOrderId") == reference.client_order_id]
            reports = distinct(_report(order, market, reference.client_order_id) for order in found)
            if len(reports) > 1:
                raise unreadable(f"several orders are {reference.client_order_id}", found)
            if reports:
                return reports[0]
        return None

    async def open_orders(self, client: Any, symbol: str | None) -> list[OrderReport]:
        orders = await client.fetch_open_orders(symbol)
        return distinct(_report(order, _market(client, text_in(order, "symbol")), "") for order in orders)

    async def trades(
        self, client: Any, symbol: str, since_ms: int, after_id: str, of_order: str = ""
    ) -> list[TradeReport]:
        if of_order:
            raise refused("no_trades_of_order", "how to ask for one order's fills is not known here")
        # No venue's paging is known here: what follows a trade is what ccxt shows from its moment on.
        market = market_of(client, symbol)
        rows = await client.fetch_my_trades(symbol, since_ms, self.trades_page)
        found = sorted((_trade(row, market) for row in rows), key=lambda trade: trade.traded_at)
        ids = [trade.trade_id for trade in found]
        return found[ids.index(after_id) + 1 :] if after_id in ids else found


def _trade(row: Mapping[str, Any], market: Mapping[str, Any]) -> TradeReport:
    amount, price, side = measure_in(row, "amount"), measure_in(row, "price"), row.get("side")
    if amount is None or price is None or side not in ("buy", "sell"):
        raise unreadable("a trade lacks its amount, price or side", row)
    fee = row.get("fee") or {}
    liquidity = row.get("takerOrMaker")
    return TradeReport(
        trade_id=text_in(row, "id"),
        exchange_order_id=text_in(row, "order"),
        symbol=str(market["symbol"]),
        side=Side(side),
        amount=base_amount(market, amount),
        price=price,
        fee=decimal_in(fee, "cost") if fee.get("currency") else None,
        fee_currency=str(fee.get("currency") or ""),
        liquidity=Liquidity(liquidity) if liquidity in ("maker", "taker") else None,
        traded_at=moment_in(row, "timestamp"),
    )


def _failure(
    error: ccxt_errors.BaseError, reply: Reply, table: ErrorTable, operation: Operation, now_ms: int
) -> ExchangeFailure:
    code = type(error).__name__
    outcome = next((outcome for kind, outcome in _VERDICTS if isinstance(error, kind)), Outcome.UNKNOWN)
    certain = ErrorTable(outcomes={code: outcome}, default_retry_after_ms=table.default_retry_after_ms)
    failure = classify(reply, VenueError(code, str(error)[:SHOWN_LENGTH]), certain, operation, now_ms)
    return failure or ExchangeFailure(Outcome.UNKNOWN, code, str(error)[:SHOWN_LENGTH], status=reply.status)


def _trigger(reference: OrderReference) -> dict[str, bool]:
    return {"trigger": True} if reference.conditional else {}


def _market(client: Any, symbol: str) -> Mapping[str, Any]:
    return client.markets.get(symbol) or {"symbol": symbol}


def _placed(order: Mapping[str, Any], market: Mapping[str, Any], request: OrderRequest) -> OrderReport:
    """The report of a new order; many venues answer with ids alone, and ccxt shows the rest as None."""
    if order.get("status") is None or order.get("filled") is None or order.get("amount") is None:
        return accepted(request, text_in(order, "id"))
    return _report(order, market, request.client_order_id)


def _report(order: Mapping[str, Any], market: Mapping[str, Any], client_order_id: str) -> OrderReport:
    status = status_in(_STATUSES, order.get("status"))
    amount = measure_in(order, "amount")
    filled = filled_in(order, "filled", amount)
    return OrderReport(
        client_order_id=text_in(order, "clientOrderId") if order.get("clientOrderId") else client_order_id,
        exchange_order_id=text_in(order, "id"),
        symbol=str(market["symbol"]),
        status=OrderStatus.PARTIAL if status is OrderStatus.ACTIVE and filled else status,
        amount=base_amount(market, amount) if amount is not None else None,
        price=_price(order, "price", needed=order.get("type") == "limit"),
        filled=base_amount(market, filled),
        average=_price(order, "average"),
        fees={
            str(fee["currency"]): decimal_in(fee, "cost") or Decimal(0)
            for fee in order.get("fees") or ()
            if fee.get("currency") and fee.get("cost")
        },
        exchange_at=_exchange_at(order),
        terms=read_terms(
            _TYPES,
            side=order.get("side"),
            kind=order.get("type"),
            time_in_force=order.get("timeInForce") or "GTC",
            reduce_only=order.get("reduceOnly") or False,
        )
        if not order.get("triggerPrice")
        else None,
    )


def _price(order: Mapping[str, Any], name: str, *, needed: bool = False) -> Decimal | None:
    return measure_in(order, name) if needed or order.get(name) is not None else None


def _exchange_at(order: Mapping[str, Any]) -> int:
    """When the order last changed; 0 where the venue doesn't say, so that the report counts as an old one."""
    moments = [name for name in ("lastUpdateTimestamp", "timestamp") if order.get(name) is not None]
    return moment_in(order, moments[0]) if moments else 0
