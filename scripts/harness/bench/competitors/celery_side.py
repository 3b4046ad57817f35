"""celery: jobs in processes or threads; `celery -A celery_side worker` works.

`python celery_side.py enqueue JOBS`
"""

from __future__ import annotations

import os
import sys

import orders  # type: ignore[import-not-found]
from celery import Celery  # type: ignore[import-not-found]
from celery.signals import worker_init  # type: ignore[import-not-found]

app = Celery("celery_side", broker=os.environ["BENCH_REDIS_URL"])
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
place = app.task(orders.place, name="place")


def before_fork(**_: object) -> None:
    """Load the markets once, before the pool of processes is made."""
    orders.preload()


worker_init.connect(before_fork)


if __name__ == "__main__":
    with app.producer_pool.acquire(block=True) as producer:
        for arguments in orders.jobs(sys.argv[2]):
            place.apply_async(arguments, producer=producer)
