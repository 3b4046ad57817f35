"""Sleeping until a stream moves: XREAD BLOCK on a connection of its own.

It consumes nothing, so a lost reply or a timeout is harmless. redis-py's own way costs a worker a fifth of its time
where every intent wakes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import redis.asyncio
from hiredis import pack_command
from redis.exceptions import RedisError

from common.own_connection import OwnConnection
from common.pipeline import Call


class Bell:
    """One sleeper's connection to its streams, out of the client's pool.

    The client's socket timeout is how long a read may take, its `home` (in a cluster) the slot of the streams.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._own = OwnConnection(client, on_change=_nothing)

    async def wait(self, seen: Mapping[str, str], block_ms: int) -> None:
        """Sleep until one of the streams has an entry after the id given with it, or for `block_ms`.

        Raises:
            redis.exceptions.RedisError, OSError: Redis gave no answer, or refused; nothing was slept for.
        """
        pipeline = self._own.pipeline
        if pipeline is None or pipeline.lost is not None:
            pipeline = await self._own.open()
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        words = ("XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", *seen, *seen.values())
        packed: bytes = pack_command(words)  # type: ignore[arg-type]  # its type says one word, it takes any number

        def on_reply(reply: Any) -> None:
            if not answered.done():
                answered.set_result(reply)

        pipeline.send([Call(packed, on_reply)])
        try:
            reply = await answered
        except asyncio.CancelledError:
            pipeline.cut(RedisError("nobody sleeps any more"))  # or the next one would wait behind this read
            raise
        if isinstance(reply, Exception):
            if pipeline.lost is None:
                self._own.leave_server(reply, reply)
            raise reply

    async def aclose(self) -> None:
        """Close the client."""
        with suppress(RedisError, OSError):
            await self._client.aclose()


def _nothing() -> None:
    """There is room again: who sleeps has nothing else to send."""
