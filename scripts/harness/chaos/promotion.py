"""A master is lost, and a replica that misses its last second takes over: the same with Sentinel and in a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import redis
from msgspec import Struct

from common.redis_cluster_server import EmbeddedCluster
from common.redis_server import EmbeddedRedis
from scripts.harness.chaos.redis_faults import command, known_to
from scripts.harness.chaos.stage import Stage
from scripts.harness.processes import Process

REPLICA_USER: Final = "replica"
MISSED_SECONDS: Final = 1.0
FAILOVER_SECONDS: Final = 60.0


def give_own_user(master: redis.Redis, replica: redis.Redis) -> None:
    """Let the replica log in, when it next does, as a user of its own: so its link can be cut and nobody else's."""
    command(master, "ACL", "SETUSER", REPLICA_USER, "on", "nopass", "+psync", "+replconf", "+ping")
    replica.config_set("masteruser", REPLICA_USER)
    replica.config_set("masterauth", "any")


def lock_out(stage: Stage, master: redis.Redis, replica: redis.Redis) -> None:
    """Cut the replica's link to its master for good."""
    stage.fault("the replica's link to its master is cut")
    command(master, "ACL", "SETUSER", REPLICA_USER, "off")
    command(master, "CLIENT", "KILL", "USER", REPLICA_USER)
    stage.wait_for(lambda: link(replica) == "down", 5, "the replica's link was not cut")


def link(client: redis.Redis) -> str:
    """`up` or `down`: a replica's link to its master."""
    state: Any = client.info("replication")
    return str(state.get("master_link_status"))


class Loss(Struct, frozen=True):
    """What became of a lost master: after how long there was a successor, and how many of the answered entries that one
    lacked; `again`: those that were submitted anew."""

    seconds: float
    answered: int
    gone: int
    again: int

    def __str__(self) -> str:
        return (
            f"after {self.seconds:.1f} s; {self.gone} of {self.answered} answered entries never reached it; "
            f"their producer sent {self.again} of them again with the same ids, the rest were no intents"
        )


def promote(
    stage: Stage,
    master: EmbeddedRedis,
    what: str,
    wait_for_successor: Callable[[], None],
    successor: EmbeddedRedis | EmbeddedCluster,
) -> Loss:
    """Kill the master a second after its replica was locked out, and wait for the successor; producers repeat what that
    one lacks."""
    time.sleep(MISSED_SECONDS)
    stage.fault(f"SIGKILL of the master{what}")
    killed_at = time.monotonic()
    master.kill()
    time.sleep(0.3)  # what was answered is on the producer's list by then
    before = list(stage.submitter.appended)
    wait_for_successor()
    seconds = time.monotonic() - killed_at
    known = known_to(successor, before)
    gone = [one for one in before if (one.exchange, one.entry) not in known]
    return Loss(seconds, len(before), len(gone), stage.resend(gone))


def lose_master(
    stage: Stage,
    master: EmbeddedRedis,
    what: str,
    wait_for_successor: Callable[[], None],
    successor: EmbeddedRedis | EmbeddedCluster,
    scheduler: Process,
) -> str:
    """`promote`, and play the scene to its end: the old master comes back on its own file, the scheduler is stopped.

    Returns:
        What there is to note: after how long there was a successor, and what it lacked.
    """
    loss = promote(stage, master, what, wait_for_successor, successor)
    stage.fault("the old master comes back")
    master.restart()
    stage.drain()
    stage.move_market()
    stage.settle()
    scheduler.stop()
    stage.pool.processes.pop(scheduler.name)
    return str(loss)
