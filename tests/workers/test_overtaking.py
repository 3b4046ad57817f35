"""Places that wait are told when something arrives in their lane: nobody else is, and nobody asks for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from common.gate import Gate, Overtaken, Patience
from common.lanes import Hold
from workers import overtaking
from workers.overtaking import Overtaking


def hold(lane: str, entry: str = "1-1") -> Hold:
    return Hold(lane=lane, owner="worker#1", rank="5", entry=entry, deaths=0, fields=())


class Arrivals:
    """What Redis says: the lanes in which something has arrived; `asked` lists which were asked about."""

    def __init__(self) -> None:
        self.lanes: set[str] = set()
        self.asked: list[list[str]] = []
        self.fails = 0

    async def __call__(self, holds: Sequence[Hold]) -> set[str]:
        self.asked.append([one.lane for one in holds])
        if self.fails:
            self.fails -= 1
            raise RedisConnectionError("gone")
        return self.lanes


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overtaking, "ASK_EVERY_SECONDS", 0.001)


class Waiting:
    """Places that wait at one gate until they are let through."""

    def __init__(self, ask: Arrivals) -> None:
        self.overtaking = Overtaking(ask)
        self.gate = Gate(sleep=self._sleep, chance=lambda: 0.0)
        self.open = False
        self.passed: list[str] = []

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.001)

    def come(self, one: Hold) -> asyncio.Task[None]:
        return asyncio.create_task(self._run(one))

    async def _run(self, one: Hold) -> None:
        async def attempt() -> int:
            if not self.open:
                return 1
            self.passed.append(one.lane)
            return 0

        patience, overtaken = self.overtaking.patience(one), False
        try:
            await self.gate.run("key", 5, attempt, patience)
        except Overtaken:
            overtaken = True
            raise
        finally:
            self.overtaking.leave(one, patience, overtaken=overtaken)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0.001)


async def test_only_the_place_in_whose_lane_something_arrived_gives_way() -> None:
    ask = Arrivals()
    waiting = Waiting(ask)
    first, second = waiting.come(hold("a")), waiting.come(hold("b"))
    await settle()
    ask.lanes = {"b"}
    with pytest.raises(Overtaken):
        await asyncio.wait_for(second, 5)
    assert not first.done()
    waiting.open = True
    await asyncio.wait_for(first, 5)
    assert waiting.passed == ["a"]


async def test_who_gave_way_comes_back_to_its_turn() -> None:
    ask = Arrivals()
    waiting = Waiting(ask)
    first = waiting.come(hold("a"))
    await settle()
    second = waiting.come(hold("b"))
    await settle()
    ask.lanes = {"a"}
    with pytest.raises(Overtaken):
        await asyncio.wait_for(first, 5)
    ask.lanes = set()
    again = waiting.come(hold("a"))
    await settle()
    waiting.open = True
    await asyncio.wait_for(asyncio.gather(second, again), 5)
    assert waiting.passed == ["a", "b"]


async def test_another_entry_of_the_lane_takes_no_turn_over() -> None:
    ask = Arrivals()
    waiting = Waiting(ask)
    first = waiting.come(hold("a"))
    await settle()
    second = waiting.come(hold("b"))
    await settle()
    ask.lanes = {"a"}
    with pytest.raises(Overtaken):
        await asyncio.wait_for(first, 5)
    ask.lanes = set()
    other = waiting.come(hold("a", entry="1-2"))
    await settle()
    waiting.open = True
    await asyncio.wait_for(asyncio.gather(second, other), 5)
    assert waiting.passed == ["b", "a"]


async def test_nobody_asks_while_nobody_waits() -> None:
    ask = Arrivals()
    waiting = Waiting(ask)
    waiting.open = True
    await waiting.come(hold("a"))
    await settle()
    assert ask.asked == []
    waiting.open = False
    task = waiting.come(hold("a"))
    await settle()
    waiting.open = True
    await task
    await settle()
    asked = len(ask.asked)
    assert asked
    await settle()
    assert len(ask.asked) == asked


async def test_a_redis_that_does_not_answer_is_asked_again() -> None:
    ask = Arrivals()
    ask.fails, ask.lanes = 3, {"a"}
    with pytest.raises(Overtaken):
        await asyncio.wait_for(Waiting(ask).come(hold("a")), 5)
    assert len(ask.asked) >= 4


async def test_those_that_never_come_back_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overtaking, "MOST_REMEMBERED", 2)
    places = Overtaking(Arrivals())
    for number in range(5):
        places.leave(hold("a", f"1-{number}"), Patience(lambda: None, arrival=number), overtaken=True)
    assert [places.patience(hold("a", f"1-{number}")).arrival for number in range(5)] == [
        None,
        None,
        None,
        3,
        4,
    ]


async def test_a_wait_that_was_ended_before_it_began_does_not_begin() -> None:
    patience = Patience(lambda: patience.end())

    async def attempt() -> int:
        return 60_000

    with pytest.raises(Overtaken):
        await asyncio.wait_for(Gate().run("key", 5, attempt, patience), 5)


async def test_an_attempt_under_way_is_not_interrupted() -> None:
    """It may have taken its tokens and begun: it passes, and only a further wait would end."""
    patience, under_way = Patience(lambda: None), asyncio.Event()
    attempts = 0

    async def attempt() -> int:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            return 1
        under_way.set()
        await asyncio.sleep(0.01)
        return 0

    task = asyncio.create_task(Gate().run("key", 5, attempt, patience))
    await under_way.wait()
    patience.end()
    await asyncio.wait_for(task, 5)
    assert attempts == 2


async def test_a_timeout_of_somebody_else_is_not_mistaken_for_being_overtaken() -> None:
    async def attempt() -> int:
        return 60_000

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await Gate().run("key", 5, attempt, Patience(lambda: None))
