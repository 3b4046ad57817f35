"""One kept-alive HTTP/1.1 connection: one request under way at a time, and a reply that is that request's or nobody's.

A connection is used again only after a reply was read to its last byte and nothing came after it. Whatever else
happens - time runs out, the caller is cancelled, bytes arrive that nobody asked for - ends the connection, so a late
reply has no one to be read by. It never sends anything twice.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from common.exchange.classify import Reply
from common.exchange.http_reply import ReplyReader, UnreadableReply

TURNS_TO_THE_KERNEL: Final = 3
"""Of the event loop, after which a small request was written: uvloop writes at the end of a turn, TLS one later."""


class ReplyLost(Exception):
    """The request was handed over, and there will be no reply: it may have arrived. `code` is the kind of loss."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class HttpConnection(asyncio.Protocol):
    """What the event loop drives; `send` is what callers use, while `usable`."""

    __slots__ = ("_deadline", "_loop", "_reader", "_transport", "_waiter")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader: ReplyReader | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """It is open, and no request is under way on it."""
        transport = self._transport
        return transport is not None and self._reader is None and not transport.is_closing()

    def send(self, request: bytes, timeout_seconds: float) -> asyncio.Future[Reply]:
        """Hand a request over, once. From here on it may have arrived, whatever becomes of the reply.

        The future raises ReplyLost. Who stops waiting for it before it is done calls `abort`.
        """
        if self._transport is None or not self.usable:
            raise RuntimeError(
                "a connection was used that is closed or has a request under way: take it from the pool"
            )
        self._waiter = waiter = self._loop.create_future()
        self._reader = ReplyReader()
        self._deadline = self._loop.call_later(timeout_seconds, self._lose, "timeout")
        self._transport.write(request)
        return waiter

    async def left(self) -> None:
        """Wait until the request's last byte is the kernel's, and read nothing from then on."""
        transport = self._transport
        if transport is None:
            return
        transport.pause_reading()
        for _ in range(TURNS_TO_THE_KERNEL):
            await asyncio.sleep(0)
        while transport.get_write_buffer_size() and not transport.is_closing():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)

    def read_on(self) -> None:
        """Read again, after `left`."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """End the connection now. A request under way is lost."""
        self._lose("aborted")

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, alike in all but its base

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:  # nobody asked: whose reply could it be?
            self._lose("unasked")
            return
        try:
            reply = reader.feed(data)
        except UnreadableReply:
            self._lose("unreadable_reply")
            return
        if reply is not None:
            self._deliver(reply, reader.keep_alive)

    def eof_received(self) -> None:
        if self._reader is None:
            return
        try:
            reply = self._reader.end()
        except UnreadableReply:
            self._lose("unreadable_reply")
            return
        if reply is not None:
            self._deliver(reply, keep_alive=False)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._lose("disconnected" if error is None else type(error).__name__)

    def _deliver(self, reply: Reply, keep_alive: bool) -> None:
        waiter = self._settle()
        if not keep_alive and self._transport is not None:
            self._transport.abort()
        if waiter is not None and not waiter.done():
            waiter.set_result(reply)

    def _lose(self, code: str) -> None:
        waiter = self._settle()
        if self._transport is not None:
            self._transport.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(ReplyLost(code))

    def _settle(self) -> asyncio.Future[Reply] | None:
        waiter, self._waiter, self._reader = self._waiter, None, None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        return waiter
