"""One websocket: what is to be sent waits in line, leaves once it is on file, and meets the faults of messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from workers.paper.faults import FaultRule, Faults
from workers.paper.feed import Feed, Message
from workers.paper.rules import Product
from workers.paper.wire import close

HELD_BACK_MS = 1_000
_encode = msgspec.json.Encoder().encode


class Connection:
    """A websocket of a client. ``product`` and ``account`` say whose user stream is open on it, if any is."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: Any,
        faults: Faults,
        committed: Callable[[], Awaitable[None]],
    ) -> None:
        self.product = ""
        self.account = ""
        self.listen_key = ""
        self.subscription: int | None = None
        """The number of a subscription made over the WebSocket API, in whose envelope events are sent."""
        self.sent = 0
        self._socket = socket
        self._transport = transport
        self._faults = faults
        self._committed = committed
        self._queue: asyncio.Queue[tuple[Message, bool]] = asyncio.Queue()
        self._held: list[Message] = []
        self._leave: Callable[[], None] = lambda: None
        self.at_end: list[Callable[[], object]] = [self.leave]
        """What is called when the connection has ended."""

    def listen(self, feed: Feed, product: Product, account: str) -> None:
        """From now on send everything about an account."""
        self.leave()
        self.product, self.account = product, account
        feed.listen(product, account, self.put)
        self._leave = lambda: feed.leave(product, account, self.put)

    def leave(self) -> None:
        """Send nothing more of the account."""
        self._leave()
        self._leave = lambda: None
        self.account = ""

    def put(self, message: Message) -> None:
        """Send an event when those before it are sent."""
        self._queue.put_nowait((self._enveloped(message), True))

    def answer(self, body: object) -> None:
        """Send the answer to a request; faults of messages don't meet it."""
        self._queue.put_nowait((Message("", "", _encode(body)), False))

    def cut(self) -> None:
        """Reset the connection, unless it is ending anyhow; what waits is lost."""
        if self._transport is not None and not self._transport.is_closing():
            close(self._transport, reset=True)

    async def send_all(self) -> None:
        """Send what is put in line, until the connection ends."""
        while True:
            message, may_fail = await self._queue.get()
            await self._committed()
            rule = None
            if may_fail and self._faults:
                account, product = self.account, self.product
                rule = self._faults.choose_message(message.event, product, account, message.symbol)
            if rule is None:
                await self._send(message)
            else:
                await self._send_with(rule, message)

    async def _send_with(self, rule: FaultRule, message: Message) -> None:
        later = asyncio.get_running_loop().call_later
        if rule.fault == "cut_stream":
            self.cut()
        elif rule.fault == "reorder_message":
            self._held.append(message)
            later((rule.delay_ms or HELD_BACK_MS) / 1000, self._release, message)
        elif rule.fault == "repeat_message":
            await self._send(message)
            later(rule.delay_ms / 1000, self._queue.put_nowait, (message, False))
        else:
            await asyncio.sleep(rule.delay_ms / 1000)
            await self._send(message)

    async def _send(self, message: Message) -> None:
        if self._socket.closed:
            return
        held, self._held = self._held, []
        for one in (message, *reversed(held)):
            await self._socket.send_str(one.body.decode())
            self.sent += 1

    def _release(self, message: Message) -> None:
        if message in self._held:
            self._held.remove(message)
            self._queue.put_nowait((message, False))

    def _enveloped(self, message: Message) -> Message:
        if self.subscription is None:
            return message
        body = b'{"subscriptionId":%d,"event":%b}' % (self.subscription, message.body)
        return message._replace(body=body)
