"""Connections to Redis Cluster that look up who serves their slot, and leave when it is served elsewhere.

A connection asks a node for CLUSTER SLOTS
when it opens, and closes when it is told that the slot is elsewhere (MOVED), on its way (ASK) or served by nobody
(CLUSTERDOWN): to its user that is a connection that broke, and the next one looks again. The server did not execute
such a command. ASK is not followed: a script with keys that do not exist yet can't run while a slot is on its way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import redis.asyncio.connection
import redis.connection
from redis.exceptions import AskError, AuthenticationError, AuthorizationError, ClusterDownError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from orderlane.cluster import Address, ClusterUrl, ServedSlots, all_nodes, served_slots

ELSEWHERE: Final = (AskError, ClusterDownError)
"""AskError is MovedError's base in redis-py, ClusterDownError that of MasterDownError."""
REFUSED_LOGIN: Final = (AuthenticationError, AuthorizationError)
UNREACHED: Final = (RedisConnectionError, RedisTimeoutError, OSError)


class SlotElsewhere(RedisConnectionError):
    """The server does not serve the slot, and did not execute the command: a new connection looks for its master."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"the slot is served elsewhere now, or by nobody; looking for its master: {error}")


class Nodes:
    """The nodes a cluster may be asked by; the one that is trusted most goes first."""

    def __init__(self, url: ClusterUrl) -> None:
        self._told = list(url.nodes)
        self._known = list(url.nodes)

    def in_turn(self) -> list[Address]:
        return list(self._known)

    def learn(self, answered: Address, nodes: Sequence[Address]) -> None:
        """A node answered and named these: ask it first, those of the URL in any case."""
        self._known = list(dict.fromkeys([answered, *self._told, *nodes]))

    def doubt(self) -> None:
        """What the first one said did not lead anywhere: ask another one first."""
        self._known = [*self._known[1:], self._known[0]]

    def unreached(self, error: Exception | None) -> RedisConnectionError:
        shown = ", ".join(f"{host}:{port}" for host, port in self._known)
        return RedisConnectionError(f"no node of the cluster answers ({shown}): {error}")


class Cluster:
    """What all connections to one cluster share. `slot` None is any node."""

    def __init__(self, url: ClusterUrl, options: dict[str, Any]) -> None:
        self.url = url
        self.nodes = Nodes(url)
        self.options = options
        self._login = {
            name: value
            for name, value in cast("dict[str, Any]", redis.connection.parse_url(url.first_url)).items()  # type: ignore[no-untyped-call]
            if name not in ("host", "port", "connection_class")
        }

    def served(self) -> list[ServedSlots]:
        """Who serves which slots, as the first node that answers says.

        Raises:
            redis.exceptions.ConnectionError: none answers, or the login is refused.
        """
        failure: Exception | None = None
        for address in self.nodes.in_turn():
            kind = redis.connection.SSLConnection if self.url.tls else redis.connection.Connection
            asking: Any = kind(host=address[0], port=address[1], **self._login, **self.options)
            try:
                asking.connect()
                asking.send_command("CLUSTER", "SLOTS")
                return self._heard(address, asking.read_response())
            except REFUSED_LOGIN:
                raise
            except UNREACHED as error:
                failure = error
            finally:
                asking.disconnect()
        raise self.nodes.unreached(failure)

    async def served_async(self) -> list[ServedSlots]:
        """The asyncio counterpart of `served`."""
        failure: Exception | None = None
        for address in self.nodes.in_turn():
            module = redis.asyncio.connection
            kind = module.SSLConnection if self.url.tls else module.Connection
            asking: Any = kind(host=address[0], port=address[1], **self._login, **self.options)
            try:
                await asking.connect()
                await asking.send_command("CLUSTER", "SLOTS")
                return self._heard(address, await asking.read_response())
            except REFUSED_LOGIN:
                raise
            except UNREACHED as error:
                failure = error
            finally:
                await asking.disconnect()
        raise self.nodes.unreached(failure)

    def master(self, served: Sequence[ServedSlots], slot: int | None) -> Address:
        """Who serves the slot.

        Raises:
            SlotElsewhere: nobody does.
        """
        for one in served:
            if slot is None or one.first <= slot <= one.last:
                return one.master
        self.nodes.doubt()
        raise SlotElsewhere(RedisConnectionError(f"no master serves slot {slot}"))

    def _heard(self, asked: Address, reply: Any) -> list[ServedSlots]:
        self.nodes.learn(asked, all_nodes(reply, asked))
        return served_slots(reply, asked)


class _SlotConnection:
    """Stands before a class of redis-py's connections: connects to the master of `slot`, wherever that is now."""

    def __init__(self, *, cluster: Cluster, slot: int | None, **options: Any) -> None:
        self._cluster = cluster
        self._slot = slot
        super().__init__(**options)

    def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        connection: Any = self
        if not connection.is_connected:
            connection.host, connection.port = self._cluster.master(self._cluster.served(), self._slot)
        parent: Any = super()
        try:
            parent.connect_check_health(*arguments, **options)
        except UNREACHED:
            self._cluster.nodes.doubt()
            raise

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        connection: Any = self
        parent: Any = super()
        try:
            return parent.read_response(*arguments, **options)
        except ELSEWHERE as error:
            self._cluster.nodes.doubt()
            connection.disconnect()
            raise SlotElsewhere(error) from error


class _AsyncSlotConnection:
    """The asyncio counterpart of `_SlotConnection`."""

    def __init__(self, *, cluster: Cluster, slot: int | None, **options: Any) -> None:
        self._cluster = cluster
        self._slot = slot
        super().__init__(**options)

    async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        connection: Any = self
        if not connection.is_connected:
            served = await self._cluster.served_async()
            connection.host, connection.port = self._cluster.master(served, self._slot)
        parent: Any = super()
        try:
            await parent.connect_check_health(*arguments, **options)
        except UNREACHED:
            self._cluster.nodes.doubt()
            raise

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        connection: Any = self
        parent: Any = super()
        try:
            return await parent.read_response(*arguments, **options)
        except ELSEWHERE as error:
            self._cluster.nodes.doubt()
            await connection.disconnect(nowait=True)
            raise SlotElsewhere(error) from error


class SlotConnection(_SlotConnection, redis.connection.Connection):
    """A TCP connection to the master of a slot."""


class SlotTLSConnection(_SlotConnection, redis.connection.SSLConnection):
    """A TLS connection to the master of a slot."""


class AsyncSlotConnection(_AsyncSlotConnection, redis.asyncio.connection.Connection):
    """A TCP connection to the master of a slot, for asyncio."""


class AsyncSlotTLSConnection(_AsyncSlotConnection, redis.asyncio.connection.SSLConnection):
    """A TLS connection to the master of a slot, for asyncio."""
