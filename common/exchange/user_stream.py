"""A user stream through ccxt.pro: its `watch_orders` authenticates, connects and keeps the listen key alive.

The messages are read here, before ccxt's own reading of them, and each is kept until it is asked for. ccxt.pro keeps
the last state of an order, and wakes who waits for it at that moment; what comes between two calls of `watch_orders` or
`watch_my_trades` is told with the next message, whenever that comes. And an exception in its reading ends the
receiving without a word to anybody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from common.exchange.base import ExchangeFailure, Outcome, StreamUpdate, UserStream
from common.exchange.classify import Operation
from common.exchange.stream_reading import StreamReader
from common.exchange.transport import Call
from common.secrets import scrub

OPEN_SECONDS: Final = 15.0
"""How long opening may take: a request for a listen key, a connection, an answer to the subscription."""
_ORDERS: Final = "orders"
"""The name under which ccxt.pro waits for news of orders."""

MakeClient = Callable[[type, "Inbox"], Any]
"""Makes a ccxt.pro client of the account: from the class that stands before ccxt's, and where its messages go."""


class Inbox:
    """What a stream told and nobody has asked for yet; and how it ended, if it did."""

    def __init__(self, reader: StreamReader, now_ms: Callable[[], int]) -> None:
        self.opened = asyncio.Event()
        self.failure: ExchangeFailure | None = None
        self._reader = reader
        self._now_ms = now_ms
        self._updates: deque[StreamUpdate] = deque()
        self._news = asyncio.Event()

    def take(self, client: Any, message: Any) -> bool:
        """Read a message; whether it was an event, which nobody else needs to read."""
        event = self._reader.event_in(message)
        if event is None or self.failure is not None:
            return event is not None
        try:
            update = self._reader.read(client, event, self._now_ms())
        except ExchangeFailure as failure:
            self.fail(failure)
        else:
            if update is not None:
                self._updates.append(update)
                self._news.set()
        return True

    def fail(self, error: BaseException) -> None:
        """Note that the stream is over; the first reason counts."""
        if self.failure is None:
            self.failure = _as_failure(error)
        self._news.set()

    async def updates(self) -> list[StreamUpdate]:
        """See `UserStream.updates`."""
        while not self._updates:
            if self.failure is not None:
                raise self.failure
            self._news.clear()
            await self._news.wait()
        told = list(self._updates)
        self._updates.clear()
        return told

    def oldest_unread(self) -> int | None:
        """See `UserStream.oldest_unread`."""
        return self._updates[0].received_at if self._updates else None


class StreamingClient:
    """Stands before a ccxt.pro class in the order of methods: messages go to the inbox first."""

    inbox: Inbox

    def handle_message(self, client: Any, message: Any) -> None:
        try:
            if not self.inbox.take(self, message):
                super().handle_message(client, message)  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001 - raised into ccxt's receiving, it would end that in silence
            self.inbox.fail(error)

    def client(self, url: str) -> Any:
        connection = super().client(url)  # type: ignore[misc]
        if "future" not in vars(connection):
            connection.future = _retrieved(connection.future)
        return connection

    def watch(self, url: str, message_hash: str, *rest: Any) -> Any:
        waiting = super().watch(url, message_hash, *rest)  # type: ignore[misc]
        if message_hash == _ORDERS:
            # By now the account is known to the exchange: what is left is the connection, where it isn't there yet.
            self.client(url).connected.add_done_callback(self._connected)
        return waiting

    def _connected(self, connected: asyncio.Future[Any]) -> None:
        if not connected.cancelled() and connected.exception() is None:
            self.inbox.opened.set()


class CcxtUserStream:
    """One account's stream; see `UserStream`."""

    def __init__(self, make: MakeClient, reader: StreamReader, now_ms: Callable[[], int]) -> None:
        self._inbox = Inbox(reader, now_ms)
        self._make = make
        self._client: Any = None
        self._watching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._client = self._make(StreamingClient, self._inbox)
        self._watching = asyncio.create_task(self._watch())
        opened = asyncio.create_task(self._inbox.opened.wait())
        try:
            await asyncio.wait(
                (opened, self._watching), timeout=OPEN_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            opened.cancel()
        if self._inbox.failure is not None:
            raise self._inbox.failure
        if not self._inbox.opened.is_set():
            raise ExchangeFailure(Outcome.UNKNOWN, "timeout", f"no user stream within {OPEN_SECONDS:.0f} s")

    async def updates(self) -> list[StreamUpdate]:
        return await self._inbox.updates()

    def oldest_unread(self) -> int | None:
        return self._inbox.oldest_unread()

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._client is None:
            return
        if self._client.session is not None:
            await self._client.session.close()  # without a farewell: a dead peer's answer would be waited for
        self._client.timeout_on_exit = 0
        await self._client.close()

    async def _watch(self) -> None:
        """Keep `watch_orders` waiting: it ends with the stream."""
        with Call(Operation.QUERY):
            try:
                while self._inbox.failure is None:
                    await self._client.watch_orders()
            except Exception as error:  # noqa: BLE001 - whatever ended it, it is over
                self._inbox.fail(error)


def _retrieved(make: Callable[[str], Any]) -> Callable[[str], Any]:
    """ccxt.pro leaves some of its futures behind: a failure in one of them is told by another, and is no news."""

    def future(message_hash: str) -> Any:
        made = make(message_hash)
        made.add_done_callback(lambda done: done.cancelled() or done.exception())
        return made

    return future


def _as_failure(error: BaseException) -> ExchangeFailure:
    if isinstance(error, ExchangeFailure):
        return error
    # ccxt clears up after a refused subscription with a KeyError of its own: what it was about is behind that.
    cause = error.__context__ if isinstance(error, KeyError) and error.__context__ else error
    return ExchangeFailure(Outcome.UNKNOWN, "stream_lost", scrub(f"{type(cause).__name__}: {cause}")[:300])


def _promises(stream: CcxtUserStream) -> UserStream:
    return stream  # mypy checks here that the class keeps the protocol
