"""A proxy between worker and exchange that delays, repeats and reorders what a user stream tells.

Requests and their answers pass as they are, and so do answers that come over a websocket: they are part of opening a
stream. Nothing is lost here: that is what `cut_stream` of the paper exchange is for.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web
from yarl import URL

DELAYED: Final = 0.3
REPEATED: Final = 0.3
HELD_SECONDS: Final = (0.05, 0.8)
"""How much later a message comes that is delayed, or comes again: others overtake it."""
PASSED_ON: Final = ("content-type", "x-mbx-apikey")


class Meddling:
    """What the proxy does; `meddled` counts the messages that were delayed and repeated."""

    def __init__(self, upstream: str, seed: int) -> None:
        self._upstream = upstream
        self._chance = random.Random(seed)
        self._late: set[asyncio.Task[None]] = set()
        self.meddled: Counter[str] = Counter()
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Pass one request on, or a websocket for as long as it lasts."""
        async with ClientSession(auto_decompress=False) as session:
            target = URL(self._upstream + request.raw_path, encoded=True)
            if request.headers.get("Upgrade", "").lower() == "websocket":
                async with session.ws_connect(target) as exchange:
                    return await self._relay(request, exchange)
            headers = {name: value for name, value in request.headers.items() if name.lower() in PASSED_ON}
            body = await request.read()
            async with session.request(request.method, target, data=body, headers=headers) as answer:
                kept = {
                    name: value
                    for name, value in answer.headers.items()
                    if name.lower().startswith(("x-", "retry"))
                }
                return web.Response(
                    status=answer.status, body=await answer.read(), headers=kept,
                    content_type=answer.content_type,
                )  # fmt: skip

    async def _relay(self, request: web.Request, exchange: ClientWebSocketResponse) -> web.WebSocketResponse:
        worker = web.WebSocketResponse()
        await worker.prepare(request)

        async def up() -> None:
            async for message in worker:
                if message.type is WSMsgType.TEXT:
                    await exchange.send_str(message.data)

        async def down() -> None:
            async for message in exchange:
                if message.type is WSMsgType.TEXT:
                    await self._tell(message.data, worker.send_str)

        ways = [asyncio.create_task(up()), asyncio.create_task(down())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await worker.close()
        return worker

    async def _tell(self, text: str, send: Callable[[str], Awaitable[None]]) -> None:
        """Send a message: now, later, or both."""
        if "id" in json.loads(text):  # the answer to a request
            await send(text)
            return
        chance = self._chance.random()
        if chance >= DELAYED:
            await send(text)
        if chance < DELAYED + REPEATED:
            self.meddled["delayed" if chance < DELAYED else "repeated"] += 1
            task = asyncio.create_task(_later(self._chance.uniform(*HELD_SECONDS), text, send))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def close(self) -> None:
        """Forget what was still to be sent."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)


async def _later(seconds: float, text: str, send: Callable[[str], Awaitable[None]]) -> None:
    await asyncio.sleep(seconds)
    await send(text)


@asynccontextmanager
async def meddling(upstream: str, seed: int) -> AsyncIterator[Meddling]:
    """A proxy before this exchange, until the block ends."""
    proxy = Meddling(upstream, seed)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", proxy.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield proxy
    finally:
        await proxy.close()
        await runner.cleanup()
