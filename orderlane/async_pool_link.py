"""What the asyncio client asks of Redis; the counterpart of `pool_link`, command for command."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import redis.asyncio

from orderlane.admission import BATCH_SIZE, Submission
from orderlane.client_settings import NO_ANSWER, ClientSettings, Patience
from orderlane.connection import SOCKET_TIMEOUT_SECONDS, connect_async
from orderlane.errors import ExchangeUnknown
from orderlane.events import Event
from orderlane.keys import exchanges_key
from orderlane.lookup import Place, only_exchange
from orderlane.orders import Order, decode_order
from orderlane.scripts import script
from orderlane.waiting import BLOCK_SECONDS, READ_COUNT, read_entries, read_event

T = TypeVar("T")

COMMANDS_AT_ONCE: Final = 32
"""Each command under way takes a connection of its own; the others wait. redis-py refuses more than 100."""


class AsyncPoolLink:
    """The connections of one client, and its commands. Every method may raise Unreachable."""

    def __init__(self, settings: ClientSettings) -> None:
        self.settings = settings
        self.redis: redis.asyncio.Redis = connect_async(settings.url)
        self._blocking = connect_async(
            settings.url, socket_timeout_seconds=BLOCK_SECONDS + SOCKET_TIMEOUT_SECONDS
        )
        self._submit = script("submit")
        self._registered: set[str] = set()
        self._commands = asyncio.Semaphore(COMMANDS_AT_ONCE)

    async def close(self) -> None:
        await self.redis.aclose()
        await self._blocking.aclose()

    async def ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call that is safe to repeat until Redis answers, or patience ends.

        Raises:
            Unreachable: no answer for `retry_seconds`.
        """
        patience = Patience(self.settings.retry_seconds, time.monotonic())
        while True:
            try:
                return await call()
            except NO_ANSWER as error:
                wait = patience.wait_after(error, time.monotonic())
                if wait is None:
                    raise self.settings.unreachable(error, patience.spent(time.monotonic())) from error
            await asyncio.sleep(wait)

    async def submit(self, submission: Submission) -> Any:
        """The reply of `submit.lua`."""
        return await self._command(
            lambda: self._submit.run_async(self.redis, submission.keys, submission.arguments)
        )

    async def submit_batch(self, submissions: Sequence[Submission]) -> list[Any]:
        """The replies of `submit.lua`, in order, from one pipeline; an error of Redis stands in its place."""
        return await self._command(lambda: self._send(submissions)) if submissions else []

    async def orders(self, order_keys: Sequence[str]) -> list[Order]:
        """The records under these keys, in order, without those that are not there."""
        found: list[Order] = []
        for start in range(0, len(order_keys), BATCH_SIZE):
            chunk = order_keys[start : start + BATCH_SIZE]
            hashes = await self._command(lambda: self._read_hashes(chunk))  # noqa: B023 (called before the next round)
            found += [decode_order(fields) for fields in hashes if fields]
        return found

    async def exchanges(self) -> list[str]:
        """The exchanges that the pool's workers have registered."""
        return await self._members(exchanges_key(self.settings.pool))

    async def check_exchange(self, exchange: str) -> None:
        """Make sure that workers of the exchange have run; asked once for each exchange that has some.

        A pool in which no worker has ever run takes any: it may be filled before it is started.

        Raises:
            ExchangeUnknown: the pool has other exchanges, and not this one.
        """
        if error := (await self.unknown_exchanges([exchange])).get(exchange):
            raise error

    async def unknown_exchanges(self, exchanges: Iterable[str]) -> dict[str, ExchangeUnknown]:
        """Those of the exchanges that `check_exchange` refuses, each with its error."""
        unsure = set(exchanges) - self._registered
        if not unsure:
            return {}
        known = await self.exchanges()
        self._registered.update(known)
        return {one: ExchangeUnknown(one, known) for one in unsure.difference(known)} if known else {}

    async def accounts(self, exchange: str) -> list[str]:
        """The accounts that the exchange's workers have registered."""
        return await self._members(self.settings.keys(exchange).accounts)

    async def named_exchanges(self, exchange: str | None) -> list[str]:
        """The exchange a call or the client names, else all of the pool's."""
        named = exchange or self.settings.exchange
        return [named] if named else await self.exchanges()

    async def one_exchange(self, exchange: str | None) -> str:
        """The exchange a call or the client names, else the pool's only one.

        Raises:
            ExchangeUnclear: the pool does not have exactly one.
        """
        return only_exchange(await self.named_exchanges(exchange))

    async def hashes(self, keys: Sequence[str]) -> tuple[int, list[Any]]:
        """The hashes under these keys, in order, and the clock of their Redis, ms. The keys are of one exchange."""

        async def read() -> list[Any]:
            async with self.redis.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.hgetall(key)
                return list(await pipeline.execute())

        seconds, microseconds = await self._command(lambda: self.redis.time())
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        return now_ms, await self._command(read) if keys else []

    async def places(self, exchange: str | None, account: str | None) -> list[Place]:
        """The accounts a call may mean."""
        named = account or self.settings.account
        return [
            Place(one, each)
            for one in await self.named_exchanges(exchange)
            for each in ([named] if named else await self.accounts(one))
        ]

    async def open_order_keys(self, place: Place) -> list[str]:
        """The keys of the account's orders that were begun and have not ended."""
        keys = self.settings.keys(place.exchange)
        ids: Any = await self._command(lambda: self.redis.zrange(keys.open(place.account), 0, -1))
        return [keys.order(one.decode()) for one in ids]

    async def last_event_id(self, exchange: str) -> str:
        """Where the exchange's stream of events ends now."""
        stream = self.settings.keys(exchange).events
        last: Any = await self._command(lambda: self.redis.xrevrange(stream, "+", "-", count=1))
        return str(last[0][0].decode()) if last else "0-0"

    async def next_events(self, exchange: str, position: str) -> tuple[str, list[Event]]:
        """The events after a position, and the position after them; waits for a first one for `BLOCK_SECONDS`."""
        stream = self.settings.keys(exchange).events
        block_ms = int(BLOCK_SECONDS * 1000)
        reply: Any = await self.ask(
            lambda: self._blocking.xread({stream: position}, count=READ_COUNT, block=block_ms)
        )
        entries = read_entries(reply, stream)
        events = [event for event in map(read_event, entries) if event is not None]
        return (entries[-1][0].decode() if entries else position), events

    async def _command(self, call: Callable[[], Awaitable[T]]) -> T:
        async def limited() -> T:
            async with self._commands:
                return await call()

        return await self.ask(limited)

    async def _send(self, submissions: Sequence[Submission]) -> list[Any]:
        async with self.redis.pipeline(transaction=False) as pipeline:
            # Loaded in the same pipeline, so that none is refused while a later one of its lane goes through.
            pipeline.script_load(self._submit.source)
            for one in submissions:
                pipeline.evalsha(self._submit.sha1, len(one.keys), *one.keys, *one.arguments)
            replies = list(await pipeline.execute(raise_on_error=False))[1:]
        for reply in replies:
            if isinstance(reply, NO_ANSWER):
                raise reply
        return replies

    async def _read_hashes(self, keys: Sequence[str]) -> list[dict[bytes, bytes]]:
        async with self.redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(key)
            return list(await pipeline.execute())

    async def _members(self, key: str) -> list[str]:
        members: Any = await self._command(lambda: self.redis.smembers(key))
        return sorted(one.decode() for one in members)
