"""How long a worker with nothing to do sleeps, and what it must not sleep through."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from common.lanes import Dispatcher, Taken
from tests.paper_process import PaperProcess
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import USDM
from workers import exchange, life
from workers.life import LEASE_OVER_MS, LONGEST_SLEEP_MS, sleep_ms

__all__ = ["paper", "paper_of_module", "pool"]

NOW_MS = 1_700_000_000_000
FOR_EVER_MS = 3_600_000
COINS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "BNB", "LTC", "LINK")


def sleep_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker of this test wakes by itself, nor because its connection seems to be dead."""
    monkeypatch.setattr(life, "LONGEST_SLEEP_MS", FOR_EVER_MS)
    monkeypatch.setattr(exchange, "LONGEST_SLEEP_MS", FOR_EVER_MS)


def leases(pool: Pool) -> dict[bytes, float]:
    """The end of each worker's lease, ms."""
    found: Any = pool.client.zrange(pool.keys().workers, 0, -1, withscores=True)
    return dict(found)


async def stays_through_renewals(pool: Pool) -> None:
    """Watch the only worker's lease being renewed some times, under one id."""
    known = leases(pool)
    for _ in range(3):
        await pool.until(lambda known=known: leases(pool) != known, "a renewal")  # type: ignore[misc]
        before, known = known, leases(pool)
        assert list(known) == list(before)


@pytest.mark.parametrize(
    ("next_end_ms", "expected"),
    [
        (0, LONGEST_SLEEP_MS),
        (NOW_MS + 700, 700 + LEASE_OVER_MS),
        (NOW_MS + 10 * LONGEST_SLEEP_MS, LONGEST_SLEEP_MS),
        (NOW_MS, LEASE_OVER_MS),
        (NOW_MS - 5_000, LEASE_OVER_MS),
    ],
)
def test_a_worker_sleeps_until_the_first_lease_of_another_with_lanes_is_over(
    next_end_ms: int, expected: int
) -> None:
    assert sleep_ms(next_end_ms, NOW_MS) == expected


async def test_a_sleeping_worker_takes_over_from_one_that_died(
    pool: Pool, paper: PaperProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing moves the stream or the bell: all that wakes it is the end of the other's lease."""
    sleep_for_ever(monkeypatch)
    pool.config = pool.config.replace("lease_ms: 1500, heartbeat_ms: 200", "lease_ms: 500, heartbeat_ms: 100")
    intent = USDM.order("intent")
    async with pool.dying():
        paper.fault(USDM.place, "hang", count=1, executed=True)
        pool.send(intent)
        await pool.until(lambda: pool.placed(intent), "the order at the exchange")
        (dead,) = pool.workers()
    seconds, _ = pool.client.time()
    pool.client.zadd(
        pool.keys().workers, {dead: seconds * 1000 + 3_000}
    )  # a later end: the next one sleeps before it
    async with pool.working():
        await pool.outcome(intent)
    pool.assert_once(intent)


async def test_a_worker_does_not_sleep_while_lanes_are_left_over(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those it ran end while it asks for others: it gets as many as it asked for, and nothing tells of the rest."""
    sleep_for_ever(monkeypatch)
    answer = Dispatcher.take

    async def take_late(self: Dispatcher, want: int) -> Taken:
        taken = await answer(self, want)
        await asyncio.sleep(0.1)
        return taken

    monkeypatch.setattr(Dispatcher, "take", take_late)
    pool.config = pool.config.replace("{lease_ms", "{lanes: 2, in_flight: 2, lease_ms")
    pool.send(*(USDM.order(f"on-{coin}", symbol=f"{coin}/USDT:USDT", amount="20") for coin in COINS))
    async with pool.working():
        await pool.ended()


async def test_a_worker_that_sleeps_keeps_its_place(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    sleep_for_ever(monkeypatch)
    pool.config = pool.config.replace("lease_ms: 1500, heartbeat_ms: 200", "lease_ms: 500, heartbeat_ms: 100")

    async with pool.working():
        await stays_through_renewals(pool)


async def test_a_worker_keeps_its_place_once_the_lanes_that_it_ran_have_ended(pool: Pool) -> None:
    """The take that gave the lanes gave a lease of ordinary length: nobody is to wait longer for it than that."""
    pool.config = pool.config.replace("lease_ms: 1500, heartbeat_ms: 200", "lease_ms: 800, heartbeat_ms: 300")
    intent = USDM.order("intent")

    async with pool.working():
        pool.send(intent)
        await pool.outcome(intent)
        await stays_through_renewals(pool)
