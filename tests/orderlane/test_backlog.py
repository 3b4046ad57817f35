"""The pool's limits on what waits, as every client meets them, and the figures told of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from orderlane import Backlogged, CancelAll, CancelOrder, Client
from orderlane.backlog import STALE_MS, drained_per_second, sampled
from orderlane.client_settings import ClientSettings
from orderlane.errors import BacklogBound
from orderlane.pool_link import PoolLink
from orderlane.pool_status import read_status
from tests.orderlane.played_pool import PlayedPool, an_intent


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(redis_url) as client:
        yield client


def publish(pool: PlayedPool, exchange: int, account: int) -> None:
    """What a worker does when it starts."""
    limits = {"backlog_limit": exchange, "account_backlog_limit": account}
    pool.raw.hset(pool.keys().control, mapping=limits)


def sort_into_lanes(pool: PlayedPool, account: str, count: int) -> None:
    """Entries in lanes of an account, as a worker sorts them in."""
    keys = pool.keys()
    for number in range(count):
        entry = pool.raw.xadd(keys.intents, {"intent": "{}"}).decode()
        ms, sequence = entry.split("-")
        pool.raw.zadd(keys.waiting, {f"{account}|S{number}\x005M{ms}A{sequence}": 0})


def test_one_account_s_limit_leaves_room_for_the_others(client: Client, pool: PlayedPool) -> None:
    publish(pool, exchange=5, account=3)
    for number in range(3):
        client.submit(an_intent(f"i-{number}"))
    with pytest.raises(
        Backlogged, match=r"account main on binance is 3 intents, .* 3 or more .*account_"
    ) as caught:
        client.submit(an_intent("i-3"))
    assert (caught.value.bound, caught.value.account, caught.value.backlog, caught.value.limit) == (
        BacklogBound.ACCOUNT,
        "main",
        3,
        3,
    )
    client.submit(an_intent("o-0", account="alt"))
    client.submit(an_intent("o-1", account="alt"))
    with pytest.raises(
        Backlogged, match="backlog of binance is 5 intents, and the pool admits none"
    ) as caught:
        client.submit(an_intent("o-2", account="alt"))
    assert (caught.value.bound, caught.value.backlog, caught.value.limit) == (BacklogBound.EXCHANGE, 5, 5)
    assert client.submit(an_intent("i-0")).duplicate, "what is there already is answered"
    assert pool.order(an_intent("i-3")) is None


def test_what_takes_risk_away_passes_every_limit_and_an_amend_does_not(
    redis_url: str, pool: PlayedPool
) -> None:
    publish(pool, exchange=1, account=1)
    pool.register("binance", "main")
    with Client(redis_url, backlog_limit=1) as client:
        client.submit(an_intent("a"))
        client.submit(
            CancelOrder(id="c", target="a", exchange="binance", account="main", symbol="BTC/USDT:USDT")
        )
        client.submit(CancelAll(id="all", exchange="binance", account="main", symbol="*"))
        client.submit(an_intent("r", reduce_only=True))
        with pytest.raises(Backlogged):
            client.amend("a", amount=an_intent().amount)
    assert len(pool.payloads()) == 4


def test_entries_in_lanes_count_whoever_appended_them(client: Client, pool: PlayedPool) -> None:
    publish(pool, exchange=100, account=4)
    sort_into_lanes(pool, "main", 3)
    sort_into_lanes(pool, "main2", 3)
    sort_into_lanes(pool, "mai", 3)
    client.submit(an_intent("a"))
    with pytest.raises(Backlogged) as caught:
        client.submit(an_intent("b"))
    assert caught.value.backlog == 4


def test_the_smaller_of_the_client_s_and_the_pool_s_limit_holds(redis_url: str, pool: PlayedPool) -> None:
    publish(pool, exchange=2, account=2)
    with Client(redis_url, backlog_limit=1) as small, Client(redis_url, backlog_limit=50) as large:
        small.submit(an_intent("a"))
        with pytest.raises(Backlogged) as caught:
            small.submit(an_intent("b"))
        assert caught.value.bound is BacklogBound.CLIENT
        large.submit(an_intent("b"))
        with pytest.raises(Backlogged) as caught:
            large.submit(an_intent("c"))
        assert caught.value.bound is BacklogBound.EXCHANGE


def test_eight_submitters_of_one_account_never_pass_its_limit(redis_url: str, pool: PlayedPool) -> None:
    publish(pool, exchange=1000, account=40)
    refused: list[Backlogged] = []
    start = threading.Barrier(8)

    def submit_all(submitter: int) -> None:
        with Client(redis_url) as client:
            start.wait()
            results = client.submit_many([an_intent(f"{submitter}-{number}") for number in range(20)])
            refused.extend(one for one in results if isinstance(one, Backlogged))

    threads = [threading.Thread(target=submit_all, args=(one,)) for one in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pool.raw.xlen(pool.keys().intents) == 40
    assert {one.backlog for one in refused} == {40}
    assert len(refused) == 8 * 20 - 40


def test_a_foreign_value_under_the_count_stops_nobody(client: Client, pool: PlayedPool) -> None:
    publish(pool, exchange=5, account=2)
    pool.raw.set(pool.keys().unread, "foreign")
    for number in range(3):
        client.submit(an_intent(f"i-{number}"))
    assert len(pool.payloads()) == 3


def test_the_status_shows_each_account_s_depth_and_the_drain_rate(
    redis_url: str, client: Client, pool: PlayedPool
) -> None:
    pool.register("binance", "main", "alt")
    keys = pool.keys()
    sort_into_lanes(pool, "alt", 5)
    client.submit(an_intent("a"))
    client.submit(an_intent("b"))
    link = PoolLink(ClientSettings(url=redis_url))
    [one] = read_status(link).exchanges
    assert (one.backlog, one.unread, one.account_backlogs) == (7, 2, {"alt": 5, "main": 2})
    assert one.drained_per_second is None
    pool.raw.hset(keys.drained, mapping={"total": 90, "sampled_at": one.at - 4000, "sampled_total": 50})
    [one] = read_status(link).exchanges
    link.close()
    assert one.drained_per_second is not None
    assert 0 < one.drained_per_second <= 10


@pytest.mark.parametrize(
    ("fields", "now_ms", "rate"),
    [
        ({}, 10_000, None),
        ({"total": 50}, 10_000, None),
        ({"total": 50, "sampled_at": 5_000, "sampled_total": 0}, 10_000, 10.0),
        ({"total": 50, "sampled_at": 9_000, "sampled_total": 0}, 10_000, None),
        (
            {"total": 50, "sampled_at": 9_000, "sampled_total": 40, "before_at": 0, "before_total": 30},
            10_000,
            2.0,
        ),
        ({"total": 50, "sampled_at": 0, "sampled_total": 0}, STALE_MS + 1, None),
        ({"total": 5, "sampled_at": 5_000, "sampled_total": 9}, 10_000, None),
    ],
    ids=[
        "nothing",
        "no sample",
        "a sample",
        "too recent",
        "the one before",
        "too old",
        "a count that went back",
    ],
)
def test_the_drain_rate_is_of_the_last_sample_that_says_something(
    fields: dict[str, int], now_ms: int, rate: float | None
) -> None:
    assert (
        drained_per_second({name.encode(): str(one).encode() for name, one in fields.items()}, now_ms) == rate
    )


def test_a_new_sample_keeps_the_one_before() -> None:
    assert sampled({b"total": b"7"}, 100) == {"sampled_at": 100, "sampled_total": 7}
    first = {b"total": b"9", b"sampled_at": b"100", b"sampled_total": b"7"}
    assert sampled(first, 200) == {
        "sampled_at": 200,
        "sampled_total": 9,
        "before_at": 100,
        "before_total": 7,
    }
