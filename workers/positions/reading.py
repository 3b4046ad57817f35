"""Asking the exchange for an account's positions and balances, within its limits."""

from __future__ import annotations

from collections.abc import Awaitable
from decimal import Decimal
from typing import TypeVar

from msgspec import Struct

from common.claims import CATCHING_UP
from common.exchange.account_figures import BalanceReport, PositionReport
from common.exchange.base import ExchangeFailure, Outcome
from common.venue_limits import Operation
from workers.positions.books import Books
from workers.positions.judging import Kind, Said

T = TypeVar("T")


class Look(Struct, frozen=True):
    """What the exchange said. `asked_at`: before the first question, ms of Redis TIME; `exchange_at`: the same by the
    exchange's clock, of which what had been executed until then is part of what it said."""

    asked_at: int
    exchange_at: int
    positions: dict[str, PositionReport]
    balances: dict[str, BalanceReport]
    asks_positions: bool
    """Whether the venue knows positions at all."""

    def said(self, kind: Kind, name: str) -> Said:
        """What it said of one figure; what isn't listed is 0."""
        position, balance = self.positions.get(name), self.balances.get(name)
        if kind is Kind.POSITION:
            return Said(position.size if position else Decimal(0), self.asked_at)
        return Said(balance.total if balance else Decimal(0), self.asked_at)


async def look(books: Books, account: str) -> Look:
    """Ask for everything.

    Raises:
        ExchangeFailure: a question was not answered, or the account can't be compared.
        redis.exceptions.RedisError: Redis did not answer.
    """
    exchange, throttle = books.exchange, books.throttle
    if exchange.holds_positions:
        await throttle.acquire(Operation.POSITIONS, account, "", CATCHING_UP)
    await throttle.acquire(Operation.BALANCES, account, "", CATCHING_UP)
    asked_at, exchange_at = await redis_now_ms(books), exchange.now_ms()
    positions = await _ask(books, account, exchange.positions(account)) if exchange.holds_positions else []
    balances = await _ask(books, account, exchange.balances(account))
    return Look(
        asked_at=asked_at,
        exchange_at=exchange_at,
        positions={report.symbol: report for report in positions},
        balances={report.asset: report for report in balances},
        asks_positions=exchange.holds_positions,
    )


async def redis_now_ms(books: Books) -> int:
    """The clock of Redis."""
    seconds, microseconds = await books.redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def _ask(books: Books, account: str, question: Awaitable[T]) -> T:
    try:
        return await question
    except ExchangeFailure as failure:
        if failure.outcome is Outcome.THROTTLED:
            await books.throttle.pause(account, failure)
        raise
