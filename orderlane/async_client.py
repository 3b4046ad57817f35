"""The asyncio client: `Client`, call for call, with `await`.

    async with AsyncClient("redis://localhost:6379/0", exchange="binance", account="main") as client:
        await client.submit(intent)
        order = await client.wait(intent.id, until="acknowledged", timeout_seconds=10)

Any number of calls may be under way at once; all waits of one exchange share a single connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from decimal import Decimal
from itertools import count
from types import TracebackType
from typing import Self
from uuid import uuid4

from orderlane.admission import Submitted, amend_of, cancel_of, same_cancel, settles
from orderlane.async_pool_link import AsyncPoolLink
from orderlane.client_settings import RETRY_SECONDS, ClientSettings
from orderlane.errors import IdReused, OutcomeUnknown, Unreachable, WaitTimeout
from orderlane.event_feed import EventFeed, Listener
from orderlane.events import Event
from orderlane.intents import Intent
from orderlane.lookup import Place, Target, only_order, replaced_by, stated_target, target_of
from orderlane.orders import Order
from orderlane.positions import AccountPositions, hashes_of, read_answers
from orderlane.waiting import BLOCK_SECONDS, Until, check_position, has_reached, reports, statuses_of


class AsyncClient:
    """An asyncio client of one pool, for one event loop. Arguments, calls and errors are those of `Client`."""

    def __init__(
        self,
        url: str,
        *,
        exchange: str | None = None,
        account: str | None = None,
        pool: str = "orderlane",
        backlog_limit: int | None = None,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.settings = ClientSettings(
            url=url,
            exchange=exchange,
            account=account,
            pool=pool,
            backlog_limit=backlog_limit,
            retry_seconds=retry_seconds,
        )
        self._link = AsyncPoolLink(self.settings)
        self._feeds: dict[str, EventFeed] = {}

    async def submit(self, intent: Intent) -> Submitted:
        """Add an intent to its exchange's stream, once; see `Client.submit`."""
        submission = self.settings.submission(intent, uuid4().hex)
        try:
            await self._link.check_exchange(submission.intent.exchange)
            reply = await self._link.submit(submission)
        except Unreachable as failure:
            raise OutcomeUnknown(failure, [intent.id]) from failure.__cause__
        return submission.outcome(reply)

    async def submit_many(self, intents: Iterable[Intent]) -> list[Submitted | Exception]:
        """Submit each intent as `submit` does, hundreds to a round trip; see `Client.submit_many`."""
        results: list[Submitted | Exception] = []
        failure: Unreachable | None = None
        for batch in self.settings.batches(intents, (uuid4().hex for _ in count())):
            if failure is not None:
                results += batch.unsent(failure)
                continue
            try:
                admitted = batch.without(await self._link.unknown_exchanges(batch.exchanges))
                results += admitted.results(await self._link.submit_batch(admitted.submissions))
            except Unreachable as error:
                failure = error
                results += batch.unanswered(error)
        return results

    async def get(
        self, intent_id: str, *, exchange: str | None = None, account: str | None = None
    ) -> Order | None:
        """The order of an intent as it stands, or None; see `Client.get`."""
        return await self._look(intent_id, await self._link.places(exchange, account))

    async def open_orders(self, account: str | None = None, *, exchange: str | None = None) -> list[Order]:
        """Every order that was begun and has not ended; see `Client.open_orders`."""
        places = await self._link.places(exchange, account)
        keys = [key for place in places for key in await self._link.open_order_keys(place)]
        begun = [order for order in await self._link.orders(keys) if not order.status.terminal]
        return sorted(begun, key=lambda order: order.times.updated_at)

    async def positions(
        self, account: str | None = None, *, exchange: str | None = None
    ) -> list[AccountPositions]:
        """Positions and balances of each account; see `Client.positions`."""
        found: list[AccountPositions] = []
        for place in await self._link.places(exchange, account):
            keys = hashes_of(self.settings.keys(place.exchange), place.account)
            now_ms, hashes = await self._link.hashes(keys)
            found += read_answers([(place.exchange, place.account)], hashes, now_ms)
        return found

    async def wait(
        self,
        intent_id: str,
        until: Until = "acknowledged",
        timeout_seconds: float = 30.0,
        *,
        exchange: str | None = None,
        account: str | None = None,
    ) -> Order:
        """Wait until an order has come to one of the statuses `until`, or has ended; see `Client.wait`."""
        wanted = statuses_of(until)
        deadline = time.monotonic() + timeout_seconds
        listener = Listener()
        async with AsyncExitStack() as listening:
            for one in await self._link.named_exchanges(exchange):
                feed = self._feeds.setdefault(one, EventFeed(self._link, one))
                await listening.enter_async_context(feed.listen(intent_id, listener))
            passed = False
            while True:
                order = await self.get(intent_id, exchange=exchange, account=account)
                if order is not None and (passed or has_reached(order, wanted)):
                    return order
                left = deadline - time.monotonic()
                if left <= 0:
                    raise WaitTimeout(intent_id, timeout_seconds, order)
                await _arrival(listener, min(left, BLOCK_SECONDS))
                passed = any(
                    event.to_status in wanted
                    for event in listener.news()
                    if reports(event, intent_id, account or self.settings.account)
                )

    async def last_event_id(self, exchange: str | None = None) -> str:
        """Where the stream of events ends now; see `Client.last_event_id`."""
        return await self._link.last_event_id(await self._link.one_exchange(exchange))

    async def events(self, after: str = "$", exchange: str | None = None) -> AsyncIterator[Event]:
        """Events of one exchange as they happen, oldest first, without end; see `Client.events`."""
        check_position(after)
        name = await self._link.one_exchange(exchange)
        position = await self._link.last_event_id(name) if after == "$" else after
        while True:
            position, events = await self._link.next_events(name, position)
            for event in events:
                yield event

    async def cancel(
        self,
        intent_id: str,
        *,
        exchange: str | None = None,
        account: str | None = None,
        symbol: str | None = None,
    ) -> Submitted:
        """Ask for the cancel of what an intent placed; see `Client.cancel`."""
        target = await self._target(intent_id, exchange, account, symbol)
        for number in count(1):
            intent = cancel_of(target, number)
            try:
                submitted = await self.submit(intent)
            except IdReused as reused:
                submitted = same_cancel(intent, reused)
            if settles(submitted):
                return submitted
        raise AssertionError("count never ends")

    async def amend(
        self,
        intent_id: str,
        *,
        amount: Decimal | None = None,
        price: Decimal | None = None,
        id: str | None = None,
        exchange: str | None = None,
        account: str | None = None,
        symbol: str | None = None,
    ) -> Submitted:
        """Ask for a new total amount and/or price of what an intent placed; see `Client.amend`."""
        target = await self._target(intent_id, exchange, account, symbol)
        return await self.submit(amend_of(target, id or f"amend:{uuid4().hex}", amount, price))

    async def close(self) -> None:
        """Close the connections. The client is of no more use afterwards."""
        for feed in self._feeds.values():
            await feed.close()
        await self._link.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _look(self, intent_id: str, places: list[Place]) -> Order | None:
        keys = [self.settings.order_key(place.exchange, place.account, intent_id) for place in places]
        return only_order(intent_id, await self._link.orders(keys))

    async def _target(
        self, intent_id: str, exchange: str | None, account: str | None, symbol: str | None
    ) -> Target:
        places = await self._link.places(exchange, account)
        order = await self._look(intent_id, places)
        if order is None:
            for one in {place.exchange for place in places}:
                await self._link.check_exchange(one)
            return stated_target(intent_id, places, symbol)
        here = [Place(order.intent.exchange, order.intent.account)]
        while (successor := replaced_by(order)) and (replacement := await self._look(successor, here)):
            order = replacement
        return target_of(order)


async def _arrival(listener: Listener, seconds: float) -> None:
    """Return when the listener has heard something, or after `seconds`."""
    try:
        await asyncio.wait_for(listener.arrived.wait(), seconds)
    except TimeoutError:
        return
