"""A TCP proxy that passes bytes on, or does to them what networks do: late, half, cut at any byte, not at all.

It knows nothing of what it carries. What it does is drawn, chunk by chunk, from a seed and the number of the
connection.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final, Self

from msgspec import Struct

from scripts.harness.chaos.judging import Fault

READ_BYTES: Final = 65_536
LINGER_NOT: Final = struct.pack("ii", 1, 0)


class Mood(Struct, frozen=True, kw_only=True):
    """What happens to traffic now; shares are of chunks read from one side.

    `refuse`: a connection is reset as soon as it is made. `deaf`: it is accepted and never read (half-open).
    `drop_reply`: the server got the request; the connection is cut instead of passing on its answer.
    `cut_reply`, `cut_request`: it is cut after some of the bytes. `swallow_reply`: the answer is lost and the
    connection stays, silent for good (half-open). `delay_ms`: at most so late.
    """

    refuse: bool = False
    deaf: bool = False
    drop_reply: float = 0.0
    cut_reply: float = 0.0
    cut_request: float = 0.0
    swallow_reply: float = 0.0
    delay_ms: int = 0


CALM: Final = Mood()
NOTHING_ELSE: Final[Mapping[bytes, bytes]] = MappingProxyType({})


class Proxy:
    """Forwards connections on 127.0.0.1 to a port of the same machine. `mood` may be set at any time.

    `tls`: speaks TLS with its clients and plain TCP with the server. `says_instead`: what replies say in the place of
    what the server said, as many bytes.
    """

    def __init__(
        self,
        name: str,
        server_port: int,
        seed: int,
        *,
        tls: ssl.SSLContext | None = None,
        says_instead: Mapping[bytes, bytes] = NOTHING_ELSE,
    ) -> None:
        self.name = name
        self.mood = CALM
        self.faults: list[Fault] = []
        self._server_port = server_port
        self._seed = seed
        self._tls = tls
        self._says_instead = says_instead
        self._connections = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut everything and stop listening."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)

    def switch(self, server_port: int) -> None:
        """From now on the server is another one; every connection to the old one is cut."""
        self._server_port = server_port
        self.cut_all()

    def cut_all(self) -> None:
        """Cut every connection there is."""
        self._strike(f"cut {len(self._open)} connections")
        self._loop.call_soon_threadsafe(self._cut_open)

    def _cut_open(self) -> None:
        for writer in list(self._open):
            _reset(writer)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, sock=self._listener, ssl=self._tls)
        )
        try:
            self._loop.run_forever()
        finally:
            server.close()
            self._cut_open()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        chance = random.Random(f"{self._seed}/{self.name}/{self._connections}")
        self._open.add(writer)
        outward: asyncio.StreamWriter | None = None
        try:
            if self.mood.refuse:
                self._strike("refused a connection")
                return
            while self.mood.deaf:  # noqa: ASYNC110 - the mood is set by another thread
                await asyncio.sleep(0.05)
            inward, outward = await asyncio.open_connection("127.0.0.1", self._server_port)
            self._open.add(outward)
            pumps = {
                asyncio.create_task(self._pass_requests(reader, outward, chance)),
                asyncio.create_task(self._pass_replies(inward, writer, chance)),
            }
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        except (OSError, asyncio.CancelledError):  # the proxy closes: who serves has nothing to do after that
            pass
        finally:
            for one in (writer, outward):
                if one is not None:
                    self._open.discard(one)
                    _reset(one)

    async def _pass_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chance: random.Random
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(READ_BYTES):
                mood = self.mood
                await _late(mood, chance)
                if mood.cut_request and chance.random() < mood.cut_request:
                    kept = chance.randrange(len(chunk))
                    self._strike(f"cut a request after {kept} of {len(chunk)} bytes")
                    writer.write(chunk[:kept])
                    await writer.drain()
                    return
                writer.write(chunk)
                await writer.drain()

    async def _pass_replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chance: random.Random
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(READ_BYTES):
                mood = self.mood
                for said, instead in self._says_instead.items():
                    chunk = chunk.replace(said, instead)
                await _late(mood, chance)
                draw = chance.random()
                if draw < mood.drop_reply:
                    self._strike(f"dropped a reply of {len(chunk)} bytes")
                    return
                draw -= mood.drop_reply
                if draw < mood.cut_reply:
                    kept = chance.randrange(len(chunk))
                    self._strike(f"cut a reply after {kept} of {len(chunk)} bytes")
                    writer.write(chunk[:kept])
                    await writer.drain()
                    return
                draw -= mood.cut_reply
                if draw < mood.swallow_reply:
                    self._strike(f"swallowed a reply of {len(chunk)} bytes; the connection stays open")
                    while await reader.read(READ_BYTES):
                        continue
                    return
                writer.write(chunk)
                await writer.drain()

    def _strike(self, what: str) -> None:
        self.faults.append(Fault(time.time_ns() // 1_000_000, f"{self.name}: {what}"))


async def _late(mood: Mood, chance: random.Random) -> None:
    if mood.delay_ms:
        await asyncio.sleep(chance.random() * mood.delay_ms / 1000)


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, ValueError, RuntimeError):
        connection = writer.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        writer.transport.abort()
