"""One connection out of a client's pool that a pipeline has for itself, made anew after it broke."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AskError, ClusterDownError, RedisError

from common.pipeline import Pipeline
from orderlane.connection import SOCKET_TIMEOUT_SECONDS


class OwnConnection:
    """Who uses it calls `open` when there is no pipeline yet, or none that is of use. It ends with the client."""

    def __init__(self, client: redis.asyncio.Redis, on_change: Callable[[], None]) -> None:
        """`on_change`: see `Pipeline`."""
        self.pipeline: Pipeline | None = None
        self._client = client
        self._on_change = on_change
        self._taken: AbstractConnection | None = None
        """What the pipeline took over; the client's pool counts it as in use."""
        self._leaving_server = False

    @property
    def taken(self) -> AbstractConnection | None:
        """redis-py's own connection under the pipeline."""
        return self._taken

    async def open(self) -> Pipeline:
        """Make the connection, in the place of one that broke.

        Raises:
            redis.exceptions.RedisError, OSError: it can't be made.
        """
        pool = self._client.connection_pool
        if self._taken is not None:
            taken, self._taken = self._taken, None
            with suppress(RedisError, OSError):
                await taken.disconnect(nowait=True)
            await pool.release(taken)
        if self._leaving_server:
            self._leaving_server = False
            with suppress(RedisError, OSError):
                await pool.disconnect(inuse_connections=False)
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        self._taken = connection
        timeout_seconds = connection.socket_timeout or SOCKET_TIMEOUT_SECONDS
        self.pipeline = Pipeline(connection, timeout_seconds, self._on_change)
        return self.pipeline

    def leave_server(self, reply: Exception, why: Exception) -> None:
        """The server gave this reply, so it is not the one to ask: cut, and have the next connection look anew.

        A master that was demoted keeps its connections; only a new one reaches its successor.
        """
        self._leaving_server = True
        _doubt_node(self._taken, reply)
        if self.pipeline is not None:
            self.pipeline.cut(why)


def _doubt_node(connection: Any, error: Exception) -> None:
    """In a cluster: whoever said that this node serves the slot is asked last now. What a connection of
    `orderlane/cluster_connections.py` does with such a reply when it reads it itself."""
    cluster = getattr(connection, "_cluster", None)
    if cluster is not None and isinstance(error, AskError | ClusterDownError):
        cluster.nodes.doubt()
