"""For the tests: each venue on a stub, with one spot and one linear market where it has both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from common.exchange import Credentials, ExchangeSettings, open_exchange
from common.exchange.base import OrderReference, OrderRequest
from common.exchange.ccxt_exchange import CcxtExchange
from common.secrets import Secret
from orderlane.identity import client_order_id
from orderlane.intents import OrderType, Side
from tests.common.exchange.stub_server import Answer, Stub, running_stub

AT_MS: Final = 1_760_000_000_000
SPOT: Final = "BTC/USDT"
LINEAR: Final = "BTC/USDT:USDT"
ID: Final = client_order_id("orderlane", "test", "main", "grid-1")
BYBIT_ID: Final = "fd4300ae-7847-404e-b947-b46980a4d140"
CREDENTIALS: Final = Credentials(
    key=Secret("test-api-key-0001"),
    secret=Secret("dGVzdC1hcGktc2VjcmV0LTAwMDE="),
    password=Secret("test-passphrase-1"),
)

_LOT = {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"}
_TICK = {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"}
_SPOT_TYPES = [
    "LIMIT",
    "LIMIT_MAKER",
    "MARKET",
    "STOP_LOSS",
    "STOP_LOSS_LIMIT",
    "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
]
_USDM_TYPES = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"]
_PAIR = {"symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "status": "TRADING"}

BINANCE_INFO: Final = {
    "symbols": [
        {
            **_PAIR,
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "orderTypes": _SPOT_TYPES,
            "isSpotTradingAllowed": True,
            "permissionSets": [["SPOT"]],
            "filters": [_TICK, _LOT],
        }
    ]
}
USDM_INFO: Final = {
    "symbols": [
        {
            **_PAIR,
            "pair": "BTCUSDT",
            "contractType": "PERPETUAL",
            "deliveryDate": 4133404800000,
            "onboardDate": 1569398400000,
            "marginAsset": "USDT",
            "pricePrecision": 2,
            "quantityPrecision": 5,
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "orderTypes": _USDM_TYPES,
            "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
            "filters": [_TICK, _LOT],
        }
    ]
}
_BYBIT_PAIR = {"symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "status": "Trading"}
_BYBIT_PRICES = {"tickSize": "0.01", "minPrice": "0.01", "maxPrice": "1000000"}
BYBIT_SPOT: Final = {
    **_BYBIT_PAIR,
    "innovation": "0",
    "marginTrading": "both",
    "lotSizeFilter": {
        "basePrecision": "0.00001",
        "quotePrecision": "0.01",
        "minOrderQty": "0.00001",
        "maxOrderQty": "100",
        "minOrderAmt": "1",
        "maxOrderAmt": "1000000",
    },
    "priceFilter": _BYBIT_PRICES,
}
BYBIT_LINEAR: Final = {
    **_BYBIT_PAIR,
    "contractType": "LinearPerpetual",
    "launchTime": "1584230400000",
    "deliveryTime": "0",
    "settleCoin": "USDT",
    "priceScale": "2",
    "leverageFilter": {"minLeverage": "1", "maxLeverage": "100", "leverageStep": "0.01"},
    "priceFilter": _BYBIT_PRICES,
    "lotSizeFilter": {"maxOrderQty": "100", "minOrderQty": "0.00001", "qtyStep": "0.00001"},
}
OKX_SPOT: Final = {
    "instType": "SPOT",
    "instId": "BTC-USDT",
    "baseCcy": "BTC",
    "quoteCcy": "USDT",
    "lotSz": "0.00001",
    "minSz": "0.00001",
    "tickSz": "0.01",
    "state": "live",
}
OKX_SWAP: Final = {
    "instType": "SWAP",
    "instId": "BTC-USDT-SWAP",
    "uly": "BTC-USDT",
    "settleCcy": "USDT",
    "ctVal": "0.01",
    "ctValCcy": "BTC",
    "ctType": "linear",
    "lotSz": "0.01",
    "minSz": "0.01",
    "tickSz": "0.01",
    "state": "live",
}
KRAKEN_PAIRS: Final = {
    "XBTUSDT": {
        "altname": "XBTUSDT",
        "wsname": "XBT/USDT",
        "base": "XXBT",
        "quote": "USDT",
        "pair_decimals": 2,
        "lot_decimals": 8,
        "ordermin": "0.00005",
        "costmin": "0.5",
        "tick_size": "0.01",
        "status": "online",
        "leverage_buy": [],
        "fees": [[0, 0.4]],
        "fees_maker": [[0, 0.25]],
    }
}


class VenueUnderTest(Struct, frozen=True, kw_only=True):
    """How one venue is spoken to: routes, its way of naming an error, and an order as it would answer it."""

    venue: str
    symbol: str
    place_route: str
    cancel_route: str
    find_route: str
    accepted: dict[str, Any]
    errors_status: int = 400

    def error(self, code: str, message: str = "words", *, query: bool = False) -> dict[str, Any]:
        """A body that names an error, of a request about an order or of a query."""
        if self.venue == "bybit":
            return {"retCode": int(code), "retMsg": message, "result": {}, "time": AT_MS}
        if self.venue == "okx" and query:
            return {"code": code, "msg": message, "data": []}
        if self.venue == "okx":
            return {
                "code": "1",
                "msg": "",
                "data": [{"sCode": code, "sMsg": message, "ordId": "", "clOrdId": ID}],
            }
        if self.venue == "kraken":
            return {"error": [code]}
        return {"code": int(code), "msg": message}


BINANCE: Final = VenueUnderTest(
    venue="binance",
    symbol=SPOT,
    place_route="POST /api/v3/order",
    cancel_route="DELETE /api/v3/order",
    find_route="GET /api/v3/order",
    accepted={
        "symbol": "BTCUSDT",
        "orderId": 28,
        "clientOrderId": ID,
        "transactTime": AT_MS,
        "price": "64000.00",
        "origQty": "0.50000",
        "executedQty": "0.00000",
        "cummulativeQuoteQty": "0.00000000",
        "status": "NEW",
        "fills": [],
    },
)
USDM: Final = VenueUnderTest(
    venue="binanceusdm",
    symbol=LINEAR,
    place_route="POST /fapi/v1/order",
    cancel_route="DELETE /fapi/v1/order",
    find_route="GET /fapi/v1/order",
    accepted={
        "symbol": "BTCUSDT",
        "orderId": 29,
        "clientOrderId": ID,
        "price": "64000.00",
        "avgPrice": "0.00",
        "origQty": "0.50000",
        "executedQty": "0.00000",
        "cumQuote": "0",
        "status": "NEW",
        "updateTime": AT_MS,
    },
)
BYBIT: Final = VenueUnderTest(
    venue="bybit",
    symbol=LINEAR,
    place_route="POST /v5/order/create",
    cancel_route="POST /v5/order/cancel",
    find_route="GET /v5/order/realtime",
    accepted={
        "retCode": 0,
        "retMsg": "OK",
        "result": {"orderId": BYBIT_ID, "orderLinkId": ID},
        "retExtInfo": {},
        "time": AT_MS,
    },
    errors_status=200,
)
OKX: Final = VenueUnderTest(
    venue="okx",
    symbol=LINEAR,
    place_route="POST /api/v5/trade/order",
    cancel_route="POST /api/v5/trade/cancel-order",
    find_route="GET /api/v5/trade/order",
    accepted={
        "code": "0",
        "msg": "",
        "data": [{"ordId": "312", "clOrdId": ID, "sCode": "0", "sMsg": "", "ts": str(AT_MS)}],
    },
    errors_status=200,
)
KRAKEN: Final = VenueUnderTest(
    venue="kraken",
    symbol=SPOT,
    place_route="POST /0/private/AddOrder",
    cancel_route="POST /0/private/CancelOrder",
    find_route="POST /0/private/OpenOrders",
    accepted={
        "error": [],
        "result": {"txid": ["OAAAAA-BBBBB-CCCCCC"], "descr": {"order": "buy 0.5 XBTUSDT @ limit 64000"}},
    },
    errors_status=200,
)
EVERY: Final = (BINANCE, USDM, BYBIT, OKX, KRAKEN)


def teach_markets(stub: Stub) -> None:
    """Set the answers from which each venue's markets load."""
    stub.answer("GET /api/v3/exchangeInfo", Answer(BINANCE_INFO))
    stub.answer("GET /fapi/v1/exchangeInfo", Answer(USDM_INFO))
    stub.answer("GET /0/public/AssetPairs", Answer({"error": [], "result": KRAKEN_PAIRS}))
    for category, row in (("spot", BYBIT_SPOT), ("linear", BYBIT_LINEAR)):
        body: dict[str, Any] = {"retCode": 0, "result": {"category": category, "list": [row]}}
        stub.answer(f"GET /v5/market/instruments-info?category={category}", Answer(body))
    for instrument in (OKX_SPOT, OKX_SWAP):
        answer = Answer({"code": "0", "data": [instrument]})
        stub.answer(f"GET /api/v5/public/instruments?instType={instrument['instType']}", answer)


def settings_on(url: str, venue: str, **changes: Any) -> ExchangeSettings:
    """Settings of `venue` behind `url`, with one account."""
    fields: dict[str, Any] = {"name": venue, "accounts": {"main": CREDENTIALS}, "endpoint": url, **changes}
    return ExchangeSettings(venue=venue, **fields)


@asynccontextmanager
async def opened(venue: str, **changes: Any) -> AsyncIterator[tuple[CcxtExchange, Stub]]:
    """An exchange on a stub of its own, its markets loaded; what loading sent is forgotten."""
    async with running_stub() as stub:
        teach_markets(stub)
        exchange = open_exchange(settings_on(stub.url, venue, **changes))
        try:
            await exchange.fetch_ccxt_markets()
            stub.seen.clear()
            yield exchange, stub
        finally:
            await exchange.close()


def order(venue: VenueUnderTest = BINANCE, **changes: Any) -> OrderRequest:
    """A limit order of the venue's symbol, 0.5 at 64 000."""
    request = OrderRequest(
        account="main",
        symbol=venue.symbol,
        side=Side.BUY,
        type=OrderType.LIMIT,
        amount=Decimal("0.5"),
        price=Decimal(64000),
        client_order_id=ID,
    )
    return replace(request, **changes)


def reference(venue: VenueUnderTest = BINANCE, **changes: Any) -> OrderReference:
    """That order, by client order id."""
    return replace(OrderReference(account="main", symbol=venue.symbol, client_order_id=ID), **changes)


def without(params: Mapping[str, str], *names: str) -> dict[str, str]:
    """The parameters without those named."""
    return {name: value for name, value in params.items() if name not in names}
