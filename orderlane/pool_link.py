"""What the blocking client asks of Redis: each command is safe to repeat, and repeated until answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import redis

from orderlane.admission import BATCH_SIZE, Submission
from orderlane.client_settings import NO_ANSWER, ClientSettings, Patience
from orderlane.connection import SOCKET_TIMEOUT_SECONDS, connect
from orderlane.errors import ExchangeUnknown
from orderlane.events import Event
from orderlane.keys import exchanges_key
from orderlane.lookup import Place, only_exchange
from orderlane.orders import Order, decode_order
from orderlane.scripts import script
from orderlane.waiting import BLOCK_SECONDS, READ_COUNT, read_entries, read_event

T = TypeVar("T")


class PoolLink:
    """The connections of one client, and its commands. Every method may raise Unreachable."""

    def __init__(self, settings: ClientSettings) -> None:
        self.settings = settings
        self.redis: redis.Redis = connect(settings.url)
        self._blocking = connect(settings.url, socket_timeout_seconds=BLOCK_SECONDS + SOCKET_TIMEOUT_SECONDS)
        self._submit = script("submit")
        self._registered: set[str] = set()

    def close(self) -> None:
        self.redis.close()
        self._blocking.close()

    def ask(self, call: Callable[[], T]) -> T:
        """Make a call that is safe to repeat until Redis answers, or patience ends.

        Raises:
            Unreachable: no answer for `retry_seconds`.
        """
        patience = Patience(self.settings.retry_seconds, time.monotonic())
        while True:
            try:
                return call()
            except NO_ANSWER as error:
                wait = patience.wait_after(error, time.monotonic())
                if wait is None:
                    raise self.settings.unreachable(error, patience.spent(time.monotonic())) from error
                time.sleep(wait)

    def submit(self, submission: Submission) -> Any:
        """The reply of `submit.lua`."""
        return self.ask(lambda: self._submit.run(self.redis, submission.keys, submission.arguments))

    def submit_batch(self, submissions: Sequence[Submission]) -> list[Any]:
        """The replies of `submit.lua`, in order, from one pipeline; an error of Redis stands in its place."""
        return self.ask(lambda: self._send(submissions)) if submissions else []

    def orders(self, order_keys: Sequence[str]) -> list[Order]:
        """The records under these keys, in order, without those that are not there."""
        found: list[Order] = []
        for start in range(0, len(order_keys), BATCH_SIZE):
            chunk = order_keys[start : start + BATCH_SIZE]
            hashes = self.ask(lambda: self._read_hashes(chunk))  # noqa: B023 (called before the next round)
            found += [decode_order(fields) for fields in hashes if fields]
        return found

    def exchanges(self) -> list[str]:
        """The exchanges that the pool's workers have registered."""
        return self._members(exchanges_key(self.settings.pool))

    def check_exchange(self, exchange: str) -> None:
        """Make sure that workers of the exchange have run; asked once for each exchange that has some.

        A pool in which no worker has ever run takes any: it may be filled before it is started.

        Raises:
            ExchangeUnknown: the pool has other exchanges, and not this one.
        """
        if error := self.unknown_exchanges([exchange]).get(exchange):
            raise error

    def unknown_exchanges(self, exchanges: Iterable[str]) -> dict[str, ExchangeUnknown]:
        """Those of the exchanges that `check_exchange` refuses, each with its error."""
        unsure = set(exchanges) - self._registered
        if not unsure:
            return {}
        known = self.exchanges()
        self._registered.update(known)
        return {one: ExchangeUnknown(one, known) for one in unsure.difference(known)} if known else {}

    def accounts(self, exchange: str) -> list[str]:
        """The accounts that the exchange's workers have registered."""
        return self._members(self.settings.keys(exchange).accounts)

    def named_exchanges(self, exchange: str | None) -> list[str]:
        """The exchange a call or the client names, else all of the pool's."""
        named = exchange or self.settings.exchange
        return [named] if named else self.exchanges()

    def one_exchange(self, exchange: str | None) -> str:
        """The exchange a call or the client names, else the pool's only one.

        Raises:
            ExchangeUnclear: the pool does not have exactly one.
        """
        return only_exchange(self.named_exchanges(exchange))

    def places(self, exchange: str | None, account: str | None) -> list[Place]:
        """The accounts a call may mean."""
        named = account or self.settings.account
        return [
            Place(one, each)
            for one in self.named_exchanges(exchange)
            for each in ([named] if named else self.accounts(one))
        ]

    def hashes(self, keys: Sequence[str]) -> tuple[int, list[Any]]:
        """The hashes under these keys, in order, and the clock of their Redis, ms. The keys are of one exchange."""

        def read() -> list[Any]:
            with self.redis.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.hgetall(key)
                return list(pipeline.execute())

        seconds, microseconds = self.ask(self.redis.time)
        return int(seconds) * 1000 + int(microseconds) // 1000, self.ask(read) if keys else []

    def open_order_keys(self, place: Place) -> list[str]:
        """The keys of the account's orders that were begun and have not ended."""
        keys = self.settings.keys(place.exchange)
        ids: Any = self.ask(lambda: self.redis.zrange(keys.open(place.account), 0, -1))
        return [keys.order(one.decode()) for one in ids]

    def last_event_id(self, exchange: str) -> str:
        """Where the exchange's stream of events ends now."""
        stream = self.settings.keys(exchange).events
        last: Any = self.ask(lambda: self.redis.xrevrange(stream, "+", "-", count=1))
        return str(last[0][0].decode()) if last else "0-0"

    def next_events(self, positions: dict[str, str], seconds: float) -> list[Event]:
        """The events after each exchange's position, which moves with them; waits for a first one up to `seconds`.

        One call waits no longer than `BLOCK_SECONDS`.
        """
        if not positions:
            time.sleep(min(seconds, BLOCK_SECONDS))
            return []
        streams = {self.settings.keys(one).events: one for one in positions}
        block_ms = max(1, int(min(seconds, BLOCK_SECONDS) * 1000))
        reply: Any = self.ask(
            lambda: self._blocking.xread(
                {stream: positions[one] for stream, one in streams.items()}, count=READ_COUNT, block=block_ms
            )
        )
        events: list[Event] = []
        for stream, one in streams.items():
            for entry in read_entries(reply, stream):
                positions[one] = entry[0].decode()
                events += filter(None, [read_event(entry)])
        return events

    def _send(self, submissions: Sequence[Submission]) -> list[Any]:
        with self.redis.pipeline(transaction=False) as pipeline:
            # Loaded in the same pipeline, so that none is refused while a later one of its lane goes through.
            pipeline.script_load(self._submit.source)
            for one in submissions:
                pipeline.evalsha(self._submit.sha1, len(one.keys), *one.keys, *one.arguments)
            replies = list(pipeline.execute(raise_on_error=False))[1:]
        for reply in replies:
            if isinstance(reply, NO_ANSWER):
                raise reply
        return replies

    def _read_hashes(self, keys: Sequence[str]) -> list[dict[bytes, bytes]]:
        with self.redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(key)
            return list(pipeline.execute())

    def _members(self, key: str) -> list[str]:
        members: Any = self.ask(lambda: self.redis.smembers(key))
        return sorted(one.decode() for one in members)
