"""Whether a pool starts, and who brings an account to agreement: decided in Redis, once, whoever asks and how often."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from common.standings import Standings
from orderlane.events import Event, EventName, decode_event
from orderlane.keys import KNOWN
from orderlane.orders import Reason
from orderlane.reconcile_status import ReconcileState, read_reconcile
from orderlane.standing import Cause, Standing, StandingState, standing_event
from tests.common.pool_bench import Bench, bench_on
from workers.reconcile.lease import Progress, WorkLease, WorkLost
from workers.reconcile.opening import open_pool, reopen
from workers.user_stream.lease import StreamLease, StreamLost

ACCOUNTS: Final = ["main", "alt"]
NOW: Final = 1_760_000_000_000


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    async with bench_on(redis_url) as bench:
        yield bench


async def opened(bench: Bench, accounts: list[str] | None = None, now_ms: int = NOW) -> list[str]:
    """What a worker is told that is about to join."""
    return await open_pool(bench.runner, bench.keys, accounts or ACCOUNTS, now_ms, holder="")


async def joined(bench: Bench) -> str:
    dispatcher, _ = bench.worker()
    await dispatcher.take(1)
    return dispatcher.worker_id


async def standings_of(bench: Bench) -> Standings:
    standings = Standings(bench.client, bench.keys)
    await standings.refresh()
    return standings


async def told(bench: Bench) -> list[tuple[EventName, str]]:
    entries: Any = await bench.client.xrange(bench.keys.events)
    events = [decode_event(entry.decode(), fields[b"event"]) for entry, fields in entries]
    return [(event.name, event.account) for event in events if event.name is not EventName.SYSTEM_ERROR]


def lease(bench: Bench, holder: str, account: str = "main", lease_ms: int = 60_000) -> WorkLease:
    return WorkLease(bench.runner, bench.keys, account, holder, lease_ms=lease_ms)


async def agreed(bench: Bench, by: WorkLease, standings: Standings) -> bool:
    """Say that the account agrees, by what stood there at the last look."""
    seen = {cause: standings.find("main", cause) for cause in (Cause.RECONCILING, Cause.UNRECONCILED)}
    was = next(one for one in seen.values() if one)
    event = standing_event(was, bench.keys.exchange, NOW, lifted=True)
    return await by.agreed(event, seen, Progress(orders=3), 7)


async def test_the_first_worker_closes_every_account_and_a_second_at_once_changes_nothing(
    bench: Bench,
) -> None:
    assert await opened(bench) == ACCOUNTS
    before = bench.snapshot()
    assert await opened(bench, now_ms=NOW + 5) == []
    assert bench.snapshot() == before
    standings = await standings_of(bench)
    for account in ACCOUNTS:
        held = standings.holding(account)
        assert held is not None
        assert held.cause is Cause.RECONCILING
    assert await told(bench) == [(EventName.RECONCILING, account) for account in ACCOUNTS]
    assert all(KNOWN.match(key.removesuffix(" expires").removesuffix(" pending")) for key in before)


async def test_who_joins_a_pool_that_lives_waits_for_nothing(bench: Bench) -> None:
    await opened(bench)
    first = await joined(bench)
    for account in ACCOUNTS:
        bench.admin.hdel(bench.keys.standings, f"{account}|{Cause.RECONCILING}")
    assert await opened(bench) == []
    bench.end_lease(first)
    assert await opened(bench) == ACCOUNTS  # nobody lives any more: it starts anew


async def test_a_pool_that_starts_waits_for_no_user_stream_that_a_dead_worker_holds(bench: Bench) -> None:
    def stream(holder: str, account: str = "main") -> StreamLease:
        return StreamLease(
            bench.runner, bench.keys, account, holder, lease_ms=60_000, retention_ms=60_000
        )  # fmt: skip

    await opened(bench)
    worker = await joined(bench)
    dead, mine, following = stream("dead"), stream("mine", "alt"), stream("following")
    assert (await dead.take()).ours
    assert (await mine.take()).ours
    await opened(bench)
    assert not (await following.take()).ours  # somebody lives who may be its holder
    bench.end_lease(worker)
    await open_pool(bench.runner, bench.keys, ACCOUNTS, NOW, holder="mine")
    assert not (await stream("following", "alt").take()).ours
    assert (await following.take()).ours
    with pytest.raises(StreamLost):  # one that only stood still
        await dead.renew(0, 0)


async def test_an_account_that_was_never_brought_to_agreement_is_closed_in_a_pool_that_lives(
    bench: Bench,
) -> None:
    await opened(bench)
    await joined(bench)
    assert await opened(bench, [*ACCOUNTS, "new"]) == ["new"]


async def test_a_redis_that_was_restarted_closes_every_account_whoever_lives(bench: Bench) -> None:
    await opened(bench)
    await joined(bench)
    standings = await standings_of(bench)
    work = lease(bench, "one")
    assert (await work.take()).ours
    bench.admin.hset(bench.keys.control, "run_id", "another")
    assert await opened(bench, now_ms=NOW + 1) == ACCOUNTS
    assert not await agreed(bench, work, standings)  # what it found out was of the time before
    assert (await standings_of(bench)).holding("main") is not None
    assert await opened(bench, now_ms=NOW + 2) == []


async def test_a_redis_that_forgot_everything_closes_every_account_again(bench: Bench) -> None:
    await opened(bench)
    await joined(bench)
    bench.admin.flushall()
    assert await opened(bench) == ACCOUNTS


async def test_one_worker_at_a_time_is_at_an_account_and_opens_it_once(bench: Bench) -> None:
    await opened(bench)
    standings = await standings_of(bench)
    one, other = lease(bench, "one"), lease(bench, "other")
    assert (await one.take()).ours
    refused = await other.take()
    assert not refused.ours
    assert refused.wait_ms > 0
    await one.renew(Progress(state=ReconcileState.ASKING, asked=3, to_ask=12))
    fields: Any = await bench.client.hgetall(bench.keys.reconcile("main"))
    shown = read_reconcile("main", fields, NOW)
    assert shown is not None
    assert (shown.holder, shown.words) == ("one", "3 of 12 orders asked")
    assert await agreed(bench, one, standings)
    assert not await agreed(bench, one, standings)
    assert (await standings_of(bench)).holding("main") is None
    assert (await standings_of(bench)).holding("alt") is not None
    assert await told(bench) == [
        *((EventName.RECONCILING, account) for account in ACCOUNTS), (EventName.RECONCILED, "main")
    ]  # fmt: skip


async def test_work_whose_lease_has_ended_is_anothers_and_the_first_finds_out(bench: Bench) -> None:
    await opened(bench)
    standings = await standings_of(bench)
    one, other = lease(bench, "one", lease_ms=1), lease(bench, "other")
    assert (await one.take()).ours
    while not (await other.take()).ours:
        pass
    with pytest.raises(WorkLost):
        await one.renew(Progress())
    assert not await agreed(bench, one, standings)
    await other.renew(Progress())


async def test_a_pool_that_died_at_it_goes_on_at_once_when_it_comes_back(bench: Bench) -> None:
    await opened(bench)
    died = await joined(bench)
    assert (await lease(bench, "died").take()).ours
    bench.end_lease(died)
    assert await opened(bench) == []  # it stands already
    assert (await lease(bench, "next").take()).ours


async def test_what_failed_is_left_until_it_is_time_and_a_start_tries_it_at_once(bench: Bench) -> None:
    await opened(bench)
    one = lease(bench, "one")
    assert (await one.take()).ours
    now_ms = (await standings_of(bench)).now_ms()
    await one.give_up(2, now_ms + 60_000, "-2015: no rights")
    offer = await lease(bench, "other").take()
    assert (offer.ours, offer.failures) == (False, 2)
    assert 0 < offer.wait_ms <= 60_000
    assert await opened(bench) == []
    assert (await lease(bench, "other").take()).ours


async def test_what_closed_an_account_is_lifted_where_agreement_is_not_asked_for(bench: Bench) -> None:
    await opened(bench)
    standings = await standings_of(bench)
    reason = Reason(code="unreconciled", message="no rights")
    await standings.put(
        Standing(
            scope="main", cause=Cause.UNRECONCILED, state=StandingState.CLOSED, reason=reason, since_ms=NOW
        )
    )
    await reopen(standings, ACCOUNTS)
    assert standings.all() == []


async def test_the_scripts_run_twice_leave_what_they_left_once(bench: Bench) -> None:
    await opened(bench)
    standings = await standings_of(bench)
    one = lease(bench, "one")
    await one.take()
    for call in (lambda: one.renew(Progress(asked=1)), lambda: agreed(bench, one, standings)):
        await call()
        before = without_times(bench)
        await bench.runner.repeat(bench.runner.last)
        assert without_times(bench) == before


def without_times(bench: Bench) -> dict[str, Any]:
    found = bench.snapshot()
    key = bench.keys.reconcile("main")
    return {**found, key: {**found[key], b"until": b""}}


def test_an_event_tells_how_long_it_took() -> None:
    reason = Reason(code="reconciled", message="they agree", numbers={"took_ms": "7"})
    standing = Standing(
        scope="main", cause=Cause.RECONCILING, state=StandingState.CLOSED, reason=reason, since_ms=NOW
    )
    event: Event = standing_event(standing, "binance", NOW + 9, lifted=True)
    assert (event.numbers["took_ms"], event.numbers["lasted_ms"]) == ("7", "9")
