"""The process that puts the pool's jobs into rq's queue, each when its period has passed.

    python -m workers.jobs.cron

It is rq's `CronScheduler` with what that lacks: jobs as JSON, jobs that expire, a bound on how many wait. What makes
a job single over several schedulers is its lock (`workers.jobs.rounds`): rq's scheduler knows nothing of others. It
keeps its times in memory and ends when Redis can't be reached: `workers.scheduler` starts it again.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

import click
import redis
from rq import cron_scheduler_registry
from rq.cron import CronJob, CronScheduler
from rq.utils import now

from common.config import Settings
from common.telemetry import start_telemetry
from workers.jobs import tasks
from workers.jobs.configured import configured
from workers.jobs.plan import JobName, job_plans
from workers.jobs.queue import connect_queue, enqueue, open_queue, queue_name

log: Final = logging.getLogger("orderlane.scheduler")


class PoolCron(CronScheduler):
    """The cron entries of one pool."""

    def __init__(self, settings: Settings, connection: redis.Redis) -> None:
        super().__init__(connection, logging_level=logging.WARNING)
        self.queue = open_queue(settings, connection)
        self.plans = job_plans(settings.scheduler)
        for plan in self.plans.values():
            self.register(
                tasks.run,
                queue_name(settings.pool),
                args=(plan.name.value,),
                interval=plan.period_seconds,
                name=f"{settings.pool}:{plan.name}",
            )

    def enqueue_jobs(self) -> list[CronJob]:
        """Put those that are due into the queue; they count as done for this period even where it is full."""
        due = [entry for entry in self.get_jobs() if entry.should_run()]
        started_at = now()
        for entry in due:
            name = JobName(entry.args[0])
            if not enqueue(self.queue, self.plans[name]):
                log.warning("nobody runs the pool's jobs: the queue is full", extra={"job": name.value})
            entry.set_enqueue_time(started_at)
        return due


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option("--config", type=click.Path(path_type=Path), default=None, help="orderlane.yaml")
def main(config: Path | None) -> None:
    """Enqueue jobs until a signal, or Redis' absence, ends it."""
    settings = configured(config, os.environ)
    telemetry = start_telemetry(settings, process="scheduler:cron")
    logging.getLogger("rq").setLevel(logging.WARNING)
    with connect_queue(settings) as connection:
        try:
            cron_scheduler_registry.cleanup(connection)
            PoolCron(settings, connection).start()  # type: ignore[no-untyped-call]
        finally:
            telemetry.stop()


if __name__ == "__main__":
    main()
