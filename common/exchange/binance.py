"""Binance spot, and what spot and USDⓈ-M futures share. Orders take the direct way: requests and replies of our own.

Sources: "Trading endpoints" of the spot documentation (developers.binance.com), and what ccxt 4.5.90 sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, Final, TypeVar

import msgspec

from common.exchange import binance_positions, binance_trades
from common.exchange import binance_requests as endpoints
from common.exchange.account_figures import BalanceReport
from common.exchange.base import (
    ExchangeFailure,
    OrderReference,
    OrderReport,
    OrderRequest,
    Outcome,
    TradeReport,
    Usage,
)
from common.exchange.binance_codes import SPOT_ERRORS
from common.exchange.binance_replies import (
    CONFIRMATION,
    SPOT_LISTED,
    SPOT_ORDER,
    SPOT_ORDERS,
    spot_report,
    with_its_fills,
)
from common.exchange.binance_requests import Endpoint, SignedRequests
from common.exchange.binance_streams import SpotStreamReader
from common.exchange.classify import VenueError
from common.exchange.fields import (
    confirmed,
    distinct,
    fields_in,
    market_id_in,
    middle,
    same_order,
    unreadable,
)
from common.exchange.settings import ExchangeSettings
from common.exchange.venue import Venue, market_of, refused, symbol_of, wire_text
from orderlane.intents import OrderType, TimeInForce

Answer = TypeVar("Answer")

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
    trades_page = binance_trades.PAGE

    def __init__(self, settings: ExchangeSettings) -> None:
        super().__init__(settings)
        self._requests: dict[str, SignedRequests] = {}

    async def ask(
        self,
        client: Any,
        endpoint: Endpoint,
        params: Mapping[str, Any],
        decoder: msgspec.json.Decoder[Answer],
    ) -> Answer:
        """Send a signed request and read its reply as the type that the decoder is for.

        Raises:
            ExchangeFailure: what the reply reports; UNKNOWN, it is not of that type.
        """
        requests = self._requests.get(client.wire.account)
        if requests is None:
            if not SignedRequests.cover(client):
                return await _ask_through_ccxt(client, endpoint, params, decoder)
            requests = self._requests[client.wire.account] = SignedRequests(client)
        origin, request = requests.write(endpoint, params, client.milliseconds())
        answer: Answer = await client.ask(origin, request, decoder)
        return answer

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
    stream_reader = SpotStreamReader()
    options: ClassVar[Mapping[str, Any]] = {
        "fetchMarkets": {"types": ["spot"]},
        "fetchCurrencies": False,
        "fetchMargins": False,
    }

    async def place(self, client: Any, request: OrderRequest, at_ms: int) -> OrderReport:
        market = market_of(client, request.symbol)
        order = await self.ask(client, endpoints.SPOT_PLACE, spot_order(market["id"], request), SPOT_ORDER)
        same_order(request.client_order_id, order.client_order_id)
        return spot_report(with_its_fills(order), market["id"], request.symbol)

    async def cancel(self, client: Any, reference: OrderReference, at_ms: int) -> OrderReport | None:
        named = _named(client, reference)
        order = await self.ask(client, endpoints.SPOT_CANCEL, named, SPOT_ORDER)
        return confirmed(reference, spot_report(order, named["symbol"], reference.symbol))

    async def cancel_all(self, client: Any, symbol: str, at_ms: int) -> None:
        try:
            on_symbol = {"symbol": market_of(client, symbol)["id"]}
            await self.ask(client, endpoints.SPOT_CANCEL_ALL, on_symbol, CONFIRMATION)
        except ExchangeFailure as failure:
            if failure.outcome is not Outcome.NOT_FOUND:  # -2011 also says that nothing was open
                raise

    async def find(self, client: Any, reference: OrderReference) -> OrderReport | None:
        named = _named(client, reference)
        try:
            order = await self.ask(client, endpoints.SPOT_FIND, named, SPOT_LISTED)
        except ExchangeFailure as failure:
            if failure.outcome is Outcome.NOT_FOUND:
                return None
            raise
        return confirmed(reference, spot_report(order, named["symbol"], reference.symbol))

    async def open_orders(self, client: Any, symbol: str | None) -> list[OrderReport]:
        narrowed = {"symbol": market_of(client, symbol)["id"]} if symbol else {}
        rows = await self.ask(client, endpoints.SPOT_OPEN, narrowed, SPOT_ORDERS)
        return distinct(
            spot_report(
                row, narrowed.get("symbol", row.symbol), symbol_of(client, row.symbol, contract=False)
            )
            for row in rows
        )

    async def trades(
        self, client: Any, symbol: str, since_ms: int, after_id: str, of_order: str = ""
    ) -> list[TradeReport]:
        market_id = market_of(client, symbol)["id"]
        page = binance_trades.page_of(market_id, since_ms, after_id, of_order)
        rows = await self.ask(client, binance_trades.SPOT_TRADES, page, binance_trades.SPOT_ROWS)
        return binance_trades.spot_trades(rows, market_id, symbol)

    async def balances(self, client: Any) -> list[BalanceReport]:
        account = await self.ask(
            client,
            binance_positions.SPOT_ACCOUNT,
            binance_positions.WITHOUT_ZERO,
            binance_positions.SPOT_ACCOUNT_REPLY,
        )
        return binance_positions.spot_balances(account)

    async def reference_price(self, client: Any, symbol: str) -> Decimal:
        market_id = market_of(client, symbol)["id"]
        ticker = fields_in(await client.publicGetTickerBookTicker({"symbol": market_id}))
        market_id_in(ticker, "symbol", market_id)
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


async def _ask_through_ccxt(
    client: Any, endpoint: Endpoint, params: Mapping[str, Any], decoder: msgspec.json.Decoder[Answer]
) -> Answer:
    decoded = await getattr(client, endpoint.implicit)(dict(params))
    try:
        answer: Answer = msgspec.convert(decoded, decoder.type)
    except msgspec.ValidationError as error:
        raise unreadable(str(error), decoded) from None
    return answer


def _named(client: Any, reference: OrderReference) -> dict[str, Any]:
    market_id = market_of(client, reference.symbol)["id"]
    if reference.exchange_order_id:
        return {"symbol": market_id, "orderId": reference.exchange_order_id}
    return {"symbol": market_id, "origClientOrderId": reference.client_order_id}
