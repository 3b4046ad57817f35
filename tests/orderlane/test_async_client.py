"""The asyncio client keeps the promises of the blocking one, with any number of calls at once."""

from __future__ import annotations

import asyncio
import inspect
from decimal import Decimal

import pytest

from orderlane.admission import Submitted
from orderlane.async_client import AsyncClient
from orderlane.client import Client
from orderlane.errors import Backlogged, ExchangeUnknown, IdReused, OutcomeUnknown, Unreachable, WaitTimeout
from orderlane.intents import IntentInvalid
from orderlane.orders import OrderStatus
from tests.orderlane.played_pool import PlayedPool, advancing, an_intent
from tests.orderlane.proxies import proxy_of

LONG_SECONDS = 20.0
"""Longer than any of these waits takes."""
ENDLESS_SECONDS = 600.0
"""So long that a wake-up which is lost is a failure, and not made good by the last look at the record."""


@pytest.fixture
def only_events_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orderlane.async_client.BLOCK_SECONDS", ENDLESS_SECONDS)


def public(kind: type) -> dict[str, object]:
    return {
        name: inspect.signature(call).replace(return_annotation=None)
        for name, call in inspect.getmembers(kind, callable)
        if not name.startswith("_") or name == "__init__"
    }


def test_both_clients_have_the_same_calls_with_the_same_arguments() -> None:
    assert public(Client) == public(AsyncClient)


async def test_a_thousand_submits_at_once_are_each_added_once(
    async_client: AsyncClient, pool: PlayedPool
) -> None:
    await asyncio.gather(*[async_client.submit(an_intent(f"i-{number}")) for number in range(1000)])
    again = await asyncio.gather(*[async_client.submit(an_intent(f"i-{number}")) for number in range(1000)])
    assert all(one.duplicate for one in again)
    assert len(pool.payloads()) == 1000


async def test_errors_are_those_of_the_blocking_client(redis_url: str, pool: PlayedPool) -> None:
    async with AsyncClient(redis_url, backlog_limit=1) as client:
        await client.submit(an_intent())
        with pytest.raises(IdReused):
            await client.submit(an_intent(amount=Decimal(1)))
        with pytest.raises(Backlogged):
            await client.submit(an_intent("b"))
        with pytest.raises(IntentInvalid):
            await client.submit(an_intent("not valid"))
        kinds = [
            type(one) for one in await client.submit_many([an_intent(), an_intent("b"), an_intent("c c")])
        ]
        assert kinds == [Submitted, Backlogged, IntentInvalid]
    async with AsyncClient("redis://127.0.0.1:1/0", retry_seconds=0) as client:
        with pytest.raises(OutcomeUnknown):
            await client.submit(an_intent())
        with pytest.raises(Unreachable):
            await client.get("grid-1", exchange="binance", account="main")
        with pytest.raises(Unreachable):
            await client.wait("grid-1", exchange="binance", account="main")
        assert [type(one) for one in await client.submit_many([an_intent()])] == [OutcomeUnknown]


async def test_lost_replies_lead_to_one_entry_each(redis_url: str, pool: PlayedPool) -> None:
    with proxy_of(redis_url) as proxy:
        async with AsyncClient(proxy.url) as client:
            proxy.lose_replies(to=b"EVALSHA", times=5)
            results = await asyncio.gather(*[client.submit(an_intent(f"i-{number}")) for number in range(20)])
            many = await client.submit_many([an_intent(f"m-{number}") for number in range(20)])
        assert proxy.lost == 5
    assert not any(one.duplicate for one in results)
    assert all(isinstance(one, Submitted) and not one.duplicate for one in many)
    assert len(pool.payloads()) == 40


async def test_a_submit_that_was_cancelled_in_the_middle_leaves_the_client_whole(
    redis_url: str, pool: PlayedPool
) -> None:
    with proxy_of(redis_url) as proxy:
        async with AsyncClient(proxy.url) as client:
            await client.submit(an_intent("first"))
            proxy.lose_replies(to=b"EVALSHA", times=1, silently=True)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.submit(an_intent("cut-off")), 0.2)
            assert (await client.submit(an_intent("next"))).order.id == "next"
            assert (await client.submit(an_intent("cut-off"))).duplicate
    assert len(pool.payloads()) == 3


@pytest.mark.usefixtures("only_events_wake")
async def test_three_hundred_waits_at_once_share_a_connection_and_all_end(
    async_client: AsyncClient, pool: PlayedPool
) -> None:
    ids = [f"i-{number}" for number in range(300)]
    waits = [
        asyncio.create_task(async_client.wait(one, "terminal", timeout_seconds=ENDLESS_SECONDS))
        for one in ids
    ]
    for status in (OrderStatus.SUBMITTED, OrderStatus.ACTIVE, OrderStatus.FILLED):
        for one in ids:
            pool.advance(an_intent(one), status)
        await asyncio.sleep(0.05)
    async with asyncio.timeout(LONG_SECONDS):
        assert [(await one).id for one in waits] == ids
    assert len(pool.raw.client_list()) <= 40


@pytest.mark.usefixtures("only_events_wake")
@pytest.mark.parametrize("command", [b"HGETALL", b"XREAD"])
async def test_a_status_passed_through_at_any_moment_of_a_wait_ends_it(
    redis_url: str, pool: PlayedPool, command: bytes
) -> None:
    pool.advance(an_intent(), OrderStatus.SUBMITTED)
    with proxy_of(redis_url) as proxy:
        async with AsyncClient(proxy.url, exchange="binance", account="main") as client:
            proxy.before(command, advancing(pool, OrderStatus.UNKNOWN, OrderStatus.ACTIVE))
            order = await client.wait("grid-1", {OrderStatus.UNKNOWN}, timeout_seconds=LONG_SECONDS)
    assert order.status is OrderStatus.ACTIVE


@pytest.mark.usefixtures("only_events_wake")
async def test_waits_one_after_another_miss_nothing_between_them(
    async_client: AsyncClient, pool: PlayedPool
) -> None:
    for number in range(30):
        intent = an_intent(f"i-{number}")
        waiting = asyncio.create_task(async_client.wait(intent.id, timeout_seconds=ENDLESS_SECONDS))
        await asyncio.sleep(0.001 * (number % 5))
        pool.advance(intent, OrderStatus.ACTIVE)
        async with asyncio.timeout(LONG_SECONDS):
            assert (await waiting).id == intent.id


async def test_a_wait_that_times_out_or_is_cancelled_leaves_the_others_alone(
    async_client: AsyncClient, pool: PlayedPool
) -> None:
    pool.advance(an_intent(), OrderStatus.SUBMITTED)
    lasting = asyncio.create_task(async_client.wait("grid-1", timeout_seconds=LONG_SECONDS))
    cancelled = asyncio.create_task(async_client.wait("grid-1", timeout_seconds=LONG_SECONDS))
    with pytest.raises(WaitTimeout) as caught:
        await async_client.wait("grid-1", timeout_seconds=0.05)
    assert caught.value.order is not None
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    pool.advance(an_intent(), OrderStatus.ACTIVE)
    assert (await lasting).status is OrderStatus.ACTIVE


async def test_waits_go_on_through_cut_connections(redis_url: str, pool: PlayedPool) -> None:
    pool.advance(an_intent(), OrderStatus.SUBMITTED)
    with proxy_of(redis_url) as proxy:
        async with AsyncClient(proxy.url, exchange="binance", account="main") as client:
            proxy.lose_requests(to=b"XREAD", times=2)
            waiting = asyncio.create_task(client.wait("grid-1", timeout_seconds=LONG_SECONDS))
            await asyncio.sleep(0.1)
            proxy.cut_all()
            pool.advance(an_intent(), OrderStatus.ACTIVE)
            assert (await waiting).status is OrderStatus.ACTIVE


async def test_events_are_followed_from_any_point(async_client: AsyncClient, pool: PlayedPool) -> None:
    for status in (OrderStatus.SUBMITTED, OrderStatus.ACTIVE):
        pool.advance(an_intent(), status)
    events = async_client.events("0")
    first = await anext(events)
    assert (await anext(events)).to_status is OrderStatus.ACTIVE
    assert (await anext(async_client.events(first.id))).to_status is OrderStatus.ACTIVE
    after = await async_client.last_event_id()
    pool.advance(an_intent(), OrderStatus.FILLED)
    assert (await anext(async_client.events(after))).to_status is OrderStatus.FILLED


async def test_cancel_amend_get_and_open_orders_work_alike(
    async_client: AsyncClient, pool: PlayedPool
) -> None:
    pool.advance(an_intent(), OrderStatus.ACTIVE)
    assert [one.id for one in await async_client.open_orders()] == ["grid-1"]
    cancel = await async_client.cancel("grid-1")
    assert (await async_client.cancel("grid-1")).duplicate
    pool.advance(cancel.order.intent, OrderStatus.FAILED)
    assert (await async_client.cancel("grid-1")).order.id == "cancel:grid-1:2"
    amend = await async_client.amend("grid-1", price=Decimal(65000))
    assert await async_client.get(amend.order.id) == amend.order


async def test_an_exchange_the_pool_does_not_have_is_refused(
    async_client: AsyncClient, pool: PlayedPool
) -> None:
    pool.register("kraken")
    with pytest.raises(ExchangeUnknown, match="it has kraken"):
        await async_client.submit(an_intent())
    with pytest.raises(ExchangeUnknown):
        await async_client.cancel("grid-2", symbol="X/Y")
    unknown, known = await async_client.submit_many([an_intent(), an_intent(exchange="kraken")])
    assert (type(unknown), type(known)) == (ExchangeUnknown, Submitted)
    assert pool.payloads() == []
