"""The blocking client: submit intents, look at their orders, wait for them, follow events.

    with Client("redis://localhost:6379/0", exchange="binance", account="main") as client:
        client.submit(PlaceOrder(id="grid-1", exchange="binance", account="main", symbol="BTC/USDT:USDT",
                                 side=Side.BUY, type=OrderType.LIMIT, amount=Decimal("0.5"), price=Decimal(64000)))
        order = client.wait("grid-1", until="acknowledged", timeout_seconds=10)

Threads may share a client. Only `submit` and what builds on it write; all else may be repeated at will.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import count
from types import TracebackType
from typing import Self
from uuid import uuid4

from orderlane.admission import Submitted, amend_of, cancel_of, same_cancel, settles
from orderlane.client_settings import RETRY_SECONDS, ClientSettings
from orderlane.errors import IdReused, OutcomeUnknown, Unreachable, WaitTimeout
from orderlane.events import Event
from orderlane.intents import Intent
from orderlane.lookup import Place, Target, only_order, replaced_by, stated_target, target_of
from orderlane.orders import Order
from orderlane.pool_link import PoolLink
from orderlane.positions import AccountPositions, hashes_of, read_answers
from orderlane.waiting import BLOCK_SECONDS, Until, check_position, has_reached, reports, statuses_of


class Client:
    """A blocking client of one pool.

    Args:
        url: address of the pool's Redis: `redis://`, `rediss://`, `unix://`, `redis+sentinel://` for its Sentinels,
            or `redis+cluster://` for nodes of its cluster.
        exchange: the exchange that calls mean when they name none; without it all of the pool's are searched.
        account: likewise.
        pool: the name all keys of the pool start with.
        backlog_limit: `submit` adds nothing once this many intents of the exchange are unfinished; None: only the
            pool's own limits hold, which its workers publish (`backlog_limit`, `account_backlog_limit` of the
            exchange). Cancels and reduce-only orders pass all of them.
        retry_seconds: for how long a call is repeated while Redis does not answer; `math.inf`: for ever. An
            attempt ends after 5 s where Redis is silent, at once where it is gone.

    Raises:
        ValueError: an argument is none of these.

    Every call may also raise `Unreachable` (Redis did not answer for `retry_seconds`) and redis-py's own
    ResponseError or AuthenticationError (Redis refused the command or the login).
    """

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
        self._link = PoolLink(self.settings)

    def submit(self, intent: Intent) -> Submitted:
        """Add an intent to its exchange's stream, once: submitted again, it is answered with its order.

        A call whose reply is lost is repeated by itself, which never adds the intent twice.

        Raises:
            IntentInvalid: the intent breaks the rules of its fields; nothing was added.
            IdReused: the id is taken by an intent with other content; nothing was added.
            ExchangeUnknown: the pool's workers have registered other exchanges only; nothing was added.
            Backlogged: the backlog of the exchange or the account is at its limit; nothing was added.
            OutcomeUnknown: Redis did not answer for `retry_seconds`: submit it again, with the same id.
        """
        submission = self.settings.submission(intent, uuid4().hex)
        try:
            self._link.check_exchange(submission.intent.exchange)
            reply = self._link.submit(submission)
        except Unreachable as failure:
            raise OutcomeUnknown(failure, [intent.id]) from failure.__cause__
        return submission.outcome(reply)

    def submit_many(self, intents: Iterable[Intent]) -> list[Submitted | Exception]:
        """Submit each intent as `submit` does, hundreds to a round trip; the results keep the order.

        Each stands for itself: what `submit` would raise is put in its place, and those after it go on. When
        Redis does not answer for `retry_seconds`, the intents under way are `OutcomeUnknown` and those behind
        them, which were not sent, `Unreachable`.
        """
        results: list[Submitted | Exception] = []
        failure: Unreachable | None = None
        for batch in self.settings.batches(intents, (uuid4().hex for _ in count())):
            if failure is not None:
                results += batch.unsent(failure)
                continue
            try:
                admitted = batch.without(self._link.unknown_exchanges(batch.exchanges))
                results += admitted.results(self._link.submit_batch(admitted.submissions))
            except Unreachable as error:
                failure = error
                results += batch.unanswered(error)
        return results

    def get(self, intent_id: str, *, exchange: str | None = None, account: str | None = None) -> Order | None:
        """The order of an intent as it stands, or None where the pool has no record of it.

        An intent that a producer appended to the stream without a client has no record until a worker has
        begun it. Records of orders that ended are kept for the pool's retention time.

        Raises:
            IntentAmbiguous: several accounts have an intent of this id.
        """
        return self._look(intent_id, self._link.places(exchange, account))

    def open_orders(self, account: str | None = None, *, exchange: str | None = None) -> list[Order]:
        """Every order that was begun and has not ended, those changed last at the end. UNKNOWN ones are among them."""
        places = self._link.places(exchange, account)
        keys = [key for place in places for key in self._link.open_order_keys(place)]
        begun = [order for order in self._link.orders(keys) if not order.status.terminal]
        return sorted(begun, key=lambda order: order.times.updated_at)

    def positions(self, account: str | None = None, *, exchange: str | None = None) -> list[AccountPositions]:
        """Positions and balances of each account as its fills add up to them, with what the exchange said of them last.

        `comparison` says how far they can be relied on: when they last were as the exchange says, and why they have
        not been compared since, if they haven't.
        """
        found: list[AccountPositions] = []
        for place in self._link.places(exchange, account):
            now_ms, hashes = self._link.hashes(hashes_of(self.settings.keys(place.exchange), place.account))
            found += read_answers([(place.exchange, place.account)], hashes, now_ms)
        return found

    def wait(
        self,
        intent_id: str,
        until: Until = "acknowledged",
        timeout_seconds: float = 30.0,
        *,
        exchange: str | None = None,
        account: str | None = None,
    ) -> Order:
        """Wait until an order has come to one of the statuses `until`, or has ended, and return it as it is then.

        `acknowledged` is any word of the exchange or the pool: on the book, filled, refused, done. `terminal` is
        an end. A set names statuses; having passed through one during the wait counts. UNKNOWN keeps waiting
        unless it is named. Look at `status` for how it ended.

        Raises:
            WaitTimeout: not within `timeout_seconds`; carries the order as last seen.
            IntentAmbiguous: several accounts have an intent of this id.
        """
        wanted = statuses_of(until)
        deadline = time.monotonic() + timeout_seconds
        # The place in the streams is taken before the first look: a change after the look is then always read.
        positions = {one: self._link.last_event_id(one) for one in self._link.named_exchanges(exchange)}
        while True:
            order = self.get(intent_id, exchange=exchange, account=account)
            if order is not None and has_reached(order, wanted):
                return order
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(intent_id, timeout_seconds, order)
            news = self._news_of(intent_id, account or self.settings.account, positions, left)
            if any(event.to_status in wanted for event in news):
                changed = self.get(intent_id, exchange=exchange, account=account)
                if changed is not None:
                    return changed

    def last_event_id(self, exchange: str | None = None) -> str:
        """Where the stream of events ends now: `events(after=…)` with it misses nothing that happens from here on."""
        return self._link.last_event_id(self._link.one_exchange(exchange))

    def events(self, after: str = "$", exchange: str | None = None) -> Iterator[Event]:
        """Events of one exchange as they happen, oldest first, without end.

        Reading consumes nothing: keep the `id` of the last event handled, and pass it as `after` to go on from
        there, in another process too. `0` starts with the oldest that is kept, `$` at the moment the first event
        is asked for. Lost connections are made anew; after `retry_seconds` without Redis, Unreachable is raised.

        Raises:
            ValueError: `after` is none of these.
            ExchangeUnclear: no exchange was named and the pool does not have exactly one.
        """
        return self._follow(check_position(after), exchange)

    def cancel(
        self,
        intent_id: str,
        *,
        exchange: str | None = None,
        account: str | None = None,
        symbol: str | None = None,
    ) -> Submitted:
        """Ask for the cancel of what an intent placed; `wait` on the answer's `order.id` for its outcome.

        Called again it answers with the cancel that is there (`duplicate`), unless that one was refused or
        failed: then it makes a new one. Where an amend replaced the order, its successor is cancelled. `symbol`,
        with exchange and account, allows the cancel of an intent the pool has no record of yet.

        Raises:
            OrderNotFound: the pool has no record of the intent, and `symbol` was not given.
            OrderEnded: it has ended; there is nothing to cancel.
            IntentAmbiguous, and what `submit` raises.
        """
        target = self._target(intent_id, exchange, account, symbol)
        for number in count(1):
            intent = cancel_of(target, number)
            try:
                submitted = self.submit(intent)
            except IdReused as reused:
                submitted = same_cancel(intent, reused)
            if settles(submitted):
                return submitted
        raise AssertionError("count never ends")

    def amend(
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
        """Ask for a new total `amount` (base) and/or `price` of what an intent placed.

        Every call is an amend of its own, in order, unless `id` names it: then a repeated call is the same amend.

        Raises:
            IntentInvalid: it changes nothing, or a number is none that can be sent.
            OrderNotFound, OrderEnded, IntentAmbiguous: as `cancel`; and what `submit` raises.
        """
        target = self._target(intent_id, exchange, account, symbol)
        return self.submit(amend_of(target, id or f"amend:{uuid4().hex}", amount, price))

    def close(self) -> None:
        """Close the connections. The client is of no more use afterwards."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _look(self, intent_id: str, places: list[Place]) -> Order | None:
        keys = [self.settings.order_key(place.exchange, place.account, intent_id) for place in places]
        return only_order(intent_id, self._link.orders(keys))

    def _target(
        self, intent_id: str, exchange: str | None, account: str | None, symbol: str | None
    ) -> Target:
        places = self._link.places(exchange, account)
        order = self._look(intent_id, places)
        if order is None:
            for one in {place.exchange for place in places}:
                self._link.check_exchange(one)
            return stated_target(intent_id, places, symbol)
        here = [Place(order.intent.exchange, order.intent.account)]
        while (successor := replaced_by(order)) and (replacement := self._look(successor, here)):
            order = replacement
        return target_of(order)

    def _news_of(
        self, intent_id: str, account: str | None, positions: dict[str, str], seconds: float
    ) -> list[Event]:
        """What is said about the intent further on in the streams, as soon as there is something; [] after a while."""
        deadline = time.monotonic() + min(seconds, BLOCK_SECONDS)
        while (left := deadline - time.monotonic()) > 0:
            events = self._link.next_events(positions, left)
            if news := [event for event in events if reports(event, intent_id, account)]:
                return news
        return []

    def _follow(self, after: str, exchange: str | None) -> Iterator[Event]:
        name = self._link.one_exchange(exchange)
        positions = {name: self._link.last_event_id(name) if after == "$" else after}
        while True:
            yield from self._link.next_events(positions, BLOCK_SECONDS)
