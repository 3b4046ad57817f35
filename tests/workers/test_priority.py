"""What is urgent leaves first: past a budget that places have used up, past places that wait, never past what it needs.

How long it took is printed (`pytest -s`), not asserted: the promise here is who goes before whom.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from orderlane.intents import Intent, PlaceOrder, Side
from orderlane.orders import OrderStatus
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import USDM
from tests.workers.thinking_lanes import close, follow, known, market, sent, statuses

__all__ = ["paper", "paper_of_module", "pool"]

COINS = ("ETH", "BNB", "SOL", "XRP", "ADA", "DOGE", "LTC", "LINK", "AVAX", "DOT")
SYMBOL = USDM.symbol
FLOOD = 12
"""Places that wait in each lane."""
URGENT = 12
"""Cancels that are measured."""


def limit_orders(pool: Pool, notation: str = "30/10 seconds", reserve: str = "0.1") -> None:
    """Let places have so few tokens that most of them wait."""
    pool.config = pool.config.replace(
        "limits_reserve: 0",
        f"limits_reserve: {reserve}\n    limits: {{orders_10s: {notation}, orders_1m: 100000/minute}}",
        1,
    )


def elsewhere(name: str, coin: str, **fields: Any) -> PlaceOrder:
    amount = Decimal(200) if coin in ("XRP", "ADA", "DOGE") else Decimal(2)
    return msgspec.structs.replace(market(name, **fields), symbol=f"{coin}/USDT:USDT", amount=amount)


def flood() -> list[PlaceOrder]:
    """Places of every lane, that of BTC too: some seconds of the account's budget."""
    lanes = [elsewhere(f"{coin}-{number}", coin) for number in range(FLOOD) for coin in COINS]
    return lanes + [market(f"BTC-{number}", "0.01") for number in range(FLOOD)]


async def exhausted(pool: Pool) -> None:
    """Wait until the places have used up what they may: none has left for a while."""

    async def seen() -> int:
        before = len(pool.paper.audit())
        await asyncio.sleep(0.15)
        return len(pool.paper.audit()) - before

    while await seen() > 1:
        pass


def delay_ms(pool: Pool, named: Intent, entry: str) -> float:
    """From XADD of an entry to the last request at the exchange about the order of this intent."""
    identifier = pool.client_order_id(named)
    arrived = [one["at_us"] for one in pool.paper.audit() if one["client_order_id"] == identifier]
    return float(arrived[-1]) / 1000 - int(entry.partition("-")[0])


async def test_cancels_and_closes_leave_at_once_though_places_have_used_up_the_budget(
    pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    limit_orders(pool, "60/10 seconds")
    resting = [USDM.order(f"resting-{number}") for number in range(URGENT)]
    cancels = [USDM.cancels(f"cancel-{number}", one.id) for number, one in enumerate(resting)]
    opening = elsewhere("opening", "ETH", strategy="exit")
    closing = msgspec.structs.replace(opening, id="closing", side=Side.SELL, reduce_only=True)
    urgent: list[Intent] = [*cancels, closing]
    delays = []
    async with pool.working():
        for one in (*resting, opening):
            pool.send(one)
            await pool.outcome(one)
        pool.send(*flood())
        await exhausted(pool)
        for number, intent in enumerate(urgent):
            await asyncio.sleep(number * 0.013)  # at every phase of what is done now and then
            before = len(sent(pool))
            entry = pool.send(intent)
            await pool.outcome(intent)
            delays.append(delay_ms(pool, resting[number] if intent in cancels else intent, entry))
            passed_by = [name for _, name in sent(pool)[before:-1]]
            assert len(passed_by) <= 2, f"{intent.id} waited for {passed_by}"
        assert pool.backlog() > 0, "nothing waited: the budget was never used up"
    assert set(statuses(pool, *cancels)) == {OrderStatus.DONE}
    assert known(pool, closing).status is OrderStatus.FILLED
    with capsys.disabled():
        sys.stdout.write(
            f"\nfrom XADD to the exchange, the budget used up by {len(flood())} places: {URGENT} cancels and a close "
            f"in {statistics.median(delays):.0f} ms at the median, {max(delays):.0f} ms at most\n"
        )


async def test_an_emergency_leaves_at_once_too(pool: Pool) -> None:
    limit_orders(pool)
    emergency = market("emergency", "0.01", side="sell", priority=0)
    async with pool.working():
        pool.send(*flood())
        await exhausted(pool)
        before = len(pool.paper.audit())
        pool.send(emergency)
        await pool.outcome(emergency)
        names = [name for _, name in sent(pool)[before:]]
    assert names.index("emergency") <= 2, names


async def test_a_place_that_waits_gives_way_and_keeps_its_turn_among_those_of_other_lanes(pool: Pool) -> None:
    """BTC waits before ETH. An urgent order passes it, and then it is its turn, not that of ETH."""
    limit_orders(pool, "8/4 seconds")
    async with pool.working():
        pool.send(*(elsewhere(f"spent-{number}", "SOL") for number in range(3)))
        await exhausted(pool)
        first, second = market("first", "0.01"), elsewhere("second", "ETH")
        pool.send(first)
        await asyncio.sleep(0.1)
        pool.send(second)
        await asyncio.sleep(0.1)
        urgent = market("urgent", "0.01", side="sell", priority=1)
        pool.send(urgent)
        for one in (urgent, first, second):
            await pool.outcome(one)
    names = [name for _, name in sent(pool)]
    assert [name for name in names if name in ("urgent", "first", "second")] == ["urgent", "first", "second"]


async def test_what_gave_way_to_its_own_cancel_is_never_sent(pool: Pool) -> None:
    limit_orders(pool)
    async with pool.working():
        pool.send(*flood())
        await exhausted(pool)
        target = market(f"BTC-{FLOOD - 1}", "0.01")
        cancel = USDM.cancels("cancel", target.id)
        pool.send(cancel)
        await pool.outcome(cancel)
        assert pool.backlog() > 0
    assert statuses(pool, target, cancel) == [OrderStatus.CANCELED, OrderStatus.DONE]
    assert pool.arrived(target, "place") == []


async def test_a_reduce_only_waits_for_the_opening_orders_of_its_own_strategy(pool: Pool) -> None:
    follow(pool, annul_open_and_close="false")
    opening, closing = (
        market("opening", strategy="own", priority=9),
        close("closing", strategy="own", priority=0),
    )
    pool.send(USDM.order("first"), opening, closing)
    async with pool.working():
        await pool.ended()
    assert [name for _, name in sent(pool)] == ["first", "opening", "closing"]
    assert known(pool, closing).status is OrderStatus.FILLED


async def test_the_most_urgent_lane_is_run_first(pool: Pool) -> None:
    pool.config = pool.config.replace("{lease_ms", "{lanes: 1, in_flight: 1, lease_ms")
    usual = [elsewhere(f"usual-{coin}", coin) for coin in COINS]
    pool.send(*usual, market("urgent", "0.01", priority=0))
    async with pool.working():
        await pool.ended()
    assert sent(pool)[0] == ("place", "urgent")


async def test_a_place_whose_deadline_passes_while_it_waits_for_tokens_is_not_sent(pool: Pool) -> None:
    limit_orders(pool)
    async with pool.working():
        pool.send(*flood())
        await exhausted(pool)
        deadline = int(time.time() * 1000) + 150
        late = elsewhere("late", "BCH", expires_at=deadline)
        pool.send(late)
        assert (await pool.outcome(late)).status is OrderStatus.EXPIRED
    pool.assert_never(late)
