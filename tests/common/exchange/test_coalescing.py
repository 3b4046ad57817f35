"""Places that are ready at the same moment go in one request; each keeps a verdict of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from common.exchange.base import ExchangeFailure, OrderReport, OrderRequest, Outcome
from common.exchange.coalescing import Coalescing
from orderlane.intents import OrderType, Side
from orderlane.orders import OrderStatus


def request(number: int, account: str = "main", **fields: Any) -> OrderRequest:
    plain = {"type": OrderType.MARKET, "side": Side.BUY, "amount": Decimal(1), "symbol": "BTC/USDT:USDT"}
    return OrderRequest(account=account, client_order_id=f"id-{number}", **{**plain, **fields})


def report(of: OrderRequest) -> OrderReport:
    return OrderReport(
        client_order_id=of.client_order_id,
        exchange_order_id=f"x-{of.client_order_id}",
        symbol=of.symbol,
        status=OrderStatus.ACTIVE,
    )


class Recorder:
    """An exchange that notes what it is asked, and refuses the orders named in `refused`."""

    batch_limit = 5

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.stamps: list[int] = []
        self.refused: set[str] = set()
        self.fails: ExchangeFailure | None = None

    def batches(self, one: OrderRequest) -> bool:
        return not one.type.has_trigger

    async def place(self, one: OrderRequest, at_ms: int) -> OrderReport:
        return self._verdicts([one], at_ms, raises=True)[0]  # type: ignore[return-value]

    async def place_batch(
        self, requests: Sequence[OrderRequest], at_ms: int
    ) -> list[OrderReport | ExchangeFailure]:
        return self._verdicts(requests, at_ms)

    def _verdicts(
        self, requests: Sequence[OrderRequest], at_ms: int, *, raises: bool = False
    ) -> list[OrderReport | ExchangeFailure]:
        self.asked.append([one.client_order_id for one in requests])
        self.stamps.append(at_ms)
        if self.fails is not None:
            if raises:
                raise self.fails
            return [self.fails] * len(requests)
        verdicts: list[OrderReport | ExchangeFailure] = []
        for one in requests:
            if one.client_order_id in self.refused:
                failure = ExchangeFailure(Outcome.REFUSED, "-1", "no")
                if raises:
                    raise failure
                verdicts.append(failure)
            else:
                verdicts.append(report(one))
        return verdicts


async def affordable(account: str, symbol: str) -> bool:
    return True


async def unaffordable(account: str, symbol: str) -> bool:
    return False


def has_lease() -> None:
    """It lives."""


def now_ms() -> int:
    return 5_000


async def verdicts(places: Coalescing, *requests: OrderRequest) -> list[str]:
    outcomes = await asyncio.gather(
        *(places.place(one, 1_000 - number) for number, one in enumerate(requests)), return_exceptions=True
    )
    return [str(one.outcome) if isinstance(one, ExchangeFailure) else type(one).__name__ for one in outcomes]


async def test_orders_of_one_moment_share_a_request_stamped_with_the_earliest_of_their_times() -> None:
    exchange = Recorder()
    places = Coalescing(exchange, 5, affordable, has_lease, now_ms)
    assert await verdicts(places, *map(request, range(3))) == ["OrderReport"] * 3
    assert (exchange.asked, exchange.stamps) == ([["id-0", "id-1", "id-2"]], [998])


async def test_a_place_that_is_alone_goes_alone_and_at_once() -> None:
    exchange = Recorder()
    places = Coalescing(exchange, 5, unaffordable, has_lease, now_ms)
    assert await verdicts(places, request(0)) == ["OrderReport"]
    assert exchange.asked == [["id-0"]]


async def test_no_request_holds_more_than_was_allowed_nor_orders_of_two_accounts() -> None:
    exchange = Recorder()
    places = Coalescing(exchange, 2, affordable, has_lease, now_ms)
    await verdicts(places, request(0), request(1, "alt"), request(2), request(3), request(4, "alt"))
    assert sorted(exchange.asked) == [["id-0", "id-2"], ["id-1", "id-4"], ["id-3"]]


async def test_what_the_venue_takes_in_no_batch_goes_by_itself() -> None:
    exchange = Recorder()
    places = Coalescing(exchange, 5, affordable, has_lease, now_ms)
    stop = request(1, type=OrderType.STOP_MARKET, trigger_price=Decimal(1))
    await verdicts(places, request(0), stop, request(2))
    assert sorted(exchange.asked) == [["id-0", "id-2"], ["id-1"]]


async def test_one_bad_order_does_not_spoil_the_others() -> None:
    exchange = Recorder()
    exchange.refused = {"id-1"}
    places = Coalescing(exchange, 5, affordable, has_lease, now_ms)
    assert await verdicts(places, *map(request, range(3))) == ["OrderReport", "refused", "OrderReport"]


async def test_a_batch_that_got_no_answer_leaves_each_of_its_orders_unknown() -> None:
    exchange = Recorder()
    exchange.fails = ExchangeFailure(Outcome.UNKNOWN, "timeout", "no answer")
    places = Coalescing(exchange, 5, affordable, has_lease, now_ms)
    assert await verdicts(places, *map(request, range(3))) == ["unknown"] * 3


async def test_where_a_batch_cannot_be_paid_for_its_orders_go_one_by_one() -> None:
    exchange = Recorder()
    exchange.refused = {"id-1"}
    places = Coalescing(exchange, 5, unaffordable, has_lease, now_ms)
    assert await verdicts(places, *map(request, range(3))) == ["OrderReport", "refused", "OrderReport"]
    assert exchange.asked == [["id-0"], ["id-1"], ["id-2"]]


async def test_nothing_leaves_once_the_lease_is_lost() -> None:
    class Lost(Exception):
        pass

    def lost() -> None:
        raise Lost

    exchange = Recorder()
    places = Coalescing(exchange, 5, affordable, lost, now_ms)
    assert await verdicts(places, request(0), request(1)) == ["Lost", "Lost"]
    assert exchange.asked == []


@pytest.mark.parametrize("pays", [affordable, unaffordable])
async def test_what_became_too_late_while_a_batch_was_paid_for_is_not_sent(
    pays: Callable[[str, str], Awaitable[bool]],
) -> None:
    clock = 5_000

    async def slowly(account: str, symbol: str) -> bool:
        nonlocal clock
        clock = 5_002
        return await pays(account, symbol)

    exchange = Recorder()
    places = Coalescing(exchange, 5, slowly, has_lease, lambda: clock)
    late, in_time = request(0, expires_at=5_001), request(1, expires_at=5_002)
    assert await verdicts(places, late, in_time, request(2)) == ["not_sent", "OrderReport", "OrderReport"]
    assert sorted(one for asked in exchange.asked for one in asked) == ["id-1", "id-2"]


async def test_nothing_is_sent_where_all_of_a_batch_became_too_late() -> None:
    exchange = Recorder()
    places = Coalescing(exchange, 5, affordable, has_lease, now_ms)
    late = [request(number, expires_at=4_999) for number in range(2)]
    assert await verdicts(places, *late) == ["not_sent", "not_sent"]
    assert exchange.asked == []


async def test_a_place_given_up_before_its_batch_leaves_is_not_in_it() -> None:
    exchange = Recorder()
    places = Coalescing(exchange, 5, affordable, has_lease, now_ms)
    tasks = [asyncio.create_task(places.place(request(number), 1_000)) for number in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert exchange.asked in ([["id-0", "id-2"]], [["id-0", "id-1", "id-2"]])
    with pytest.raises(asyncio.CancelledError):
        tasks[1].result()
