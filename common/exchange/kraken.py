"""Kraken spot. The client order id travels as a UUID made of the text, and comes back from it.

Sources: "Add Order", "Cancel Order", "Get Open Orders", "Get Closed Orders" and "API errors" of the spot REST
documentation (docs.kraken.com/api), the error list of ccxt 4.5.90, and what that version sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Final
from uuid import UUID

from common.exchange.base import ExchangeFailure, OrderReference, OrderReport, OrderRequest, Outcome
from common.exchange.classify import ErrorTable, VenueError
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
    refused,
    status_in,
    text_in,
    unreadable,
    wire_text,
)
from orderlane.identity import TEXT_LENGTH, as_text, as_uuid
from orderlane.intents import OrderType, TimeInForce
from orderlane.orders import OrderStatus

_REFUSED: Final = (
    "EAPI:Invalid key",
    "EAPI:Invalid signature",
    "EAPI:Feature disabled",
    "EAccount:Invalid permissions",
    "EGeneral:Permission denied",
    "EGeneral:Invalid arguments",
    "EGeneral:Unknown method",
    "EQuery:Unknown asset",
    "EQuery:Unknown asset pair",
    "EQuery:Invalid asset pair",
    "EOrder:Cannot open position",
    "EOrder:Cannot open opposing position",
    "EOrder:Margin allowance exceeded",
    "EOrder:Insufficient margin",
    "EOrder:Insufficient funds",
    "EOrder:Insufficient funds (insufficient user funds)",
    "EOrder:Order minimum not met",
    "EOrder:Cost minimum not met",
    "EOrder:Tick size check failed",
    "EOrder:Invalid price",
    "EOrder:Positions limit exceeded",
    "EOrder:Orders limit exceeded",
    "EOrder:Trading agreement required",
    "EOrder:Post only order",
    "ESession:Invalid session",
    "EService:Market in cancel_only mode",
    "EService:Market in post_only mode",
    "EService:Market in limit_only mode",
    "ETrade:User Locked",
)

ERRORS: Final = ErrorTable(
    outcomes={
        **dict.fromkeys(_REFUSED, Outcome.REFUSED),
        "EAPI:Rate limit exceeded": Outcome.THROTTLED,
        "EOrder:Rate limit exceeded": Outcome.THROTTLED,
        "EGeneral:Too many requests": Outcome.THROTTLED,
        "EGeneral:Temporary lockout": Outcome.THROTTLED,
        "EService:Throttled": Outcome.THROTTLED,
        # A nonce that another request has overtaken: refused unread; the next one is higher.
        "EAPI:Invalid nonce": Outcome.LATE,
        "EService:Deadline elapsed": Outcome.LATE,
        "EOrder:Unknown order": Outcome.NOT_FOUND,
        # "EOrder:Invalid order" also answers a query for an id that is none.
        "EOrder:Invalid order": Outcome.NOT_FOUND,
        "EService:Unavailable": Outcome.UNKNOWN,
        "EService:Busy": Outcome.UNKNOWN,
        "EService:Timeout": Outcome.UNKNOWN,
        "EGeneral:Internal error": Outcome.UNKNOWN,
        "EDatabase:Internal error": Outcome.UNKNOWN,
    },
    per_account=frozenset({"EAPI:Rate limit exceeded", "EOrder:Rate limit exceeded", "EService:Throttled"}),
    retry_after_ms={"EGeneral:Temporary lockout": 900_000, "EAPI:Rate limit exceeded": 5_000},
    default_retry_after_ms=2_000,
)

_BY_ALTNAME: Final = "orderlane_markets_by_altname"

_STATUSES: Final = {
    "pending": OrderStatus.ACTIVE,
    "open": OrderStatus.ACTIVE,
    "closed": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELED,
    "expired": OrderStatus.EXPIRED,
}
"""`status` of an order; a partly filled one is `open`."""

_TYPES: Final = {
    OrderType.MARKET: "market",
    OrderType.LIMIT: "limit",
    OrderType.STOP_MARKET: "stop-loss",
    OrderType.STOP_LIMIT: "stop-loss-limit",
    OrderType.TAKE_PROFIT_MARKET: "take-profit",
    OrderType.TAKE_PROFIT_LIMIT: "take-profit-limit",
}


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
        return as_text(UUID(identifier).bytes)
    except ValueError:
        return identifier


class Kraken(Venue):
    """Kraken spot."""

    errors = ERRORS
    receive_window_bounds_ms: ClassVar[tuple[int, int]] = (2_000, 60_000)

    def configure(self, client: Any, settings: ExchangeSettings) -> None:
        super().configure(client, settings)
        client.has["fetchCurrencies"] = False

    def error_in(self, decoded: Any) -> VenueError | None:
        """The first error of `{"error": ["EOrder:Insufficient funds"]}`, severity E; W is a warning."""
        errors = decoded.get("error") if isinstance(decoded, dict) else None
        for given in errors if isinstance(errors, list) else ():
            if not str(given).startswith("W"):
                return VenueError(_code(str(given)), str(given))
        return None

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
        if not isinstance(ids, list) or len(ids) != 1 or not ids[0]:
            raise unreadable("expected the id of one order", result)
        return accepted(request, str(ids[0]))

    async def cancel(self, client: Any, reference: OrderReference, at_ms: int) -> OrderReport | None:
        market_of(client, reference.symbol)
        if reference.exchange_order_id:
            named = {"txid": reference.exchange_order_id}
        else:
            named = {"cl_ord_id": client_order_uuid(reference.client_order_id)}
        result = _result(await client.privatePostCancelOrder(named))
        if not decimal_in(result, "count") and not result.get("pending"):
            raise ExchangeFailure(Outcome.NOT_FOUND, "count_0", "no order was cancelled")
        return None

    async def cancel_all(self, client: Any, symbol: str, at_ms: int) -> None:
        # The venue's own "cancel all" takes every pair; this takes one.
        for report in await self.open_orders(client, symbol):
            try:
                await client.privatePostCancelOrder({"txid": report.exchange_order_id})
            except ExchangeFailure as failure:
                if failure.outcome is not Outcome.NOT_FOUND:
                    raise

    async def find(self, client: Any, reference: OrderReference) -> OrderReport | None:
        market_of(client, reference.symbol)
        if reference.exchange_order_id:
            return await self._find_by_id(client, reference)
        by_client_id = {"cl_ord_id": client_order_uuid(reference.client_order_id)}
        for ask, book in ((client.privatePostOpenOrders, "open"), (client.privatePostClosedOrders, "closed")):
            rows = fields_in(_result(await ask(dict(by_client_id))).get(book))
            reports = [_report(client, order_id, fields_in(row)) for order_id, row in rows.items()]
            found = [report for report in reports if report.client_order_id == reference.client_order_id]
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
        if not rows:
            return None
        return about(reference, _report(client, order_id, fields_in(rows.get(order_id))))

    async def open_orders(self, client: Any, symbol: str | None) -> list[OrderReport]:
        if symbol is not None:
            market_of(client, symbol)
        rows = fields_in(_result(await client.privatePostOpenOrders({})).get("open"))
        reports = [_report(client, order_id, fields_in(row)) for order_id, row in rows.items()]
        return [report for report in reports if symbol in (None, report.symbol)]

    async def server_time_ms(self, client: Any) -> int:
        # Kraken tells whole seconds: the middle of the one named is wrong by half a second at most.
        return int(await client.fetch_time()) + 500


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


def _report(client: Any, order_id: str, order: Mapping[str, Any]) -> OrderReport:
    description = fields_in(order.get("descr"))
    filled, spent = decimal_in(order, "vol_exec") or ZERO, decimal_in(order, "cost")
    status = status_in(_STATUSES, order.get("status"))
    symbol, quote, base = _pair(client, text_in(description, "pair"))
    conditional = str(description.get("ordertype", "")) not in ("limit", "market")
    return OrderReport(
        client_order_id=client_order_text(str(order.get("cl_ord_id") or "")),
        exchange_order_id=order_id,
        symbol=symbol,
        status=OrderStatus.PARTIAL if status is OrderStatus.ACTIVE and filled else status,
        amount=decimal_in(order, "vol"),
        price=positive(decimal_in(description, "price2" if conditional else "price")),
        filled=filled,
        average=spent / filled if spent and filled else None,
        fees=_fees(order, quote, base),
        exchange_at=_milliseconds(order),
    )


def _fees(order: Mapping[str, Any], quote: str, base: str) -> dict[str, Decimal]:
    """Paid in quote, unless the flag `fcib` says base."""
    paid = decimal_in(order, "fee")
    return {base if "fcib" in str(order.get("oflags", "")) else quote: paid} if paid else {}


def _milliseconds(order: Mapping[str, Any]) -> int:
    moments = (decimal_in(order, name) for name in ("closetm", "opentm"))
    return int(next((moment for moment in moments if moment), ZERO) * 1000)


def _pair(client: Any, pair: str) -> tuple[str, str, str]:
    """(symbol, quote, base) of a pair, which orders name by its alternative name (XBTUSD for XXBTZUSD)."""
    market = client.options[_BY_ALTNAME].get(pair)
    if market is None:
        return pair, "", ""
    return market["symbol"], market["quote"], market["base"]
