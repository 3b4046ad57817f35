"""What it takes to compare the accounts of one exchange: an exchange worker and a start-up have it at hand."""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct

from common.config import ExchangeSection
from common.exchange.account_figures import AccountFigures
from common.exchange.base import Exchange
from common.journal import Journal
from common.redis import ScriptRunner
from orderlane.keys import Keys
from orderlane.orders import Order
from workers.desk import Throttle


class ExchangeWithFigures(Exchange, AccountFigures, Protocol):
    """An exchange that also tells of positions and balances."""


class Books(Struct, frozen=True):
    """One exchange's accounts: where their figures are kept, and whom to ask about them."""

    keys: Keys
    section: ExchangeSection
    exchange: ExchangeWithFigures
    runner: ScriptRunner
    redis: Any
    throttle: Throttle

    @property
    def counts_fills(self) -> bool:
        """Whether a user stream tells of the accounts' fills."""
        return self.section.user_stream.enabled and self.exchange.streams_orders

    async def open_orders(self, account: str) -> list[Order]:
        """The records of the account's orders that have not ended.

        Raises:
            redis.exceptions.RedisError: no answer.
        """
        return await Journal(self.runner, self.keys, retention_ms=0).open_orders(account)  # which only reads
