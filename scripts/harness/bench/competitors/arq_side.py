"""arq: asynchronous jobs, all in one process; `arq arq_side.WorkerSettings` works.

`python arq_side.py enqueue JOBS`
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any, ClassVar

import orders  # type: ignore[import-not-found]
from arq import create_pool  # type: ignore[import-not-found]
from arq.connections import RedisSettings  # type: ignore[import-not-found]


async def place(context: dict[str, Any], symbol: str, side: str, amount: float, price: float) -> str:
    """Run one job."""
    return str(await orders.place_async(symbol, side, amount, price))


class WorkerSettings:
    """What the `arq` command reads."""

    functions: ClassVar = [place]
    redis_settings = RedisSettings.from_dsn(os.environ["BENCH_REDIS_URL"])
    max_jobs = int(os.environ["BENCH_CONCURRENCY"])


async def enqueue(text: str) -> None:
    """Enqueue every job."""
    pool = await create_pool(WorkerSettings.redis_settings)
    for arguments in orders.jobs(text):
        await pool.enqueue_job("place", *arguments)
    await pool.aclose()


if __name__ == "__main__":
    asyncio.run(enqueue(sys.argv[2]))
