"""A connection that broke a moment ago is a lost connection to whoever writes to it, on every event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis.exceptions
import uvloop

from orderlane.connection import connect_async


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_writing_to_a_connection_that_is_gone_says_so_as_redis_does(
    redis_url: str, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def write() -> None:
        client = connect_async(redis_url)
        connection: Any = await client.connection_pool.get_connection()  # type: ignore[no-untyped-call]
        connection._writer.transport.abort()
        await asyncio.sleep(0.01)

        async def ask() -> None:
            await connection.send_command("PING")
            await connection.read_response()

        with pytest.raises(redis.exceptions.ConnectionError):
            await ask()
        await client.connection_pool.release(connection)
        assert await client.ping()
        await client.aclose()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(write())
