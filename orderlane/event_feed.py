"""One reader of an exchange's events for all who wait in a process, however many.

A thousand waits on a thousand connections is more than redis-py allows, and each would read every event.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orderlane.async_pool_link import AsyncPoolLink
from orderlane.events import Event


class Listener:
    """The events about one intent, as they come in."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self._events: list[Event] = []
        self._failure: Exception | None = None

    def hear(self, event: Event) -> None:
        self._events.append(event)
        self.arrived.set()

    def fail(self, error: Exception) -> None:
        self._failure = error
        self.arrived.set()

    def news(self) -> list[Event]:
        """What has come in since the last call.

        Raises:
            Unreachable: the reader gave up.
        """
        if self._failure is not None:
            raise self._failure
        self.arrived.clear()
        news, self._events = self._events, []
        return news


class EventFeed:
    """Reads one exchange's events while somebody listens."""

    def __init__(self, link: AsyncPoolLink, exchange: str) -> None:
        self._link = link
        self._exchange = exchange
        self._listeners: defaultdict[str, set[Listener]] = defaultdict(set)
        self._reader: asyncio.Task[None] | None = None
        self._started = asyncio.Event()

    @asynccontextmanager
    async def listen(self, intent_id: str, listener: Listener) -> AsyncIterator[None]:
        """Let the listener hear every event about the intent that is written after this has been entered."""
        self._listeners[intent_id].add(listener)
        try:
            if self._reader is None:
                self._started.clear()
                self._reader = asyncio.create_task(self._read())
            # Entered once the reader has its place in the stream: it reads on from there without a gap.
            await self._started.wait()
            yield
        finally:
            self._listeners[intent_id].discard(listener)
            if not self._listeners[intent_id]:
                del self._listeners[intent_id]

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        try:
            position = await self._link.last_event_id(self._exchange)
            self._started.set()
            while self._listeners:
                position, events = await self._link.next_events(self._exchange, position)
                for event in events:
                    for listener in self._listeners.get(event.intent_id, ()):
                        listener.hear(event)
        except Exception as error:  # noqa: BLE001 (it is raised where it is waited for, in every listener)
            for listener in [one for ones in self._listeners.values() for one in ones]:
                listener.fail(error)
        finally:
            self._reader = None
            self._started.set()
