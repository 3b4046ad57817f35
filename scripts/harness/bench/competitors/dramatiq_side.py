"""dramatiq: jobs in the threads of some processes; `dramatiq dramatiq_side` works.

`python dramatiq_side.py enqueue JOBS`
"""

from __future__ import annotations

import os
import sys

import dramatiq  # type: ignore[import-not-found]
import orders  # type: ignore[import-not-found]
from dramatiq.brokers.redis import RedisBroker  # type: ignore[import-not-found]

broker = RedisBroker(url=os.environ["BENCH_REDIS_URL"])
dramatiq.set_broker(broker)


def place_order(symbol: str, side: str, amount: float, price: float) -> None:
    """Run one job; what it returns would only be stored."""
    orders.place(symbol, side, amount, price)


place = dramatiq.actor(place_order, actor_name="place")


if __name__ == "__main__":
    for arguments in orders.jobs(sys.argv[2]):
        place.send(*arguments)
