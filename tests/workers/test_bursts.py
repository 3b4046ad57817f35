"""Bursts in one lane that are longer than what is looked at together: all of it is looked at in the end."""

from __future__ import annotations

import pytest

from orderlane.orders import OrderStatus
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import USDM
from tests.workers.shut_account import reopen, shut
from tests.workers.thinking_lanes import close, follow, market, position, sent, statuses

__all__ = ["paper", "paper_of_module", "pool"]


async def test_every_cancel_of_a_burst_meets_its_place_unsent(pool: Pool) -> None:
    follow(pool, look_ahead="6")
    places = [USDM.order(f"place-{number}") for number in range(12)]
    pool.send(USDM.order("first"))
    for one in places:
        pool.send(one, USDM.cancels(f"cancel-{one.id}", one.id))
    async with pool.working():
        await pool.ended()
    assert sent(pool) == [("place", "first")]
    assert set(statuses(pool, *places)) == {OrderStatus.CANCELED}


async def test_closes_far_behind_the_head_of_a_burst_are_merged_as_well(pool: Pool) -> None:
    follow(pool, look_ahead="6")
    pool.send(market("opening", "0.06"))
    others = [USDM.order(f"other-{number}", strategy="trend", priority=1) for number in range(9)]
    pool.send(*others, *(close(f"close-{number}") for number in range(3)))
    async with pool.working():
        await pool.ended()
    assert [name for _, name in sent(pool)][-1] == "close-0"
    assert position(pool) == 0


async def test_what_waits_for_tokens_with_a_long_lane_behind_it_looks_once_not_again_and_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(pool, look_ahead="4")
    places = [USDM.order(f"place-{number}") for number in range(9)]
    looks = 0
    async with pool.working() as worker:
        run = worker.runner.run

        async def counted(name: str, *arguments: object) -> object:
            nonlocal looks
            looks += name in ("look", "give_way")
            return await run(name, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(worker.runner, "run", counted)
        shut(pool)
        pool.send(*places, USDM.cancels("cancel", "place-8"))
        overtaken = 0

        def asked() -> bool:
            nonlocal overtaken
            overtaken += 1
            return looks > 0 and overtaken > 60

        await pool.until(asked, "some rounds of asking what has arrived")
        assert looks <= 2
    reopen(pool)
    async with pool.working():
        await pool.ended()
    assert ("place", "place-8") not in sent(pool)
