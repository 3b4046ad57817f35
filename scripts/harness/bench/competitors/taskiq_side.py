"""taskiq with taskiq-redis: asynchronous jobs; `taskiq worker taskiq_side:broker` works.

`BENCH_BROKER` picks the broker: `stream` (acknowledged) or `list` (popped, lost with the worker).
`python taskiq_side.py enqueue JOBS`
"""

from __future__ import annotations

import asyncio
import os
import sys

import orders  # type: ignore[import-not-found]
from taskiq_redis import ListQueueBroker, RedisStreamBroker  # type: ignore[import-not-found]

kind = RedisStreamBroker if os.environ["BENCH_BROKER"] == "stream" else ListQueueBroker
broker = kind(url=os.environ["BENCH_REDIS_URL"])
place = broker.register_task(orders.place_async, task_name="place")


async def enqueue(text: str) -> None:
    """Enqueue every job."""
    await broker.startup()
    for arguments in orders.jobs(text):
        await place.kiq(*arguments)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(enqueue(sys.argv[2]))
