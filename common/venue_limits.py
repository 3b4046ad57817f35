"""What each venue allows and what each kind of request costs there: data, and the functions that read it.

Sources, besides each venue's own pages named below: the cost tables in ccxt 4.5.90 (`describe()['api']`;
Binance's spot costs there are a fifth of the weight). Where sources differ, the dearer cost and the lower
limit stand here: both err to the safe side. `limits:` in the configuration replaces any limit by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from common.buckets import parse_notation


class Scope(StrEnum):
    """Whom a limit counts together."""

    IP = "ip"
    """Everything from this address. Workers behind several addresses share the bucket all the same."""
    ACCOUNT = "account"
    SYMBOL = "symbol"
    """Each symbol of each account."""


class Operation(StrEnum):
    """A kind of request, as the venue charges it."""

    PLACE = "place"
    PLACE_TOGETHER = "place_together"
    """What a batch of two or more places costs beyond its places, each of which has paid for itself."""
    CANCEL = "cancel"
    AMEND = "amend"
    CANCEL_ALL = "cancel_all"
    FIND = "find"
    OPEN_ORDERS = "open_orders"
    """Of one symbol, conditional ones included."""
    OPEN_ORDERS_ALL = "open_orders_all"
    """Of every symbol, conditional ones included."""
    HISTORY = "history"
    """One page of past orders or trades of one symbol."""
    MARKETS = "markets"
    TIME = "time"
    REFERENCE_PRICE = "reference_price"
    """The mark price, or the top of the book, of one symbol."""
    USER_STREAM = "user_stream"
    """Opening an account's user stream."""
    POSITIONS = "positions"
    """Every position of an account; on a spot venue nothing is asked for."""
    BALANCES = "balances"
    """Every balance of an account."""


class Limit(Struct, frozen=True):
    """One limit: its name (`[a-z0-9_]`), whom it counts, how much it allows (see `parse_notation`).

    `header`: the reply header, in lower case, in which the venue tells how much is used, counted from the
    last full multiple of the window (minute, day …) of its clock; empty where it tells none.
    """

    name: str
    scope: Scope
    notation: str
    header: str = ""


class Charge(Struct, frozen=True):
    """What one request takes from one limit."""

    scope: Scope
    limit_name: str
    cost: int


class VenueLimits(Struct, frozen=True):
    """A venue's limits by name, and its charges for each operation."""

    venue: str
    limits: dict[str, Limit]
    charges: dict[Operation, tuple[Charge, ...]]
    conditional_charges: dict[Operation, tuple[Charge, ...]]
    """Where a conditional order (stop, take profit) is charged otherwise."""

    def cost_of(self, operation: Operation, *, conditional: bool = False) -> tuple[Charge, ...]:
        """What the venue charges for one request of this kind."""
        usual = self.charges[operation]
        return self.conditional_charges.get(operation, usual) if conditional else usual

    def greatest_cost(self, limit_name: str) -> int:
        """The most that any one request takes from a limit, at least 1."""
        every = (*self.charges.values(), *self.conditional_charges.values())
        return max(
            (charge.cost for charges in every for charge in charges if charge.limit_name == limit_name),
            default=1,
        )


_Costs = dict[Operation, dict[str, int]]


def _venue(
    venue: str, limits: tuple[Limit, ...], costs: _Costs, conditional: _Costs | None = None
) -> VenueLimits:
    by_name = {limit.name: limit for limit in limits}

    def charged(table: _Costs) -> dict[Operation, tuple[Charge, ...]]:
        return {
            operation: tuple(Charge(by_name[name].scope, name, cost) for name, cost in named.items())
            for operation, named in table.items()
        }

    return VenueLimits(venue, by_name, charged(costs), charged(conditional or {}))


BINANCE: Final = _venue(
    "binance",
    # "LIMITS" in Binance's spot documentation, and `rateLimits` of GET /api/v3/exchangeInfo.
    (
        Limit("weight_1m", Scope.IP, "6000/minute", "x-mbx-used-weight-1m"),
        Limit("orders_10s", Scope.ACCOUNT, "100/10 seconds", "x-mbx-order-count-10s"),
        Limit("orders_1d", Scope.ACCOUNT, "200000/day", "x-mbx-order-count-1d"),
    ),
    {
        Operation.PLACE: {"weight_1m": 1, "orders_10s": 1, "orders_1d": 1},
        Operation.PLACE_TOGETHER: {},
        Operation.CANCEL: {"weight_1m": 1},
        Operation.AMEND: {"weight_1m": 1, "orders_10s": 1, "orders_1d": 1},  # order/cancelReplace
        Operation.CANCEL_ALL: {"weight_1m": 1},
        Operation.FIND: {"weight_1m": 4},
        Operation.OPEN_ORDERS: {"weight_1m": 6},
        Operation.OPEN_ORDERS_ALL: {"weight_1m": 80},
        Operation.HISTORY: {"weight_1m": 20},
        Operation.MARKETS: {"weight_1m": 20},
        Operation.TIME: {"weight_1m": 1},
        Operation.REFERENCE_PRICE: {"weight_1m": 2},
        Operation.USER_STREAM: {"weight_1m": 2},  # userDataStream.subscribe.signature
        Operation.POSITIONS: {"weight_1m": 1},
        Operation.BALANCES: {"weight_1m": 20},  # account
    },
)

BINANCE_USDM: Final = _venue(
    "binanceusdm",
    # `rateLimits` of GET /fapi/v1/exchangeInfo; "Rate limits on Binance Futures" in Binance's help centre.
    (
        Limit("weight_1m", Scope.IP, "2400/minute", "x-mbx-used-weight-1m"),
        Limit("orders_10s", Scope.ACCOUNT, "300/10 seconds", "x-mbx-order-count-10s"),
        Limit("orders_1m", Scope.ACCOUNT, "1200/minute", "x-mbx-order-count-1m"),
    ),
    {
        # The documentation gives a new order no weight; one is charged, since not every endpoint keeps to
        # that.
        Operation.PLACE: {"weight_1m": 1, "orders_10s": 1, "orders_1m": 1},
        # "Place Multiple Orders": a batch of whatever size counts 5 in orders_10s, 1 in orders_1m, and weighs 5.
        Operation.PLACE_TOGETHER: {"weight_1m": 5, "orders_10s": 3},
        Operation.CANCEL: {"weight_1m": 1},
        Operation.AMEND: {"weight_1m": 1, "orders_10s": 1, "orders_1m": 1},
        Operation.CANCEL_ALL: {"weight_1m": 2},  # allOpenOrders and algoOpenOrders
        Operation.FIND: {"weight_1m": 1},
        Operation.OPEN_ORDERS: {"weight_1m": 2},  # openOrders and openAlgoOrders
        Operation.OPEN_ORDERS_ALL: {"weight_1m": 80},
        Operation.HISTORY: {"weight_1m": 5},
        Operation.MARKETS: {"weight_1m": 1},
        Operation.TIME: {"weight_1m": 1},
        Operation.REFERENCE_PRICE: {"weight_1m": 2},
        Operation.USER_STREAM: {"weight_1m": 1},  # listenKey
        Operation.POSITIONS: {"weight_1m": 5},  # positionRisk, v3
        Operation.BALANCES: {"weight_1m": 5},  # balance, v3
    },
)

BYBIT: Final = _venue(
    "bybit",
    # "Rate Limit" in Bybit's v5 documentation: 600 in 5 s for an address; the rest a second and account, by
    # endpoint.
    (
        Limit("requests", Scope.IP, "600/5 seconds"),
        Limit("orders", Scope.ACCOUNT, "10/second"),
        Limit("cancels", Scope.ACCOUNT, "10/second"),
        Limit("amends", Scope.ACCOUNT, "10/second"),
        Limit("cancel_alls", Scope.ACCOUNT, "1/second"),
        Limit("lookups", Scope.ACCOUNT, "10/second"),
        Limit("histories", Scope.ACCOUNT, "10/second"),
    ),
    {
        Operation.PLACE: {"requests": 1, "orders": 1},
        Operation.PLACE_TOGETHER: {},
        Operation.CANCEL: {"requests": 1, "cancels": 1},
        Operation.AMEND: {"requests": 1, "amends": 1},
        Operation.CANCEL_ALL: {"requests": 1, "cancel_alls": 1},
        Operation.FIND: {"requests": 1, "lookups": 1},
        Operation.OPEN_ORDERS: {"requests": 1, "lookups": 1},
        Operation.OPEN_ORDERS_ALL: {"requests": 1, "lookups": 1},
        Operation.HISTORY: {"requests": 1, "histories": 1},
        Operation.MARKETS: {"requests": 1},
        Operation.TIME: {"requests": 1},
        Operation.REFERENCE_PRICE: {"requests": 1},
        Operation.USER_STREAM: {"requests": 1},
        # One request for each coin that linear contracts settle in; the venue allows more than "lookups" does.
        Operation.POSITIONS: {"requests": 2, "lookups": 2},
        Operation.BALANCES: {"requests": 1, "lookups": 1},
    },
)

OKX: Final = _venue(
    "okx",
    # Per endpoint in OKX's v5 documentation; "OKX will introduce sub-account rate limit" in its help centre.
    (
        Limit("orders_account", Scope.ACCOUNT, "1000/2 seconds"),
        Limit("orders", Scope.SYMBOL, "60/2 seconds"),
        Limit("amends", Scope.SYMBOL, "60/2 seconds"),
        Limit("cancels", Scope.SYMBOL, "60/2 seconds"),
        Limit("batch_cancels", Scope.SYMBOL, "300/2 seconds"),
        Limit("lookups", Scope.SYMBOL, "60/2 seconds"),
        Limit("open_orders", Scope.ACCOUNT, "60/2 seconds"),
        Limit("algo_orders", Scope.SYMBOL, "20/2 seconds"),
        Limit("algo_cancels", Scope.SYMBOL, "20/2 seconds"),
        Limit("algo_lookups", Scope.ACCOUNT, "20/2 seconds"),
        Limit("algo_open_orders", Scope.ACCOUNT, "20/2 seconds"),
        Limit("histories", Scope.ACCOUNT, "20/2 seconds"),
        Limit("account_positions", Scope.ACCOUNT, "10/2 seconds"),
        Limit("account_balances", Scope.ACCOUNT, "10/2 seconds"),
        Limit("instruments", Scope.IP, "20/2 seconds"),
        Limit("times", Scope.IP, "10/2 seconds"),
    ),
    {
        Operation.PLACE: {"orders": 1, "orders_account": 1},
        Operation.PLACE_TOGETHER: {},
        Operation.CANCEL: {"cancels": 1},
        Operation.AMEND: {"amends": 1, "orders_account": 1},
        Operation.CANCEL_ALL: {
            "open_orders": 1,
            "batch_cancels": 20,
        },  # a batch has at most 20 orders, each counted
        Operation.FIND: {"lookups": 1},
        Operation.OPEN_ORDERS: {"open_orders": 1, "algo_open_orders": 1},
        Operation.OPEN_ORDERS_ALL: {"open_orders": 1, "algo_open_orders": 1},
        Operation.HISTORY: {"histories": 1},
        Operation.MARKETS: {"instruments": 1},
        Operation.TIME: {"times": 1},
        Operation.REFERENCE_PRICE: {"times": 1},
        Operation.USER_STREAM: {"times": 1},
        Operation.POSITIONS: {"account_positions": 1},
        Operation.BALANCES: {"account_balances": 1},
    },
    {
        Operation.PLACE: {"algo_orders": 1, "orders_account": 1},
        Operation.CANCEL: {"algo_cancels": 1},
        Operation.FIND: {"algo_lookups": 1},
    },
)

KRAKEN: Final = _venue(
    "kraken",
    # "Spot Trading Limits" and "REST rate limits" in Kraken's documentation; the figures are the Starter
    # tier's. A cancel costs 8 within 5 s of its order and 0 after 300 s, an amend 4 down to 1: the dearest
    # is charged.
    (
        Limit("counter", Scope.ACCOUNT, "1/3 seconds burst 15"),
        Limit("trading", Scope.SYMBOL, "1/second burst 60"),
        Limit("public", Scope.IP, "1/second"),
    ),
    {
        Operation.PLACE: {"trading": 1},
        Operation.PLACE_TOGETHER: {},
        Operation.CANCEL: {"trading": 8},
        Operation.AMEND: {"trading": 4},
        Operation.CANCEL_ALL: {"counter": 1, "trading": 8},
        Operation.FIND: {"counter": 1},
        Operation.OPEN_ORDERS: {"counter": 1},
        Operation.OPEN_ORDERS_ALL: {"counter": 1},
        Operation.HISTORY: {"counter": 2},
        Operation.MARKETS: {"public": 1},
        Operation.TIME: {"public": 1},
        Operation.REFERENCE_PRICE: {"public": 1},
        Operation.USER_STREAM: {"counter": 1},  # GetWebSocketsToken
        Operation.POSITIONS: {"counter": 1},
        Operation.BALANCES: {"counter": 1},  # BalanceEx
    },
)

VENUES: Final[Mapping[str, VenueLimits]] = MappingProxyType(
    {limits.venue: limits for limits in (BINANCE, BINANCE_USDM, BYBIT, OKX, KRAKEN)}
)


def venue_limits(venue: str, overrides: Mapping[str, str] = MappingProxyType({})) -> VenueLimits:
    """The limits of a venue (a ccxt id), those named in `overrides` replaced: limit name -> notation.

    Raises:
        ValueError: the venue or a limit is not known, or a notation can't be read.
    """
    if venue not in VENUES:
        raise ValueError(f"no limits are known for exchange {venue!r}: expected one of {', '.join(VENUES)}")
    known = VENUES[venue]
    changed = dict(known.limits)
    for name, notation in overrides.items():
        if name not in changed:
            raise ValueError(f"{venue} has no limit {name!r}: expected one of {', '.join(changed)}")
        try:
            parse_notation(notation)
        except ValueError as error:
            raise ValueError(f"{venue}, limit {name!r}: {error}") from None
        changed[name] = replace(changed[name], notation=notation)
    return replace(known, limits=changed)


def cost_of(venue: str, operation: Operation, *, conditional: bool = False) -> tuple[Charge, ...]:
    """What a venue (a ccxt id) charges for one request.

    Raises:
        ValueError: the venue is not known.
    """
    return venue_limits(venue).cost_of(operation, conditional=conditional)
