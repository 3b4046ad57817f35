"""Intents for a measurement, appended as any application would: XADD, many in a pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec

from orderlane.keys import INTENT_FIELD
from scripts.harness.bench.stage import EXCHANGE, Stage

BATCH: Final = 1_000


def payloads(stage: Stage, count: int, lanes: int, prefix: str) -> Iterator[bytes]:
    """`count` limit orders, one lane after the other, each lane buying and selling in turn.

    Lanes go through the symbols first, then the accounts.
    """
    symbols = len(stage.instruments)
    for number in range(count):
        lane = number % lanes
        instrument = stage.instruments[lane % symbols]
        buying = (number // lanes) % 2 == 0
        yield msgspec.json.encode(
            {
                "kind": "place",
                "id": f"{prefix}-{number}",
                "exchange": EXCHANGE,
                "account": stage.accounts[lane // symbols],
                "symbol": instrument.symbol,
                "strategy": "bench",
                "side": "buy" if buying else "sell",
                "type": "limit",
                "amount": instrument.amount,
                "price": instrument.buy_price if buying else instrument.sell_price,
            }
        )


def append(stage: Stage, intents: Iterable[bytes]) -> None:
    """Append them all."""
    rest = iter(intents)
    while batch := list(islice(rest, BATCH)):
        pipeline = stage.redis.pipeline(transaction=False)
        for payload in batch:
            pipeline.xadd(stage.keys.intents, {INTENT_FIELD: payload})
        pipeline.execute()
