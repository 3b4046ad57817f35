"""One run of one job, over every exchange at once: single in its period, and bounded in time.

A run takes the exchange's lock `lock:<job>` with SET NX PX, by Redis' clock. Of any number of schedulers the
first to come runs; the rest find the lock and do nothing. Nobody gives the lock back: it ends by itself,
shortly before the period does, counted from when the run was due. So runs are due at least nine tenths of a period
apart, whoever starts them, and a run that was killed costs its own period only.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from redis.exceptions import RedisError

from common.exchange.base import ExchangeFailure
from common.telemetry import log_context
from workers.jobs.open_exchange import OpenExchange
from workers.jobs.plan import JobPlan
from workers.jobs.time_limit import within

log: Final = logging.getLogger("orderlane.jobs")

Body = Callable[[OpenExchange, JobPlan], Awaitable[None]]
"""What a job does for one exchange."""


async def run_round(
    exchanges: Iterable[OpenExchange], plan: JobPlan, body: Body, *, late_ms: int = 0
) -> None:
    """Run a job for every exchange whose lock can be had. Nothing is raised: failures go to the log.

    `late_ms`: how long ago the run was due.
    """
    await asyncio.gather(*(_run_one(one, plan, body, late_ms) for one in exchanges))


async def claim_period(one: OpenExchange, plan: JobPlan, late_ms: int = 0) -> bool:
    """Whether this process is the one to run the job for this exchange now.

    Raises:
        redis.exceptions.RedisError: no answer; the lock may have been taken, and then the period passes unused.
    """
    holder = f"{socket.gethostname()}:{os.getpid()}"
    return bool(
        await one.redis.set(one.keys.lock(plan.name), holder, nx=True, px=max(plan.lock_ms - late_ms, 1))
    )


async def _claim_and_run(one: OpenExchange, plan: JobPlan, body: Body, late_ms: int) -> None:
    if await claim_period(one, plan, late_ms):
        await body(one, plan)


async def _run_one(one: OpenExchange, plan: JobPlan, body: Body, late_ms: int) -> None:
    with log_context(exchange=one.name, job=plan.name.value):
        started_at = time.monotonic()
        try:
            await within(plan.run_seconds, _claim_and_run(one, plan, body, late_ms))
        except TimeoutError:
            log.warning(
                "a job ran out of its time", extra={"ms": int((time.monotonic() - started_at) * 1000)}
            )
        except (RedisError, OSError, ExchangeFailure) as error:
            log.warning("a job could not be done; its next period tries again", extra={"reason": str(error)})
        except Exception as error:
            log.error("a job failed by a fault of the pool's own", exc_info=error)
