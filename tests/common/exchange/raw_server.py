"""A TCP server that answers each HTTP request with the very bytes it was told, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from msgspec import Struct

from common.exchange.http_request import Origin

PATIENCE_SECONDS = 20
"""Until a test that waits for what never comes fails."""


class Say(Struct, frozen=True):
    """What follows a request: these bytes, after `when` was set; then the connection's end, if `close`."""

    data: bytes = b""
    close: bool = False
    when: asyncio.Event | None = None


def reply(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A reply with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class RawServer:
    """`script` is used up request by request, whatever the connection; past its end every request is echoed."""

    def __init__(self) -> None:
        self.script: list[Say] = []
        self.asked: list[tuple[int, bytes]] = []
        """Connection number, and the request whole."""
        self.ended: set[int] = set()
        self.origin = Origin(False, "127.0.0.1", 0)
        self.writers: list[asyncio.StreamWriter] = []

    def connections(self) -> list[int]:
        return [number for number, _ in self.asked]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.writers)
        self.writers.append(writer)
        try:
            while True:
                request = await _request(reader)
                self.asked.append((number, request))
                say = self.script.pop(0) if self.script else Say(reply(request.split(b" ", 2)[1]))
                if say.when is not None:
                    await say.when.wait()
                writer.write(say.data)
                await writer.drain()
                if say.close:
                    return
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            self.ended.add(number)
            writer.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once something has come about.

        Raises:
            TimeoutError: it doesn't.
        """
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110 - any condition
                await asyncio.sleep(0.001)

    async def until_asked(self, count: int) -> None:
        """Return once this many requests have arrived."""
        await self.until(lambda: len(self.asked) >= count)

    async def until_ended(self, number: int) -> None:
        """Return once the connection is over."""
        await self.until(lambda: number in self.ended)


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    _, found, rest = head.lower().partition(b"content-length:")
    return head + (await reader.readexactly(int(rest.split(b"\r\n")[0])) if found else b"")


@asynccontextmanager
async def running_raw(tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """A server on a free port of loopback."""
    raw = RawServer()
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0, ssl=tls)
    raw.origin = Origin(tls is not None, "127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield raw
    finally:
        server.close()
        for writer in raw.writers:
            writer.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)
