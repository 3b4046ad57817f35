"""streaq: asynchronous jobs on Redis streams and functions; `streaq run streaq_side:worker` works.

`python streaq_side.py enqueue JOBS`
"""

from __future__ import annotations

import asyncio
import os
import sys

import orders  # type: ignore[import-not-found]
from streaq import Worker  # type: ignore[import-not-found]

worker = Worker(
    redis_url=os.environ["BENCH_REDIS_URL"],
    concurrency=int(os.environ["BENCH_CONCURRENCY"]),
    anyio_kwargs={"use_uvloop": True},
)


async def place_order(symbol: str, side: str, amount: float, price: float) -> str:
    """Run one job."""
    return str(await orders.place_async(symbol, side, amount, price))


place = worker.task(place_order)


async def enqueue(text: str) -> None:
    """Enqueue every job, as many in a pipeline as its documentation shows."""
    async with worker:
        tasks = [place.enqueue(*arguments) for arguments in orders.jobs(text)]
        for start in range(0, len(tasks), 500):
            await worker.enqueue_many(tasks[start : start + 500])


if __name__ == "__main__":
    asyncio.run(enqueue(sys.argv[2]))
