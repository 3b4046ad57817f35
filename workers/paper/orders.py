"""Orders, conditional (algo) orders and their fills, as the exchange keeps them."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from workers.paper.amounts import ZERO, divide
from workers.paper.rules import Product

OPEN = frozenset({"NEW", "PARTIALLY_FILLED"})
FIVE_PLACES = Decimal("0.00001")


class Fill(msgspec.Struct):
    """One execution. ``quote`` is price times quantity; ``realised`` the profit it realised (USDⓈ-M only)."""

    trade_id: int
    price: Decimal
    quantity: Decimal
    quote: Decimal
    commission: Decimal
    commission_asset: str
    maker: bool
    time_ms: int
    realised: Decimal = ZERO


class Order(msgspec.Struct):
    """An order on the book of one symbol, open or ended.

    ``price`` is zero for market orders; ``quantity`` is in base units and, for a spot market order by
    quote, what was bought. ``is_working`` is false for a spot stop that hasn't triggered. ``locked`` is
    what it still keeps from the free balance (spot), in quote units for a buy and base units for a sell.
    """

    product: Product
    account: str
    symbol: str
    order_id: int
    client_order_id: str
    side: str
    type: str
    time_in_force: str
    quantity: Decimal
    price: Decimal
    created_ms: int
    updated_ms: int
    status: str = "NEW"
    trigger_price: Decimal = ZERO
    quote_order_quantity: Decimal = ZERO
    executed_quantity: Decimal = ZERO
    executed_quote: Decimal = ZERO
    reduce_only: bool = False
    close_position: bool = False
    original_type: str = ""
    working_type: str = "CONTRACT_PRICE"
    is_working: bool = True
    locked: Decimal = ZERO
    amendments: int = 0
    match_round: int = 0
    fills: list[Fill] = []

    @property
    def is_open(self) -> bool:
        """Whether it can still execute, or wait for its trigger."""
        return self.status in OPEN

    @property
    def remaining(self) -> Decimal:
        """Base units not yet executed."""
        return self.quantity - self.executed_quantity

    @property
    def average_price(self) -> Decimal:
        """Average price of its fills, zero without any."""
        return divide(self.executed_quote, self.executed_quantity)

    @property
    def order_class(self) -> str:
        """How it executes once it works: ``MARKET`` or ``LIMIT``."""
        return "LIMIT" if self.price else "MARKET"


class AlgoOrder(msgspec.Struct):
    """A USDⓈ-M conditional order, which lives apart from the book until it triggers."""

    account: str
    symbol: str
    algo_id: int
    client_algo_id: str
    side: str
    type: str
    time_in_force: str
    quantity: Decimal
    price: Decimal
    trigger_price: Decimal
    created_ms: int
    updated_ms: int
    status: str = "NEW"
    reduce_only: bool = False
    close_position: bool = False
    working_type: str = "CONTRACT_PRICE"
    triggered_ms: int = 0
    actual_order_id: int = 0
    reason: str = ""


class NewOrder(msgspec.Struct, frozen=True):
    """What a place request asks for, after its parameters were read and before any check against the
    market.
    """

    product: Product
    account: str
    symbol: str
    client_order_id: str
    side: str
    type: str
    time_in_force: str
    quantity: Decimal = ZERO
    price: Decimal = ZERO
    trigger_price: Decimal = ZERO
    quote_order_quantity: Decimal = ZERO
    reduce_only: bool = False
    close_position: bool = False
    working_type: str = "CONTRACT_PRICE"
    original_type: str = ""


def status_of(algo: AlgoOrder, actual: Order | None) -> str:
    """A conditional order's status as replies show it: ``FINISHED`` once the order it became has ended."""
    if algo.status == "TRIGGERED" and actual is not None and not actual.is_open:
        return "FINISHED"
    return algo.status


def average_of(actual: Order | None) -> str:
    """The average price of the order it became, as replies write it."""
    return format((actual.average_price if actual else ZERO).quantize(FIVE_PLACES), "f")
