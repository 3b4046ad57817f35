"""Which strategies may not open orders, as a worker knows it: told with each take and each heartbeat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis.asyncio

from common.lane_rules.dependence import closes
from orderlane.disabled import EVERY_STRATEGY, DisabledStrategy, decode_disabled, disabled_field
from orderlane.intents import PlaceOrder
from orderlane.keys import Keys
from orderlane.orders import Reason


class DisabledStrategies:
    """What the hash `disabled` held at the last `refresh`."""

    def __init__(self, client: redis.asyncio.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._known: dict[str, DisabledStrategy] = {}

    async def refresh(self) -> None:
        """Read them anew.

        Raises:
            redis.exceptions.RedisError: no answer; those known stay.
        """
        fields: Any = await self._client.hgetall(self._keys.disabled)
        self.heed(fields)

    def heed(self, fields: Mapping[bytes, bytes]) -> None:
        """Take in the hash as a script returned it."""
        if fields or self._known:
            self._known = {one.field: one for one in decode_disabled(fields)}

    def reason(self, intent: PlaceOrder) -> Reason | None:
        """Why this order may not be placed; None when it may. What takes risk off always may."""
        if not self._known or closes(intent):
            return None
        for strategy in (intent.strategy, EVERY_STRATEGY):
            found = self._known.get(disabled_field(intent.account, intent.symbol, strategy))
            if found is not None:
                return _refusal(found)
        return None


def _refusal(disabled: DisabledStrategy) -> Reason:
    name = "every strategy" if disabled.strategy == EVERY_STRATEGY else f"strategy {disabled.strategy!r}"
    return Reason(
        code="strategy_disabled",
        message=f"{name} is disabled on {disabled.symbol} of account {disabled.account!r}: {disabled.reason.message}. "
        "Its cancels and reduce-only orders pass. Find out who traded, then `orderlane enable "
        f"{disabled.account} {disabled.symbol}`",
        numbers={**disabled.reason.numbers, "disabled_since": str(disabled.since_ms)},
    )
