import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from common.buckets import SLOW_START_MS
from common.claims import Claims
from common.exchange.base import Usage
from common.limiter import Limiter
from common.redis import ScriptRunner
from common.venue_limits import Operation, venue_limits
from orderlane.connection import connect_async
from orderlane.keys import Keys
from tests.common.hammer import ACCOUNT, LIMIT, VENUE

ROOT = Path(__file__).parents[2]
KEYS = Keys(VENUE)
# Slow enough that nothing is refilled while a test runs, so that no clock decides what it sees.
SLOW = {"weight_1m": "1000/day", "orders_10s": "100/day", "orders_1m": "200/day"}


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    connection = connect_async(redis_url)
    yield connection
    await connection.aclose()


def limiter_of(client: redis.asyncio.Redis, notations: dict[str, str] | None = None) -> Limiter:
    """A limiter as one worker process has it."""
    claims = Claims(KEYS, venue_limits(VENUE, notations or {}))
    return Limiter(ScriptRunner(client).run, claims)


async def take_all(limiter: Limiter, operation: Operation, account: str, urgency: int) -> int:
    """How many requests pass before the first that must wait."""
    claim = limiter.claims.claim(operation, account, "X/Y", urgency=urgency)
    for taken in range(1_000):
        if await limiter.ask(claim) > 0:
            return taken
    raise AssertionError(f"{operation} passed 1000 times: nothing limits it")


async def test_all_workers_share_one_bucket_and_each_account_has_its_own(client: redis.asyncio.Redis) -> None:
    one, other = limiter_of(client, SLOW), limiter_of(client, SLOW)
    bucket = one.claims.buckets[LIMIT]
    assert await take_all(one, Operation.PLACE, "main", 5) == bucket.capacity - bucket.reserve
    assert await take_all(other, Operation.PLACE, "main", 5) == 0
    assert await take_all(other, Operation.PLACE, "second", 5) == bucket.capacity - bucket.reserve


async def test_a_reduce_only_order_still_passes_when_ordinary_ones_wait(client: redis.asyncio.Redis) -> None:
    limiter = limiter_of(client, SLOW)
    await take_all(limiter, Operation.PLACE, "main", 5)
    assert await take_all(limiter, Operation.PLACE, "main", 2) == limiter.claims.buckets[LIMIT].reserve > 0


async def test_a_claim_that_waits_for_one_bucket_takes_nothing_from_the_others(
    client: redis.asyncio.Redis,
) -> None:
    limiter = limiter_of(client, SLOW)
    await take_all(limiter, Operation.PLACE, "main", 0)
    level = await client.hget(KEYS.bucket("ip", "weight_1m"), "level")
    claim = limiter.claims.claim(Operation.PLACE, "main", "X/Y", urgency=0)
    assert await limiter.ask(claim) > 0
    assert await client.hget(KEYS.bucket("ip", "weight_1m"), "level") == level


async def test_a_429_holds_every_worker_and_account_until_it_ends(client: redis.asyncio.Redis) -> None:
    one, other = limiter_of(client), limiter_of(client)
    until_ms = await one.close("ip", 60_000)
    for account in ("main", "second"):
        claim = other.claims.claim(Operation.CANCEL, account, "X/Y", urgency=0)
        wait_ms, now_ms = await ScriptRunner(client).run("acquire", claim.keys, claim.arguments)
        assert until_ms < now_ms + wait_ms <= until_ms + 1_000
    assert await other.close("ip", 1_000) == until_ms


async def test_an_account_that_is_held_holds_no_other(client: redis.asyncio.Redis) -> None:
    limiter = limiter_of(client)
    until_ms = await limiter.close("main", 60_000)
    held = limiter.claims.claim(Operation.PLACE, "main", "X/Y", urgency=0)
    free = limiter.claims.claim(Operation.PLACE, "second", "X/Y", urgency=0)
    wait_ms, now_ms = await ScriptRunner(client).run("acquire", held.keys, held.arguments)
    assert now_ms + wait_ms > until_ms
    assert await limiter.ask(free) == 0


async def test_after_a_429_buckets_restart_empty(client: redis.asyncio.Redis) -> None:
    limiter = limiter_of(client, {"orders_10s": "20/3 minutes"})
    await limiter.close("main", 1)
    await asyncio.sleep(0.01)
    assert limiter.claims.buckets[LIMIT].restarts_empty
    assert await take_all(limiter, Operation.PLACE, "main", 0) == 0


async def test_who_waits_gets_through_when_there_are_tokens_again(client: redis.asyncio.Redis) -> None:
    limiter = limiter_of(client, {LIMIT: "200/second"})
    claim = limiter.claims.claim(Operation.PLACE, "main", "X/Y", urgency=5)
    await asyncio.wait_for(asyncio.gather(*(limiter.acquire(claim, 5) for _ in range(100))), 30)
    assert limiter.gate.waiting() == 0


async def test_a_count_higher_than_ours_lowers_the_bucket_for_all(client: redis.asyncio.Redis) -> None:
    one, other = limiter_of(client, SLOW), limiter_of(client, SLOW)
    bucket = one.claims.buckets[LIMIT]
    used, day_ms = bucket.capacity - 3, bucket.window_ms
    assert await one.note([Usage("account", LIMIT, used)], "main", 20_000 * day_ms + 5_000) == 1
    assert await take_all(other, Operation.PLACE, "main", 0) == 3
    assert await take_all(other, Operation.PLACE, "second", 0) == bucket.capacity


async def test_a_count_lower_than_ours_gives_nothing_back(client: redis.asyncio.Redis) -> None:
    limiter = limiter_of(client, SLOW)
    await take_all(limiter, Operation.PLACE, "main", 0)
    usages = [Usage("account", LIMIT, 2), Usage("account", "orders_1m", 2)]
    assert await limiter.note(usages, "main", 5_000) == 0
    assert await take_all(limiter, Operation.PLACE, "main", 0) == 0


async def test_counts_at_an_even_pace_cost_redis_nothing() -> None:
    async def run(name: str, keys: Sequence[str], arguments: Sequence[int]) -> Any:
        raise AssertionError(f"{name} was run")

    limiter = Limiter(run, Claims(KEYS, venue_limits(VENUE)))
    assert await limiter.note([Usage("ip", "weight_1m", 900)], "main", 30_000) == 0
    assert await limiter.note([Usage("account", "orders_7d", 900)], "main", 30_000) == 0


async def test_buckets_and_pauses_expire_once_they_say_nothing_any_more(client: redis.asyncio.Redis) -> None:
    limiter = limiter_of(client)
    await limiter.ask(limiter.claims.claim(Operation.PLACE, "main", "X/Y", urgency=5))
    await limiter.note([Usage("ip", "weight_1m", 2_000)], "main", 59_000)
    for name, bucket in limiter.claims.buckets.items():
        key = KEYS.bucket("ip" if name == "weight_1m" else "main", name)
        assert 0 < await client.pttl(key) <= bucket.fill_ms + bucket.window_ms + 1_000
    await limiter.close("main", 2_000)
    assert 0 < await client.pttl(KEYS.bucket("main", "penalty")) <= 2_000 + SLOW_START_MS


async def test_a_bucket_stays_until_it_is_full_again(client: redis.asyncio.Redis) -> None:
    limiter = limiter_of(client, SLOW)
    await take_all(limiter, Operation.PLACE, "main", 0)
    bucket = limiter.claims.buckets[LIMIT]
    assert await client.pttl(KEYS.bucket("main", LIMIT)) > bucket.fill_ms - 60_000
    await limiter.close("main", 2_000)
    assert await client.pttl(KEYS.bucket("main", "penalty")) > SLOW_START_MS - 30_000


async def test_an_idle_bucket_is_gone_and_then_counts_as_full(client: redis.asyncio.Redis) -> None:
    limiter = limiter_of(client, {LIMIT: "1000/second"})
    await limiter.ask(limiter.claims.claim(Operation.PLACE, "main", "X/Y", urgency=5))
    key = KEYS.bucket("main", LIMIT)
    await asyncio.sleep(await client.pttl(key) / 1_000 + 0.01)
    assert not await client.exists(key)
    fresh = limiter_of(client, SLOW)
    assert await take_all(fresh, Operation.PLACE, "main", 0) == fresh.claims.buckets[LIMIT].capacity


async def test_a_script_run_twice_only_takes_more(client: redis.asyncio.Redis) -> None:
    """As when a reply is lost and the request is repeated: it costs tokens, it gives none."""
    limiter = limiter_of(client, SLOW)
    claim = limiter.claims.claim(Operation.PLACE, "main", "X/Y", urgency=0)
    assert [await limiter.ask(claim) for _ in range(2)] == [0, 0]
    assert await take_all(limiter, Operation.PLACE, "main", 0) == limiter.claims.buckets[LIMIT].capacity - 2


def most_in_any_window(times_ms: list[int], window_ms: int) -> int:
    """The most of `times_ms` (sorted) within any closed window of that length."""
    most = first = 0
    for last, at in enumerate(times_ms):
        while times_ms[first] < at - window_ms:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_the_count_of_windows_counts() -> None:
    assert most_in_any_window([0, 10, 20, 21, 30, 45], 10) == 3
    assert most_in_any_window([0, 11, 22], 10) == 1


async def hammer(url: str, notation: str, *, processes: int, grants: int) -> tuple[list[int], int]:
    """Let processes hammer one limit: every grant's ms by Redis TIME, sorted, and how often they were refused."""
    command = [sys.executable, "-m", "tests.common.hammer", url, notation, "8", str(grants)]
    running = [
        await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        for _ in range(processes)
    ]
    try:
        printed = [(await asyncio.wait_for(process.communicate(), 120))[0] for process in running]
    finally:
        for process in running:
            if process.returncode is None:
                process.kill()
                await process.wait()
    answers = [json.loads(output) for output in printed]
    granted_ms = sorted(at for answer in answers for at in answer["granted_ms"])
    return granted_ms, sum(answer["refused"] for answer in answers)


async def test_processes_that_hammer_never_exceed_the_limit_in_any_window(redis_url: str) -> None:
    granted_ms, refused = await hammer(redis_url, "60/second", processes=4, grants=36)
    assert len(granted_ms) == 4 * 36
    assert refused > 0, "nobody ever had to wait: nothing was shown"
    assert most_in_any_window(granted_ms, 1_000) <= 60


def test_the_hammers_account_is_the_one_the_limit_counts() -> None:
    assert Claims(KEYS, venue_limits(VENUE)).claim(Operation.PLACE, ACCOUNT, "X/Y", urgency=5).keys[
        3
    ] == KEYS.bucket(ACCOUNT, LIMIT)
