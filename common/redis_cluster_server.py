"""A Redis Cluster of our own on loopback: for the demo, for breaking it, and for the tests.

    with EmbeddedCluster(masters=3) as cluster:
        client = connect(cluster.url)

Each node is an `EmbeddedRedis`: killed with this process, its files in a folder of its own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import redis
from redis.exceptions import RedisError

from common.redis_server import EmbeddedRedis, RedisServerError
from orderlane.cluster import slot_of
from orderlane.connection import connect

SLOTS: Final = 16_384
STRIPS: Final = 8
"""The slots are dealt out in so many strips, as in a cluster that has grown. With three masters the built-in pool's
two exchanges and its list of exchanges are on three different ones."""
NODE_TIMEOUT_MS: Final = 2_000
"""After how long without an answer a node counts as failing. Redis' default, 15 s, is for slower networks."""
FORM_SECONDS: Final = 30.0
MOVED_AT_ONCE: Final = 100
MOVE_TIMEOUT_MS: Final = 5_000
_POLL_SECONDS: Final = 0.02


class EmbeddedCluster:
    """Masters that share the slots, each with so many replicas. Every node listens on 127.0.0.1 alone.

    data_dir: where the nodes keep their files, each in a folder of its own; without one, a temporary folder.
    append_only: see `EmbeddedRedis`.

    `start` raises RedisServerMissing, or RedisServerError when the nodes don't find each other.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        masters: int = 3,
        replicas: int = 0,
        append_only: bool = False,
        node_timeout_ms: int = NODE_TIMEOUT_MS,
    ) -> None:
        self._temporary = (
            tempfile.TemporaryDirectory(prefix="orderlane-cluster-") if data_dir is None else None
        )
        folder = data_dir or Path(self._temporary.name if self._temporary else "")
        settings = (
            "cluster-enabled yes",
            f"cluster-node-timeout {node_timeout_ms}",
            "cluster-announce-ip 127.0.0.1",
            "cluster-replica-validity-factor 0",
            "cluster-require-full-coverage no",
            "repl-diskless-sync-delay 0",
        )
        self.nodes = [
            EmbeddedRedis(folder / f"node-{number}", append_only=append_only, settings=settings)
            for number in range(masters * (1 + replicas))
        ]
        self._masters = masters

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address for a client, every node named."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}"

    def start(self) -> Self:
        """Start every node, let them find each other and share the slots; return once all agree."""
        try:
            for node in self.nodes:
                node.start()
            with ExitStack() as exits:
                self._form([exits.enter_context(connect(node.url)) for node in self.nodes])
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End every node; remove a temporary folder. Safe to call again."""
        for node in reversed(self.nodes):
            node.stop()
        if self._temporary is not None:
            self._temporary.cleanup()

    def master_of(self, key: str) -> EmbeddedRedis:
        """The node that serves a key's slot now, as the first node that answers says.

        Raises:
            RedisServerError: none answers, or nobody serves it.
        """
        for node in self.nodes:
            with suppress(RedisError):
                port = _master_port(node, key)
                if found := [one for one in self.nodes if one.port == port]:
                    return found[0]
        raise RedisServerError(f"no node of the cluster serves the slot of {key}")

    def agree(self, key: str, master: EmbeddedRedis) -> bool:
        """Whether every node that runs takes this one for the master of a key's slot."""
        with suppress(RedisError):
            return all(_master_port(node, key) == master.port for node in self.nodes if node.running)
        return False

    def move(self, key: str, target: EmbeddedRedis) -> int:
        """Move the slot of a key, and all that is in it, to another master; how many keys that were.

        As `redis-cli --cluster reshard` does it: scripts on the slot are refused until it has arrived.
        """
        slot = slot_of(key)
        with connect(self.master_of(key).url) as old, connect(target.url) as new:
            old_name, new_name = (_call(one, "CLUSTER", "MYID").decode() for one in (old, new))
            _call(new, "CLUSTER", "SETSLOT", slot, "IMPORTING", old_name)
            _call(old, "CLUSTER", "SETSLOT", slot, "MIGRATING", new_name)
            moved = 0
            while names := _call(old, "CLUSTER", "GETKEYSINSLOT", slot, MOVED_AT_ONCE):
                _call(old, "MIGRATE", "127.0.0.1", target.port, "", 0, MOVE_TIMEOUT_MS, "KEYS", *names)
                moved += len(names)
            for one in (new, old):
                _call(one, "CLUSTER", "SETSLOT", slot, "NODE", new_name)
        return moved

    def _form(self, clients: list[redis.Redis]) -> None:
        masters, replicas = clients[: self._masters], clients[self._masters :]
        for number, client in enumerate(clients):
            _call(client, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            for other in self.nodes[:number]:
                _call(client, "CLUSTER", "MEET", "127.0.0.1", other.port)
        for number, client in enumerate(masters):
            mine = [slot for slot in range(SLOTS) if slot * STRIPS // SLOTS % len(masters) == number]
            _call(client, "CLUSTER", "ADDSLOTS", *mine)
        self._until(lambda: all(_info(one)["cluster_known_nodes"] == len(clients) for one in clients), "met")
        for number, client in enumerate(replicas):
            name = _call(masters[number % len(masters)], "CLUSTER", "MYID").decode()
            self._until(lambda: name.encode() in _call(client, "CLUSTER", "NODES"), "met")  # noqa: B023 (waited for here)
            _call(client, "CLUSTER", "REPLICATE", name)
        self._until(lambda: all(_info(one)["cluster_state"] == "ok" for one in clients), "agreed")
        self._until(lambda: all(_linked(one) for one in replicas), "become replicas")
        self._until(lambda: all(len(_slots(one)) == STRIPS for one in clients), "agreed on their slots")
        nodes = 3 + len(replicas) // len(masters)
        self._until(lambda: all(len(row) == nodes for one in clients for row in _slots(one)), "seen replicas")

    def _until(self, happened: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + FORM_SECONDS
        while not happened():
            if time.monotonic() > deadline:
                raise RedisServerError(f"the nodes of the cluster have not {what} in {FORM_SECONDS:g} s")
            time.sleep(_POLL_SECONDS)


def _master_port(node: EmbeddedRedis, key: str) -> int:
    """The port of the master of a key's slot, as a node knows it; 0 when nobody serves it."""
    with connect(node.url) as client:
        rows = _slots(client)
    return next((int(row[2][1]) for row in rows if row[0] <= slot_of(key) <= row[1]), 0)


def _call(client: redis.Redis, *words: Any) -> Any:
    return client.execute_command(*words)  # type: ignore[no-untyped-call]


def _slots(client: redis.Redis) -> list[Any]:
    """CLUSTER SLOTS as it comes: `first, last, master, replica…`, a node being `host, port, id`."""
    connection: Any = client.connection_pool.get_connection()
    try:
        connection.send_command("CLUSTER", "SLOTS")
        return list(connection.read_response())
    finally:
        client.connection_pool.release(connection)


def _info(client: redis.Redis) -> dict[str, Any]:
    text = _call(client, "CLUSTER", "INFO")
    if isinstance(text, dict):
        found = text
    else:
        lines = (line.partition(":") for line in text.decode().splitlines())
        found = {name: value for name, _, value in lines}
    return {**found, "cluster_known_nodes": int(found["cluster_known_nodes"])}


def _linked(client: redis.Redis) -> bool:
    found: Any = client.info("replication")
    return bool(found.get("master_link_status") == "up")
