"""Intents in few words, and what the normaliser makes of them."""

from decimal import Decimal

from common.normalizer import Normalized, NormalizerPolicy, Refusal, normalize
from orderlane.intents import OrderType, PlaceOrder, Side, TimeInForce
from orderlane.orders import Reason
from tests.common.captures import spot_market, usdm_market

BTC = "BTC/USDT:USDT"


def place(
    symbol: str,
    side: Side | str,
    type_: OrderType | str,
    amount: str,
    *,
    price: str | None = None,
    trigger_price: str | None = None,
    time_in_force: TimeInForce | None = None,
    reduce_only: bool = False,
) -> PlaceOrder:
    return PlaceOrder(
        id="i1",
        exchange="binance",
        account="main",
        symbol=symbol,
        side=Side(side),
        type=OrderType(type_),
        amount=Decimal(amount),
        price=None if price is None else Decimal(price),
        trigger_price=None if trigger_price is None else Decimal(trigger_price),
        time_in_force=time_in_force,
        reduce_only=reduce_only,
    )


def limit(
    symbol: str,
    side: Side | str,
    amount: str,
    price: str,
    *,
    time_in_force: TimeInForce | None = None,
    reduce_only: bool = False,
) -> PlaceOrder:
    return place(
        symbol, side, "limit", amount, price=price, time_in_force=time_in_force, reduce_only=reduce_only
    )


def normalized(
    intent: PlaceOrder, reference: str | None, policy: NormalizerPolicy | None
) -> Normalized | Refusal:
    """On the captured USDⓈ-M market for a swap symbol, on today's spot BTC/USDT for any other."""
    market = usdm_market(intent.symbol) if ":" in intent.symbol else spot_market()
    reference_price = None if reference is None else Decimal(reference)
    return normalize(intent, market, policy or NormalizerPolicy(), reference_price)


def ordered(
    intent: PlaceOrder, reference: str | None = None, policy: NormalizerPolicy | None = None
) -> Normalized:
    result = normalized(intent, reference, policy)
    assert isinstance(result, Normalized), result
    return result


def refused(
    intent: PlaceOrder, reference: str | None = None, policy: NormalizerPolicy | None = None
) -> Reason:
    result = normalized(intent, reference, policy)
    assert isinstance(result, Refusal), result
    return result.reason
