"""OKX v5, spot and linear contracts. Conditional orders are refused: their endpoints carry no request expiry.

Sources: "Order Book Trading" of the v5 documentation (okx.com/docs-v5), and what ccxt 4.5.90 sends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from common.exchange.account_figures import BalanceReport, PositionReport
from common.exchange.base import ExchangeFailure, OrderReference, OrderReport, OrderRequest, Outcome
from common.exchange.batch import Verdict, by_client_id, place_together, row_failure, unmatched, verdict_of
from common.exchange.classify import Operation, Reply, VenueError
from common.exchange.fields import (
    confirmed,
    decimal_in,
    distinct,
    fields_in,
    filled_in,
    market_id_in,
    measure_in,
    middle,
    moment_in,
    number_id_in,
    only_row,
    optional_text_in,
    rows_in,
    same_order,
    status_in,
    text_in,
    unreadable,
)
from common.exchange.okx_codes import OKX_ERRORS
from common.exchange.okx_positions import okx_balances, okx_positions
from common.exchange.settings import ExchangeSettings
from common.exchange.terms import read_terms
from common.exchange.transport import Call
from common.exchange.venue import (
    Venue,
    accepted,
    base_amount,
    contracts_of,
    market_of,
    read_after,
    refused,
    symbol_of,
    wire_text,
)
from orderlane.intents import OrderType, TimeInForce
from orderlane.orders import OrderStatus

_STATUSES: Final = {
    "live": OrderStatus.ACTIVE,
    "partially_filled": OrderStatus.PARTIAL,
    "filled": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELED,
    "mmp_canceled": OrderStatus.CANCELED,
}
"""`state` of "GET / Order details"."""

_ORDER_TYPES: Final = {TimeInForce.PO: "post_only", TimeInForce.IOC: "ioc", TimeInForce.FOK: "fok"}
_PRICED: Final = ("limit", "post_only", "fok", "ioc")
"""`ordType` of orders that have a price; the price of others may be empty."""
_TYPES: Final = {"market": OrderType.MARKET, **dict.fromkeys(_PRICED, OrderType.LIMIT)}
_LIMIT_TYPES: Final = {"limit": "GTC", **{name: kind.value for kind, name in _ORDER_TYPES.items()}}
_EXPIRING_PATHS: Final = frozenset({"trade/order", "trade/batch-orders", "trade/amend-order"})
"""Requests whose header `expTime` OKX heeds, of those sent here."""
_BY_ROW: Final = re.compile(r"/trade/(order|cancel-order|amend-order|batch-orders|cancel-batch-orders)$")
"""POST requests answered with a row for each order, which says by `sCode` what became of it."""
_ALL_DONE, _NONE_DONE, _SOME_DONE = "0", "1", "2"
"""`code` of such a reply: every row succeeded, none did, some did."""
_PAGE: Final = 100
_BATCH: Final = 20
_GONE: Final = frozenset({"51400", "51401", "51402", "51410"})


class Okx(Venue):
    """OKX v5. Contracts are counted by the venue in contracts, here in base."""

    errors = OKX_ERRORS
    amends_in_place = True
    holds_positions = True
    batch_limit = _BATCH
    receive_window_bounds_ms: ClassVar[tuple[int, int]] = (1, 60_000)
    options: ClassVar[Mapping[str, Any]] = {"fetchMarkets": {"types": ["spot", "swap"]}}

    def configure(self, client: Any, settings: ExchangeSettings) -> None:
        super().configure(client, settings)
        client.has["fetchCurrencies"] = False

    def failure_in(
        self,
        client: Any,
        reply: Reply,
        decoded: Any,
        operation: Operation,
        request: dict[str, Any],
        now_ms: int,
    ) -> ExchangeFailure | None:
        if (
            200 <= reply.status < 300
            and request.get("method") == "POST"
            and _BY_ROW.search(urlsplit(request["url"]).path)
            and _has_rows(decoded)
        ):
            return None  # each row has its own verdict: `_settled`
        return super().failure_in(client, reply, decoded, operation, request, now_ms)

    def error_in(self, decoded: Any) -> VenueError | None:
        """The error of `{"code": "51603", "data": [], "msg": "Order does not exist"}`; 0 is none."""
        code = decoded.get("code") if isinstance(decoded, dict) else None
        if not isinstance(code, str):
            return VenueError("no_code", str(decoded)[:200])
        if code == "0":
            return None
        message = decoded.get("msg")
        # Errors of the key or the signature come without data; those about an order never do.
        no_data = decoded.get("data", []) == [] and (
            "data" in decoded or OKX_ERRORS.outcomes.get(code) is not Outcome.NOT_FOUND
        )
        return VenueError(code if isinstance(message, str) and no_data else "malformed_error", str(message))

    def after_sign(self, path: str, method: str, signed: dict[str, Any], call: Call) -> None:
        if method == "POST" and path in _EXPIRING_PATHS and self.receive_window_ms is not None and call.at_ms:
            signed["headers"]["expTime"] = str(call.at_ms + self.receive_window_ms)

    async def place(self, client: Any, request: OrderRequest, at_ms: int) -> OrderReport:
        params = order_params(market_of(client, request.symbol), request)
        reply = fields_in(await client.privatePostTradeOrder(params))
        return _placed(request, reply.get("code"), only_row(rows_in(reply.get("data"))), at_ms)

    async def place_batch(
        self, client: Any, requests: Sequence[OrderRequest], at_ms: int
    ) -> list[OrderReport | ExchangeFailure]:
        """See `Venue.place_batch`."""

        def build(request: OrderRequest) -> dict[str, Any]:
            return order_params(market_of(client, request.symbol), request)

        def read(reply: Any, asked: Sequence[OrderRequest]) -> list[Verdict]:
            return batch_verdicts(reply, asked, at_ms)

        return await place_together(requests, _BATCH, build, client.privatePostTradeBatchOrders, read)

    async def cancel(self, client: Any, reference: OrderReference, at_ms: int) -> OrderReport | None:
        params = _named(market_of(client, reference.symbol), reference)
        _acknowledged(params, await client.privatePostTradeCancelOrder(params), Operation.CANCEL, at_ms)
        return None

    async def amend(
        self, client: Any, reference: OrderReference, request: OrderRequest, at_ms: int
    ) -> OrderReport:
        market = market_of(client, reference.symbol)
        params = {**_named(market, reference), "newSz": wire_text(contracts_of(market, request.amount))}
        if request.price is not None:
            params["newPx"] = wire_text(request.price)
        _acknowledged(params, await client.privatePostTradeAmendOrder(params), Operation.AMEND, at_ms)
        return await read_after(self.find(client, reference))

    async def cancel_all(self, client: Any, symbol: str, at_ms: int) -> None:
        market = market_of(client, symbol)
        found = await self.open_orders(client, symbol)
        for start in range(0, len(found), _BATCH):
            batch = [
                {"instId": market["id"], "ordId": report.exchange_order_id}
                for report in found[start : start + _BATCH]
            ]
            reply = fields_in(await client.privatePostTradeCancelBatchOrders(batch))
            rows = {number_id_in(row, "ordId"): row for row in rows_in(reply.get("data"))}
            for named in batch:
                if named["ordId"] not in rows:
                    raise unreadable(f"no row for order {named['ordId']}", reply)
                failure = _failure(
                    rows[named["ordId"]], reply.get("code"), Operation.CANCEL, at_ms, len(batch)
                )
                if failure is not None and failure.code not in _GONE:  # it ended in between, or is about to
                    raise failure

    async def find(self, client: Any, reference: OrderReference) -> OrderReport | None:
        market = market_of(client, reference.symbol)
        try:
            reply = fields_in(await client.privateGetTradeOrder(_named(market, reference)))
        except ExchangeFailure as failure:
            if failure.outcome is Outcome.NOT_FOUND:
                return None
            raise
        return confirmed(reference, _report(only_row(rows_in(reply.get("data"))), market))

    async def open_orders(self, client: Any, symbol: str | None) -> list[OrderReport]:
        query: dict[str, Any] = {"limit": str(_PAGE)}
        if symbol is not None:
            market = market_of(client, symbol)
            query |= {"instId": market["id"], "instType": "SPOT" if market["spot"] else "SWAP"}
        reports: list[OrderReport] = []
        while True:
            rows = rows_in(fields_in(await client.privateGetTradeOrdersPending(dict(query))).get("data"))
            for row in rows:
                market_id = market_id_in(row, "instId", query.get("instId"))
                unified = symbol_of(client, market_id, contract=market_id.count("-") > 1)
                reports.append(_report(row, client.markets.get(unified) or {"symbol": unified}))
            if len(rows) < _PAGE:
                return distinct(reports)
            if query.get("after") == rows[-1].get("ordId"):
                raise unreadable("the list of open orders doesn't end", query)
            query["after"] = number_id_in(rows[-1], "ordId")

    async def positions(self, client: Any) -> list[PositionReport]:
        return await okx_positions(client)

    async def balances(self, client: Any) -> list[BalanceReport]:
        return await okx_balances(client)

    async def server_time_ms(self, client: Any) -> int:
        return moment_in(only_row(rows_in(fields_in(await client.publicGetPublicTime()).get("data"))), "ts")

    async def reference_price(self, client: Any, symbol: str) -> Decimal:
        market = market_of(client, symbol)
        reply = fields_in(await client.publicGetMarketTicker({"instId": market["id"]}))
        ticker = only_row(rows_in(reply.get("data")))
        market_id_in(ticker, "instId", market["id"])
        return middle(symbol, ticker.get("bidPx"), ticker.get("askPx"))


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


def batch_verdicts(reply: Any, asked: Sequence[OrderRequest], at_ms: int) -> list[Verdict]:
    """What `POST /api/v5/trade/batch-orders` says of each order asked for.

    Raises:
        ExchangeFailure: UNKNOWN for every order, the reply has no rows.
    """
    fields = fields_in(reply)
    rows = rows_in(fields.get("data"))
    found = by_client_id(rows, "clOrdId", asked)
    return [
        unmatched(reply)
        if place is None
        else verdict_of(partial(_placed, request, fields.get("code"), rows[place], at_ms, len(asked)))
        for request, place in zip(asked, found, strict=True)
    ]


def _placed(
    request: OrderRequest, code: object, row: Mapping[str, Any], at_ms: int, number: int = 1
) -> OrderReport:
    same_order(request.client_order_id, text_in(row, "clOrdId"))
    failure = _failure(row, code, Operation.PLACE, at_ms, number)
    if failure is None:
        return accepted(request, number_id_in(row, "ordId"), moment_in(row, "ts"))
    if row.get("ordId") != "":
        raise unreadable("an order that failed has an id", row)
    raise failure


def _acknowledged(named: Mapping[str, Any], reply: Any, operation: Operation, at_ms: int) -> None:
    """Check that a request about one order was answered for that order."""
    fields = fields_in(reply)
    row = only_row(rows_in(fields.get("data")))
    failure = _failure(row, fields.get("code"), operation, at_ms)
    name = "ordId" if "ordId" in named else "clOrdId"
    # Of an order that it doesn't know, the venue need not repeat the name.
    if failure is None or row.get(name) != "":
        same_order(named[name], text_in(row, name))
    if failure is not None:
        raise failure
    number_id_in(row, "ordId")


def _failure(
    row: Mapping[str, Any], code: object, operation: Operation, at_ms: int, number: int = 1
) -> ExchangeFailure | None:
    """The failure that one order's row reports, or None.

    Raises:
        ExchangeFailure: UNKNOWN, the row contradicts the reply's own `code`, or says nothing.
    """
    error, message = row.get("sCode"), row.get("sMsg")
    if not isinstance(error, str) or not isinstance(message, str) or not error:
        raise unreadable("a row's sCode says nothing", row)
    agreeing = {_ALL_DONE} if error == "0" else {_NONE_DONE}
    if code not in (agreeing | {_SOME_DONE} if number > 1 else agreeing):
        raise unreadable(f"code {code!r} and sCode {error!r} contradict each other", row)
    return None if error == "0" else row_failure(VenueError(error, message), OKX_ERRORS, operation, at_ms)


def _has_rows(decoded: Any) -> bool:
    if not isinstance(decoded, dict) or decoded.get("code") not in (_ALL_DONE, _NONE_DONE, _SOME_DONE):
        return False
    rows = decoded.get("data")
    return isinstance(rows, list) and bool(rows) and all(isinstance(row, dict) for row in rows)


def _named(market: Mapping[str, Any], reference: OrderReference) -> dict[str, Any]:
    if reference.exchange_order_id:
        return {"instId": market["id"], "ordId": reference.exchange_order_id}
    return {"instId": market["id"], "clOrdId": reference.client_order_id}


def _report(order: Mapping[str, Any], market: Mapping[str, Any]) -> OrderReport:
    market_id_in(order, "instId", market.get("id"))
    size = measure_in(order, "sz")
    filled = filled_in(order, "accFillSz", size)
    return OrderReport(
        client_order_id=optional_text_in(order, "clOrdId"),
        exchange_order_id=number_id_in(order, "ordId"),
        symbol=str(market["symbol"]),
        status=status_in(_STATUSES, order.get("state")),
        amount=base_amount(market, size) if size is not None else None,
        price=measure_in(order, "px", may_be_empty=order.get("ordType") not in _PRICED),
        filled=base_amount(market, filled),
        average=measure_in(order, "avgPx") if filled else None,
        fees=_fees(order) if filled else {},
        exchange_at=moment_in(order, "uTime"),
        terms=read_terms(
            _TYPES,
            side=order.get("side"),
            kind=order.get("ordType"),
            time_in_force=_LIMIT_TYPES.get(str(order.get("ordType")), ""),
            reduce_only=order.get("reduceOnly"),
        ),
    )


def _fees(order: Mapping[str, Any]) -> dict[str, Decimal]:
    """OKX writes a fee as a negative number and a rebate as a positive one."""
    change = decimal_in(order, "fee")
    if change is None:
        raise unreadable("field fee is missing", order)
    return {text_in(order, "feeCcy"): -change} if change else {}
