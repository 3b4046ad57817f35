"""A Redis Cluster broken: an exchange's master dies and its replica takes over; its slot moves to another master."""

from __future__ import annotations

import time
from typing import Any, Final

import redis

from common.redis_cluster_server import EmbeddedCluster
from common.redis_server import EmbeddedRedis
from orderlane.connection import connect
from scripts.harness.chaos.promotion import (
    FAILOVER_SECONDS,
    REPLICA_USER,
    give_own_user,
    link,
    lock_out,
    lose_master,
)
from scripts.harness.chaos.redis_faults import command
from scripts.harness.chaos.stage import Stage

MASTERS: Final = 3
MOVES: Final = 3


def play_failover(stage: Stage) -> None:
    """The replica of `binance`'s master is locked out, the master killed a second later. Once the replica serves in its
    place, producers repeat what it lacks, and the old master comes back on its own file. The other exchange goes on."""
    cluster, key = _cluster_of(stage), stage.keys().intents
    master = cluster.master_of(key)
    replica = _replica_of(stage, cluster, master)
    with connect(master.url) as old, connect(replica.url) as new:
        _log_in_apart(stage, old, new)
        scheduler = stage.start_scheduler()
        stage.open_house()
        stage.submitter.begin(stage.plan())
        stage.after(0.5)
        lock_out(stage, old, new)
    note = lose_master(
        stage,
        master,
        f" of binance, port {master.port}",
        lambda: stage.wait_for(
            lambda: cluster.agree(key, replica), FAILOVER_SECONDS, "the replica did not take over"
        ),
        cluster,
        scheduler,
    )
    with connect(master.url) as old:
        stage.wait_for(lambda: link(old) == "up", 30, "the old master was not made a replica")
    stage.notes.append(f"the replica served the slot {note}")


def play_moves(stage: Stage) -> None:
    """The slot of `binance` goes from master to master, with all that is in it, under load."""
    cluster, key = _cluster_of(stage), stage.keys().intents
    stage.open_house()
    stage.submitter.begin(stage.plan())
    for number in range(MOVES):
        stage.after((number + 1) / (MOVES + 1))
        now = cluster.master_of(key)
        target = next(one for one in cluster.nodes[:MASTERS] if one is not now)
        stage.fault(f"the slot of binance moves from port {now.port} to {target.port}")
        started_at = time.monotonic()
        moved = cluster.move(key, target)
        stage.notes.append(f"{moved} keys moved in {time.monotonic() - started_at:.2f} s")
    stage.drain()


def _cluster_of(stage: Stage) -> EmbeddedCluster:
    assert stage.pool.cluster is not None, "this scenario has a cluster"
    return stage.pool.cluster


def _replica_of(stage: Stage, cluster: EmbeddedCluster, master: EmbeddedRedis) -> EmbeddedRedis:
    for node in cluster.nodes:
        with connect(node.url) as client:
            state: Any = client.info("replication")
            if state.get("master_port") == master.port:
                return node
    raise AssertionError(f"the master on port {master.port} has no replica")


def _log_in_apart(stage: Stage, master: redis.Redis, replica: redis.Redis) -> None:
    """Let the replica log in as a user of its own, so that its link can be cut and nobody else's."""
    give_own_user(master, replica)
    command(master, "CLIENT", "KILL", "TYPE", "replica")
    stage.wait_for(lambda: _user_of_replica(master) == REPLICA_USER, 20, "the replica did not log in anew")
    stage.wait_for(lambda: link(replica) == "up", 20, "the replica did not catch up")


def _user_of_replica(master: redis.Redis) -> str:
    found: Any = master.client_list(_type="replica")
    return str(found[0]["user"]) if found else ""
