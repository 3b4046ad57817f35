"""What rq calls by its name, with nothing but which job is due and since when; light to import.

The exchanges and connections that a job needs are opened once by the process that runs jobs (`workers.jobs.worker`),
which says here how to run one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from workers.jobs.plan import JobName

log: Final = logging.getLogger("orderlane.jobs")

RunJob = Callable[[JobName, int], None]

_runners: list[RunJob] = []


def serve(run_job: RunJob | None) -> None:
    """Say how this process runs a job; None: not any more."""
    _runners[:] = [run_job] if run_job else []


def run(name: str, due_at_ms: int) -> None:
    """Run one job. Nothing is raised: rq would keep a failed job, and the next period does it anyway.

    `due_at_ms`: when it was put into the queue, by the clock of the queue's Redis.
    """
    if name not in list(JobName) or not _runners:
        log.error("this process can't run the job that was asked for", extra={"job": name})
        return
    _runners[0](JobName(name), due_at_ms)


RUN: Final = f"{__name__}.{run.__name__}"
"""The function's name, as jobs carry it."""
