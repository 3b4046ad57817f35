"""SIGKILL where lanes meet more than their own entry: whoever comes after finishes it, and nothing is sent twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orderlane.orders import OrderStatus
from tests.workers.doomed import doomed
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import USDM
from tests.workers.shut_account import reopen, shut
from tests.workers.test_batches import BATCHED, rows
from tests.workers.test_cancel_account import assert_annulled, behind, slow_places
from tests.workers.test_cancel_all import on_every_symbol
from tests.workers.thinking_lanes import follow, known, sent, statuses

__all__ = ["paper", "paper_of_module", "pool"]

ACTIVE, CANCELED, DONE, MERGED = (
    OrderStatus.ACTIVE,
    OrderStatus.CANCELED,
    OrderStatus.DONE,
    OrderStatus.MERGED,
)


@pytest.mark.parametrize("point", ["withdraw.decided", "withdraw.done"])
async def test_what_a_cancel_takes_out_of_a_merged_order_is_taken_out_once(
    pool: Pool, tmp_path: Path, point: str
) -> None:
    follow(pool, merge_small_limits="true", small_notional="600", look_ahead="4")
    kept, part, cancel = USDM.order("kept"), USDM.order("part"), USDM.cancels("cancel", "part")
    between = [
        USDM.order(f"other-{number}", 30_000 + number, amount="0.05", priority=3) for number in range(6)
    ]
    async with doomed(pool, tmp_path, point):
        pool.paper.fault(USDM.place, "delay_reply", count=2, delay_ms=400)
        pool.send(USDM.order("first", price=41_000), USDM.order("slow", price=40_000), kept, part)
        await pool.status(part, MERGED)
        pool.send(*between, cancel)
    async with pool.working():
        await pool.ended()
    assert statuses(pool, kept, part, cancel) == [ACTIVE, CANCELED, DONE]
    assert known(pool, kept).amount == kept.amount
    pool.assert_once(kept)
    for intent in (part, cancel):
        pool.assert_told(intent)


@pytest.mark.parametrize("point", ["give_way.before", "give_way.done"])
async def test_a_place_that_gives_way_is_neither_lost_nor_sent_twice(
    pool: Pool, tmp_path: Path, point: str
) -> None:
    waiting, urgent = USDM.order("waiting"), USDM.order("urgent", price=49_000, priority=3)
    async with doomed(pool, tmp_path, point):
        shut(pool)
        pool.send(waiting)
        await pool.until(lambda: pool.client.hlen(pool.keys().owners), "a lane that is worked on")
        await asyncio.sleep(0.3)  # its place waits for tokens by then
        pool.send(urgent)
    reopen(pool)
    async with pool.working():
        await pool.ended()
    assert sent(pool) == [("place", "urgent"), ("place", "waiting")]
    pool.assert_once(waiting)
    pool.assert_once(urgent)


@pytest.mark.parametrize("point", ["batch.paid", "batch.replied"])
async def test_each_order_of_a_batch_is_there_once(pool: Pool, tmp_path: Path, point: str) -> None:
    pool.config = BATCHED
    intents = rows()
    pool.send(*intents)
    async with doomed(pool, tmp_path, point):
        pass
    async with pool.working():
        await pool.ended()
    for intent in intents:
        pool.assert_once(intent)


@pytest.mark.parametrize("point", ["sweep.found", "sweep.ended", "sweep.awaited"])
async def test_a_cancel_all_for_an_account_is_finished_in_every_lane(
    pool: Pool, tmp_path: Path, point: str
) -> None:
    orders = on_every_symbol(USDM)[:3]
    waiting = behind(USDM, orders)
    everything = USDM.cancels_all("everything", symbol="*")
    async with doomed(pool, tmp_path, point):
        await slow_places(pool, USDM, orders, "delay")
        pool.send(*waiting, everything)
    async with pool.working():
        await pool.ended()
    assert known(pool, everything).status is DONE
    assert_annulled(pool, *waiting, by="everything")
    assert set(statuses(pool, *orders)) == {CANCELED}
    assert pool.open_on_book(USDM) == []
