"""Many calls under way on one connection: each gets its own reply or none, on real sockets, a server that we play."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from redis.asyncio.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from common.pipeline import MAX_UNDER_WAY, Call, Pipeline

LONG_SECONDS = 30.0


class Server:
    """One connection's other end: what came, and what to say."""

    def __init__(self) -> None:
        self.got = b""
        self.writer: asyncio.StreamWriter | None = None
        self.closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        try:
            while data := await reader.read(65536):
                self.got += data
        except OSError:
            pass
        finally:
            self.closed.set()
            writer.close()

    def say(self, data: bytes) -> None:
        assert self.writer is not None
        self.writer.write(data)

    def cut(self) -> None:
        assert self.writer is not None
        self.writer.transport.abort()

    async def until_got(self, data: bytes) -> None:
        await until(lambda: self.got.endswith(data))


class Line:
    """A pipeline, its server, and what each call was answered."""

    def __init__(self, pipeline: Pipeline, server: Server) -> None:
        self.pipeline = pipeline
        self.server = server
        self.replies: dict[str, Any] = {}

    def send(self, *names: str) -> None:
        self.pipeline.send([Call(name.encode(), partial(self._note, name)) for name in names])

    def _note(self, name: str, reply: Any) -> None:
        assert name not in self.replies, "answered twice"
        self.replies[name] = reply

    async def until_answered(self, *names: str) -> None:
        await until(lambda: set(names) <= set(self.replies))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for is no event
            await asyncio.sleep(0.001)


@asynccontextmanager
async def line(
    timeout_seconds: float = LONG_SECONDS, changes: list[int] | None = None
) -> AsyncIterator[Line]:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()[:2]
    connection = Connection(host=host, port=port, protocol=2, driver_info=None)
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
        told = changes if changes is not None else []
        yield Line(Pipeline(connection, timeout_seconds, lambda: told.append(1)), server)
    finally:
        await connection.disconnect()
        listening.close()
        await listening.wait_closed()


async def test_batches_leave_without_waiting_for_each_other_and_are_answered_in_order() -> None:
    async with line() as one:
        one.send("a", "b")
        one.send("c")
        await one.server.until_got(b"abc")
        for byte in b":1\r\n$3\r\ntwo\r\n*2\r\n:3\r\n:4\r\n":
            one.server.say(bytes([byte]))
            await asyncio.sleep(0)
        await one.until_answered("c")
        assert one.replies == {"a": 1, "b": b"two", "c": [3, 4]}


async def test_an_error_of_the_server_is_the_reply_of_its_call_alone() -> None:
    async with line() as one:
        one.send("a", "b", "c")
        one.server.say(b"-NOSCRIPT none\r\n-ERR wrong\r\n:3\r\n")
        await one.until_answered("c")
        assert isinstance(one.replies["a"], NoScriptError)
        assert isinstance(one.replies["b"], ResponseError)
        assert one.replies["c"] == 3


async def test_a_message_that_nobody_asked_for_is_no_reply() -> None:
    async with line() as one:
        one.send("a")
        one.server.say(b">2\r\n+moving\r\n:5\r\n:1\r\n")
        await one.until_answered("a")
        assert one.replies == {"a": 1}


async def test_a_late_reply_ends_the_connection_and_goes_to_nobody() -> None:
    async with line(timeout_seconds=0.1) as one:
        one.send("a")
        one.server.say(b":1\r\n")
        await one.until_answered("a")
        one.send("b")
        one.send("c")
        await one.until_answered("b", "c")
        one.server.say(b":2\r\n:3\r\n")
        await one.server.closed.wait()
        assert one.replies["a"] == 1
        assert [type(one.replies[name]) for name in "bc"] == [RedisTimeoutError] * 2
        assert one.pipeline.room() == 0


async def test_a_call_is_given_its_whole_time_however_old_the_connection_is() -> None:
    async with line(timeout_seconds=0.3) as one:
        for name in "abcdef":
            one.send(name)
            await asyncio.sleep(0.1)
            one.server.say(b":1\r\n")
            await one.until_answered(name)
        assert list(one.replies.values()) == [1] * 6


async def test_a_connection_that_is_cut_loses_what_was_not_answered_and_nothing_else() -> None:
    changes: list[int] = []
    async with line(changes=changes) as one:
        one.send("a", "b", "c")
        one.server.say(b":1\r\n")
        await one.until_answered("a")
        assert changes == []
        one.server.cut()
        await one.until_answered("b", "c")
        assert one.replies["a"] == 1
        assert [type(one.replies[name]) for name in "bc"] == [RedisConnectionError] * 2
        assert changes == [1]


@pytest.mark.parametrize("said", [b":1\r\n:2\r\n", b":1\r\nrubbish\r\n"])
async def test_an_answer_to_no_question_and_what_is_no_answer_end_the_connection(said: bytes) -> None:
    async with line() as one:
        one.send("a")
        one.server.say(said)
        await one.server.closed.wait()
        assert one.replies == {"a": 1}
        assert isinstance(one.pipeline.lost, InvalidResponse)


async def test_what_is_under_way_is_bounded() -> None:
    async with line() as one:
        one.send(*(f"{number:03d}" for number in range(MAX_UNDER_WAY)))
        assert one.pipeline.room() == 0
        one.server.say(b":1\r\n" * 10)
        await one.until_answered("009")
        assert one.pipeline.room() == 10


async def test_a_server_that_does_not_read_gets_no_more_until_it_does() -> None:
    changes: list[int] = []
    async with line(changes=changes) as one:
        await until(lambda: one.server.writer is not None)
        assert one.server.writer is not None
        reading = one.server.writer.transport
        assert isinstance(reading, asyncio.Transport)
        reading.pause_reading()
        for number in range(100):
            if one.pipeline.room():
                one.send(f"{number}" + "x" * 1_000_000)
                await asyncio.sleep(0)
        assert one.pipeline.room() == 0
        reading.resume_reading()
        await until(lambda: changes == [1])
        assert one.pipeline.room() > 0
