"""What an order was placed with, read from a venue's words for it; None where an intent could not say the same.

Nothing is refused here, and nothing guessed: a report without terms still says how an order stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from common.exchange.base import OrderTerms
from common.exchange.fields import EARLIEST_MS, LATEST_MS
from orderlane.intents import OrderType, Side, TimeInForce

_SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL}
_TIMES_IN_FORCE: Final = {
    "gtc": TimeInForce.GTC,
    "ioc": TimeInForce.IOC,
    "fok": TimeInForce.FOK,
    "po": TimeInForce.PO,
    "gtx": TimeInForce.PO,
    "postonly": TimeInForce.PO,
    "gtd": None,
}
"""GTX is Binance's word for post only, PostOnly Bybit's, PO ccxt's; good till date is none that an intent can say."""
_FLAGS: Final = {"true": True, "false": False}


def read_terms(
    types: Mapping[str, OrderType],
    *,
    side: object,
    kind: object,
    time_in_force: object = "GTC",
    trigger_price: object = None,
    reduce_only: object = False,
    created_at: object = EARLIEST_MS,
    own_book: bool = False,
) -> OrderTerms | None:
    """The terms of an order, each part as the venue writes it; `types` are its names of order types.

    What a venue has no field for is left out here; a field that holds something else than it should leaves no terms.
    """
    order_side, order_type = _SIDES.get(str(side).lower()), types.get(str(kind))
    reduces = _FLAGS.get(str(reduce_only).lower())
    if order_side is None or order_type is None or reduces is None or not _is_moment(created_at):
        return None
    word = str(time_in_force).lower()
    trigger = _price(trigger_price) if order_type.has_trigger else None
    if (order_type.has_price and word not in _TIMES_IN_FORCE) or (order_type.has_trigger and trigger is None):
        return None
    return OrderTerms(
        side=order_side,
        type=order_type,
        time_in_force=_TIMES_IN_FORCE[word] if order_type.has_price else None,
        trigger_price=trigger,
        reduce_only=reduces,
        created_at=0 if created_at == EARLIEST_MS else int(str(created_at)),
        own_book=own_book,
    )


def _is_moment(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and EARLIEST_MS <= value <= LATEST_MS


def _price(value: object) -> Decimal | None:
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        return None
    return price if price.is_finite() and 0 < price < LATEST_MS else None
