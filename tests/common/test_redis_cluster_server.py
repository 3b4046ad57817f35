"""The embedded cluster forms by itself, and a replica takes over from its master."""

from __future__ import annotations

import time

from redis.exceptions import RedisError

from common.redis_cluster_server import EmbeddedCluster
from orderlane.connection import connect

KEY = "orderlane:{binance}:intents"
SECONDS = 60.0


def test_a_replica_takes_over_and_the_client_finds_it() -> None:
    with EmbeddedCluster(masters=3, replicas=1) as cluster, connect(cluster.url) as client:
        client.set(KEY, "before")
        master = cluster.master_of(KEY)
        with connect(master.url) as there:
            there.wait(1, 5_000)
        master.kill()
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                assert client.get(KEY) == b"before"
                break
            except RedisError:
                assert time.monotonic() < deadline, "nobody took over"
                time.sleep(0.1)
        while cluster.master_of(KEY) is master:  # the node that is asked may hear of it after the client
            assert time.monotonic() < deadline, "not every node knows the new master"
            time.sleep(0.1)


def test_what_moves_is_there_afterwards_and_nowhere_else() -> None:
    with EmbeddedCluster(masters=2) as cluster, connect(cluster.url) as client:
        for number in range(250):
            client.set(f"orderlane:{{binance}}:order:{number}", number)
        source = cluster.master_of(KEY)
        target = next(node for node in cluster.nodes if node is not source)
        assert cluster.move(KEY, target) == 250
        assert cluster.agree(KEY, target)
        with connect(source.url) as old, connect(target.url) as new:
            assert (old.dbsize(), new.dbsize()) == (0, 250)
        with connect(cluster.url) as anew:
            assert len(list(anew.scan_iter("*"))) == 250
