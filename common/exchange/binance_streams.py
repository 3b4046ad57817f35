"""Binance's user streams, message by message: spot's `executionReport`, USDⓈ-M's `ORDER_TRADE_UPDATE`, `ALGO_UPDATE`.

Sources: "User Data Streams" of the spot and of the USDⓈ-M documentation (developers.binance.com). ccxt 4.5.90 drops
`listenKeyExpired`, and leaves who waits for orders waiting after `eventStreamTerminated`: both end the stream here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from common.exchange.base import Liquidity, OrderReport, StreamUpdate, TradeReport
from common.exchange.binance_replies import (
    ALGO_STATUSES,
    ALGO_TYPES,
    SPOT_TYPES,
    STATUSES,
    TRIGGERED,
    USDM_TYPES,
)
from common.exchange.fields import (
    decimal_in,
    fields_in,
    filled_in,
    market_id_in,
    measure_in,
    moment_in,
    number_id_in,
    optional_text_in,
    status_in,
    text_in,
    unreadable,
)
from common.exchange.stream_reading import stream_ended
from common.exchange.terms import read_terms
from common.exchange.venue import symbol_of
from orderlane.intents import Side
from orderlane.orders import OrderStatus

ENDS: Final = {
    "listenKeyExpired": "its listen key has expired",
    "eventStreamTerminated": "the exchange has ended the subscription",
}
"""Events after which a stream says nothing more, though its connection stays."""
_SIDES: Final = {"BUY": Side.BUY, "SELL": Side.SELL}


class BinanceStreamReader(ABC):
    """What both products share. `contract`: which kind of market an id stands for."""

    contract: bool

    def event_in(self, message: Any) -> Mapping[str, Any] | None:
        if not isinstance(message, dict):
            return None
        enveloped = message.get("event")
        event = enveloped if isinstance(enveloped, dict) else message
        return event if "e" in event else None

    def read(self, client: Any, event: Mapping[str, Any], received_at: int) -> StreamUpdate | None:
        name = event["e"]
        if name in ENDS:
            raise stream_ended(str(name), f"the user stream has ended: {ENDS[name]}")
        return self.order_in(client, str(name), event, received_at)

    @abstractmethod
    def order_in(
        self, client: Any, name: str, event: Mapping[str, Any], received_at: int
    ) -> StreamUpdate | None:
        """What an event of this name says of an order; None where it is about none."""

    def symbol_in(self, client: Any, order: Mapping[str, Any]) -> str:
        return symbol_of(client, market_id_in(order, "s"), contract=self.contract)


class SpotStreamReader(BinanceStreamReader):
    """Spot: each change of an order is an `executionReport`."""

    contract = False

    def order_in(
        self, client: Any, name: str, event: Mapping[str, Any], received_at: int
    ) -> StreamUpdate | None:
        if name != "executionReport":
            return None
        # A cancel shows its own id under `c`, and the order's under `C`.
        client_order_id = optional_text_in(event, "C") or text_in(event, "c")
        amount, spent = measure_in(event, "q"), decimal_in(event, "Z") or Decimal(0)
        filled = filled_in(event, "z", amount)
        report = OrderReport(
            client_order_id=client_order_id,
            exchange_order_id=number_id_in(event, "i"),
            symbol=self.symbol_in(client, event),
            status=status_in(STATUSES, event.get("X")),
            amount=amount,
            price=measure_in(event, "p"),
            filled=filled,
            average=spent / filled if spent > 0 and filled else None,
            exchange_at=moment_in(event, "T"),
            terms=read_terms(
                SPOT_TYPES, side=event.get("S"), kind=event.get("o"), trigger_price=event.get("P"),
                time_in_force="PO" if event.get("o") == "LIMIT_MAKER" else event.get("f"),
                created_at=event.get("O"),
            ),
        )  # fmt: skip
        return StreamUpdate(received_at=received_at, report=report, trade=_trade_in(event, report))


class UsdmStreamReader(BinanceStreamReader):
    """USDⓈ-M: orders come as `ORDER_TRADE_UPDATE`, conditional ones as `ALGO_UPDATE`."""

    contract = True

    def order_in(
        self, client: Any, name: str, event: Mapping[str, Any], received_at: int
    ) -> StreamUpdate | None:
        if name == "ALGO_UPDATE":
            return self._conditional(client, event, received_at)
        if name != "ORDER_TRADE_UPDATE":
            return None
        order = fields_in(event.get("o"))
        amount = measure_in(order, "q")
        report = OrderReport(
            client_order_id=text_in(order, "c"),
            exchange_order_id=number_id_in(order, "i"),
            symbol=self.symbol_in(client, order),
            status=status_in(STATUSES, order.get("X")),
            amount=amount,
            price=measure_in(order, "p"),
            filled=filled_in(order, "z", amount),
            average=measure_in(order, "ap"),
            exchange_at=moment_in(order, "T"),
            terms=read_terms(
                USDM_TYPES, side=order.get("S"), kind=order.get("o"), time_in_force=order.get("f"),
                reduce_only=order.get("R"),
            ),
        )  # fmt: skip
        return StreamUpdate(received_at=received_at, report=report, trade=_trade_in(order, report))

    def _conditional(self, client: Any, event: Mapping[str, Any], received_at: int) -> StreamUpdate:
        order = fields_in(event.get("o"))
        status = order.get("X")
        triggered = status in TRIGGERED
        report = OrderReport(
            client_order_id=text_in(order, "caid"),
            exchange_order_id=number_id_in(order, "aid"),
            symbol=self.symbol_in(client, order),
            status=OrderStatus.ACTIVE if triggered else status_in(ALGO_STATUSES, status),
            amount=measure_in(order, "q", may_be_empty=True),
            price=measure_in(order, "p", may_be_empty=True),
            exchange_at=moment_in(event, "T"),
            terms=read_terms(
                ALGO_TYPES, side=order.get("S"), kind=order.get("o"), time_in_force=order.get("f"),
                trigger_price=order.get("tp"), reduce_only=order.get("R"), own_book=True,
            ),
        )  # fmt: skip
        became = number_id_in(order, "ai") if triggered and order.get("ai") else ""
        return StreamUpdate(received_at=received_at, report=report, conditional=True, became=became)


def _trade_in(order: Mapping[str, Any], report: OrderReport) -> TradeReport | None:
    """The fill in a message of execution type TRADE; None in another."""
    if order.get("x") != "TRADE":
        return None
    amount, price = measure_in(order, "l"), measure_in(order, "L")
    side, maker = _SIDES.get(str(order.get("S"))), order.get("m")
    if amount is None or price is None or side is None or not isinstance(maker, bool):
        raise unreadable("a trade lacks its amount, price, side, or its side of the book", order)
    fee = decimal_in(order, "n")
    return TradeReport(
        trade_id=number_id_in(order, "t"),
        exchange_order_id=report.exchange_order_id,
        client_order_id=report.client_order_id,
        symbol=report.symbol,
        side=side,
        amount=amount,
        price=price,
        fee=fee,
        fee_currency=text_in(order, "N") if fee is not None and order.get("N") is not None else "",
        liquidity=Liquidity.MAKER if maker else Liquidity.TAKER,
        realised=decimal_in(order, "rp"),  # spot's messages have none
        traded_at=report.exchange_at,
    )
