"""An intent against the rules of its symbol: an order the venue takes, or a refusal that says what to do.

Pure and exact. What comes out is never another trade than was asked for, and never worse:

- The side, reduce-only and the kind of order stay (but see `FarLimit.MARKET`, off by default).
- The amount goes down to the lot size, never up.
- A limit price goes to the tick that is no worse for the trader: a buy down, a sell up. The limit price of a
  stop-limit or take-profit-limit is a limit price like any other.
- A trigger goes to the tick on the safe side, which for all four kinds is again: a buy down, a sell up.
    stop, sell (guards a long): fires when the price falls to the trigger. Up: it fires no later than asked.
    stop, buy (guards a short): fires when the price rises to the trigger. Down: it fires no later than asked.
    take-profit, sell: fires when the price rises to the trigger. Up: it takes no less profit than asked.
    take-profit, buy: fires when the price falls to the trigger. Down: it takes no less profit than asked.
  So a stop guards a tick too early rather than too late. One asked for within a tick of the market may
  come to stand at it, and the venue then says that it would trigger at once.
- Rounding keeps the order of two prices: a limit on the far side of its trigger does not change sides.

What can't be made to fit that way is refused. Normalising what came out changes nothing any more.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from common.exact import multiple_at_least, multiple_at_most, plain, times
from common.exchange.base import OrderRequest
from common.markets import Market
from common.order_rules import (
    CAPABILITY_RULES,
    PRICE_RULES,
    SIZE_RULES,
    Normalized,
    RefusalCode,
    amount_rules,
    first_broken,
    refusal_reason,
)
from orderlane.intents import AmendOrder, OrderType, PlaceOrder, Side, TimeInForce
from orderlane.orders import Reason

__all__ = [
    "FarLimit",
    "Normalized",
    "NormalizerPolicy",
    "Refusal",
    "RefusalCode",
    "normalize",
    "normalize_amend",
]


class FarLimit(StrEnum):
    """What becomes of a LIMIT order priced farther from the market than `max_distance_percent`."""

    REFUSE = "refuse"
    MARKET = "market"
    """Send it as MARKET if it would trade at once anyway, which is when it is priced on the far side of the
    market: a buy above it, a sell below it. Refuse it otherwise, and always a post-only or fill-or-kill, for
    which a market order can't stand. A market order holds to no limit: it could trade at worse than the price
    asked if the market moved by more than `max_distance_percent` meanwhile, or has no depth up to there."""


class NormalizerPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an operator decides about orders, apart from the venue's rules.

    Raises:
        ValueError: a field makes no sense; the message names it, its value and what was expected.
    """

    default_time_in_force: TimeInForce = TimeInForce.GTC
    """Default GTC. For an order with a limit price and no time in force of its own. With IOC or FOK nothing
    rests on the book unless it says GTC; with PO nothing takes liquidity, and stop-limits are refused where
    the venue has no post-only ones (Binance spot)."""

    max_distance_percent: Decimal | None = None
    """Default None: no bound. Percent of the reference price. A LIMIT order priced farther from it, on either
    side, is caught as a slip of the finger (see `far_limit`). Too small a value also catches grid and resting
    orders. While no reference price is known every LIMIT order is refused: a guard that can't see lets none
    pass."""

    far_limit: FarLimit = FarLimit.REFUSE
    """Default refuse. With `market`, which needs `max_distance_percent`, a far limit that would trade at once
    is sent as MARKET instead, and gives up its limit; see `FarLimit.MARKET` for when, and for the risk."""

    def __post_init__(self) -> None:
        distance = self.max_distance_percent
        if distance is not None and not (distance.is_finite() and distance > 0):
            raise ValueError(
                f"max_distance_percent is {distance}: expected a percentage above 0, such as 10, or nothing"
            )
        if distance is None and self.far_limit is not FarLimit.REFUSE:
            raise ValueError(
                f"far_limit is {self.far_limit}, which does nothing alone: expected max_distance_percent too"
            )


class Refusal(Struct, frozen=True):
    """The order can't be sent; `reason.code` is a `RefusalCode`."""

    reason: Reason


def normalize(
    intent: PlaceOrder, market: Market, policy: NormalizerPolicy, reference_price: Decimal | None
) -> Normalized | Refusal:
    """Make `intent` an order that `market` takes.

    Args:
        reference_price: quote per base: the venue's mark price (contracts), average or last price (spot), as
            fresh as the caller has it. None (or not positive): not known, so the rules that need one are left
            to the venue, except `max_distance_percent`.

    Raises:
        ValueError: `market` is another symbol's.
    """
    time_in_force = intent.time_in_force
    if time_in_force is None and intent.type.has_price:
        time_in_force = policy.default_time_in_force
    wanted = Normalized(
        side=intent.side,
        type=intent.type,
        amount=intent.amount,
        price=intent.price,
        trigger_price=intent.trigger_price,
        time_in_force=time_in_force,
        reduce_only=intent.reduce_only,
        params=intent.params,
    )
    return _settle(wanted, intent.symbol, market, policy, reference_price)


def normalize_amend(
    intent: AmendOrder,
    target: OrderRequest,
    market: Market,
    policy: NormalizerPolicy,
    reference_price: Decimal | None,
    filled: Decimal = Decimal(0),
) -> Normalized | Refusal:
    """Make the order that `target` would be after the amend one that `market` takes.

    An amend never turns a far limit into a market order: a new price too far from the market is refused. One
    that leaves the price alone is not held to `max_distance_percent`, which the market may have left behind.

    Args:
        target: the request as it was sent (or last amended).
        reference_price: see `normalize`.
        filled: base filled of the target so far. A total at or below it is refused: some venues would cancel
            the order instead (Binance USDⓈ-M, "Modify Order").

    Raises:
        ValueError: `market` is another symbol's.
    """
    if intent.price is not None and not target.type.has_price:
        return _refuse(
            RefusalCode.AMEND_WITHOUT_PRICE,
            f"order {intent.target} is a {target.type} order and has no price to amend to {intent.price}: "
            "amend its amount, or cancel it and place another",
            price=intent.price,
        )
    wanted = Normalized(
        side=target.side,
        type=target.type,
        amount=intent.amount or target.amount,
        price=intent.price or target.price,
        trigger_price=target.trigger_price,
        time_in_force=target.time_in_force,
        reduce_only=target.reduce_only,
        params=target.params,
    )
    guard = NormalizerPolicy(
        max_distance_percent=None if intent.price is None else policy.max_distance_percent
    )
    result = _settle(wanted, target.symbol, market, guard, reference_price)
    if isinstance(result, Refusal):
        return result
    if result.amount <= filled:
        return _refuse(
            RefusalCode.AMEND_BELOW_FILLED,
            f"amount {result.amount} is not above the {plain(filled)} already filled of order "
            f"{intent.target}: cancel it to end it there",
            amount=result.amount,
            filled=filled,
        )
    if (result.amount, result.price) == (target.amount, target.price):
        return _refuse(
            RefusalCode.AMEND_CHANGES_NOTHING,
            f"order {intent.target} already has amount {result.amount} and price {result.price}, which "
            "is what the amend comes to on the exchange's grid",
            amount=result.amount,
            **({} if result.price is None else {"price": result.price}),
        )
    return result


def _settle(
    wanted: Normalized, symbol: str, market: Market, policy: NormalizerPolicy, reference_price: Decimal | None
) -> Normalized | Refusal:
    """Ask what the market can do, put the order on the grid, catch a far limit, and check what came out."""
    if symbol != market.symbol:
        raise ValueError(f"the order is for {symbol}, but the rules given are those of {market.symbol}")
    if reference_price is not None and not (reference_price.is_finite() and reference_price > 0):
        reference_price = None
    if reason := first_broken(CAPABILITY_RULES, wanted, market, reference_price):
        return Refusal(reason)
    order = _on_the_grid(wanted, market)
    if reason := first_broken(PRICE_RULES, order, market, reference_price):
        return Refusal(reason)
    near = _near_the_market(order, wanted, market, policy, reference_price)
    if isinstance(near, Refusal):
        return near
    if reason := first_broken(SIZE_RULES, near, market, reference_price):
        return Refusal(reason)
    return near


def _on_the_grid(order: Normalized, market: Market) -> Normalized:
    """The order with its numbers rounded as the module says, and each rounding named in `changes`."""
    changes = dict(order.changes)
    lot_size, _, _ = amount_rules(order.type, market)
    to_tick = multiple_at_most if order.side is Side.BUY else multiple_at_least

    def rounded(field: str, asked: Decimal, allowed: Decimal, step: str) -> Decimal:
        if allowed != asked:
            changes[field] = f"{plain(asked)} -> {allowed} ({step})"
        return allowed

    def at_tick(field: str, asked: Decimal | None) -> Decimal | None:
        if asked is None:
            return None
        return rounded(field, asked, to_tick(asked, market.tick_size), f"tick size {market.tick_size}")

    return replace(
        order,
        amount=rounded(
            "amount", order.amount, multiple_at_most(order.amount, lot_size), f"lot size {lot_size}"
        ),
        price=at_tick("price", order.price),
        trigger_price=at_tick("trigger_price", order.trigger_price),
        changes=changes,
    )


def _near_the_market(
    order: Normalized,
    wanted: Normalized,
    market: Market,
    policy: NormalizerPolicy,
    reference_price: Decimal | None,
) -> Normalized | Refusal:
    """The order itself if it is no LIMIT priced too far from the market; else what `far_limit` makes of it.

    `wanted` is the order as asked for, before it was put on the grid of its type.
    """
    distance, price = policy.max_distance_percent, order.price
    if distance is None or order.type is not OrderType.LIMIT or price is None:
        return order
    if reference_price is None:
        return _refuse(
            RefusalCode.REFERENCE_PRICE_UNKNOWN,
            f"no reference price of {market.symbol} is known, so it can't be told whether {price} is within "
            f"max_distance_percent {distance} of the market: try again, or unset max_distance_percent",
            price=price,
            max_distance_percent=distance,
        )
    gap = price - reference_price if price > reference_price else reference_price - price
    if times(gap, Decimal(100)) <= times(distance, reference_price):
        return order
    if policy.far_limit is FarLimit.MARKET and _may_trade_at_market(order, market, reference_price):
        return _as_market_order(wanted, market, reference_price)
    return _refuse(
        RefusalCode.LIMIT_TOO_FAR,
        f"price {order.changes.get('price') or price} is farther than {distance} percent "
        f"(max_distance_percent) from the market of {market.symbol}, {plain(reference_price)}: "
        "check the price, or raise max_distance_percent",
        price=price,
        reference_price=reference_price,
        max_distance_percent=distance,
    )


def _may_trade_at_market(order: Normalized, market: Market, reference_price: Decimal) -> bool:
    """Whether a market order at the reference price would give what the LIMIT order asks for, or better."""
    if order.price is None or order.time_in_force not in (TimeInForce.GTC, TimeInForce.IOC):
        return False
    if market.order_types is not None and OrderType.MARKET not in market.order_types:
        return False
    return order.price > reference_price if order.side is Side.BUY else order.price < reference_price


def _as_market_order(wanted: Normalized, market: Market, reference_price: Decimal) -> Normalized:
    said = f"limit at {wanted.price} -> market (far_limit, reference price {plain(reference_price)})"
    turned = replace(wanted, type=OrderType.MARKET, price=None, time_in_force=None, changes={"type": said})
    return _on_the_grid(turned, market)


def _refuse(code: RefusalCode, message: str, **numbers: Decimal) -> Refusal:
    return Refusal(refusal_reason(code, message, **numbers))
