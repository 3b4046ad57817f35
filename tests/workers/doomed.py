"""A worker process that gets SIGKILL at a named point: what the tests of real deaths share."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from common.failpoints import VARIABLE, Arm, Arming
from tests.workers.pool_fixture import Pool
from tests.workers.products import USDM, Product
from tests.workers.user_stream.scene import worker_process


@asynccontextmanager
async def doomed(pool: Pool, folder: Path, point: str, product: Product = USDM) -> AsyncIterator[None]:
    """A worker that lives until it reaches `point` for the first time; the block ends once it was killed there."""
    arming = Arming(folder=str(folder), arms=(Arm(point=point, action="kill", token="kill"),))
    environment = {VARIABLE: msgspec.json.encode(arming).decode()}
    known = pool.workers(product)
    with worker_process(pool, product, folder, "doomed", **environment) as process:
        await pool.until(
            lambda: process.poll() is not None or pool.workers(product) - known,
            "a worker that joins the pool",
        )
        await pool.until(
            lambda: process.poll() is not None or not pool.reconciling(product), "accounts that are open"
        )
        yield
        await pool.until(lambda: process.poll() is not None, f"a death at {point}")
        assert process.poll() == -signal.SIGKILL
