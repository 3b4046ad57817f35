"""Redis as the pool's processes use it: connections that notice a changed server, and scripts sent in batches.

Many lanes call scripts at the same moment. Awaited one by one each costs a round trip and some 130 us of CPU;
sent together, 13 us. So calls gather while one batch is on its way and leave as the next.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
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

from common.scripts import Script, load_script
from orderlane.connection import connect_async
from orderlane.events import Event, EventName, encode_event
from orderlane.keys import Keys
from orderlane.orders import Reason

Argument = str | bytes | int
MAX_BATCH: Final = 512
"""Calls sent in one pipeline at most: bounds how long one batch can hold Redis' only thread."""

REPLY_LOST: Final = (RedisConnectionError, RedisTimeoutError, OSError)
"""After these a call may or may not have been executed."""

_NO_WRITES_NOW: Final = (ReadOnlyError, OutOfMemoryError, ClusterDownError, TryAgainError)
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
        url, socket_timeout_seconds=socket_timeout_seconds, redis_connect_func=watch.on_connect
    )


@dataclass
class _Call:
    script: Script
    arguments: tuple[Argument, ...]
    key_count: int
    reply: asyncio.Future[Any]


@dataclass
class ScriptRunner:
    """Runs Lua scripts; calls made while a batch is under way leave together as the next batch."""

    client: redis.asyncio.Redis
    _waiting: list[_Call] = field(default_factory=list)
    _sender: asyncio.Task[None] | None = None

    async def run(self, name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Run `common/lua/<name>.lua` and return its reply.

        Raises:
            redis.exceptions.RedisError: the script failed, or its reply was lost (`REPLY_LOST`): it may have run.
        """
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(load_script(name), (*keys, *arguments), len(keys), reply))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all())
        return await reply

    async def _send_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            try:
                replies = await self._send(batch)
                await self._resend_unloaded(batch, replies)
            except BaseException as error:
                for call in batch:
                    if not call.reply.done():
                        call.reply.set_exception(_as_redis_error(error))
                await self._leave_server_without_writes([_as_redis_error(error)])
                if not isinstance(error, Exception):
                    raise
                continue
            answers = [_as_redis_error(one) if isinstance(one, Exception) else one for one in replies]
            for call, answer in zip(batch, answers, strict=True):
                if call.reply.done():
                    continue
                if isinstance(answer, Exception):
                    call.reply.set_exception(answer)
                else:
                    call.reply.set_result(answer)
            await self._leave_server_without_writes(answers)

    async def _send(self, batch: list[_Call]) -> list[Any]:
        """Send all calls in one write and read their replies: what a pipeline does, at half its cost."""
        pool = self.client.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            commands = [("EVALSHA", call.script.sha1, call.key_count, *call.arguments) for call in batch]
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            return [await _reply_on(connection) for _ in batch]
        finally:
            await pool.release(connection)

    async def _leave_server_without_writes(self, answers: Sequence[Any]) -> None:
        """A master that was demoted keeps its connections: only a new one reaches its successor."""
        if any(isinstance(answer, RedisTakesNoWrites) for answer in answers):
            with suppress(RedisError, OSError):
                await self.client.connection_pool.disconnect(inuse_connections=False)

    async def _resend_unloaded(self, batch: list[_Call], replies: list[Any]) -> None:
        """A server that does not know a script did not run it: load it and ask again."""
        missing = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if not missing:
            return
        for source in {batch[i].script.source for i in missing}:
            await self.client.script_load(source)
        again = await self._send([batch[i] for i in missing])
        for i, reply in zip(missing, again, strict=True):
            replies[i] = reply


async def _reply_on(connection: AbstractConnection) -> Any:
    """The next reply, an error that the server answered with among them; a broken connection is raised."""
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


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
