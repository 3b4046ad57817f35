"""Redis with a standby, under Sentinels: the master may be lost again and again, and each time the other takes over.

Workers reach the two servers through a proxy each, so that their link can be spoilt. Sentinels know the servers' own
ports; what they answer is given the proxies' ports on its way to the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import redis

from common.redis_server import EmbeddedRedis
from orderlane.connection import connect
from scripts.harness.chaos.promotion import FAILOVER_SECONDS, Loss, give_own_user, link, lock_out, promote
from scripts.harness.chaos.proxy import Proxy
from scripts.harness.chaos.redis_faults import command
from scripts.harness.chaos.stage import Stage
from scripts.harness.sentinels import DOWN_AFTER_MS, Sentinels, url_of

PATIENT_MS: Final = 120_000
"""For so long the Sentinels let a silent master be: what stops it for a while is no failover."""
CATCH_UP_SECONDS: Final = 20.0


class Standby:
    """Two servers, of which `master` serves now. To be made before the pool's processes are started."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.master = stage.pool.redis
        self._replica = stage.keep(EmbeddedRedis(stage.folder / "standby", append_only=True))
        with connect(self._replica.url) as replica:
            _let_in(stage.client, replica)
            command(replica, "REPLICAOF", "127.0.0.1", str(self.master.port))
            stage.wait_for(lambda: link(replica) == "up", CATCH_UP_SECONDS, "the replica did not catch up")
        self._sentinels = stage.keep(Sentinels(stage.folder / "sentinels", self.master.port))
        self._sentinels.wait_until_ready()
        self._sentinels.set_patience(PATIENT_MS)
        stage.reach_redis_by(self._sentinels.url)
        servers = (self.master, self._replica)
        self.links = [stage.proxy(f"redis proxy {one.port}", one.port) for one in servers]
        instead = {
            _as_text(one.port): _as_text(proxy.port) for one, proxy in zip(servers, self.links, strict=True)
        }
        relays = [
            stage.proxy(f"sentinel relay {port}", port, says_instead=instead)
            for port in self._sentinels.ports
        ]
        stage.worker_environment["REDIS_URL"] = url_of([one.port for one in relays])

    def restart_master(self) -> None:
        """Start the killed master again on its file, and let the replica in, whose user it has forgotten."""
        self.master.restart()
        with connect(self.master.url) as master, connect(self._replica.url) as replica:
            _let_in(master, replica)

    def fail_over(self) -> Loss | None:
        """Lose the master: the replica, which misses its last second, is promoted, and the old master comes back on its
        own file. None, and nothing is done, while there is no replica in step."""
        with connect(self.master.url) as master, connect(self._replica.url) as replica:
            if link(replica) != "up":
                return None
            lock_out(self._stage, master, replica)
        self._sentinels.set_patience(DOWN_AFTER_MS)
        loss = promote(
            self._stage, self.master, "", lambda: self._sentinels.wait_for_failover(FAILOVER_SECONDS), self._replica
        )  # fmt: skip
        self._sentinels.set_patience(PATIENT_MS)
        self.master, self._replica = self._replica, self.master
        self._stage.fault("the old master comes back")
        self._replica.restart()
        with connect(self.master.url) as master, connect(self._replica.url) as replica:
            _let_in(master, replica)
        return loss


def _let_in(master: redis.Redis, replica: redis.Redis) -> None:
    """Set up two servers that have just started: the one as the other's master."""
    give_own_user(master, replica)
    # Or what a replica was sent as a whole could not be cut anywhere (`cut_off`).
    for one in (master, replica):
        one.config_set("aof-use-rdb-preamble", "no")


def _as_text(port: int) -> bytes:
    """A port as it stands in a reply (RESP bulk string)."""
    text = str(port).encode()
    return b"$%d\r\n%s\r\n" % (len(text), text)


def cut(links: Sequence[Proxy]) -> None:
    """Cut every connection through these."""
    for one in links:
        one.cut_all()
