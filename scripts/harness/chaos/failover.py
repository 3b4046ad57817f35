"""Sentinel promotes a replica that misses the master's last second; the pool and its producers follow by themselves."""

from __future__ import annotations

from typing import Any, Final

import redis

from common.redis_server import EmbeddedRedis
from orderlane.connection import connect
from scripts.harness.chaos.promotion import FAILOVER_SECONDS, give_own_user, link, lock_out, lose_master
from scripts.harness.chaos.redis_faults import command
from scripts.harness.chaos.stage import Stage
from scripts.harness.sentinels import Sentinels

DEMOTION_SECONDS: Final = 60.0
"""A Sentinel watches a master that came back for 8 s before it makes it a replica (`SENTINEL_PUBLISH_PERIOD` x 4)."""
SCRIPT_CALLS: Final = ("cmdstat_eval", "cmdstat_evalsha")
"""What only clients call: a replica is sent the effects of scripts, never the scripts."""


def play(stage: Stage) -> None:
    """The replica is locked out, the master killed a second later. Once the replica serves in its place, the old master
    comes back on its own file, with what the others have forgotten in it."""
    master = stage.pool.redis
    replica = stage.keep(EmbeddedRedis(stage.folder / "replica", append_only=True))
    with connect(replica.url) as other:
        _replicate(stage, other)
        sentinels = stage.keep(Sentinels(stage.folder / "sentinels", master.port))
        sentinels.wait_until_ready()
        stage.reach_redis_by(sentinels.url)
        scheduler = stage.start_scheduler()
        stage.open_house()
        stage.submitter.begin(stage.plan())
        stage.after(0.5)
        lock_out(stage, stage.client, other)
    note = lose_master(
        stage, master, "", lambda: sentinels.wait_for_failover(FAILOVER_SECONDS), replica, scheduler
    )
    _judge_old_master(stage, master, replica)
    stage.notes.append(f"Sentinel had promoted the replica {note}")


def _replicate(stage: Stage, replica: redis.Redis) -> None:
    """Make it a replica that logs in as a user of its own, so that its link can be cut and nobody else's."""
    give_own_user(stage.client, replica)
    command(replica, "REPLICAOF", "127.0.0.1", str(stage.pool.redis.port))
    stage.wait_for(lambda: link(replica) == "up", 20, "the replica did not catch up")


def _judge_old_master(stage: Stage, master: EmbeddedRedis, replica: EmbeddedRedis) -> None:
    """The server that came back must have been written to by nobody, and end as a replica like the others."""
    with connect(master.url) as old, connect(replica.url) as new:
        stage.wait_for(lambda: link(old) == "up", DEMOTION_SECONDS, "the old master was not made a replica")
        calls: Any = old.info("commandstats")
        stage.findings += [
            f"the old master was written to: {name} was called {calls[name]['calls']} times"
            for name in SCRIPT_CALLS
            if name in calls
        ]
        stage.wait_for(
            lambda: old.execute_command("DEBUG", "DIGEST") == new.execute_command("DEBUG", "DIGEST"),
            20,
            "the old master did not come to hold what the new one holds",
        )
