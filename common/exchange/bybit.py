"""Bybit v5, spot and linear contracts, for unified trading accounts.

Sources: "Place Order", "Batch Place Order", "Cancel All Orders", "Get Open & Closed Orders", "Get Order History", "Get
Tickers" of the v5 documentation (bybit-exchange.github.io/docs/v5), and what ccxt 4.5.90 sends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Final

from common.exchange.account_figures import BalanceReport, PositionReport
from common.exchange.base import ExchangeFailure, OrderReference, OrderReport, OrderRequest
from common.exchange.batch import Verdict, by_client_id, place_together, row_failure, unmatched, verdict_of
from common.exchange.bybit_codes import BYBIT_ERRORS
from common.exchange.bybit_positions import bybit_balances, bybit_positions
from common.exchange.bybit_replies import order_id_in, order_report, result_of
from common.exchange.classify import Operation, VenueError
from common.exchange.fields import (
    confirmed,
    distinct,
    fields_in,
    market_id_in,
    middle,
    moment_in,
    only_row,
    rows_in,
    same_order,
    text_in,
    unreadable,
)
from common.exchange.settings import ExchangeSettings
from common.exchange.venue import (
    Venue,
    accepted,
    market_of,
    read_after,
    refused,
    symbol_of,
    wire_text,
)
from orderlane.intents import OrderType, Side, TimeInForce

_PAGE: Final = 50
_SETTLE_COINS: Final = ("USDT", "USDC")
"""What linear contracts settle in; a listing over all symbols has to name one."""
_BATCH: Final = 10
"""What both categories take: 10 spot orders, 20 linear ones."""
_TIMES_IN_FORCE: Final = {TimeInForce.PO: "PostOnly"}


class Bybit(Venue):
    """Bybit v5. A new order is answered with its ids alone; it may still be rejected after that."""

    errors = BYBIT_ERRORS
    amends_in_place = True
    holds_positions = True
    batch_limit = _BATCH
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
        """The error of `{"retCode": 110001, "retMsg": "Order does not exist", …}`; 0 is none."""
        code = decoded.get("retCode") if isinstance(decoded, dict) else None
        if not isinstance(code, int) or isinstance(code, bool):
            return VenueError("no_ret_code", str(decoded)[:200])
        if code == 0:
            return None
        message = decoded.get("retMsg")
        # A verdict comes with its words; what lacks them wasn't written by the venue, or not all of it arrived.
        return VenueError(str(code) if isinstance(message, str) else "no_ret_msg", str(message))

    async def place(self, client: Any, request: OrderRequest, at_ms: int) -> OrderReport:
        params = order_params(market_of(client, request.symbol), request)
        reply = fields_in(await client.privatePostV5OrderCreate(params))
        result = result_of(reply)
        same_order(request.client_order_id, text_in(result, "orderLinkId"))
        return accepted(request, order_id_in(result), moment_in(reply, "time"))

    async def place_batch(
        self, client: Any, requests: Sequence[OrderRequest], at_ms: int
    ) -> list[OrderReport | ExchangeFailure]:
        """See `Venue.place_batch`. The venue takes one category at a time, so both kinds make two requests."""
        verdicts: dict[int, Verdict] = {}
        of_spot = {place for place, request in enumerate(requests) if _is_spot(client, request)}
        for category, places in (("spot", of_spot), ("linear", set(range(len(requests))) - of_spot)):
            ordered = sorted(places)
            found = await self._place_category(client, category, [requests[at] for at in ordered], at_ms)
            verdicts |= dict(zip(ordered, found, strict=True))
        return [verdicts[place] for place in range(len(requests))]

    async def _place_category(
        self, client: Any, category: str, requests: Sequence[OrderRequest], at_ms: int
    ) -> list[Verdict]:
        def build(request: OrderRequest) -> dict[str, Any]:
            params = order_params(market_of(client, request.symbol), request)
            return {name: value for name, value in params.items() if name != "category"}

        async def ask(orders: list[dict[str, Any]]) -> Any:
            return await client.privatePostV5OrderCreateBatch({"category": category, "request": orders})

        def read(reply: Any, asked: Sequence[OrderRequest]) -> list[Verdict]:
            return batch_verdicts(reply, asked, at_ms)

        return await place_together(requests, _BATCH, build, ask, read)

    async def cancel(self, client: Any, reference: OrderReference, at_ms: int) -> OrderReport | None:
        market = market_of(client, reference.symbol)
        params = _named(market, reference)
        if market["spot"]:
            params["orderFilter"] = "StopOrder" if reference.conditional else "Order"
        _acknowledged(reference, await client.privatePostV5OrderCancel(params))
        return None

    async def amend(
        self, client: Any, reference: OrderReference, request: OrderRequest, at_ms: int
    ) -> OrderReport:
        params = {**_named(market_of(client, reference.symbol), reference), "qty": wire_text(request.amount)}
        if request.price is not None:
            params["price"] = wire_text(request.price)
        try:
            _acknowledged(reference, await client.privatePostV5OrderAmend(params))
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
            result = result_of(await client.privatePostV5OrderCancelAll({**on_symbol, **kind}))
            rows_in(result.get("list"))
            if result.get("success") != "1":
                raise unreadable("the venue doesn't say that all were cancelled", result)

    async def find(self, client: Any, reference: OrderReference) -> OrderReport | None:
        market = market_of(client, reference.symbol)
        # Open and recently closed orders; the history where that was cleared (it is, when their service restarts).
        for ask in (client.privateGetV5OrderRealtime, client.privateGetV5OrderHistory):
            rows, _ = _page(await ask(_named(market, reference)), _category(market))
            if rows:
                return confirmed(reference, order_report(only_row(rows), market))
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
                market_id = market_id_in(row, "symbol", query.get("symbol"))
                unified = symbol_of(client, market_id, contract=query["category"] == "linear")
                reports.append(order_report(row, client.markets.get(unified) or {"symbol": unified}))
        return distinct(reports)

    async def positions(self, client: Any) -> list[PositionReport]:
        return await bybit_positions(client, _SETTLE_COINS)

    async def balances(self, client: Any) -> list[BalanceReport]:
        return await bybit_balances(client)

    async def server_time_ms(self, client: Any) -> int:
        return moment_in(fields_in(await client.publicGetV5MarketTime()), "time")

    async def reference_price(self, client: Any, symbol: str) -> Decimal:
        market = market_of(client, symbol)
        asked = {"category": _category(market), "symbol": market["id"]}
        ticker = only_row(rows_in(result_of(await client.publicGetV5MarketTickers(asked)).get("list")))
        market_id_in(ticker, "symbol", market["id"])
        return middle(symbol, ticker.get("bid1Price"), ticker.get("ask1Price"))


def batch_verdicts(reply: Any, asked: Sequence[OrderRequest], at_ms: int) -> list[Verdict]:
    """What `POST /v5/order/create-batch` says of each order asked for: its ids stand in one list, what became of it
    at the same place of another.

    Raises:
        ExchangeFailure: UNKNOWN for every order, the lists can't be held against each other.
    """
    fields = fields_in(reply)
    ids = rows_in(result_of(fields).get("list"))
    codes = rows_in(fields_in(fields.get("retExtInfo")).get("list"))
    if len(ids) != len(codes):
        raise unreadable("two lists of another length each", reply)
    rows = list(zip(ids, codes, strict=True))
    found = by_client_id(ids, "orderLinkId", asked)
    return [
        unmatched(reply) if place is None else verdict_of(partial(_batch_row, request, *rows[place], at_ms))
        for request, place in zip(asked, found, strict=True)
    ]


def _batch_row(
    request: OrderRequest, ids: Mapping[str, Any], verdict: Mapping[str, Any], at_ms: int
) -> Verdict:
    code, message = verdict.get("code"), verdict.get("msg")
    if not isinstance(code, int) or isinstance(code, bool) or not isinstance(message, str):
        raise unreadable("a row's code says nothing", verdict)
    if code == 0:
        return accepted(request, order_id_in(ids), moment_in(ids, "createAt"))
    if ids.get("orderId") != "":
        raise unreadable("an order that failed has an id", ids)
    return row_failure(VenueError(str(code), message), BYBIT_ERRORS, Operation.PLACE, at_ms)


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


def _is_spot(client: Any, request: OrderRequest) -> bool:
    market = client.markets.get(request.symbol) if client.markets else None
    return bool(market and market["spot"])


def _category(market: Mapping[str, Any]) -> str:
    return "spot" if market["spot"] else "linear"


def _named(market: Mapping[str, Any], reference: OrderReference) -> dict[str, Any]:
    named = {"category": _category(market), "symbol": market["id"]}
    if reference.exchange_order_id:
        return {**named, "orderId": reference.exchange_order_id}
    return {**named, "orderLinkId": reference.client_order_id}


def _acknowledged(reference: OrderReference, reply: Any) -> None:
    """Check that a request about one order was answered for that order."""
    result = result_of(reply)
    order_id = order_id_in(result)
    if reference.exchange_order_id:
        same_order(reference.exchange_order_id, order_id)
    else:
        same_order(reference.client_order_id, text_in(result, "orderLinkId"))


def _page(reply: Any, category: str) -> tuple[list[dict[str, Any]], str]:
    """The rows of one page, and the cursor of the next. Only a page that is whole can say that there is nothing."""
    result = result_of(reply)
    if result.get("category") != category:
        raise unreadable(f"a list of {category} orders was asked for", result)
    rows, following = rows_in(result.get("list")), result.get("nextPageCursor")
    if not isinstance(following, str) or (following and not rows):
        raise unreadable("a list of orders that isn't whole", result)
    return rows, following


async def _pages(client: Any, query: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    cursor = ""
    while True:
        asked = {**query, "limit": _PAGE, **({"cursor": cursor} if cursor else {})}
        rows, following = _page(await client.privateGetV5OrderRealtime(asked), query["category"])
        for row in rows:
            yield row
        if not following or len(rows) < _PAGE:
            return
        if following == cursor:
            raise unreadable("the list of open orders doesn't end", query)
        cursor = following
