"""Standings as workers share them through a real Redis: one change wins, is told once, and is safe to repeat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from common.standings import Standings, draw_of
from orderlane.connection import connect_async
from orderlane.events import EventName, decode_event
from orderlane.keys import Keys
from orderlane.orders import Reason
from orderlane.standing import WHOLE_EXCHANGE, Cause, Standing, StandingState

KEYS = Keys("binance")


class Two:
    """Two workers' views, and what was told."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.one, self.other = Standings(client, KEYS), Standings(client, KEYS)

    async def told(self) -> list[tuple[EventName, str]]:
        entries = await self.client.xrange(KEYS.events)
        events = [decode_event(entry.decode(), fields[b"event"]) for entry, fields in entries]
        return [(event.name, event.account) for event in events]


@pytest.fixture
async def two(redis_url: str) -> AsyncIterator[Two]:
    client = connect_async(redis_url)
    made = Two(client)
    await made.one.refresh()
    await made.other.refresh()
    yield made
    await client.aclose()


def standing(scope: str = "main", cause: Cause = Cause.ERRORS, **fields: Any) -> Standing:
    values: dict[str, Any] = {
        "scope": scope,
        "cause": cause,
        "state": StandingState.CLOSED,
        "reason": Reason(code="why", message="for a reason"),
        "since_ms": 1_000,
        **fields,
    }
    return Standing(**values)


async def test_what_one_declares_holds_for_the_other_once_it_looks_and_no_longer_than_it_stands(
    two: Two,
) -> None:
    assert await two.one.put(standing())
    assert two.one.holding("main") == standing()
    assert two.other.holding("main") is None
    await two.other.refresh()
    assert two.other.holding("main") == standing()
    assert two.other.holding("alt") is None
    assert await two.other.lift("main", Cause.ERRORS)
    await two.one.refresh()
    assert two.one.all() == []
    assert await two.told() == [(EventName.DEGRADED, "main"), (EventName.RECOVERED, "main")]


async def test_declaring_or_lifting_again_changes_and_tells_nothing(two: Two) -> None:
    assert await two.one.put(standing())
    assert not await two.one.put(standing())
    assert not await two.one.put(standing(since_ms=9_000)), "it stands since before"
    assert await two.one.lift("main", Cause.ERRORS)
    assert not await two.one.lift("main", Cause.ERRORS)
    assert not await two.other.lift("main", Cause.ERRORS)
    assert len(await two.told()) == 2


async def test_of_several_that_would_change_what_they_saw_one_succeeds(two: Two) -> None:
    seen = standing()
    assert await two.one.put(seen, seen=None)
    probing = [standing(state=StandingState.PROBING, until_ms=until_ms) for until_ms in range(5_000, 5_010)]
    won = await asyncio.gather(*(two.one.put(one, seen=seen) for one in probing))
    assert sum(won) == 1
    assert not await two.other.put(standing(probes=1), seen=None)
    assert not await two.other.lift("main", Cause.ERRORS, seen=seen)
    [left] = two.other.all()
    assert left == probing[won.index(True)]
    assert await two.told() == [(EventName.DEGRADED, "main")], "that somebody probes is no news"


async def test_progress_is_kept_and_a_step_is_told(two: Two) -> None:
    reconciling = standing(cause=Cause.RECONCILING, reason=Reason(code="start", message="0 of 9"))
    assert await two.one.put(reconciling)
    further = msgspec.structs.replace(reconciling, reason=Reason(code="start", message="5 of 9"))
    assert await two.one.put(further)
    assert await two.told() == [(EventName.RECONCILING, "main")]
    await two.other.refresh()
    held = two.other.holding("main")
    assert held is not None
    assert held.reason.message == "5 of 9"
    assert await two.one.put(standing(WHOLE_EXCHANGE, state=StandingState.RECOVERING, step=1, share=0.1))
    assert await two.one.put(standing(WHOLE_EXCHANGE, state=StandingState.RECOVERING, step=2, share=0.3))
    assert (await two.told())[1:] == [(EventName.RECOVERING, "")] * 2


async def test_whoever_waits_for_a_change_is_woken_by_one_and_by_nothing_else(two: Two) -> None:
    waiting = asyncio.create_task(two.one.changed())
    await two.one.refresh()
    await asyncio.sleep(0)
    assert not waiting.done()
    await two.other.put(standing())
    await two.one.refresh()
    await waiting


async def test_a_foreign_value_under_the_key_holds_nothing_and_breaks_nothing(two: Two) -> None:
    await two.client.set(KEYS.standings, "x")
    await two.one.refresh()
    assert two.one.holding("main") is None
    await two.client.delete(KEYS.standings)
    await two.client.hset(KEYS.standings, "main|errors", "no standing")
    await two.one.refresh()
    assert two.one.all() == []
    assert await two.one.put(standing())
    assert await two.told() == [(EventName.DEGRADED, "main")]


def test_a_share_of_the_intents_is_that_share_and_the_same_for_everybody() -> None:
    draws = [draw_of(f"intent-{number}") for number in range(10_000)]
    assert all(0 <= draw < 1 for draw in draws)
    assert abs(sum(draw < 0.1 for draw in draws) - 1_000) < 100
    assert draw_of("intent-7") == draws[7]
