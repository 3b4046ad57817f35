"""Places of different lanes that are ready at the same moment, sent in one request where the venue takes several.

What stands for each order stays its own: it was begun by itself, has its own verdict, and is resolved by itself. Nobody
waits for company: what one turn of the event loop brings goes together, and a place that is alone goes alone.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from msgspec import Struct

from common import failpoints
from common.exchange.base import ExchangeFailure, OrderReport, OrderRequest, Outcome


class Placing(Protocol):
    """What new orders go through."""

    async def place(self, request: OrderRequest, at_ms: int) -> OrderReport:
        """As `Exchange.place`."""
        ...


class Places(Placing, Protocol):
    """What of an exchange is used here."""

    batch_limit: int

    async def place_batch(
        self, requests: Sequence[OrderRequest], at_ms: int
    ) -> list[OrderReport | ExchangeFailure]: ...

    def batches(self, request: OrderRequest) -> bool:
        """Whether the venue takes this order in a batch."""
        ...


class _Place(Struct, frozen=True):
    request: OrderRequest
    at_ms: int
    outcome: asyncio.Future[OrderReport]


class Coalescing:
    """The `place` of an exchange, for many lanes at once.

    `most`: orders in one request, at most (and never more than the venue takes). `pay` is asked, with the account and
    the symbol of one of them, to pay what a batch costs beyond its orders; where it can't, they go one by one.
    `require_lease` is called right before a batch leaves, and raises when nothing may leave any more; `now_ms` is the
    clock that deadlines go by.
    """

    def __init__(
        self,
        exchange: Places,
        most: int,
        pay: Callable[[str, str], Awaitable[bool]],
        require_lease: Callable[[], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._exchange = exchange
        self._most = min(most, exchange.batch_limit)
        self._pay = pay
        self._require_lease = require_lease
        self._now_ms = now_ms
        self._gathered: dict[str, list[_Place]] = defaultdict(list)
        self._requests: set[asyncio.Task[None]] = set()

    async def place(self, request: OrderRequest, at_ms: int) -> OrderReport:
        """As `Exchange.place`; raises as it does, and what `require_lease` raises."""
        if self._most < 2 or not self._exchange.batches(request):
            return await self._exchange.place(request, at_ms)
        loop = asyncio.get_running_loop()
        place = _Place(request, at_ms, loop.create_future())
        gathered = self._gathered[request.account]
        if not gathered:
            loop.call_soon(self._send, request.account)
        gathered.append(place)
        return await place.outcome

    def _send(self, account: str) -> None:
        # One whose lane was given up while it waited here is not sent: nobody would hear its verdict.
        places = [one for one in self._gathered.pop(account) if not one.outcome.done()]
        for start in range(0, len(places), self._most):
            task = asyncio.create_task(self._request(places[start : start + self._most]))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    async def _request(self, places: Sequence[_Place]) -> None:
        try:
            outcomes = await self._ask(places)
        except asyncio.CancelledError as error:
            outcomes = [error] * len(places)
        except Exception as error:  # noqa: BLE001 - each lane gets what the request got, whatever it was
            outcomes = [error] * len(places)
        for place, outcome in zip(places, outcomes, strict=True):
            if place.outcome.done():
                continue
            if isinstance(outcome, OrderReport):
                place.outcome.set_result(outcome)
            elif isinstance(outcome, Exception):
                place.outcome.set_exception(outcome)
            else:
                cut_off = "the request was cut off by this process"
                place.outcome.set_exception(ExchangeFailure(Outcome.UNKNOWN, "cancelled", cut_off))

    async def _ask(self, places: Sequence[_Place]) -> Sequence[OrderReport | BaseException]:
        first = places[0].request
        together = len(places) > 1 and await self._pay(first.account, first.symbol)
        self._require_lease()
        # To pay takes time: what has become too late meanwhile is not sent.
        now_ms = self._now_ms()
        late = [_too_late(place.request, now_ms) for place in places]
        in_time = [place for place, why_not in zip(places, late, strict=True) if why_not is None]
        sent = iter(await (self._together if together and len(in_time) > 1 else self._singly)(in_time))
        return [why_not or next(sent) for why_not in late]

    async def _singly(self, places: Sequence[_Place]) -> Sequence[OrderReport | BaseException]:
        requests = (self._exchange.place(place.request, place.at_ms) for place in places)
        return await asyncio.gather(*requests, return_exceptions=True)

    async def _together(self, places: Sequence[_Place]) -> Sequence[OrderReport | BaseException]:
        failpoints.reach("batch.paid")
        # The earliest stamp: the exchange then refuses the request before any of the orders' own bounds has passed.
        at_ms = min(place.at_ms for place in places)
        outcomes = await self._exchange.place_batch([place.request for place in places], at_ms)
        failpoints.reach("batch.replied")
        return outcomes


def _too_late(request: OrderRequest, now_ms: int) -> ExchangeFailure | None:
    """Why a request is not sent any more: nothing has happened, and its lane sees that the deadline has passed."""
    deadline = request.expires_at
    if deadline is None or now_ms <= deadline:
        return None
    message = (
        f"expires_at was {deadline}, {now_ms - deadline} ms before the request could be sent: it is not sent"
    )
    return ExchangeFailure(Outcome.NOT_SENT, "deadline_passed", message)
