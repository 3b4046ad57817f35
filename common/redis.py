"""Redis as the pool's processes use it: connections that notice a changed server, and scripts sent in batches.

Many lanes call scripts at the same moment. Each awaited through redis-py costs some 130 us of CPU; written together on
one connection that is ours alone (`common/pipeline.py`), under 10.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

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

from common.own_connection import OwnConnection
from common.pipeline import Call
from common.scripts import Script, load_script
from orderlane.connection import connect_async
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
            "EVAL", script.source, 3, self.keys.control, self.keys.events, self.keys.intents, run_id, self.run_id,
            self.grace_ms, encode_event(event),
        )  # fmt: skip
        await connection.read_response()
        self.run_id = run_id
        _reached[connection] = run_id


_reached: WeakKeyDictionary[AbstractConnection, str] = WeakKeyDictionary()
"""The server behind each connection of `connect_pool`: its run id."""


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

    The connection is made when first needed, and anew after it broke. Where it then reaches another server than before,
    what waits is not run there: that server may have forgotten on what it rests. It ends with the client, before whose
    end `aclose` sees to it that none is being made.
    """

    client: redis.asyncio.Redis
    server_changes: int = 0
    """How often the connection came to another server than before. Who holds lanes by what an earlier one said must
    give them up (`Dispatcher.require_server`)."""
    _server: str = ""
    _waiting: deque[_ScriptCall] = field(default_factory=deque)
    _own: OwnConnection = field(init=False)
    _opening: asyncio.Task[None] | None = None
    _is_due: bool = False
    _is_closed: bool = False
    _loading: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._own = OwnConnection(self.client, self._send_soon)

    async def run(self, name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Run `common/lua/<name>.lua` and return its reply.

        Raises:
            redis.exceptions.RedisError: the script failed, or its reply was lost (`REPLY_LOST`): it may have run.
        """
        if self._is_closed:
            raise RedisConnectionError(f"script {name} was not sent: this process is closing its connections")
        script, loop = load_script(name), asyncio.get_running_loop()
        packed = _packed("EVALSHA", script.sha1, len(keys), *keys, *arguments)
        call = _ScriptCall(script, packed, loop.create_future())
        self._waiting.append(call)
        self._send_soon()
        return await call.reply

    async def aclose(self) -> None:
        """Make no connection any more, and give up one that is being made, with the calls that wait for it.

        To be called before the client is closed, which would not see a connection that comes after.
        """
        self._is_closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        self._fail_waiting(RedisConnectionError("this process closes its connections to Redis"))

    def _send_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        """Write what waits and has room; what is left goes when replies have come."""
        self._is_due = False
        pipeline = self._own.pipeline
        if pipeline is None or pipeline.lost is not None:
            is_opening = self._opening is not None and not self._opening.done()
            if self._waiting and not is_opening and not self._is_closed:
                self._opening = asyncio.create_task(self._open())
            return
        batch: list[Call] = []
        for _ in range(min(pipeline.room(), len(self._waiting))):
            call = self._waiting.popleft()
            if call.reply.done():
                continue  # nobody waits for it any more
            if call.sent_again and call.script.name not in self._loading:
                batch.append(self._load(call.script))
            batch.append(Call(call.packed, partial(self._on_reply, call)))
        if batch:
            pipeline.send(batch)

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
        if isinstance(error, RedisTakesNoWrites):
            self._own.leave_server(reply, error)
        if not call.reply.done():
            call.reply.set_exception(error)

    async def _open(self) -> None:
        try:
            await self._own.open()
            self._note_server()
        except BaseException as error:
            self._fail_waiting(error)
            if not isinstance(error, Exception):
                raise
            return
        self._send()

    def _fail_waiting(self, error: BaseException) -> None:
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            if not call.reply.done():
                call.reply.set_exception(_as_redis_error(error))

    def _note_server(self) -> None:
        reached = _reached.get(self._own.taken, "") if self._own.taken is not None else ""
        before, self._server = self._server, reached
        if before not in ("", reached):
            self.server_changes += 1
            raise RedisConnectionError(
                "another Redis server answers now (a restart, a failover), which may have forgotten the last writes"
            )


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
