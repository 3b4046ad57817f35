import asyncio
from collections.abc import Awaitable, Callable

import pytest

from common.gate import MOST_SLEEP_MS, Gate


class Clock:
    """Time that passes when the test says so; `slept` lists what was asked for, in seconds."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._sleepers: list[asyncio.Future[None]] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append(future)
        await future

    async def tick(self) -> None:
        """End every sleep under way and let everybody run until nobody can."""
        for future in self._sleepers:
            if not future.done():
                future.set_result(None)
        self._sleepers.clear()
        await settle()


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def finish(tasks: list[asyncio.Task[None]]) -> None:
    """See every task end; one that never gets its turn fails the test."""
    await asyncio.wait_for(asyncio.gather(*tasks), 5)


class Tokens:
    """What attempts are answered: 0 while there are tokens, else `wait_ms`; `asked` lists who asked, in order."""

    def __init__(self, wait_ms: int = 100) -> None:
        self.left = 0
        self.wait_ms = wait_ms
        self.asked: list[str] = []
        self.passed: list[str] = []

    def of(self, name: str) -> Callable[[], Awaitable[int]]:
        async def attempt() -> int:
            self.asked.append(name)
            await asyncio.sleep(0)
            if self.left <= 0:
                return self.wait_ms
            self.left -= 1
            self.passed.append(name)
            return 0

        return attempt


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    return Gate(sleep=clock.sleep, chance=lambda: 0.0)


async def queue_up(gate: Gate, tokens: Tokens, names: str, urgency: int = 5) -> list[asyncio.Task[None]]:
    tasks = []
    for name in names:
        tasks.append(asyncio.create_task(gate.run("key", urgency, tokens.of(name))))
        await settle()
    return tasks


async def test_as_long_as_nobody_waits_all_ask_at_once(gate: Gate) -> None:
    asking = asyncio.Event()
    release = asyncio.Event()
    together = 0

    async def attempt() -> int:
        nonlocal together
        together += 1
        if together == 8:
            asking.set()
        await release.wait()
        return 0

    tasks = [asyncio.create_task(gate.run("key", 5, attempt)) for _ in range(8)]
    await asyncio.wait_for(asking.wait(), 5)
    release.set()
    await finish(tasks)
    assert gate.waiting() == 0


async def test_who_waits_passes_in_order_of_arrival(gate: Gate, clock: Clock) -> None:
    tokens = Tokens()
    tasks = await queue_up(gate, tokens, "abcd")
    tokens.left = 4
    await clock.tick()
    await finish(tasks)
    assert tokens.passed == list("abcd")


async def test_only_the_first_in_the_queue_asks_again(gate: Gate, clock: Clock) -> None:
    tokens = Tokens()
    tasks = [asyncio.create_task(gate.run("key", 5, tokens.of(str(i)))) for i in range(64)]
    await settle()
    tokens.asked.clear()
    for _ in range(10):
        await clock.tick()
    assert tokens.asked == ["0"] * 10
    tokens.left = 64
    await clock.tick()
    await finish(tasks)
    assert len(tokens.asked) == 10 + 64


async def test_a_newcomer_does_not_ask_while_others_wait(gate: Gate, clock: Clock) -> None:
    tokens = Tokens()
    tasks = await queue_up(gate, tokens, "ab")
    assert tokens.asked == ["a"]
    tokens.left = 2
    await clock.tick()
    await finish(tasks)


async def test_the_more_urgent_asks_at_once_and_goes_first(gate: Gate, clock: Clock) -> None:
    tokens = Tokens()
    tasks = await queue_up(gate, tokens, "ab", urgency=5)
    tasks += await queue_up(gate, tokens, "x", urgency=2)
    assert tokens.asked[-1] == "x"
    tasks += await queue_up(gate, tokens, "e", urgency=0)
    tokens.left = 4
    await clock.tick()
    await finish(tasks)
    assert tokens.passed == list("exab")


async def test_who_was_overtaken_while_asleep_waits_for_its_turn(gate: Gate, clock: Clock) -> None:
    tokens = Tokens()
    tasks = await queue_up(gate, tokens, "a", urgency=5)
    tasks += await queue_up(gate, tokens, "x", urgency=2)
    tokens.asked.clear()
    await clock.tick()
    await clock.tick()
    assert set(tokens.asked) == {"x"}
    tokens.left = 2
    await clock.tick()
    await finish(tasks)
    assert tokens.passed == ["x", "a"]


@pytest.mark.parametrize("victim", [0, 1, 2])
async def test_a_cancelled_waiter_leaves_nothing_and_the_next_gets_its_turn(
    gate: Gate, clock: Clock, victim: int
) -> None:
    tokens = Tokens()
    tasks = await queue_up(gate, tokens, "abc")
    tasks[victim].cancel()
    await asyncio.gather(tasks[victim], return_exceptions=True)
    tokens.left = 2
    await settle()
    await clock.tick()
    done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert [isinstance(one, asyncio.CancelledError) for one in done] == [i == victim for i in range(3)]
    assert tokens.passed == [name for i, name in enumerate("abc") if i != victim]
    assert gate.waiting() == 0
    assert not gate._queues


async def test_one_cancelled_while_it_asks_passes_the_turn_on(gate: Gate, clock: Clock) -> None:
    tokens = Tokens()
    stuck = asyncio.Event()
    answers = iter([5])

    async def attempt() -> int:
        for answer in answers:
            return answer
        stuck.set()
        await asyncio.Event().wait()
        return 0

    first = asyncio.create_task(gate.run("key", 5, attempt))
    await settle()
    rest = await queue_up(gate, tokens, "b")
    await clock.tick()
    assert stuck.is_set()
    tokens.left = 1
    first.cancel()
    await finish(rest)
    assert tokens.passed == ["b"]
    assert not gate._queues


async def test_what_an_attempt_raises_reaches_its_caller_and_the_rest_go_on(gate: Gate, clock: Clock) -> None:
    tokens = Tokens()
    calls = 0

    async def attempt() -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise ConnectionError("Redis is away")
        return 5

    broken = asyncio.create_task(gate.run("key", 5, attempt))
    await settle()
    rest = await queue_up(gate, tokens, "b")
    tokens.left = 1
    await clock.tick()
    with pytest.raises(ConnectionError):
        await broken
    await finish(rest)
    assert not gate._queues


async def test_gates_of_other_keys_do_not_wait(gate: Gate, clock: Clock) -> None:
    flooded, free = Tokens(), Tokens()
    tasks = await queue_up(gate, flooded, "abc")
    free.left = 1
    await asyncio.wait_for(gate.run("another key", 9, free.of("z")), 5)
    assert free.passed == ["z"]
    flooded.left = 3
    await clock.tick()
    await finish(tasks)


@pytest.mark.parametrize(
    ("wait_ms", "chance", "seconds"),
    [(100, 0.0, 0.1), (100, 0.5, 0.105), (1_000, 1.0, 1.025), (60_000, 0.5, 5.0)],
)
async def test_the_wait_told_is_slept_plus_a_little_but_never_past_asking_again(
    clock: Clock, wait_ms: int, chance: float, seconds: float
) -> None:
    gate = Gate(sleep=clock.sleep, chance=lambda: chance)
    tokens = Tokens(wait_ms)
    tasks = await queue_up(gate, tokens, "a")
    assert clock.slept == [pytest.approx(seconds)]
    assert clock.slept[0] * 1_000 <= MOST_SLEEP_MS
    tokens.left = 1
    await clock.tick()
    await finish(tasks)
