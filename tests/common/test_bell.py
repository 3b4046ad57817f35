"""Sleeping until a stream moves, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import redis
from redis.exceptions import RedisError, ResponseError

from common.bell import Bell
from orderlane.connection import connect, connect_async

LONG_MS = 60_000


@asynccontextmanager
async def bell_on(url: str) -> AsyncIterator[tuple[Bell, redis.Redis]]:
    """A bell that gives a read 90 s, and a client to ring it by."""
    bell = Bell(connect_async(url, socket_timeout_seconds=90))
    with connect(url) as admin:
        yield bell, admin
        await bell.aclose()


async def asleep(admin: redis.Redis, sleepers: int = 1) -> None:
    """Wait until so many clients sleep in a blocking read."""
    async with asyncio.timeout(10):
        while admin.info("clients")["blocked_clients"] != sleepers:  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.005)


async def test_it_wakes_when_either_stream_moves(redis_url: str) -> None:
    async with bell_on(redis_url) as (bell, admin):
        for stream in ("one", "two"):
            sleeping = asyncio.create_task(bell.wait({"one": "0-0", "two": "0-0"}, LONG_MS))
            await asleep(admin)
            admin.xadd(stream, {"a": "b"})
            await asyncio.wait_for(sleeping, 10)
            admin.delete(stream)


async def test_what_came_before_it_lay_down_wakes_it_at_once(redis_url: str) -> None:
    async with bell_on(redis_url) as (bell, admin):
        first: Any = admin.xadd("one", {"a": "b"})
        await asyncio.wait_for(bell.wait({"one": "0-0"}, LONG_MS), 10)
        admin.xadd("one", {"a": "c"})
        await asyncio.wait_for(bell.wait({"one": first.decode()}, LONG_MS), 10)


async def test_it_wakes_when_its_time_is_over(redis_url: str) -> None:
    async with bell_on(redis_url) as (bell, _):
        await asyncio.wait_for(bell.wait({"one": "0-0"}, 20), 10)


async def test_a_sleeper_that_is_cancelled_leaves_no_read_behind(redis_url: str) -> None:
    async with bell_on(redis_url) as (bell, admin):
        sleeping = asyncio.create_task(bell.wait({"one": "0-0"}, LONG_MS))
        await asleep(admin)
        sleeping.cancel()
        with suppress(asyncio.CancelledError):
            await sleeping
        await asleep(admin, 0)
        await asyncio.wait_for(bell.wait({"one": "0-0"}, 20), 10)


async def test_a_connection_that_breaks_is_told_and_made_anew(redis_url: str) -> None:
    async with bell_on(redis_url) as (bell, admin):
        sleeping = asyncio.create_task(bell.wait({"one": "0-0"}, LONG_MS))
        await asleep(admin)
        [sleeper] = [one["id"] for one in admin.client_list() if one["cmd"] == "xread"]
        admin.client_kill_filter(_id=sleeper)
        with pytest.raises((RedisError, OSError)):
            await asyncio.wait_for(sleeping, 10)
        admin.xadd("one", {"a": "b"})
        await asyncio.wait_for(bell.wait({"one": "0-0"}, LONG_MS), 10)


async def test_a_read_that_is_refused_is_told(redis_url: str) -> None:
    async with bell_on(redis_url) as (bell, admin):
        admin.set("one", "no stream")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await asyncio.wait_for(bell.wait({"one": "0-0"}, LONG_MS), 10)
        admin.delete("one")
        await asyncio.wait_for(bell.wait({"one": "0-0"}, 20), 10)
