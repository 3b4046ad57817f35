"""What the pipeline's tests send: intents for both products of the paper exchange, and the faults they meet."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest

from orderlane.intents import AmendOrder, CancelAll, CancelOrder, PlaceOrder


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """One product of the paper exchange, and a limit order there that rests far below the market."""

    exchange: str
    product: str
    symbol: str
    venue_symbol: str
    place: str
    cancel: str
    amend: str
    query: str

    def order(self, intent_id: str, price: object = "50000", **fields: Any) -> PlaceOrder:
        """A buy of 0.01 BTC, by default far below the market's 60 000."""
        values: dict[str, Any] = {
            "side": "buy",
            "type": "limit",
            "amount": "0.01",
            "price": None if price is None else str(price),
            **self._fields(intent_id),
            **{name: str(value) if isinstance(value, Decimal) else value for name, value in fields.items()},
        }
        return msgspec.convert({k: v for k, v in values.items() if v is not None}, PlaceOrder)

    def cancels(self, intent_id: str, target: str, **fields: Any) -> CancelOrder:
        return msgspec.convert({"target": target, **self._fields(intent_id), **fields}, CancelOrder)

    def amends(self, intent_id: str, target: str, **fields: Any) -> AmendOrder:
        values = {
            name: str(value) if name in ("price", "amount") else value for name, value in fields.items()
        }
        return msgspec.convert({"target": target, **self._fields(intent_id), **values}, AmendOrder)

    def cancels_all(self, intent_id: str, **fields: Any) -> CancelAll:
        return msgspec.convert({**self._fields(intent_id), **fields}, CancelAll)

    def _fields(self, intent_id: str) -> dict[str, Any]:
        return {"id": intent_id, "exchange": self.exchange, "account": "main", "symbol": self.symbol}


USDM: Final = Product(
    exchange="binance",
    product="usdm",
    symbol="BTC/USDT:USDT",
    venue_symbol="BTCUSDT",
    place=r"^POST /fapi/v1/order$",
    cancel=r"^DELETE /fapi/v1/order$",
    amend=r"^PUT /fapi/v1/order$",
    query=r"^GET /fapi/v1/order$",
)
SPOT: Final = Product(
    exchange="binance-spot",
    product="spot",
    symbol="BTC/USDT",
    venue_symbol="BTCUSDT",
    place=r"^POST /api/v3/order$",
    cancel=r"^DELETE /api/v3/order$",
    amend=r"^POST /api/v3/order$",
    query=r"^GET /api/v3/order$",
)
VENUES: Final = [pytest.param(USDM, id="usdm"), pytest.param(SPOT, id="spot")]

LATE: Final = '{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}'
LOST: Final = [
    pytest.param("hang", {"executed": True}, id="executed, then a timeout"),
    pytest.param("drop_after", {}, id="executed, then a dropped connection"),
    pytest.param("error_after", {"status": 503}, id="executed, then a 503"),
    pytest.param("cut_body", {}, id="executed, then a cut body"),
    pytest.param("foreign_body", {}, id="executed, then a page of HTML"),
    pytest.param("verbatim", {"executed": True, "body": "{}"}, id="executed, then a reply without an id"),
    pytest.param("hang", {"executed": False}, id="a timeout"),
    pytest.param("reset_before_read", {}, id="a reset before it was read"),
    pytest.param("error_before", {"status": 503}, id="a 503"),
    pytest.param("429", {}, id="a 429"),
    pytest.param("verbatim", {"status": 400, "body": LATE}, id="a refusal for being late"),
]
"""Faults of one request of a command: its reply is lost, or it is not executed."""

CONDITIONAL: Final = [
    pytest.param({"type": "stop_market", "price": None, "trigger_price": "65000"}, id="stop market"),
    pytest.param({"type": "stop_limit", "price": "65500", "trigger_price": "65000"}, id="stop limit"),
    pytest.param({"type": "take_profit_market", "price": None, "trigger_price": "55000"}, id="take profit"),
    pytest.param(
        {"type": "take_profit_limit", "price": "54500", "trigger_price": "55000"}, id="take profit limit"
    ),
]
"""Fields of orders that wait for a trigger, none of which is reached at 60 000."""
