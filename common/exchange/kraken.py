"""Kraken spot. The client order id travels as a UUID made of the text, and comes back from it.

Sources: "Add Order", "Cancel Order", "Get Open Orders", "Get Closed Orders", "Query Orders Info", "Get Ticker
Information" of the spot REST documentation (docs.kraken.com/api), and what ccxt 4.5.90 sends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Final
from uuid import UUID

from common.exchange.account_figures import BalanceReport
from common.exchange.base import ExchangeFailure, OrderReference, OrderReport, OrderRequest, Outcome
from common.exchange.classify import VenueError
from common.exchange.fields import (
    confirmed,
    decimal_in,
    fields_in,
    filled_in,
    market_id_in,
    measure_in,
    middle,
    moment_in,
    optional_text_in,
    same_order,
    status_in,
    text_in,
    unreadable,
)
from common.exchange.kraken_balances import kraken_balances
from common.exchange.kraken_codes import KRAKEN_ERRORS
from common.exchange.settings import ExchangeSettings
from common.exchange.terms import read_terms
from common.exchange.venue import Venue, accepted, market_of, refused, wire_text
from orderlane.identity import TEXT_LENGTH, as_text, as_uuid
from orderlane.intents import OrderType, TimeInForce
from orderlane.orders import OrderStatus

_BY_ALTNAME: Final = "orderlane_markets_by_altname"

_STATUSES: Final = {
    "pending": OrderStatus.ACTIVE,
    "open": OrderStatus.ACTIVE,
    "closed": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELED,
    "expired": OrderStatus.EXPIRED,
}
"""`status` of an order; a partly filled one is `open`."""

_LIMIT_PRICE: Final = {
    **dict.fromkeys(("limit", "iceberg"), "price"),
    **dict.fromkeys(("stop-loss-limit", "take-profit-limit"), "price2"),
    **dict.fromkeys(("market", "stop-loss", "take-profit", "settle-position"), ""),
    **dict.fromkeys(("trailing-stop", "trailing-stop-limit"), ""),
}
"""`ordertype`, and where its description holds the limit price. A trailing order's is relative: no price."""

_ENDED: Final = (OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED)
_ORDER_ID: Final = re.compile(r"[A-Z0-9]{6}-[A-Z0-9]{5}-[A-Z0-9]{6}")
_FEE_FLAGS: Final = {"fciq", "fcib"}

_TYPES: Final = {
    OrderType.MARKET: "market",
    OrderType.LIMIT: "limit",
    OrderType.STOP_MARKET: "stop-loss",
    OrderType.STOP_LIMIT: "stop-loss-limit",
    OrderType.TAKE_PROFIT_MARKET: "take-profit",
    OrderType.TAKE_PROFIT_LIMIT: "take-profit-limit",
}


_TYPES_BY_NAME: Final = {name: kind for kind, name in _TYPES.items()}


def client_order_uuid(text: str) -> str:
    """The UUID of a client order id: its 25 letters are 125 bits, and three zero bits make 16 bytes."""
    if len(text) != TEXT_LENGTH:
        raise refused(
            "unsupported_id", f"client order id {text!r} has {len(text)} characters: expected {TEXT_LENGTH}"
        )
    return as_uuid(text)


def client_order_text(identifier: str) -> str:
    """The client order id behind a `cl_ord_id`; what is no UUID was made by somebody else and stays as it is."""
    try:
        text = as_text(UUID(identifier).bytes)
    except ValueError:
        return identifier
    return text if as_uuid(text) == identifier else identifier


class Kraken(Venue):
    """Kraken spot."""

    errors = KRAKEN_ERRORS
    receive_window_bounds_ms: ClassVar[tuple[int, int]] = (2_000, 60_000)

    def configure(self, client: Any, settings: ExchangeSettings) -> None:
        super().configure(client, settings)
        client.has["fetchCurrencies"] = False

    def error_in(self, decoded: Any) -> VenueError | None:
        """The error of `{"error": ["EOrder:Insufficient funds"]}`, severity E; W is a warning."""
        given = decoded.get("error") if isinstance(decoded, dict) else None
        if not isinstance(given, list) or not all(isinstance(one, str) and one for one in given):
            return VenueError("no_error_list", str(decoded)[:200])
        errors = [one for one in given if not one.startswith("W")]
        if not errors:
            return None
        # Two reasons, or a reason beside a result: which of them holds isn't said.
        if len({_code(one) for one in errors}) > 1 or decoded.get("result", {}) not in ({}, None):
            return VenueError("contradiction", ", ".join(errors))
        return VenueError(_code(errors[0]), errors[0])

    def markets_set(self, client: Any) -> None:
        by_altname = {market["info"].get("altname"): market for market in client.markets.values()}
        client.options[_BY_ALTNAME] = by_altname

    async def place(self, client: Any, request: OrderRequest, at_ms: int) -> OrderReport:
        params = {
            **order_params(market_of(client, request.symbol), request),
            "deadline": _rfc3339(at_ms + (self.receive_window_ms or 0)),
        }
        result = _result(await client.privatePostAddOrder(params))
        ids = result.get("txid")
        if not isinstance(ids, list) or len(ids) != 1:
            raise unreadable("expected the id of one order", result)
        if "cl_ord_id" in result:
            same_order(client_order_uuid(request.client_order_id), text_in(result, "cl_ord_id"))
        return accepted(request, _order_id(ids[0]))

    async def cancel(self, client: Any, reference: OrderReference, at_ms: int) -> OrderReport | None:
        market_of(client, reference.symbol)
        if reference.exchange_order_id:
            named = {"txid": reference.exchange_order_id}
        else:
            named = {"cl_ord_id": client_order_uuid(reference.client_order_id)}
        _check_cancelled(await client.privatePostCancelOrder(named))
        return None

    async def cancel_all(self, client: Any, symbol: str, at_ms: int) -> None:
        # The venue's own "cancel all" takes every pair; this takes one.
        for report in await self.open_orders(client, symbol):
            try:
                _check_cancelled(await client.privatePostCancelOrder({"txid": report.exchange_order_id}))
            except ExchangeFailure as failure:
                if failure.outcome is not Outcome.NOT_FOUND:
                    raise

    async def find(self, client: Any, reference: OrderReference) -> OrderReport | None:
        market_of(client, reference.symbol)
        if reference.exchange_order_id:
            return await self._find_by_id(client, reference)
        by_client_id = {"cl_ord_id": client_order_uuid(reference.client_order_id)}
        for ask, book in ((client.privatePostOpenOrders, "open"), (client.privatePostClosedOrders, "closed")):
            rows = _book(await ask(dict(by_client_id)), book)
            # The list was narrowed to this id: a row of another one, or of none, isn't an answer to the question.
            found = [confirmed(reference, _report(client, order_id, row)) for order_id, row in rows.items()]
            if found:
                return max(found, key=lambda report: report.exchange_at)
        return None

    async def _find_by_id(self, client: Any, reference: OrderReference) -> OrderReport | None:
        order_id = reference.exchange_order_id
        try:
            rows = _result(await client.privatePostQueryOrders({"txid": order_id}))
        except ExchangeFailure as failure:
            if failure.outcome is Outcome.NOT_FOUND:
                return None
            raise
        if set(rows) != {order_id}:
            raise unreadable(f"expected order {order_id}", rows)
        return confirmed(reference, _report(client, order_id, fields_in(rows[order_id])))

    async def open_orders(self, client: Any, symbol: str | None) -> list[OrderReport]:
        if symbol is not None:
            market_of(client, symbol)
        rows = _book(await client.privatePostOpenOrders({}), "open")
        reports = [_report(client, order_id, row) for order_id, row in rows.items()]
        return [report for report in reports if symbol in (None, report.symbol)]

    async def balances(self, client: Any) -> list[BalanceReport]:
        return kraken_balances(client, _result(await client.privatePostBalanceEx({})))

    async def server_time_ms(self, client: Any) -> int:
        # Kraken tells whole seconds: the middle of the one named is wrong by half a second at most.
        return _milliseconds(_result(await client.publicGetTime()), "unixtime") + 500

    async def reference_price(self, client: Any, symbol: str) -> Decimal:
        market_id = market_of(client, symbol)["id"]
        tickers = _result(await client.publicGetTicker({"pair": market_id}))
        if set(tickers) != {market_id}:
            raise unreadable(f"expected the prices of {market_id}", tickers)
        ticker = fields_in(tickers[market_id])
        return middle(symbol, _best(ticker, "b"), _best(ticker, "a"))


def order_params(market: Mapping[str, Any], request: OrderRequest) -> dict[str, Any]:
    """The parameters of `POST /0/private/AddOrder`, without its deadline.

    Raises:
        ExchangeFailure: REFUSED, the venue has no such order.
    """
    if request.reduce_only:
        raise refused(
            "unsupported_order", "spot has no reduce-only orders: nothing is held that could be reduced"
        )
    if request.time_in_force is TimeInForce.FOK:
        raise refused("unsupported_order", "Kraken's REST interface has no fill-or-kill: use IOC")
    params: dict[str, Any] = {
        **request.params,
        "pair": market["id"],
        "type": str(request.side),
        "ordertype": _TYPES[request.type],
        "volume": wire_text(request.amount),
        "cl_ord_id": client_order_uuid(request.client_order_id),
    }
    if request.trigger_price is not None:
        params["price"] = wire_text(request.trigger_price)
        if request.price is not None:
            params["price2"] = wire_text(request.price)
    elif request.price is not None:
        params["price"] = wire_text(request.price)
    if request.time_in_force is TimeInForce.PO:
        params["oflags"] = "post"
    elif request.time_in_force is not None:
        params["timeinforce"] = str(request.time_in_force)
    return params


def _code(error: str) -> str:
    """`EGeneral:Invalid arguments:price` is a kind of `EGeneral:Invalid arguments`; details follow a second colon."""
    return ":".join(error.split(":")[:2]).strip().replace(": ", ":")


def _rfc3339(moment_ms: int) -> str:
    moment = datetime.fromtimestamp(moment_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment_ms % 1000:03d}Z"


def _result(decoded: Any) -> dict[str, Any]:
    return fields_in(fields_in(decoded).get("result"))


def _order_id(given: object) -> str:
    if not isinstance(given, str) or not _ORDER_ID.fullmatch(given):
        raise unreadable("no order's id", given)
    return given


def _check_cancelled(reply: Any) -> None:
    """Check that a request to cancel one order cancelled it, or will.

    Raises:
        ExchangeFailure: NOT_FOUND, the venue says that it cancelled none.
    """
    result = _result(reply)
    count, pending = result.get("count"), result.get("pending", False)
    if not isinstance(count, int) or isinstance(count, bool) or count not in (0, 1):
        raise unreadable("expected a count of 0 or 1", result)
    if not isinstance(pending, bool):
        raise unreadable("expected pending to be true or false", result)
    if not count and not pending:
        raise ExchangeFailure(Outcome.NOT_FOUND, "count_0", "no order was cancelled")


def _book(reply: Any, book: str) -> dict[str, dict[str, Any]]:
    """The orders of a list by id. Only a list that is whole can say that there are none: closed ones are counted."""
    result = _result(reply)
    rows = {order_id: fields_in(row) for order_id, row in fields_in(result.get(book)).items()}
    if book == "closed":
        count = result.get("count")
        if not isinstance(count, int) or isinstance(count, bool) or count < len(rows) or (count and not rows):
            raise unreadable("a list of closed orders that isn't whole", result)
    return rows


def _best(ticker: Mapping[str, Any], side: str) -> object:
    """The price of `[price, whole lot volume, lot volume]`."""
    best = ticker.get(side)
    if not isinstance(best, list) or len(best) != 3:
        raise unreadable(f"field {side} holds no price", ticker)
    return best[0]


def _report(client: Any, order_id: str, order: Mapping[str, Any]) -> OrderReport:
    description = fields_in(order.get("descr"))
    amount = measure_in(order, "vol")
    filled = filled_in(order, "vol_exec", amount)
    spent = measure_in(order, "cost") if filled else None
    status = status_in(_STATUSES, order.get("status"))
    symbol, quote, base = _pair(client, market_id_in(description, "pair"))
    price_field = _LIMIT_PRICE.get(text_in(description, "ordertype"))
    if price_field is None:
        raise unreadable("no such ordertype is known", description)
    return OrderReport(
        client_order_id=_client_order_id(order),
        exchange_order_id=_order_id(order_id),
        symbol=symbol,
        status=OrderStatus.PARTIAL if status is OrderStatus.ACTIVE and filled else status,
        amount=amount,
        price=measure_in(description, price_field) if price_field else None,
        filled=filled,
        average=spent / filled if spent else None,
        fees=_fees(order, quote, base) if filled else {},
        exchange_at=_milliseconds(order, "closetm" if status in _ENDED else "opentm"),
        terms=read_terms(
            _TYPES_BY_NAME,
            side=description.get("type"),
            kind=description["ordertype"],
            trigger_price=description.get("price"),
            time_in_force="PO" if "post" in str(order.get("oflags")).split(",") else "GTC",
        ),
    )


def _client_order_id(order: Mapping[str, Any]) -> str:
    """An order that was given none has null, or no such field."""
    return (
        client_order_text(optional_text_in(order, "cl_ord_id")) if order.get("cl_ord_id") is not None else ""
    )


def _fees(order: Mapping[str, Any], quote: str, base: str) -> dict[str, Decimal]:
    """Paid in quote or in base, as the flag `fciq` or `fcib` says."""
    paid, flags = decimal_in(order, "fee"), _FEE_FLAGS & set(text_in(order, "oflags").split(","))
    if paid is None or len(flags) != 1:
        raise unreadable("what was paid as a fee isn't said", order)
    return {base if "fcib" in flags else quote: paid} if paid else {}


def _milliseconds(fields: Mapping[str, Any], name: str) -> int:
    seconds = measure_in(fields, name)
    return moment_in({name: str(int(seconds * 1000)) if seconds else None}, name)


def _pair(client: Any, pair: str) -> tuple[str, str, str]:
    """(symbol, quote, base) of a pair, which orders name by its alternative name (XBTUSD for XXBTZUSD)."""
    market = client.options[_BY_ALTNAME].get(pair)
    if market is None:
        return pair, "", ""
    return market["symbol"], market["quote"], market["base"]
