"""Letting strategies open orders again that were disabled on a symbol, as an operator does."""

from __future__ import annotations

from typing import Any

from orderlane.disabled import DisabledStrategy, decode_disabled, encode_disabled
from orderlane.events import Event, EventName, encode_event
from orderlane.keys import Keys
from orderlane.pool_link import PoolLink
from orderlane.scripts import script


def enable(
    link: PoolLink, exchange: str, account: str, symbol: str, strategy: str | None = None
) -> list[DisabledStrategy]:
    """Let a strategy open orders again, or (None) all that are disabled on the symbol; those that were disabled.

    Raises:
        Unreachable: Redis did not answer; asked again, the rest is enabled.
    """
    keys = link.settings.keys(exchange)
    fields: Any = link.ask(lambda: link.redis.hgetall(keys.disabled))
    wanted = [
        one
        for one in decode_disabled(fields)
        if (one.account, one.symbol) == (account, symbol) and strategy in (None, one.strategy)
    ]
    return [one for one in wanted if _enable(link, keys, one)]


def _enable(link: PoolLink, keys: Keys, one: DisabledStrategy) -> bool:
    seconds, microseconds = link.ask(link.redis.time)
    event = Event(
        name=EventName.STRATEGY_ENABLED,
        at=int(seconds) * 1000 + int(microseconds) // 1000,
        exchange=keys.exchange,
        account=one.account,
        symbol=one.symbol,
        strategy=one.strategy,
    )
    enabling = script("enable_strategy")
    arguments: list[str | bytes | int] = [one.field, encode_disabled(one), encode_event(event)]
    return bool(link.ask(lambda: enabling.run(link.redis, [keys.disabled, keys.events], arguments)))
