"""The HTTP process: reads requests, lets faults strike, answers once what it did is on file."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from workers.paper import wire
from workers.paper.calls import Call, Reply, parse_parameters
from workers.paper.control import Control
from workers.paper.dispatch import answer, match_everything, product_of
from workers.paper.exchange import Exchange
from workers.paper.faults import Faults, marked
from workers.paper.limits import Limits
from workers.paper.store import Store
from workers.paper.streams import Streams

log = logging.getLogger("workers.paper")
STOP_SECONDS = 1.0


def growing_clock() -> Callable[[], int]:
    """Epoch microseconds that never stand still: two requests never share an arrival time."""
    last = 0

    def now_us() -> int:
        nonlocal last
        last = max(last + 1, time.time_ns() // 1000)
        return last

    return now_us


def is_loopback(address: str) -> bool:
    """Whether an IP address (or ``localhost``) is this machine's own."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


class PaperServer:
    """The request handler of the paper exchange."""

    def __init__(
        self, exchange: Exchange, limits: Callable[[], Limits], faults: Faults, store: Store
    ) -> None:
        self._exchange = exchange
        self._new_limits = limits
        self._limits = limits()
        self._faults = faults
        self._store = store
        self.streams = Streams(exchange, faults)
        self._control = Control(exchange, faults, self.streams)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        path, _, query = request.raw_path.partition("?")
        body = await request.read()
        if path.startswith("/paper/"):
            return await self._steer(request, path, query, body)
        text = body.decode("utf-8", "replace") if body else ""
        key = request.headers.get("X-MBX-APIKEY", "")
        known = self._exchange.by_key.get(key)
        call = Call(
            method=request.method,
            path=path,
            query=query,
            body=text,
            key=key,
            address=request.remote or "",
            at_us=0,
            params=parse_parameters(query, text),
            account=known.name if known else "",
        )
        if self._faults:
            return await self._answer_with_faults(request, call)
        return await self._answer(request, call)

    async def _answer_with_faults(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        symbol = call.params.get("symbol", "")
        rule = self._faults.choose(f"{call.method} {call.path}", product_of(call.path), call.account, symbol)
        if rule is None:
            return await self._answer(request, call)
        instead = await wire.before(request, rule)
        if instead is not None:
            return instead
        if self.streams.serves(call.path):
            return await self._answer(request, call)
        marked(call, rule)
        return await wire.after(request, rule, await self.carry_out(call))

    async def _answer(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        if self.streams.serves(call.path):
            return await self.streams.serve(request, call.path, call.query, self._limits)
        return wire.true_reply(await self.carry_out(call))

    async def carry_out(self, call: Call) -> Reply:
        """The exchange receives the call now, and its answer may leave once it is on file."""
        call.at_us = self._exchange.now_us()
        reply = answer(self._exchange, self._limits, call)
        await self._store.committed()
        return reply

    async def _steer(
        self, request: web.BaseRequest, path: str, query: str, body: bytes
    ) -> web.StreamResponse:
        if not is_loopback(request.remote or ""):
            return web.Response(status=403, text="/paper/ answers on loopback only")
        reply = self._control.answer(request.method, path, parse_parameters(query, ""), body)
        if path == "/paper/reset":
            self._limits = self._new_limits()
        await self._store.committed()
        return wire.true_reply(reply)


async def walk(exchange: Exchange, step_ms: int) -> None:
    """Move the prices and match, every ``step_ms``, for ever."""
    while True:
        await asyncio.sleep(step_ms / 1000)
        exchange.step_prices()
        match_everything(exchange)


async def serve(
    server: PaperServer,
    faults: Faults,
    host: str,
    port: int,
    ready: Callable[[int], None],
    until: Callable[[], Awaitable[None]],
) -> None:
    """Listen until ``until`` returns. ``ready`` is told the bound port."""
    handlers = wire.ResettingServer(server.handle, faults, access_log=None)
    runner = web.ServerRunner(handlers, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=1024)
        await site.start()
        ready(runner.addresses[0][1])
        await until()
    finally:
        await runner.cleanup()
