"""Where an intent may be found, and what a cancel or an amend is aimed at. Pure.

An intent id is unique within one exchange and account. A caller who names neither means whichever has it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct

from orderlane.errors import ExchangeUnclear, IntentAmbiguous, OrderEnded, OrderNotFound
from orderlane.intents import CancelAll, CancelOrder
from orderlane.orders import Order, OrderStatus


class Place(Struct, frozen=True):
    """One account of one exchange."""

    exchange: str
    account: str


class Target(Struct, frozen=True, kw_only=True):
    """What a cancel or an amend is aimed at: the intent `id`, in its lane."""

    id: str
    exchange: str
    account: str
    symbol: str
    strategy: str = ""


def only_exchange(known: Collection[str]) -> str:
    """The pool's exchange, where it has one.

    Raises:
        ExchangeUnclear: it has none, or several.
    """
    if len(known) != 1:
        raise ExchangeUnclear(sorted(known))
    return next(iter(known))


def only_order(intent_id: str, found: Sequence[Order]) -> Order | None:
    """The one order of this id.

    Raises:
        IntentAmbiguous: several accounts have one.
    """
    if len(found) > 1:
        raise IntentAmbiguous(intent_id, found)
    return found[0] if found else None


def target_of(order: Order) -> Target:
    """An order as a target.

    Raises:
        OrderEnded: there is nothing left to cancel or amend.
        ValueError: its intent places no order.
    """
    intent = order.intent
    if isinstance(intent, (CancelOrder, CancelAll)):
        raise ValueError(
            f"intent {intent.id!r} is a {type(intent).__name__}: it places no order to cancel or amend"
        )
    may_be_parted = order.status is OrderStatus.MERGED  # the pool knows whether its order has begun
    if order.status.terminal and not may_be_parted:
        raise OrderEnded(order)
    return Target(
        id=intent.id,
        exchange=intent.exchange,
        account=intent.account,
        symbol=intent.symbol,
        strategy=intent.strategy,
    )


def stated_target(intent_id: str, places: Sequence[Place], symbol: str | None) -> Target:
    """A target the pool has no record of yet, taken at the caller's word.

    Raises:
        OrderNotFound: the caller did not say exactly where it is.
    """
    if symbol is None or len(places) != 1:
        raise OrderNotFound(intent_id, [(place.exchange, place.account) for place in places])
    return Target(id=intent_id, exchange=places[0].exchange, account=places[0].account, symbol=symbol)


def replaced_by(order: Order) -> str:
    """The intent id of the amend whose order took this one's place, or an empty text."""
    return order.successor if order.status.terminal else ""
