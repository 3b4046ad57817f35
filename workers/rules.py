"""The market rules a worker judges by: the venue's, as last loaded, and the operator's."""

from __future__ import annotations

from decimal import Decimal

from common.exchange.base import OrderRequest
from common.markets import Market, Markets, UnknownSymbol
from common.normalizer import Normalized, NormalizerPolicy, Refusal, normalize, normalize_amend
from orderlane.intents import AmendOrder, OrderType, PlaceOrder
from orderlane.orders import Order, Reason


class MarketRules:
    """`markets` is replaced as a whole when the venue's rules are loaded anew."""

    def __init__(self, markets: Markets, policy: NormalizerPolicy) -> None:
        self.markets = markets
        self._policy = policy

    def normalize(self, intent: PlaceOrder, reference_price: Decimal | None) -> Normalized | Refusal:
        """The order that fits the market, or why there is none."""
        try:
            market = self.markets[intent.symbol]
        except UnknownSymbol as error:
            return _unknown(error)
        return normalize(intent, market, self._policy, reference_price)

    def normalize_amend(
        self, intent: AmendOrder, target: Order, placed: PlaceOrder, reference_price: Decimal | None
    ) -> Normalized | Refusal:
        """The order that `target`, placed by `placed`, becomes; or why it can't become that."""
        try:
            market = self.markets[intent.symbol]
        except UnknownSymbol as error:
            return _unknown(error)
        request = _as_request(target, placed, self._policy)
        return normalize_amend(intent, request, market, self._policy, reference_price, target.filled)

    def market(self, symbol: str) -> Market | None:
        """The rules of one symbol; None where the exchange has no such symbol."""
        return self.markets.get(symbol)

    def needs_reference_price(self, intent: PlaceOrder) -> bool:
        """Whether a rule of the operator's compares this order with the market."""
        return self._policy.max_distance_percent is not None and intent.type is OrderType.LIMIT


def _as_request(target: Order, placed: PlaceOrder, policy: NormalizerPolicy) -> OrderRequest:
    """The target as it was sent or last amended."""
    time_in_force = placed.time_in_force
    if time_in_force is None and placed.type.has_price:
        time_in_force = policy.default_time_in_force
    return OrderRequest(
        account=placed.account,
        symbol=placed.symbol,
        client_order_id=target.client_order_id,
        side=placed.side,
        type=placed.type,
        amount=target.amount or placed.amount,
        price=target.price or placed.price,
        trigger_price=target.trigger_price or placed.trigger_price,
        time_in_force=time_in_force,
        reduce_only=placed.reduce_only,
        params=placed.params,
    )


def _unknown(error: UnknownSymbol) -> Refusal:
    return Refusal(Reason(code="unknown_symbol", message=error.message))
