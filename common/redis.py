"""Redis as the pool's processes use it: connections that notice a changed server, and scripts sent in batches.

Many lanes call scripts at the same moment. Each awaited through redis-py costs some 130 us of CPU; written together on
one connection that is ours alone (`common/pipeline.py`), under 10.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import redis.asyncio
from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AskError,
    ClusterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from common.pipeline import Call, Pipeline
from common.scripts import Script, load_script
from orderlane.connection import SOCKET_TIMEOUT_SECONDS, connect_async
from orderlane.events import Event, EventName, encode_event
from orderlane.keys import Keys
from orderlane.orders import Reason

Argument = str | bytes | int
MOST_SENT_AGAIN: Final = 3
"""How often a script is sent anew, each time loaded before, when somebody makes the server forget it."""

REPLY_LOST: Final = (RedisConnectionError, RedisTimeoutError, OSError)
"""After these a call may or may not have been executed."""

_NO_WRITES_NOW: Final = (ReadOnlyError, OutOfMemoryError, ClusterDownError, TryAgainError, AskError)
_NO_WRITES_CODE = re.compile(
    r"(?:^|: -)(READONLY|MISCONF|OOM|NOREPLICAS|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY) "
)
"""Error codes of a server that runs but takes no writes: a master that was demoted, a full disk or memory. Redis 6.2
hides those a script meets in the text of "Error running script"; redis-py knows only some by a class of their own."""


class RedisTakesNoWrites(RedisConnectionError):
    """The server answers and refuses every write; to be asked again, like one that is away (`REPLY_LOST`)."""


@dataclass
class ServerWatch:
    """Notes, on every new connection, which server answered: a changed one may have forgotten a second of writes."""

    keys: Keys
    grace_ms: int
    run_id: str = ""

    async def on_connect(self, connection: AbstractConnection) -> None:
        """The `redis_connect_func` of a connection: the handshake, then the note, before any command of ours."""
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        run_id = _run_id(await connection.read_response())
        event = Event(
            name=EventName.SYSTEM_ERROR,
            at=0,
            exchange=self.keys.exchange,
            reason=Reason(
                code="redis_server_changed",
                message="Redis was restarted or failed over and may have lost its last writes: until the grace "
                "time ends, every intent is asked for at the exchange before it is first sent",
                numbers={"run_id": run_id, "grace_ms": str(self.grace_ms)},
            ),
        )
        script = load_script("note_server")
        await connection.send_command(
            "EVAL", script.source, 2, self.keys.control, self.keys.events, run_id, self.run_id, self.grace_ms,
            encode_event(event),
        )  # fmt: skip
        await connection.read_response()
        self.run_id = run_id


def connect_pool(
    url: str, keys: Keys, *, grace_ms: int, socket_timeout_seconds: float = 5.0
) -> redis.asyncio.Redis:
    """The client of a worker of one exchange; each connection of it notes the server it reached."""
    watch = ServerWatch(keys, grace_ms)
    return connect_async(
        url,
        socket_timeout_seconds=socket_timeout_seconds,
        home=keys.control,
        redis_connect_func=watch.on_connect,
    )


@dataclass
class _ScriptCall:
    """A script on its way. `sent_again`: how often it was sent anew because the server didn't know it."""

    script: Script
    packed: bytes
    reply: asyncio.Future[Any]
    sent_again: int = 0


@dataclass
class ScriptRunner:
    """Runs Lua scripts on one connection of the client's; the calls of one turn of the event loop leave in one write,
    and none waits for the reply to another.

    The connection is made when first needed, and anew after it broke. It ends with the client (`aclose`).
    """

    client: redis.asyncio.Redis
    _waiting: deque[_ScriptCall] = field(default_factory=deque)
    _pipeline: Pipeline | None = None
    _taken: AbstractConnection | None = None
    """The connection that the pipeline took over, the client's pool counts it as in use."""
    _opening: asyncio.Task[None] | None = None
    _is_due: bool = False
    _loading: set[str] = field(default_factory=set)
    _leaving_server: bool = False

    async def run(self, name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Run `common/lua/<name>.lua` and return its reply.

        Raises:
            redis.exceptions.RedisError: the script failed, or its reply was lost (`REPLY_LOST`): it may have run.
        """
        script, loop = load_script(name), asyncio.get_running_loop()
        packed = _packed("EVALSHA", script.sha1, len(keys), *keys, *arguments)
        call = _ScriptCall(script, packed, loop.create_future())
        self._waiting.append(call)
        self._send_soon()
        return await call.reply

    def _send_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        """Write what waits and has room; what is left goes when replies have come."""
        self._is_due = False
        if self._pipeline is None or self._pipeline.lost is not None:
            if self._waiting and (self._opening is None or self._opening.done()):
                self._opening = asyncio.create_task(self._open())
            return
        batch: list[Call] = []
        for _ in range(min(self._pipeline.room(), len(self._waiting))):
            call = self._waiting.popleft()
            if call.reply.done():
                continue  # nobody waits for it any more
            if call.sent_again and call.script.name not in self._loading:
                batch.append(self._load(call.script))
            batch.append(Call(call.packed, partial(self._on_reply, call)))
        if batch:
            self._pipeline.send(batch)

    def _load(self, script: Script) -> Call:
        self._loading.add(script.name)
        return Call(_packed("SCRIPT", "LOAD", script.source), lambda _: self._loading.discard(script.name))

    def _on_reply(self, call: _ScriptCall, reply: Any) -> None:
        if self._waiting:
            self._send_soon()
        if not isinstance(reply, Exception):
            if not call.reply.done():
                call.reply.set_result(reply)
            return
        if isinstance(reply, NoScriptError) and call.sent_again < MOST_SENT_AGAIN:
            # A server that does not know a script did not run it: load it and ask again.
            call.sent_again += 1
            self._waiting.append(call)
            self._send_soon()
            return
        error = _as_redis_error(reply)
        if isinstance(error, RedisTakesNoWrites) and self._pipeline is not None:
            # A master that was demoted keeps its connections: only a new one reaches its successor.
            self._leaving_server = True
            _doubt_node(self._taken, reply)
            self._pipeline.cut(error)
        if not call.reply.done():
            call.reply.set_exception(error)

    async def _open(self) -> None:
        try:
            self._pipeline = await self._take_over()
        except BaseException as error:
            waiting, self._waiting = self._waiting, deque()
            for call in waiting:
                if not call.reply.done():
                    call.reply.set_exception(_as_redis_error(error))
            if not isinstance(error, Exception):
                raise
            return
        self._send()

    async def _take_over(self) -> Pipeline:
        pool = self.client.connection_pool
        if self._taken is not None:
            taken, self._taken = self._taken, None
            with suppress(RedisError, OSError):
                await taken.disconnect(nowait=True)
            await pool.release(taken)
        if self._leaving_server:
            self._leaving_server = False
            with suppress(RedisError, OSError):
                await pool.disconnect(inuse_connections=False)
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        self._taken = connection
        timeout_seconds = connection.socket_timeout or SOCKET_TIMEOUT_SECONDS
        return Pipeline(connection, timeout_seconds, self._send_soon)


def _doubt_node(connection: Any, error: Exception) -> None:
    """In a cluster: whoever said that this node serves the slot is asked last now. What a connection of
    `orderlane/cluster_connections.py` does with such a reply when it reads it itself."""
    cluster = getattr(connection, "_cluster", None)
    if cluster is not None and isinstance(error, AskError | ClusterDownError):
        cluster.nodes.doubt()


def _packed(*words: Argument) -> bytes:
    packed: bytes = pack_command(words)  # type: ignore[arg-type]  # its type says one word, it takes any number
    return packed


def _as_redis_error(error: BaseException) -> Exception:
    refused = isinstance(error, ResponseError) and _NO_WRITES_CODE.search(str(error))
    if refused or isinstance(error, _NO_WRITES_NOW):
        return RedisTakesNoWrites(f"Redis takes no writes now, trying again: {error}")
    if isinstance(error, RedisError):
        return error
    return RedisConnectionError(f"the connection to Redis broke: {type(error).__name__}: {error}")


def _run_id(info: bytes | str | dict[str, Any]) -> str:
    if isinstance(info, dict):
        return str(info["run_id"])
    text = info.decode() if isinstance(info, bytes) else info
    return next(line.partition(":")[2] for line in text.splitlines() if line.startswith("run_id:"))
