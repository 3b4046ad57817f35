"""A reverse proxy before the exchange that damages its replies: one field of one reply at a time, in turn."""

from __future__ import annotations

import asyncio
import copy
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, Self

import msgspec
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web

from scripts.harness.chaos.judging import Fault
from scripts.harness.chaos.stage import Stage

ABSENT: Final = object()
DAMAGES: Final[dict[str, Any]] = {
    "missing": ABSENT,
    "null": None,
    "a list": [],
    "an object": {},
    "true": True,
    "a text": "zz",
    "empty": "",
    "huge": "9" * 5_000,
    "negative": -1,
}
SHARE: Final = 0.5
"""Of the replies that are damaged: the pool must find the truth in the others."""
UNTOUCHED: Final = ("/time", "/exchangeInfo", "/ticker/price")
"""The clock and the market rules are the ground everything stands on; they are not damaged here."""
Path = tuple[str | int, ...]


class ReplyFuzzer:
    """Forwards HTTP to the paper exchange; while `active`, damages what comes back."""

    def __init__(self, stage: Stage) -> None:
        self.active = False
        self.struck: set[tuple[str, str, str]] = set()
        """Kind of reply, field, damage."""
        self.fields: set[tuple[str, str]] = set()
        self.routes: set[str] = set()
        self._stage = stage
        self._used: Counter[tuple[str, str, str]] = Counter()
        self._chance = random.Random(f"{stage.options.seed}/replies")
        self._target = stage.pool.paper_url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._open())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._close())
        self._loop.close()

    async def _open(self) -> None:
        self._session = ClientSession(
            connector=TCPConnector(limit=0), cookie_jar=DummyCookieJar(), timeout=ClientTimeout(total=20)
        )
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in ("host", "connection")
        }
        async with self._session.request(
            request.method, self._target + request.raw_path, data=body or None, headers=headers
        ) as reply:
            content = await reply.read()
            path = request.path
            if self.active and not path.endswith(UNTOUCHED) and self._chance.random() < SHARE:
                content = self._damaged(f"{request.method} {path} {reply.status}", content)
            kept = {name: value for name, value in reply.headers.items() if name.lower().startswith("x-mbx")}
            return web.Response(
                status=reply.status, body=content, headers={"Content-Type": "application/json", **kept}
            )

    def _damaged(self, route: str, content: bytes) -> bytes:
        """The reply with the field damaged that was damaged in this way least often so far."""
        try:
            decoded = msgspec.json.decode(content)
        except msgspec.DecodeError:
            return content
        choices = [(path, name) for path in _paths(decoded) for name in DAMAGES]
        if not choices:
            return content
        self.routes.add(route)
        self.fields |= {(route, _shown(path)) for path, _ in choices}
        path, name = min(
            choices, key=lambda one: (self._used[route, _shown(one[0]), one[1]], self._chance.random())
        )
        key = (route, _shown(path), name)
        self._used[key] += 1
        self.struck.add(key)
        self._stage.faults.append(Fault(time.time_ns() // 1_000_000, f"{route}: {key[1]} is {name}"))
        return msgspec.json.encode(_put(decoded, path, DAMAGES[name]))


def _paths(value: Any, before: Path = ()) -> Iterator[Path]:
    """Where every field of a reply is; of a list, its first element stands for all."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*before, name)
            yield from _paths(inner, (*before, name))
    elif isinstance(value, list) and value:
        yield (*before, 0)
        yield from _paths(value[0], (*before, 0))


def _shown(path: Path) -> str:
    return ".".join(map(str, path))


def _put(value: Any, path: Path, damage: Any) -> Any:
    changed = copy.deepcopy(value)
    here = changed
    for part in path[:-1]:
        here = here[part]
    if damage is ABSENT:
        del here[path[-1]]
    else:
        here[path[-1]] = damage
    return changed
