"""Spot money: what an order locks, what a fill moves, what an ended order gives back."""

from __future__ import annotations

from decimal import Decimal

from workers.paper.accounts import Account
from workers.paper.amounts import ZERO, cut
from workers.paper.errors import rejected
from workers.paper.orders import Fill, Order
from workers.paper.rules import SymbolRules


def locked_asset(rules: SymbolRules, side: str) -> str:
    """The asset an order of ``side`` pays with."""
    return rules.quote if side == "BUY" else rules.base


def needed(side: str, quantity: Decimal, price: Decimal) -> Decimal:
    """What an order must have free: quote units for a buy, base units for a sell."""
    return quantity * price if side == "BUY" else quantity


def check_free(account: Account, rules: SymbolRules, side: str, amount: Decimal) -> None:
    """The account can pay ``amount``; raises -2010 otherwise."""
    if account.balance(locked_asset(rules, side)).free < amount:
        raise rejected("Account has insufficient balance for requested action.")


def lock(account: Account, rules: SymbolRules, order: Order, amount: Decimal) -> None:
    """Move ``amount`` from free to locked for ``order``."""
    balance = account.balance(locked_asset(rules, order.side))
    balance.free -= amount
    balance.locked += amount
    order.locked += amount


def release(account: Account, rules: SymbolRules, order: Order) -> None:
    """Give back what an ended order still locks."""
    balance = account.balance(locked_asset(rules, order.side))
    balance.locked -= order.locked
    balance.free += order.locked
    order.locked = ZERO


def settle(
    account: Account, rules: SymbolRules, order: Order, price: Decimal, quantity: Decimal, fee_rate: Decimal
) -> Fill:
    """Exchange the assets of one execution; the fee is taken from what is received, as Binance does.

    An order that rests pays from its lock; a taker pays from the free balance.
    """
    quote = price * quantity
    paying = account.balance(locked_asset(rules, order.side))
    pays = quote if order.side == "BUY" else quantity
    if order.locked:
        share = needed(order.side, quantity, order.price) if order.price else pays
        share = min(share, order.locked)
        order.locked -= share
        paying.locked -= share
        paying.free += share
    paying.free -= pays
    received = quantity if order.side == "BUY" else quote
    asset = rules.base if order.side == "BUY" else rules.quote
    commission = cut(received * fee_rate)
    account.balance(asset).free += received - commission
    return Fill(0, price, quantity, quote, commission, asset, maker=False, time_ms=0)
