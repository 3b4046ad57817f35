"""Sentinels of our own, on loopback: real `redis-server --sentinel` processes that watch one master.

    with Sentinels(folder, master.port) as sentinels:
        client = connect(sentinels.url)

The harness sets them up for a failover within seconds: a pool that trades gives its master more time.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, Self

import redis
from redis.exceptions import RedisError

from common.die_with_parent import die_with_parent
from common.redis_server import find_redis_server, free_port

SERVICE: Final = "orderlane"
DOWN_AFTER_MS: Final = 1_000
"""How long the master is silent before a Sentinel takes it for down."""
FAILOVER_TIMEOUT_MS: Final = 5_000
"""Half of how long the Sentinels wait before they try again a failover that failed (a vote without a winner)."""
START_SECONDS: Final = 20.0
PORT_ATTEMPTS: Final = 5
POLL_SECONDS: Final = 0.05


def url_of(ports: Sequence[int]) -> str:
    """The address of the Redis whose master is known to whoever listens on these ports."""
    return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/{SERVICE}/0"


class SentinelFailed(RuntimeError):
    """The Sentinels did not start, or did not come to what was waited for; the message says which and where to look."""


class Sentinels:
    """`count` Sentinels that fail over by majority. Leaving the context ends them."""

    def __init__(self, folder: Path, master_port: int, *, count: int = 3) -> None:
        self.ports: list[int] = []
        self._folder = folder
        self._master_port = master_port
        self._count = count
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            for number in range(1, self._count + 1):
                self.ports.append(self._start(number))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End them."""
        self._exits.close()

    @property
    def url(self) -> str:
        """The address of the pool's Redis, whichever it is: `redis+sentinel://…`."""
        return url_of(self.ports)

    def wait_until_ready(self, replicas: int = 1) -> None:
        """Wait until each of them knows the others and the replicas: from then on they can fail over.

        Raises:
            SentinelFailed: they did not, in time.
        """
        others = self._count - 1
        self._wait(
            lambda: all(
                (one["num-other-sentinels"], one["num-slaves"]) == (others, replicas)
                for one in self._states()
            ),
            "know each other and the replicas",
        )

    def wait_for_failover(self, seconds: float) -> None:
        """Wait until all of them name another master than at the start, or than after the failover before.

        Raises:
            SentinelFailed: they did not, in time.
        """
        self._wait(
            lambda: {int(one["port"]) for one in self._states()}.isdisjoint({self._master_port}),
            "name another master",
            seconds,
        )
        self._master_port = int(self._states()[0]["port"])

    def set_patience(self, down_after_ms: int) -> None:
        """How long the master is silent, from now on, before they take it for down."""
        for port in self.ports:
            with redis.Redis("127.0.0.1", port, socket_timeout=2) as sentinel:
                sentinel.sentinel_set(SERVICE, "down-after-milliseconds", down_after_ms)

    def _start(self, number: int) -> int:
        for _ in range(PORT_ATTEMPTS):
            port = free_port()
            process = self._launch(number, port)
            with suppress(SentinelFailed):
                self._wait(lambda port=port: self._ask(port), "answer", process=process)  # type: ignore[misc]
                return port
        raise SentinelFailed(f"Sentinel {number} did not start; its log: {self._folder}")

    def _launch(self, number: int, port: int) -> subprocess.Popen[bytes]:
        file = self._folder / f"sentinel-{number}.conf"
        file.write_text(
            f"port {port}\nbind 127.0.0.1\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {self._master_port} {self._count // 2 + 1}\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {SERVICE} {FAILOVER_TIMEOUT_MS}\n"
        )
        with (self._folder / f"sentinel-{number}.log").open("ab") as log:
            process = subprocess.Popen(
                die_with_parent([str(find_redis_server()), str(file), "--sentinel"]),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._exits.callback(process.wait)
        self._exits.callback(process.kill)  # it keeps nothing that an orderly end would save
        return process

    def _states(self) -> Sequence[dict[str, Any]]:
        return [self._ask(port) for port in self.ports]

    def _ask(self, port: int) -> dict[str, Any]:
        with redis.Redis("127.0.0.1", port, socket_timeout=2, decode_responses=True) as sentinel:
            masters: Any = sentinel.sentinel_masters()
        state: dict[str, Any] = masters[SERVICE]
        return state

    def _wait(
        self,
        happened: Callable[[], object],
        what: str,
        seconds: float = START_SECONDS,
        process: subprocess.Popen[bytes] | None = None,
    ) -> None:
        deadline = time.monotonic() + seconds
        while True:
            with suppress(RedisError, KeyError):
                if happened():
                    return
            if time.monotonic() > deadline or (process is not None and process.poll() is not None):
                raise SentinelFailed(
                    f"the Sentinels did not {what} within {seconds:g} s; their logs: {self._folder}"
                )
            time.sleep(POLL_SECONDS)
