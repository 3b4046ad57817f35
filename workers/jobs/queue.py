"""The pool's queue in rq: its name, its Redis, how a job is put there and how it is gone again.

Jobs travel as JSON, never as pickle. A job carries nothing but its name and when it was due. Still, rq calls
whatever function a job names: who may write to this Redis may run code in the process that runs the jobs.

Nothing stays: a job that waited for a whole period is dropped (its hash expires), a finished one is deleted, a
failed one is kept for minutes. While no worker runs, ids of expired jobs stay in the queue's list: it is kept short.
"""

from __future__ import annotations

from typing import Final

import redis
from rq import Queue
from rq.serializers import JSONSerializer

from common.config import Settings
from orderlane.connection import connect
from workers.jobs.plan import JobPlan
from workers.jobs.tasks import RUN

MOST_WAITING: Final = 16
"""Jobs in the queue at most; every scheduler adds one of each kind in a period."""
FAILED_KEPT_SECONDS: Final = 300
TIMEOUT_MARGIN_SECONDS: Final = 5
"""Added to a period for rq's own time limit: a job ends itself well before."""


def connect_queue(settings: Settings) -> redis.Redis:
    """A connection to the Redis of the pool's jobs."""
    return connect(settings.queue_redis_url.reveal())


def open_queue(settings: Settings, connection: redis.Redis) -> Queue:
    """The queue of a pool's jobs; two pools in one Redis have two."""
    return Queue(queue_name(settings.pool), connection=connection, serializer=JSONSerializer)


def queue_name(pool: str) -> str:
    """The name of a pool's queue in rq.

    >>> queue_name("orderlane")
    'orderlane:jobs'
    """
    return f"{pool}:jobs"


def enqueue(queue: Queue, plan: JobPlan) -> bool:
    """Put one run of a job into the queue; False when too many wait there already, since nobody runs them.

    Raises:
        redis.exceptions.RedisError: no answer; the job may have been added. It would find the period's lock taken.
    """
    if queue.count >= MOST_WAITING:
        return False
    due_at_ms = _now_ms(queue.connection)
    queue.enqueue_call(
        RUN,
        args=[plan.name.value, due_at_ms],
        timeout=plan.period_seconds + TIMEOUT_MARGIN_SECONDS,
        ttl=plan.period_seconds,
        result_ttl=0,
        failure_ttl=FAILED_KEPT_SECONDS,
        description=plan.name.value,
    )
    return True


def late_ms(connection: redis.Redis, due_at_ms: int) -> int:
    """How long ago a job was put into the queue, by the clock of the Redis that holds it.

    Raises:
        redis.exceptions.RedisError: no answer.
    """
    return max(_now_ms(connection) - due_at_ms, 0)


def _now_ms(connection: redis.Redis) -> int:
    seconds, microseconds = connection.time()
    return int(seconds) * 1000 + int(microseconds) // 1000
