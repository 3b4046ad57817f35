"""The rules an order can break, one small function each: an order on the grid in, a reason or None out.

Pure. The functions look at the order, the market's rules and a reference price (the venue's mark, average or
last price as far as this process knows it; None: not known). Where a rule needs a reference price and there
is none, the rule is left to the venue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import ROUND_CEILING, Context, Decimal
from enum import StrEnum
from typing import Final

from msgspec import Struct

from common.exact import multiple_at_least, plain, times
from common.exchange.base import OrderRequest
from common.markets import Market, MarketType
from orderlane.intents import OrderType, Side, TimeInForce
from orderlane.orders import Reason


class RefusalCode(StrEnum):
    """Why an order was not sent. Stable: applications and alerts rely on them."""

    MARKET_INACTIVE = "market_inactive"
    ORDER_TYPE_NOT_ALLOWED = "order_type_not_allowed"
    TIME_IN_FORCE_NOT_ALLOWED = "time_in_force_not_allowed"
    REDUCE_ONLY_ON_SPOT = "reduce_only_on_spot"
    PRICE_BELOW_MINIMUM = "price_below_minimum"
    PRICE_ABOVE_MAXIMUM = "price_above_maximum"
    TRIGGER_PRICE_BELOW_MINIMUM = "trigger_price_below_minimum"
    TRIGGER_PRICE_ABOVE_MAXIMUM = "trigger_price_above_maximum"
    LIMIT_TOO_FAR = "limit_too_far"
    REFERENCE_PRICE_UNKNOWN = "reference_price_unknown"
    AMOUNT_BELOW_MINIMUM = "amount_below_minimum"
    AMOUNT_ABOVE_MAXIMUM = "amount_above_maximum"
    NOTIONAL_BELOW_MINIMUM = "notional_below_minimum"
    NOTIONAL_ABOVE_MAXIMUM = "notional_above_maximum"
    PRICE_OUTSIDE_BAND = "price_outside_band"
    AMEND_WITHOUT_PRICE = "amend_without_price"
    AMEND_CHANGES_NOTHING = "amend_changes_nothing"
    AMEND_BELOW_FILLED = "amend_below_filled"


class Normalized(Struct, frozen=True, kw_only=True):
    """An order as it may be sent, every number on the grid; amounts in base, prices in quote per base.

    `changes` says, field by field, what was altered and why:
    {"amount": "0.12345 -> 0.123 (lot size 0.001)"}. A default filled in is no change.
    """

    side: Side
    type: OrderType
    amount: Decimal
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: TimeInForce | None = None
    reduce_only: bool = False
    params: dict[str, str | int | bool] = {}
    changes: dict[str, str] = {}

    def request(self, account: str, symbol: str, client_order_id: str) -> OrderRequest:
        """The request for the exchange adapter."""
        return OrderRequest(
            account=account,
            symbol=symbol,
            side=self.side,
            type=self.type,
            amount=self.amount,
            client_order_id=client_order_id,
            price=self.price,
            trigger_price=self.trigger_price,
            time_in_force=self.time_in_force,
            reduce_only=self.reduce_only,
            params=self.params,
        )


_UPWARDS: Final = Context(prec=40, rounding=ROUND_CEILING)
"""For the amount that a message recommends, never for one that is sent."""

Rule = Callable[[Normalized, Market, Decimal | None], Reason | None]


def first_broken(
    rules: Iterable[Rule], order: Normalized, market: Market, reference_price: Decimal | None
) -> Reason | None:
    """The reason of the first rule that the order breaks; None: it keeps them all."""
    for rule in rules:
        if reason := rule(order, market, reference_price):
            return reason
    return None


def refusal_reason(code: RefusalCode, message: str, **numbers: Decimal) -> Reason:
    """A reason with its numbers as plain decimals."""
    return Reason(code, message, {name: str(plain(value)) for name, value in numbers.items()})


def _market_is_open(order: Normalized, market: Market, reference_price: Decimal | None) -> Reason | None:
    if market.active:
        return None
    return refusal_reason(
        RefusalCode.MARKET_INACTIVE,
        f"{market.symbol} is not in trading at the exchange: try again once it is",
    )


def _type_is_allowed(order: Normalized, market: Market, reference_price: Decimal | None) -> Reason | None:
    if market.order_types is None or order.type in market.order_types:
        return None
    return refusal_reason(
        RefusalCode.ORDER_TYPE_NOT_ALLOWED,
        f"{market.symbol} takes no {order.type} orders: use one of {', '.join(sorted(market.order_types))}",
    )


def _time_in_force_is_allowed(
    order: Normalized, market: Market, reference_price: Decimal | None
) -> Reason | None:
    wanted = order.time_in_force
    if wanted is None:
        return None
    if market.times_in_force is not None and wanted not in market.times_in_force:
        return refusal_reason(
            RefusalCode.TIME_IN_FORCE_NOT_ALLOWED,
            f"{market.symbol} has no time in force {wanted}: "
            f"use one of {', '.join(sorted(market.times_in_force))}",
        )
    if wanted is TimeInForce.PO and order.type.has_trigger and not market.post_only_stops:
        return refusal_reason(
            RefusalCode.TIME_IN_FORCE_NOT_ALLOWED,
            f"a {order.type} order in {market.symbol} can't be post-only (PO): use GTC, IOC or FOK",
        )
    return None


def _reduce_only_has_a_position(
    order: Normalized, market: Market, reference_price: Decimal | None
) -> Reason | None:
    if not order.reduce_only or market.type is not MarketType.SPOT:
        return None
    return refusal_reason(
        RefusalCode.REDUCE_ONLY_ON_SPOT,
        f"{market.symbol} is a spot market: it has no position that reduce_only could refer to; leave it out",
    )


def _price_is_in_range(order: Normalized, market: Market, reference_price: Decimal | None) -> Reason | None:
    return _in_price_range("price", order.price, order, market)


def _trigger_price_is_in_range(
    order: Normalized, market: Market, reference_price: Decimal | None
) -> Reason | None:
    return _in_price_range("trigger_price", order.trigger_price, order, market)


def _in_price_range(field: str, value: Decimal | None, order: Normalized, market: Market) -> Reason | None:
    if value is None:
        return None
    lowest = max(market.min_price or market.tick_size, market.tick_size)  # rounding down may have left 0
    if value < lowest:
        return refusal_reason(
            RefusalCode(f"{field}_below_minimum"),
            f"{field} {_said(order, field)} is below the least {market.symbol} takes, {lowest}: "
            "give a higher one",
            **{field: value, "minimum": lowest},
        )
    if market.max_price is not None and value > market.max_price:
        return refusal_reason(
            RefusalCode(f"{field}_above_maximum"),
            f"{field} {_said(order, field)} is above the most {market.symbol} takes, {market.max_price}: "
            "give a lower one",
            **{field: value, "maximum": market.max_price},
        )
    return None


def _amount_is_in_range(order: Normalized, market: Market, reference_price: Decimal | None) -> Reason | None:
    lot_size, minimum, maximum = amount_rules(order.type, market)
    lowest = max(minimum or lot_size, lot_size)  # rounding down may have left 0
    if order.amount < lowest:
        return refusal_reason(
            RefusalCode.AMOUNT_BELOW_MINIMUM,
            f"amount {_said(order, 'amount')} is below the least a {order.type} order in {market.symbol} "
            f"may have, {lowest}: ask for more",
            amount=order.amount,
            minimum=lowest,
            lot_size=lot_size,
        )
    if maximum is not None and order.amount > maximum:
        return refusal_reason(
            RefusalCode.AMOUNT_ABOVE_MAXIMUM,
            f"amount {_said(order, 'amount')} is above the most a {order.type} order in {market.symbol} "
            f"may have, {maximum}: split it",
            amount=order.amount,
            maximum=maximum,
            lot_size=lot_size,
        )
    return None


def _notional_is_in_range(
    order: Normalized, market: Market, reference_price: Decimal | None
) -> Reason | None:
    """Price times amount: at the limit price, else the trigger (where a stop trades), else the reference."""
    price = order.price or order.trigger_price or reference_price
    if price is None:
        return None
    minimum, maximum = market.min_notional, market.max_notional
    if not order.type.has_price:
        minimum, maximum = market.market_min_notional, market.market_max_notional
    if order.reduce_only and market.reduce_only_exempt_from_notional:
        minimum = None
    notional = times(price, order.amount)
    if minimum is not None and notional < minimum:
        enough = multiple_at_least(_UPWARDS.divide(minimum, price), amount_rules(order.type, market)[0])
        return refusal_reason(
            RefusalCode.NOTIONAL_BELOW_MINIMUM,
            f"amount {_said(order, 'amount')} at {price} is worth {plain(notional)} {market.quote}, below "
            f"the least an order in {market.symbol} may be worth, {minimum}: "
            f"ask for {enough} or more at this price",
            notional=notional,
            minimum=minimum,
            amount=order.amount,
            price=price,
        )
    if maximum is not None and notional > maximum:
        return refusal_reason(
            RefusalCode.NOTIONAL_ABOVE_MAXIMUM,
            f"amount {_said(order, 'amount')} at {price} is worth {plain(notional)} {market.quote}, above "
            f"the most an order in {market.symbol} may be worth, {maximum}: split it",
            notional=notional,
            maximum=maximum,
            amount=order.amount,
            price=price,
        )
    return None


def _price_is_in_band(order: Normalized, market: Market, reference_price: Decimal | None) -> Reason | None:
    if order.price is None or reference_price is None:
        return None
    if order.type.has_trigger and not market.price_band_covers_stops:
        return None
    down, up = market.price_band.multipliers(order.side)
    lowest = None if down is None else plain(times(reference_price, down))
    highest = None if up is None else plain(times(reference_price, up))
    if (lowest is None or order.price >= lowest) and (highest is None or order.price <= highest):
        return None
    bounds = {"lowest": lowest, "highest": highest}
    known = {name: value for name, value in bounds.items() if value is not None}
    said = ", ".join(f"{name} {value}" for name, value in known.items())
    return refusal_reason(
        RefusalCode.PRICE_OUTSIDE_BAND,
        f"price {_said(order, 'price')} is outside what {market.symbol} takes from a {order.side} order "
        f"while its reference price is {plain(reference_price)} ({said}): price it nearer",
        price=order.price,
        reference_price=reference_price,
        **known,
    )


def amount_rules(order_type: OrderType, market: Market) -> tuple[Decimal, Decimal | None, Decimal | None]:
    """(lot size, least amount, most amount) for an order of this type, in base."""
    if order_type.has_price:
        return market.lot_size, market.min_amount, market.max_amount
    return market.market_lot_size, market.market_min_amount, market.market_max_amount


def _said(order: Normalized, field: str) -> str:
    """A field's value, with what it was asked to be where that differs."""
    return order.changes.get(field) or str(getattr(order, field))


CAPABILITY_RULES: Final[tuple[Rule, ...]] = (
    _market_is_open,
    _type_is_allowed,
    _time_in_force_is_allowed,
    _reduce_only_has_a_position,
)
"""What the market can do at all; they look at no number."""

PRICE_RULES: Final[tuple[Rule, ...]] = (_price_is_in_range, _trigger_price_is_in_range)

SIZE_RULES: Final[tuple[Rule, ...]] = (_amount_is_in_range, _notional_is_in_range, _price_is_in_band)
"""What an order of this type, at this price and amount, has to keep."""
