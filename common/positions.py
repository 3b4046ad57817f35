"""What a fill makes of a position and of balances; pure, exact, in `Decimal`.

Average cost, as Binance keeps USDⓈ-M positions: what adds to a position averages its entry price, what reduces it
leaves that as it is and realises profit, what flips it closes the old one and opens a new one at the fill's price.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Final

import msgspec
from msgspec import Struct

from common.exact import plain
from orderlane.intents import Side
from orderlane.positions import Balance, Position, Trail

LONGEST_TRAIL: Final = 64
"""Changes that are remembered of a figure: what a reading of the exchange is held against."""
TRAIL_MS: Final = 120_000
"""For how long; the last change before that stays, since it says what the figure was then."""
MOST_STRATEGIES: Final = 100
"""Strategies without a share that are remembered to have traded a symbol."""
PRICE_DIGITS: Final = 28
REALISED_STEP: Final = Decimal("0.000000000001")

_WIDE: Final = Context(prec=80)
_PRICE: Final = Context(prec=PRICE_DIGITS)
_SYMBOL: Final = re.compile(r"(?P<base>[^/:\s]+)/(?P<quote>[^/:\s]+)(:(?P<settle>[^/:\s-]+)(-\S+)?)?\Z")


class Instrument(Struct, frozen=True):
    """What a unified symbol says: `settle` is empty on spot."""

    base: str
    quote: str
    settle: str = ""

    @property
    def is_contract(self) -> bool:
        return bool(self.settle)


class Deal(Struct, frozen=True, kw_only=True):
    """A fill, as far as positions go. `realised`: the profit that the venue says it realised, in the currency of
    settlement; None: it doesn't say."""

    side: Side
    amount: Decimal
    price: Decimal
    fee: Decimal | None = None
    fee_currency: str = ""
    realised: Decimal | None = None
    strategy: str = ""
    traded_at: int = 0


def instrument_of(symbol: str) -> Instrument | None:
    """The parts of a unified symbol; None for what is none.

    >>> instrument_of("BTC/USDT:USDT")
    Instrument(base='BTC', quote='USDT', settle='USDT')
    """
    found = _SYMBOL.match(symbol)
    return Instrument(found["base"], found["quote"], found["settle"] or "") if found else None


def is_counted(figure: Position | Balance, traded_at: int) -> bool:
    """Whether a fill of this moment changes the figure: one before `counted_from` is part of a correction already."""
    return traded_at >= figure.counted_from


def with_deal(position: Position, deal: Deal, instrument: Instrument, now_ms: int) -> Position:
    """The position after a fill. A fee in base makes what was bought less."""
    fee = deal.fee or Decimal(0)
    change = deal.amount if deal.side is Side.BUY else -deal.amount
    if not instrument.is_contract and deal.fee_currency == instrument.base:
        change = _WIDE.subtract(change, fee)
    size, entry_price, realised = moved(position.size, position.entry_price, change, deal.price)
    if deal.realised is not None:
        realised = deal.realised
    fees = dict(position.fees)
    if fee:
        fees[deal.fee_currency] = plain(_WIDE.add(fees.get(deal.fee_currency, Decimal(0)), fee))
    return msgspec.structs.replace(
        position,
        size=size,
        entry_price=entry_price,
        realised=plain(_WIDE.add(position.realised, realised)),
        fees=fees,
        shares=_shares(position.shares, deal.strategy, change),
        fills=position.fills + 1,
        last_price=deal.price,
        changed_at=max(position.changed_at, deal.traded_at),
        trail=lengthened(position.trail, now_ms, size),
    )


def moved(
    size: Decimal, entry_price: Decimal | None, change: Decimal, price: Decimal
) -> tuple[Decimal, Decimal | None, Decimal]:
    """Size and entry price after `change` (signed) was traded at `price`, and the profit that it realised.

    Without an entry price (a position taken over from a venue that tells none) what it realises is not known: 0.
    """
    after = plain(_WIDE.add(size, change))
    opposed = (size > 0 > change) or (size < 0 < change)
    closing = min(abs(change), abs(size)) if opposed else Decimal(0)
    realised = Decimal(0)
    if closing and entry_price is not None:
        gained = _WIDE.multiply(_WIDE.subtract(price, entry_price), closing)
        realised = plain(_WIDE.quantize(gained if size > 0 else -gained, REALISED_STEP))
    if not after:
        return after, None, realised
    if not size or (opposed and abs(change) > abs(size)):
        return after, price, realised
    if opposed or entry_price is None:
        return after, entry_price, realised
    worth = _WIDE.add(_WIDE.multiply(abs(size), entry_price), _WIDE.multiply(abs(change), price))
    return after, plain(_PRICE.plus(_WIDE.divide(worth, abs(after)))), realised


def balance_changes(deal: Deal, instrument: Instrument, realised: Decimal) -> dict[str, Decimal]:
    """What a fill changes of the account's assets. Spot: base against quote, less the fee. Derivatives: profit (what
    the venue says, or else `realised`), less the fee."""
    changes: dict[str, Decimal] = {}

    def add(asset: str, change: Decimal) -> None:
        changes[asset] = _WIDE.add(changes.get(asset, Decimal(0)), change)

    if instrument.is_contract:
        add(instrument.settle, deal.realised if deal.realised is not None else realised)
    else:
        sign = 1 if deal.side is Side.BUY else -1
        add(instrument.base, sign * deal.amount)
        add(instrument.quote, _WIDE.multiply(-sign * deal.amount, deal.price))
    if deal.fee and deal.fee_currency:
        add(deal.fee_currency, -deal.fee)
    return {asset: plain(change) for asset, change in changes.items() if change}


def with_change(balance: Balance, change: Decimal, traded_at: int, now_ms: int) -> Balance:
    """The balance after a fill."""
    total = plain(_WIDE.add(balance.total, change))
    return msgspec.structs.replace(
        balance,
        total=total,
        changed_at=max(balance.changed_at, traded_at),
        trail=lengthened(balance.trail, now_ms, total),
    )


def corrected_position(
    position: Position, drift: Decimal, entry_price: Decimal | None, counted_from: int, now_ms: int
) -> Position:
    """The position with what it was wrong by, at the exchange's entry price where there is one."""
    size = plain(_WIDE.add(position.size, drift))
    return msgspec.structs.replace(
        position,
        size=size,
        entry_price=None if not size else entry_price or position.entry_price,
        counted_from=max(position.counted_from, counted_from),
        trail=((now_ms, size),),
    )


def corrected_balance(balance: Balance, drift: Decimal, counted_from: int, now_ms: int) -> Balance:
    """The balance with what it was wrong by."""
    total = plain(_WIDE.add(balance.total, drift))
    return msgspec.structs.replace(
        balance, total=total, counted_from=max(balance.counted_from, counted_from), trail=((now_ms, total),)
    )


def lengthened(trail: Trail, now_ms: int, value: Decimal) -> Trail:
    """The trail with one more change. Clocks of two writers may differ: moments never go back."""
    longer = (*trail, (max(now_ms, trail[-1][0] if trail else 0), value))[-LONGEST_TRAIL:]
    old = sum(1 for at, _ in longer if at < now_ms - TRAIL_MS)
    return longer[max(old - 1, 0) :]


def values_since(trail: Trail, since_ms: int) -> set[Decimal] | None:
    """Every value the figure had from `since_ms` on; None where the trail doesn't reach back so far."""
    if not trail or trail[0][0] > since_ms:
        return None
    first = max(number for number, (at, _) in enumerate(trail) if at <= since_ms)
    return {value for _, value in trail[first:]}


def _shares(shares: Mapping[str, Decimal], strategy: str, change: Decimal) -> dict[str, Decimal]:
    changed = dict(shares)
    changed[strategy] = plain(_WIDE.add(changed.pop(strategy, Decimal(0)), change))
    idle = [name for name, share in changed.items() if not share]
    for name in idle[: max(len(idle) - MOST_STRATEGIES, 0)]:
        del changed[name]
    return changed
