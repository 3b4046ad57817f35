"""Scripts in batches, and the watch over which server answers, on a real Redis and real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import ResponseError

from common.lanes import Dispatcher, RedisForgot
from common.pipeline import MAX_UNDER_WAY
from common.redis import REPLY_LOST, RedisTakesNoWrites, ScriptRunner, connect_pool
from common.redis_server import EmbeddedRedis
from orderlane.connection import connect
from orderlane.keys import Keys
from tests.lossy_proxy import LossyProxy

KEYS = Keys("binance")
GRACE_MS = 60_000


@asynccontextmanager
async def pool_client(url: str, **options: Any) -> AsyncIterator[redis.asyncio.Redis]:
    client = connect_pool(url, KEYS, grace_ms=GRACE_MS, **options)
    try:
        yield client
    finally:
        await client.aclose()


async def forget(runner: ScriptRunner, name: str = "nobody") -> Any:
    """The smallest of the scripts: 1 when the name stood in the index, else 0."""
    return await runner.run("forget", [KEYS.unknown, KEYS.order(name)], [name])


def calls(url: str, command: str) -> int:
    with connect(url) as admin:
        statistics = admin.info("commandstats")
    return int(statistics.get(f"cmdstat_{command}", {}).get("calls", 0))


async def test_calls_of_one_moment_share_a_connection_and_each_gets_its_own_reply(redis_url: str) -> None:
    async with pool_client(redis_url) as client:
        runner = ScriptRunner(client)
        count = 2 * MAX_UNDER_WAY + 7
        await client.zadd(KEYS.unknown, {f"w{i}": 9e15 for i in range(0, count, 2)})
        replies = await asyncio.gather(*(forget(runner, f"w{i}") for i in range(count)))
        assert replies == [1 - i % 2 for i in range(count)]
        with connect(redis_url) as admin:
            assert len(admin.client_list()) == 3  # the pool's one, this, and the watch over the test


async def test_a_server_that_forgot_the_scripts_is_given_them_again(redis_url: str) -> None:
    async with pool_client(redis_url) as client:
        runner = ScriptRunner(client)
        assert await forget(runner) == 0
        await client.script_flush()
        assert await asyncio.gather(*(forget(runner) for _ in range(20))) == [0] * 20


async def test_a_script_that_fails_fails_alone(redis_url: str) -> None:
    async with pool_client(redis_url) as client:
        runner = ScriptRunner(client)
        await client.set("a-string", "x")
        replies = await asyncio.gather(
            forget(runner),
            runner.run("forget", ["a-string", "x"], ["x"]),
            forget(runner),
            return_exceptions=True,
        )
        assert [replies[0], replies[2]] == [0, 0]
        assert isinstance(replies[1], ResponseError)
        assert not isinstance(replies[1], REPLY_LOST)


async def test_a_broken_connection_fails_every_call_of_its_batch_and_the_next_batch_works(
    redis_server: EmbeddedRedis, redis_url: str
) -> None:
    with LossyProxy("127.0.0.1", redis_server.port) as proxy:
        async with pool_client(proxy.url) as client:
            runner = ScriptRunner(client)
            await forget(runner)
            proxy.lose_replies(to=b"EVALSHA", times=1)
            async with asyncio.timeout(20):
                replies = await asyncio.gather(*(forget(runner) for _ in range(5)), return_exceptions=True)
            assert [isinstance(reply, REPLY_LOST) for reply in replies] == [True] * 5
            assert await forget(runner) == 0


async def test_a_reply_that_never_comes_fails_its_batch_and_is_not_mistaken_for_the_next(
    redis_server: EmbeddedRedis, redis_url: str
) -> None:
    with LossyProxy("127.0.0.1", redis_server.port) as proxy:
        async with pool_client(proxy.url, socket_timeout_seconds=0.3) as client:
            runner = ScriptRunner(client)
            await client.zadd(KEYS.unknown, {"w": 9e15})
            assert await forget(runner) == 0
            proxy.lose_replies(to=b"EVALSHA", times=1, silently=True)
            with pytest.raises(REPLY_LOST):
                await forget(runner, "nobody")
            assert await forget(runner, "w") == 1


async def test_nothing_is_sent_twice_behind_the_callers_back(
    redis_server: EmbeddedRedis, redis_url: str
) -> None:
    with LossyProxy("127.0.0.1", redis_server.port) as proxy:
        async with pool_client(proxy.url) as client:
            runner = ScriptRunner(client)
            await forget(runner)
            before = calls(redis_url, "evalsha")
            proxy.lose_replies(to=b"EVALSHA", times=1)
            with pytest.raises(REPLY_LOST):
                await forget(runner)
            assert calls(redis_url, "evalsha") == before + 1


async def test_a_caller_that_is_cancelled_takes_nobody_with_it(redis_url: str) -> None:
    async with pool_client(redis_url) as client:
        runner = ScriptRunner(client)
        tasks = [asyncio.create_task(forget(runner)) for _ in range(6)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.sleep(0)  # the batch is on its way
        tasks[1].cancel()
        async with asyncio.timeout(20):
            replies = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(reply) for reply in replies[:2]] == [asyncio.CancelledError] * 2
        assert replies[2:] == [0] * 4
        assert await forget(runner) == 0


async def test_a_connection_that_breaks_right_after_its_handshake_fails_its_calls_and_is_made_anew(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told of its end any more: redis-py was, before the connection changed hands."""
    async with pool_client(redis_url) as client:
        make = client.connection_pool.get_connection
        made: list[Any] = []

        async def make_one_that_breaks() -> Any:
            made.append(await make())  # type: ignore[no-untyped-call]
            if len(made) == 1:
                transport = made[0]._writer.transport
                transport.abort()
                while made[0]._reader.exception() is None and not made[0]._reader.at_eof():  # noqa: ASYNC110
                    await asyncio.sleep(0)
            return made[-1]

        monkeypatch.setattr(client.connection_pool, "get_connection", make_one_that_breaks)
        runner = ScriptRunner(client)
        async with asyncio.timeout(20):
            replies = await asyncio.gather(forget(runner), forget(runner), return_exceptions=True)
            assert [isinstance(reply, REPLY_LOST) for reply in replies] == [True, True]
            assert await forget(runner) == 0
        assert len(made) == 2


async def test_what_ends_while_a_connection_is_being_made_leaves_none_behind(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connects, go_on = asyncio.Event(), asyncio.Event()
    open_connection = asyncio.open_connection

    async def open_late(*arguments: Any, **options: Any) -> Any:
        connects.set()
        await go_on.wait()
        return await open_connection(*arguments, **options)

    monkeypatch.setattr(asyncio, "open_connection", open_late)
    async with pool_client(redis_url) as client:
        runner = ScriptRunner(client)
        waiting = asyncio.create_task(forget(runner))
        await connects.wait()
        await runner.aclose()
    with pytest.raises(REPLY_LOST):
        await waiting
    go_on.set()
    with pytest.raises(REPLY_LOST, match="not sent"):
        await forget(runner)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    with connect(redis_url) as admin:
        assert len(admin.client_list()) == 2  # this, and the watch over the test


async def test_a_server_that_takes_no_writes_counts_as_away_until_it_does(fresh_redis: EmbeddedRedis) -> None:
    async with pool_client(fresh_redis.url) as client:
        runner = ScriptRunner(client)
        dispatcher = Dispatcher(runner, KEYS, lease_ms=60_000)
        await dispatcher.take(1)
        with connect(fresh_redis.url) as admin:
            admin.replicaof("127.0.0.1", "1")
            for _ in range(2):  # the second time on a new connection
                with pytest.raises(RedisTakesNoWrites, match="no writes now"):
                    await dispatcher.heartbeat()
            asked = calls(fresh_redis.url, "evalsha")
            taking = asyncio.create_task(dispatcher.take(1))
            while calls(fresh_redis.url, "evalsha") < asked + 2:  # noqa: ASYNC110 - take, then release, refused
                await asyncio.sleep(0.005)
            assert not taking.done()  # what it may have been given is not released yet
            admin.replicaof("no", "one")
        with pytest.raises(REPLY_LOST):
            await taking
        await dispatcher.heartbeat()


async def doubts(client: redis.asyncio.Redis) -> tuple[int, int, list[dict[str, Any]]]:
    """`doubt_from`, `doubt_before`, and the events that reported it."""
    since, before = await client.hmget(KEYS.control, ["doubt_from", "doubt_before"])
    entries: Any = await client.xrange(KEYS.events)
    events = [json.loads(fields[b"event"]) for _, fields in entries]
    return int(since or 0), int(before or 0), events


async def test_a_new_pool_is_not_in_doubt(redis_url: str) -> None:
    async with pool_client(redis_url) as one, pool_client(redis_url) as other:
        assert await doubts(one) == (0, 0, [])
        assert await doubts(other) == (0, 0, [])
        assert await one.hget(KEYS.control, "run_id") == (await one.info("server"))["run_id"].encode()


async def test_a_server_that_was_restarted_is_noted_once_by_whoever_comes_first(
    fresh_redis: EmbeddedRedis,
) -> None:
    async with pool_client(fresh_redis.url) as one, pool_client(fresh_redis.url) as other:
        await one.ping()
        await other.ping()
        fresh_redis.kill()
        fresh_redis.restart()
        for client in (one, other):
            with pytest.raises(REPLY_LOST):
                await client.ping()
            await client.ping()
        async with pool_client(fresh_redis.url) as late:
            since, before, events = await doubts(late)
        assert before - since == GRACE_MS
        assert [(event["name"], event["reason"]["code"]) for event in events] == [
            ("system.error", "redis_server_changed")
        ]
        assert await doubts(one) == (since, before, events)
        taken = Dispatcher(ScriptRunner(one), KEYS, lease_ms=1000)
        await taken.take(0)
        assert (taken.doubt.since_ms, taken.doubt.before_ms) == (since, before)


async def test_a_server_that_forgot_even_the_note_is_noticed_by_who_knew_the_last_one(
    fresh_redis: EmbeddedRedis,
) -> None:
    async with pool_client(fresh_redis.url) as client:
        await client.ping()
        await client.delete(KEYS.control)
        fresh_redis.kill()
        fresh_redis.restart()
        with pytest.raises(REPLY_LOST):
            await client.ping()
        since, before, _ = await doubts(client)
        assert 0 < since < before


async def test_another_connection_to_the_same_server_raises_no_doubt(redis_url: str) -> None:
    async with pool_client(redis_url) as client:
        await client.ping()
        await client.connection_pool.disconnect()
        assert await doubts(client) == (0, 0, [])


async def test_no_script_that_waits_runs_at_a_server_that_may_have_forgotten_on_what_it_rests(
    fresh_redis: EmbeddedRedis,
) -> None:
    """Back within the lease, without its last writes: nobody may go on with a lane as if nothing had happened."""
    async with pool_client(fresh_redis.url) as client:
        runner = ScriptRunner(client)
        dispatcher = Dispatcher(runner, KEYS, lease_ms=60_000)
        await dispatcher.take(1)
        fresh_redis.kill()
        fresh_redis.restart()
        outcomes = []
        for _ in range(200):
            try:
                outcomes.append(await forget(runner))
                break
            except REPLY_LOST as error:
                outcomes.append(error)
        assert outcomes[-1] == 0, "and then it serves again"
        assert runner.server_changes == 1
        for step in (dispatcher.require_lease, dispatcher.require_server):
            with pytest.raises(RedisForgot):
                step()
        with pytest.raises(RedisForgot):
            await dispatcher.take(1)
        assert (await Dispatcher(runner, KEYS, lease_ms=60_000).take(1)).runs == ()


async def test_ids_ahead_of_the_clock_are_doubted_for_the_whole_grace_time(
    fresh_redis: EmbeddedRedis,
) -> None:
    """Redis' clock was set back: entries appended after the restart have ids beside the last one's, not the clock's."""
    with connect(fresh_redis.url) as admin:
        ahead = int(admin.time()[0]) * 1000 + 3_600_000
        admin.xadd(KEYS.intents, {"intent": "{}"}, id=f"{ahead}-0")
    async with pool_client(fresh_redis.url) as client:
        await Dispatcher(ScriptRunner(client), KEYS, lease_ms=60_000).take(0)
        fresh_redis.kill()
        fresh_redis.restart()
    async with pool_client(fresh_redis.url) as client:
        await client.ping()
    with connect(fresh_redis.url) as admin:
        assert int(admin.hget(KEYS.control, "doubt_before") or 0) == ahead + GRACE_MS
