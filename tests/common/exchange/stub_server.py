"""A tiny HTTP server that stands for a venue: it answers as told, or fails as told, and remembers what it saw."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from msgspec import Struct


class Seen(Struct, frozen=True):
    """One request: `params` are its query and its body (form or JSON) together, every value as text."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    connection: int


class Answer(Struct, frozen=True):
    """What to answer. `body` that is no text is written as JSON.

    `fault`: close (end the connection without an answer), reset (the same by RST), cut (promise more than comes).
    """

    body: Any = None
    status: int = 200
    headers: dict[str, str] = {}
    fault: str = ""

    def payload(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


class Stub:
    """Answers by method and path: the answers given for a route one after the other, the last one for ever."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.port = 0
        self.server = web.Server(self.handle)
        self._answers: dict[str, list[Answer]] = {}
        self._connections: list[Any] = []
        self._release = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, route: str, *answers: Answer) -> None:
        """Set what `METHOD /path`, or `METHOD /path?name=value` before it, is answered from now on."""
        self._answers[route] = list(answers)

    def paths(self) -> list[str]:
        return [f"{seen.method} {seen.path}" for seen in self.seen]

    async def until_connected(self, connections: int) -> None:
        """Wait until so many connections are open, whether or not anything was sent on them."""
        async with asyncio.timeout(10):
            while len(self.server.connections) != connections:  # noqa: ASYNC110 - aiohttp tells nobody
                await asyncio.sleep(0.01)

    def release(self) -> None:
        """Let those that hang go."""
        self._release.set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.text()
        self.seen.append(self._seen(request, body))
        answers = self._answers_for(request)
        if not answers:
            return web.Response(status=404, text=f"no answer is set for {request.method} {request.path}")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer.fault == "hang":
            await self._release.wait()
        if answer.fault in ("close", "reset", "hang"):
            return self._drop(request, reset=answer.fault == "reset")
        headers = {"Content-Type": "application/json", **answer.headers}
        payload = answer.payload()
        if answer.fault == "cut":
            response = web.StreamResponse(
                status=answer.status, headers={**headers, "Content-Length": str(len(payload))}
            )
            await response.prepare(request)
            await response.write(payload[: len(payload) // 2])
            return self._drop(request, reset=False)
        return web.Response(status=answer.status, body=payload, headers=headers)

    def _answers_for(self, request: web.BaseRequest) -> list[Answer] | None:
        route = f"{request.method} {request.path}"
        asked = {f"{route}?{name}={value}" for name, value in request.query.items()}
        for key, answers in self._answers.items():
            if key in asked:
                return answers
        return self._answers.get(route)

    def _seen(self, request: web.BaseRequest, body: str) -> Seen:
        if request.transport not in self._connections:
            self._connections.append(request.transport)
        params = dict(parse_qsl(request.query_string, keep_blank_values=True))
        if body.startswith("{"):
            params |= {
                name: value if isinstance(value, str) else json.dumps(value)
                for name, value in json.loads(body).items()
            }
        elif body.startswith("["):
            params["[]"] = body
        else:
            params |= dict(parse_qsl(body, keep_blank_values=True))
        headers = {name.lower(): value for name, value in request.headers.items()}
        return Seen(request.method, request.path, params, headers, self._connections.index(request.transport))

    def _drop(self, request: web.BaseRequest, reset: bool) -> web.Response:
        transport = request.transport
        if transport is not None:
            if reset:
                connection = transport.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                transport.abort()
            else:
                transport.close()
        return web.Response()


@asynccontextmanager
async def running_stub() -> AsyncIterator[Stub]:
    """A stub that listens on a free port of the loopback."""
    stub = Stub()
    runner = web.ServerRunner(stub.server, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stub.port = runner.addresses[0][1]
    try:
        yield stub
    finally:
        stub.release()
        await runner.cleanup()
