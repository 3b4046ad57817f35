"""USDⓈ-M money in one-way mode: positions, realised profit, margin and what is left to open more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import NamedTuple

from workers.paper.accounts import Account, Position
from workers.paper.amounts import ZERO, cut, divide
from workers.paper.errors import Refusal
from workers.paper.orders import Fill, Order
from workers.paper.rules import SymbolRules

MAINTENANCE_RATE = Decimal("0.025")


class Margin(NamedTuple):
    """An account's margin, in the margin asset."""

    wallet: Decimal
    unrealised: Decimal
    position_margin: Decimal
    order_margin: Decimal
    maintenance: Decimal

    @property
    def available(self) -> Decimal:
        """What new orders may use."""
        return max(ZERO, self.wallet + self.unrealised - self.position_margin - self.order_margin)


def signed(side: str, quantity: Decimal) -> Decimal:
    """``quantity`` as a change of position: negative for a sell."""
    return quantity if side == "BUY" else -quantity


def reducible(position: Position, side: str) -> Decimal:
    """Base units by which an order of ``side`` can reduce ``position``; zero when it would not reduce it."""
    if side == "SELL":
        return max(ZERO, position.amount)
    return max(ZERO, -position.amount)


def unrealised(position: Position, mark: Decimal) -> Decimal:
    """Profit of ``position`` if it were closed at ``mark``."""
    return (mark - position.entry_price) * position.amount


def measure(
    account: Account, asset: str, mark_of: Callable[[str], Decimal], open_orders: Iterable[Order]
) -> Margin:
    """The account's margin at the given mark prices."""
    profit = held = maintenance = ordered = ZERO
    for symbol, position in account.positions.items():
        if position.amount:
            mark = mark_of(symbol)
            notional = abs(position.amount) * mark
            profit += unrealised(position, mark)
            held += notional / account.leverage_of(symbol)
            maintenance += notional * MAINTENANCE_RATE
    for order in open_orders:
        if not order.reduce_only:
            ordered += order.remaining * order.price / account.leverage_of(order.symbol)
    wallet = account.wallet.get(asset, ZERO)
    return Margin(wallet, cut(profit), cut(held), cut(ordered), cut(maintenance))


def check_margin(account: Account, order_symbol: str, opening_notional: Decimal, available: Decimal) -> None:
    """The account can carry ``opening_notional`` more; raises -2019 otherwise."""
    if opening_notional / account.leverage_of(order_symbol) > available:
        raise Refusal(-2019, "Margin is insufficient.")


def settle(
    account: Account,
    rules: SymbolRules,
    order: Order,
    price: Decimal,
    quantity: Decimal,
    fee_rate: Decimal,
    now_ms: int,
) -> Fill:
    """Apply one execution: realise profit on what it closes, average the entry of what it opens, take the
    fee.
    """
    position = account.position(order.symbol)
    change = signed(order.side, quantity)
    closing = min(reducible(position, order.side), quantity)
    realised = ZERO
    if closing:
        direction = 1 if position.amount > 0 else -1
        realised = cut((price - position.entry_price) * closing * direction)
    opening = quantity - closing
    after = position.amount + change
    if after == 0:
        position.entry_price = ZERO
    elif opening and closing:
        position.entry_price = price
    elif opening:
        worth = abs(position.amount) * position.entry_price + opening * price
        position.entry_price = divide(worth, abs(after))
    position.amount = after
    position.updated_ms = now_ms
    commission = cut(price * quantity * fee_rate)
    asset = rules.quote
    account.wallet[asset] = account.wallet.get(asset, ZERO) + realised - commission
    return Fill(
        0, price, quantity, price * quantity, commission, asset, maker=False, time_ms=0, realised=realised
    )
