"""One connection to Redis with many calls under way: written together, answered in order.

redis-py builds the connection (address, password, HELLO, TLS, what `redis_connect_func` asks); then its transport is
taken over by a protocol of ours, because redis-py can have only one exchange under way on a connection and pays a
task, a timer and three coroutines for each: some 100 us a call, here under 10.

Replies carry no number: the n-th reply is the n-th call's. So once one of them is late, or can't be read, the
connection is worth nothing any more: it is cut, and every call under way on it counts as lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import hiredis
from redis._parsers import BaseParser
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse
from redis.exceptions import TimeoutError as RedisTimeoutError

MAX_UNDER_WAY: Final = 512
"""Calls written and not answered yet, at most: bounds how long one process can hold Redis' only thread."""

_NO_REPLY_YET: Final = object()


class Call:
    """One command, packed, and who gets its reply."""

    __slots__ = ("deadline", "on_reply", "packed")

    def __init__(self, packed: bytes, on_reply: Callable[[Any], None]) -> None:
        self.packed = packed
        self.on_reply = on_reply
        """Called once with the reply, with the error the server answered, or with what cut the connection."""
        self.deadline = 0.0


class Pipeline(asyncio.Protocol):
    """A connection of redis-py's, taken over for good: nobody else may send on it.

    A reply that takes longer than `timeout_seconds` cuts the connection. `on_change` is called when there is room again
    after there was none, and once more when the connection is gone and all calls on it have been told.
    """

    def __init__(
        self, connection: AbstractConnection, timeout_seconds: float, on_change: Callable[[], None]
    ) -> None:
        """Take the connection over.

        Raises:
            redis.exceptions.ConnectionError: it broke meanwhile, which redis-py was told and nobody will be again.
        """
        # redis-py offers no public way to the transport; tests/common/test_redis.py fails should it move.
        self._transport: asyncio.Transport = connection._writer.transport  # type: ignore[union-attr,assignment]
        if self._transport.is_closing() or connection._reader.at_eof():  # type: ignore[union-attr]
            raise RedisConnectionError("the connection to Redis broke as soon as it was made")
        self._before: asyncio.BaseProtocol = self._transport.get_protocol()
        self._loop = asyncio.get_running_loop()
        self._timeout_seconds = timeout_seconds
        self._on_change = on_change
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=BaseParser.parse_error, notEnoughData=_NO_REPLY_YET
        )
        self._under_way: deque[Call] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._full = False
        self.lost: Exception | None = None
        """Why the connection is of no more use; None while it is."""
        self._transport.set_protocol(self)

    def room(self) -> int:
        """How many calls may be sent now."""
        if self._full or self.lost is not None:
            return 0
        return MAX_UNDER_WAY - len(self._under_way)

    def send(self, calls: list[Call]) -> None:
        """Write the calls, at most `room()` of them, as one."""
        deadline = self._loop.time() + self._timeout_seconds
        for call in calls:
            call.deadline = deadline
        self._under_way.extend(calls)
        try:
            self._transport.write(b"".join([call.packed for call in calls]))
        except RuntimeError as error:  # uvloop's word for a connection of whose end we are about to be told
            self.cut(RedisConnectionError(f"the connection to Redis broke: {error}"))
            return
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._on_time)

    def cut(self, why: Exception) -> None:
        """Give the connection up at once: nothing that still comes on it belongs to anybody."""
        self.lost = self.lost or why
        self._transport.abort()

    # What the transport calls

    def data_received(self, data: bytes) -> None:
        """Hand out the replies there are."""
        reader, under_way = self._reader, self._under_way
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NO_REPLY_YET:
                if isinstance(reply, hiredis.PushNotification):
                    continue
                if not under_way:
                    raise InvalidResponse("Redis answered more often than it was asked")
                under_way.popleft().on_reply(reply)
        except InvalidResponse as error:
            self.cut(error)

    def eof_received(self) -> None:
        """The server closed the connection; returning nothing closes it here too."""

    def connection_lost(self, error: Exception | None) -> None:
        """Tell every call under way, and redis-py, that the connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
        why = self.lost or RedisConnectionError(
            f"the connection to Redis broke: {error or 'the server closed it'}"
        )
        self.lost = why
        self._before.connection_lost(error)
        calls, self._under_way = self._under_way, deque()
        for call in calls:
            call.on_reply(why)
        self._on_change()

    def pause_writing(self) -> None:
        """The server reads more slowly than we write."""
        self._full = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._full = False
        self._on_change()

    def _on_time(self) -> None:
        self._timer = None
        if not self._under_way:
            return
        deadline = self._under_way[0].deadline
        if self._loop.time() < deadline:
            self._timer = self._loop.call_at(deadline, self._on_time)
            return
        self.cut(
            RedisTimeoutError(
                f"Redis gave no reply within {self._timeout_seconds:g} s; the call may have run"
            )
        )
