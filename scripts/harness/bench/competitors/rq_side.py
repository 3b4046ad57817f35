"""rq: jobs in a queue, a pool of workers that fork for each job.

`python rq_side.py enqueue JOBS`, `python rq_side.py work WORKERS`
"""

from __future__ import annotations

import os
import sys
from typing import Any

import orders  # type: ignore[import-not-found]
from redis import Redis
from rq import Queue, Worker
from rq.worker_pool import WorkerPool


class PreloadedWorker(Worker):
    """As rq's documentation advises for speed: what jobs need is imported (and opened) before the work loop."""

    def work(self, *arguments: Any, **options: Any) -> bool:
        """Work until killed; each job in a fork of this process."""
        orders.preload()
        return bool(super().work(*arguments, **options))


def main() -> None:
    """Enqueue every job, or work until killed."""
    connection = Redis.from_url(os.environ["BENCH_REDIS_URL"])
    queue = Queue("bench", connection=connection)
    if sys.argv[1] == "enqueue":
        data = [Queue.prepare_data(orders.place, args=arguments) for arguments in orders.jobs(sys.argv[2])]
        queue.enqueue_many(data)
    else:
        workers = int(sys.argv[2])
        WorkerPool([queue], connection=connection, num_workers=workers, worker_class=PreloadedWorker).start()


if __name__ == "__main__":
    main()
