"""A Redis Cluster broken: an exchange's master dies and its replica takes over; its slot moves to another master."""

from __future__ import annotations

import time
from typing import Any, Final

import redis

from common.redis_cluster_server import EmbeddedCluster
from common.redis_server import EmbeddedRedis
from orderlane.connection import connect
from scripts.harness.chaos.redis_faults import command, known_to
from scripts.harness.chaos.stage import Stage

MASTERS: Final = 3
REPLICA_USER: Final = "replica"
MISSED_SECONDS: Final = 1.0
FAILOVER_SECONDS: Final = 60.0
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
        stage.fault("the replica's link to its master is cut")
        command(old, "ACL", "SETUSER", REPLICA_USER, "off")
        command(old, "CLIENT", "KILL", "USER", REPLICA_USER)
        stage.wait_for(lambda: _link(new) == "down", 5, "the replica's link was not cut")
    time.sleep(MISSED_SECONDS)
    stage.fault(f"SIGKILL of the master of binance, port {master.port}")
    killed_at = time.monotonic()
    master.kill()
    time.sleep(0.3)  # what was answered is on the producer's list by then
    before = list(stage.submitter.appended)
    stage.wait_for(lambda: cluster.agree(key, replica), FAILOVER_SECONDS, "the replica did not take over")
    seconds = time.monotonic() - killed_at
    known = known_to(cluster, before)
    gone = [one for one in before if (one.exchange, one.entry) not in known]
    again = stage.resend(gone)
    stage.fault("the old master comes back")
    master.restart()
    stage.drain()
    stage.move_market()
    stage.settle()
    scheduler.stop()
    stage.pool.processes.pop(scheduler.name)
    with connect(master.url) as old:
        stage.wait_for(lambda: _link(old) == "up", 30, "the old master was not made a replica")
    stage.notes.append(
        f"after {seconds:.1f} s the replica served the slot; {len(gone)} of {len(before)} answered entries never "
        f"reached it; their producer sent {again} of them again with the same ids, the rest were no intents"
    )


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
    command(master, "ACL", "SETUSER", REPLICA_USER, "on", "nopass", "+psync", "+replconf", "+ping")
    replica.config_set("masteruser", REPLICA_USER)
    replica.config_set("masterauth", "any")
    command(master, "CLIENT", "KILL", "TYPE", "replica")
    stage.wait_for(lambda: _user_of_replica(master) == REPLICA_USER, 20, "the replica did not log in anew")
    stage.wait_for(lambda: _link(replica) == "up", 20, "the replica did not catch up")


def _user_of_replica(master: redis.Redis) -> str:
    found: Any = master.client_list(_type="replica")
    return str(found[0]["user"]) if found else ""


def _link(client: redis.Redis) -> str:
    state: Any = client.info("replication")
    return str(state.get("master_link_status"))
