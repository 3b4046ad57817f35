"""The process that runs the pool's jobs: an rq worker that keeps the exchanges open from job to job.

    python -m workers.jobs.worker

rq's usual worker forks for each job, so every job would open its exchanges anew: half a second, some requests,
new connections. `SimpleWorker` runs the job in this very process. What a fork protects from is met otherwise: a job is
bounded in time, catches its failures, and when the process falls, `workers.scheduler` starts it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Final

import click
import redis
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from common.config import Settings
from common.telemetry import start_telemetry
from workers.jobs import tasks
from workers.jobs.backlog import tell_backlog
from workers.jobs.configured import configured
from workers.jobs.loop_thread import LoopThread
from workers.jobs.market_refresh import refresh_markets
from workers.jobs.open_exchange import OpenExchange
from workers.jobs.plan import JobName, JobPlan, job_plans
from workers.jobs.queue import connect_queue, late_ms, open_queue
from workers.jobs.rounds import Body, run_round
from workers.jobs.sweep import sweep
from workers.jobs.sync import sync_open_orders
from workers.jobs.trimming import trim

log: Final = logging.getLogger("orderlane.scheduler")

BODIES: Final[Mapping[JobName, Body]] = MappingProxyType(
    {
        JobName.SYNC: sync_open_orders,
        JobName.MARKETS: refresh_markets,
        JobName.TRIMMING: trim,
        JobName.SWEEP: sweep,
        JobName.BACKLOG: tell_backlog,
    }
)
WORKER_TTL_SECONDS: Final = 30
"""How long rq takes this worker for alive without a sign; half of it is how long it waits for a job at a time."""


class JobWorker(SimpleWorker):
    """rq's worker, whose job under way is cut short when it is told to stop: every job may be, at any point."""

    max_connection_wait_time = 5.0
    log_result_lifespan = False
    on_stop: Callable[[], None]

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Handle the first SIGTERM or SIGINT."""
        self.on_stop()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def subscribe(self) -> None:
        """Listen to no commands: what they offer (stop a job, shut down) the supervisor does by signals."""


def rq_worker(settings: Settings, connection: redis.Redis, on_stop: Callable[[], None]) -> JobWorker:
    """The worker of the pool's queue; `on_stop` is called in a signal handler, when it is told to stop."""
    worker = JobWorker(
        [open_queue(settings, connection)],
        connection=connection,
        serializer=JSONSerializer,
        worker_ttl=WORKER_TTL_SECONDS,
    )
    worker.on_stop = on_stop
    return worker


class Exchanges:
    """The exchanges of a pool, kept open by this process, and the jobs over them."""

    def __init__(self, settings: Settings, thread: LoopThread) -> None:
        self._settings = settings
        self._thread = thread
        self._plans: dict[JobName, JobPlan] = job_plans(settings.scheduler)
        self._open: list[OpenExchange] = []

    def open(self) -> None:
        """Open all of them; nothing is sent yet."""
        self._thread.run(self._open_all())

    def run_job(self, name: JobName, late_ms: int) -> None:
        """Run one job, due `late_ms` ago, over all of them."""
        self._thread.run(run_round(self._open, self._plans[name], BODIES[name], late_ms=late_ms))

    def close(self) -> None:
        """Close their connections, and end the thread."""
        self._thread.close(self._close_all())

    async def _open_all(self) -> None:
        for name in self._settings.exchanges:
            self._open.append(OpenExchange(self._settings, name))

    async def _close_all(self) -> None:
        closing: list[Awaitable[None]] = [one.close() for one in self._open]
        await asyncio.gather(*closing, return_exceptions=True)


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option("--config", type=click.Path(path_type=Path), default=None, help="orderlane.yaml")
def main(config: Path | None) -> None:
    """Run jobs until a signal stops it."""
    settings = configured(config, os.environ)
    telemetry = start_telemetry(settings, process="scheduler:jobs")
    for name in ("rq", "rq.worker"):
        logging.getLogger(name).setLevel(logging.WARNING)
    thread = LoopThread()
    exchanges = Exchanges(settings, thread)
    try:
        exchanges.open()
        with connect_queue(settings) as connection:
            worker = rq_worker(settings, connection, on_stop=thread.cut_short)
            tasks.serve(lambda name, due_at_ms: exchanges.run_job(name, late_ms(connection, due_at_ms)))
            worker.work()
    finally:
        tasks.serve(None)
        exchanges.close()
        telemetry.stop()


if __name__ == "__main__":
    main()
