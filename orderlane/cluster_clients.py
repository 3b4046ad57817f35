"""Clients of a Redis Cluster: redis-py's own, but every command goes to the master of its key's slot.

A pool uses one slot for each exchange, and one for its list of exchanges: for each in use there is a plain client.
A client may have a slot that is its home: a worker's exchange. Its `connection_pool` then is that slot's, and so are
commands without a key.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import redis
import redis.asyncio
import redis.asyncio.client
import redis.client
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from orderlane.closed_transports import mended
from orderlane.cluster import (
    Command,
    is_for_every_node,
    keys_of,
    one_slot_of_each_master,
    read_cluster_url,
    slot_of,
    slot_of_pattern,
    slots_of,
    split,
)
from orderlane.cluster_connections import (
    AsyncSlotConnection,
    AsyncSlotTLSConnection,
    Cluster,
    SlotConnection,
    SlotTLSConnection,
)

TURN_MS: Final = 100
"""How long a blocking read over streams of several slots waits at each of them in turn."""


def open_cluster(url: str, options: dict[str, Any], *, home: str = "", **own: Any) -> ClusterRedis:
    """A blocking client of a cluster.

    Args:
        url: see `read_cluster_url`.
        options: of every connection, as redis-py names them.
        home: a key whose slot is the client's own, or nothing.
        own: options of the connections to that slot alone.

    Raises:
        ValueError: the URL has another form.
    """
    cluster = Cluster(read_cluster_url(url), options)
    slot = slot_of(home) if home else None
    kind = SlotTLSConnection if cluster.url.tls else SlotConnection

    def plain(of: type[Any], slot: int | None, **own: Any) -> Any:
        return of.from_url(
            cluster.url.first_url, connection_class=kind, cluster=cluster, slot=slot,
            retry=Retry(NoBackoff(), 0), **options, **own,
        )  # fmt: skip

    client: ClusterRedis = plain(ClusterRedis, slot, **own)
    client.slot_map, client.plain = cluster, lambda slot: plain(redis.Redis, slot)
    client.by_slot = {slot: redis.Redis(connection_pool=client.connection_pool)}
    client.masters = []
    return client


def open_cluster_async(url: str, options: dict[str, Any], *, home: str = "", **own: Any) -> AsyncClusterRedis:
    """The asyncio counterpart of `open_cluster`."""
    cluster = Cluster(read_cluster_url(url), options)
    slot = slot_of(home) if home else None
    kind = AsyncSlotTLSConnection if cluster.url.tls else AsyncSlotConnection

    def plain(of: type[Any], slot: int | None, **own: Any) -> Any:
        return mended(of.from_url(
            cluster.url.first_url, connection_class=kind, cluster=cluster, slot=slot,
            retry=AsyncRetry(NoBackoff(), 0), **options, **own,
        ))  # fmt: skip

    client: AsyncClusterRedis = plain(AsyncClusterRedis, slot, **own)
    client.slot_map, client.plain = cluster, lambda slot: plain(redis.asyncio.Redis, slot)
    client.by_slot = {slot: redis.asyncio.Redis(connection_pool=client.connection_pool)}
    client.masters = []
    return client


class ClusterRedis(redis.Redis):
    """A blocking client; made by `open_cluster`. Threads may share it."""

    slot_map: Cluster
    plain: Callable[[int], Any]
    by_slot: dict[int | None, Any]
    masters: list[int]
    """One slot of each master, as of the beginning of the last SCAN over all of them."""

    def of(self, slot: int | None) -> Any:
        """The plain client of a slot; of None, that of the home slot or of any node."""
        if slot is None:
            return next(iter(self.by_slot.values()))
        return self.by_slot.get(slot) or self.by_slot.setdefault(slot, self.plain(slot))

    def execute_command(self, *command: Any, **options: Any) -> Any:
        if command[0] == "SCAN":
            return self._scan(command, options)
        slots = slots_of(command)
        if len(slots) > 1 and command[0] == "XREAD":
            return self._read_in_turn(command, options)
        if is_for_every_node(command):
            return [one.execute_command(*command, **options) for one in list(self.by_slot.values())][-1]
        return self.of(slots[0] if slots else None).execute_command(*command, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> ClusterPipeline:
        made = ClusterPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        made.owner = self
        return made

    def close(self) -> None:
        for one in self.by_slot.values():
            one.close()
        super().close()

    def _scan(self, command: Command, options: dict[str, Any]) -> Any:
        pattern = _pattern_in(command)
        slot = None if pattern is None else slot_of_pattern(pattern)
        if slot is not None:
            return self.of(slot).execute_command(*command, **options)
        cursor = int(command[1])
        if cursor == 0 or not self.masters:
            self.masters = one_slot_of_each_master(self.slot_map.served())
        inner, index = divmod(cursor, len(self.masters))
        after, found = self.of(self.masters[index]).execute_command("SCAN", inner, *command[2:], **options)
        return next_cursor(int(after), index, len(self.masters)), found

    def _read_in_turn(self, command: Command, options: dict[str, Any]) -> Any:
        """XREAD over streams of several slots: each slot's by itself, first without waiting, then in short turns."""
        parts = parts_of_xread(command)
        until = time.monotonic() + _block_ms(command) / 1000
        block_ms = 0
        while True:
            found: dict[bytes, Any] = {}
            for slot, part in parts.items():
                words = [*part[:1], *(["BLOCK", block_ms] if block_ms else []), *part[1:]]
                found |= self.of(slot).execute_command(*words, **options) or {}
            left_ms = int((until - time.monotonic()) * 1000)
            if found or left_ms <= 0:
                return found
            block_ms = max(1, min(TURN_MS, left_ms // len(parts)))


class AsyncClusterRedis(redis.asyncio.Redis):
    """The asyncio counterpart of `ClusterRedis`; made by `open_cluster_async`. One XREAD reads streams of one slot."""

    slot_map: Cluster
    plain: Callable[[int], Any]
    by_slot: dict[int | None, Any]
    masters: list[int]

    def of(self, slot: int | None) -> Any:
        """The plain client of a slot; of None, that of the home slot or of any node."""
        if slot is None:
            return next(iter(self.by_slot.values()))
        return self.by_slot.get(slot) or self.by_slot.setdefault(slot, self.plain(slot))

    async def execute_command(self, *command: Any, **options: Any) -> Any:
        if command[0] == "SCAN":
            return await self._scan(command, options)
        slots = slots_of(command)
        if len(slots) > 1:
            raise ValueError(f"the keys of one {command[0]} lie in several slots of the cluster")
        if is_for_every_node(command):
            return [await one.execute_command(*command, **options) for one in list(self.by_slot.values())][-1]
        return await self.of(slots[0] if slots else None).execute_command(*command, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> AsyncClusterPipeline:
        made = AsyncClusterPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        made.owner = self
        return made

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        for one in self.by_slot.values():
            await one.aclose(close_connection_pool)
        await super().aclose(close_connection_pool)

    async def _scan(self, command: Command, options: dict[str, Any]) -> Any:
        pattern = _pattern_in(command)
        slot = None if pattern is None else slot_of_pattern(pattern)
        if slot is not None:
            return await self.of(slot).execute_command(*command, **options)
        cursor = int(command[1])
        if cursor == 0 or not self.masters:
            self.masters = one_slot_of_each_master(await self.slot_map.served_async())
        inner, index = divmod(cursor, len(self.masters))
        one = self.of(self.masters[index])
        after, found = await one.execute_command("SCAN", inner, *command[2:], **options)
        return next_cursor(int(after), index, len(self.masters)), found


class ClusterPipeline(redis.client.Pipeline):
    """A pipeline whose commands go out slot by slot; the replies come in the order of the commands."""

    owner: ClusterRedis

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """See redis-py. A connection that breaks at one slot is raised: the other slots' commands may have run."""
        stack: list[Any] = list(self.command_stack)
        replies: list[Any] = [None] * len(stack)
        whole = bool(self.transaction)
        self.reset()
        for slot, places in parts_of_pipeline(stack, one_only=whole).items():
            with self.owner.of(slot).pipeline(transaction=whole) as part:
                for place in places:
                    part.execute_command(*stack[place][0], **stack[place][1])
                for place, reply in zip(places, part.execute(raise_on_error=False), strict=True):
                    replies[place] = reply
        return checked(replies, raise_on_error)


class AsyncClusterPipeline(redis.asyncio.client.Pipeline):
    """The asyncio counterpart of `ClusterPipeline`."""

    owner: AsyncClusterRedis

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """See redis-py. A connection that breaks at one slot is raised: the other slots' commands may have run."""
        stack: list[Any] = list(self.command_stack)
        replies: list[Any] = [None] * len(stack)
        await self.reset()  # type: ignore[no-untyped-call]
        for slot, places in parts_of_pipeline(stack, one_only=self.is_transaction).items():
            async with self.owner.of(slot).pipeline(transaction=self.is_transaction) as part:
                for place in places:
                    part.execute_command(*stack[place][0], **stack[place][1])
                answers = await part.execute(raise_on_error=False)
                for place, reply in zip(places, answers, strict=True):
                    replies[place] = reply
        return checked(replies, raise_on_error)


def next_cursor(after: int, index: int, masters: int) -> int:
    """The cursor of a SCAN over several masters: which of them, and where there; 0 when the last one has ended."""
    if after:
        return after * masters + index
    return (index + 1) % masters


def parts_of_xread(command: Command) -> dict[int, list[Any]]:
    """An XREAD over several slots as one for each, without its BLOCK."""
    keys = list(keys_of(command))
    ids = command[len(command) - len(keys) :]
    head = list(command[: len(command) - 2 * len(keys) - 1])
    for at, word in enumerate(head):
        if word in (b"BLOCK", "BLOCK"):
            del head[at : at + 2]
            break
    parts: dict[int, list[tuple[Any, Any]]] = {}
    for key, entry in zip(keys, ids, strict=True):
        parts.setdefault(slot_of(key), []).append((key, entry))
    return {
        slot: [*head, "STREAMS", *(key for key, _ in some), *(entry for _, entry in some)]
        for slot, some in parts.items()
    }


def parts_of_pipeline(stack: list[Any], *, one_only: bool) -> dict[int | None, list[int]]:
    """The places of a pipeline's commands by slot.

    Raises:
        ValueError: a transaction over several slots, which no cluster has.
    """
    places = split([command for command, _ in stack]) if stack else {}
    if one_only and len(places) > 1:
        raise ValueError(
            "a transaction can't span several slots of a cluster: use pipeline(transaction=False)"
        )
    return places


def checked(replies: list[Any], raise_on_error: bool) -> list[Any]:
    """The replies of a pipeline; the first error among them is raised where that was asked for."""
    for reply in replies if raise_on_error else ():
        if isinstance(reply, Exception):
            raise reply
    return replies


def _pattern_in(command: Command) -> Any:
    words = list(command)
    return next((words[at + 1] for at, word in enumerate(words) if word in (b"MATCH", "MATCH")), None)


def _block_ms(command: Command) -> int:
    words = list(command)
    return next((int(words[at + 1]) for at, word in enumerate(words) if word in (b"BLOCK", "BLOCK")), 0)
