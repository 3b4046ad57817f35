"""What an operator does through Redis: status, dead letters, unknown orders and parked lanes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orderlane.client import Client
from orderlane.client_settings import ClientSettings
from orderlane.dead_letters import DeadLetterMissing, RetryRefused, list_dead, read_dead, retry_dead
from orderlane.errors import Unreachable
from orderlane.intents import Intent, Side, encode_intent
from orderlane.orders import OrderStatus, Reason, Times
from orderlane.parking import list_unknown, unpark
from orderlane.pool_link import PoolLink
from orderlane.pool_status import BucketStatus, read_status
from orderlane.scripts import script
from tests.orderlane.played_pool import PlayedPool, an_intent
from tests.orderlane.proxies import proxy_of

LANE = "main|BTC/USDT:USDT"


@pytest.fixture
def link(redis_url: str) -> Iterator[PoolLink]:
    one = PoolLink(ClientSettings(url=redis_url))
    yield one
    one.close()


def bury(pool: PlayedPool, payload: bytes, reason: Any = None) -> str:
    letter = {
        "entry": "1700000000000-0",
        "reason": json.dumps(reason or {"code": "id_reused", "message": "used before"}),
        "payload": payload,
        "at": 1_700_000_000_500,
    }
    return str(pool.raw.xadd(pool.keys().dead, letter).decode())


def entries(pool: PlayedPool) -> list[bytes]:
    return [entry for entry, _ in pool.raw.xrange(pool.keys().intents)]


def test_an_empty_pool_has_a_status(link: PoolLink, pool: PlayedPool) -> None:
    assert read_status(link).exchanges == []
    pool.register("binance")
    status = read_status(link)
    assert (status.pool, status.address) == ("orderlane", link.settings.address)
    one = status.exchanges[0]
    assert (one.exchange, one.backlog, one.oldest_ms, one.workers, one.buckets) == (
        "binance",
        0,
        None,
        [],
        [],
    )
    assert one.open_orders == {"main": 0}
    assert one.buckets_complete


def test_the_status_counts_what_there_is(client: Client, link: PoolLink, pool: PlayedPool) -> None:
    pool.register("binance", "main", "alt")
    pool.register("kraken")
    keys = pool.keys()
    for number in range(3):
        client.submit(an_intent(f"i-{number}"))
    pool.advance(an_intent("a"), OrderStatus.UNKNOWN)
    pool.advance(an_intent("b", account="alt"), OrderStatus.ACTIVE)
    now_ms = read_status(link).at
    pool.raw.zadd(keys.waiting, {"x": 0})
    pool.raw.zadd(keys.ready, {"one": 1, "two": 2})
    pool.raw.zadd(keys.parked, {LANE: now_ms - 5000})
    pool.raw.hset(keys.owners, LANE, "w:1:a#1")
    pool.raw.zadd(keys.workers, {"w:1:a": now_ms + 60_000, "w:2:b": now_ms - 60_000})
    pool.raw.hset(keys.load, "w:1:a", 4)
    pool.raw.zadd(keys.hungry, {"w:1:a": 12})
    pool.raw.hset(keys.control, "mode", "normal")
    bury(pool, b"x")
    binance, kraken = read_status(link).exchanges
    assert kraken.backlog == 0
    assert (binance.backlog, binance.unread, binance.dead, binance.unknown) == (3, 2, 1, 1)
    assert (binance.lanes_ready, binance.lanes_owned, binance.lanes_parked) == (2, 1, 1)
    assert binance.oldest_ms is not None
    assert binance.oldest_ms >= 0
    assert binance.parked_since_ms is not None
    assert binance.parked_since_ms >= 5000
    assert binance.open_orders == {"alt": 1, "main": 1}
    assert [(one.id, one.lanes, one.wants_lanes, one.lease_ends_in_ms > 0) for one in binance.workers] == [
        ("w:1:a", 4, 12, True),
        ("w:2:b", 0, 0, False),
    ]
    assert binance.control == {"mode": "normal"}
    assert [one.exchange for one in read_status(link, "kraken").exchanges] == ["kraken"]


def test_buckets_show_what_is_stored_of_them(link: PoolLink, pool: PlayedPool) -> None:
    pool.register("binance")
    keys = pool.keys()
    now_ms = read_status(link).at
    for number in range(2500):
        pool.raw.set(f"unrelated:{number}", 1)
    pool.raw.hset(keys.bucket("ip", "weight_1m"), mapping={"level": 1205, "unit": 10, "at": now_ms})
    pool.raw.pexpire(keys.bucket("ip", "weight_1m"), 600_000)
    pool.raw.hset(keys.bucket("main", "orders_10s"), mapping={"level": -15, "unit": 10, "at": now_ms})
    pool.raw.hset(keys.bucket("ip", "penalty"), mapping={"until": now_ms + 600_000})
    pool.raw.hset(pool.keys("kraken").bucket("ip", "other"), mapping={"level": 1, "unit": 1, "at": 1})
    penalty, weight, orders = read_status(link).exchanges[0].buckets
    assert (penalty.scope, penalty.name, penalty.tokens) == ("ip", "penalty", None)
    assert penalty.shut_for_ms is not None
    assert 0 < penalty.shut_for_ms <= 600_000
    assert (weight.scope, weight.name, weight.tokens) == ("ip", "weight_1m", 120)
    assert weight.full_in_ms is not None
    assert 0 < weight.full_in_ms <= 599_000
    assert orders == BucketStatus(scope="main", name="orders_10s", tokens=-2, full_in_ms=0)


def test_dead_letters_are_shown_newest_first_and_whole(link: PoolLink, pool: PlayedPool) -> None:
    first, second = (
        bury(pool, b"\xff\x00"),
        bury(pool, b"{}", {"code": "c", "message": "m", "numbers": {"n": "1"}}),
    )
    letters = list_dead(link, "binance", 10)
    assert [one.id for one in letters] == [second, first]
    assert [one.id for one in list_dead(link, "binance", 1)] == [second]
    assert letters[0].reason == Reason("c", "m", {"n": "1"})
    assert read_dead(link, "binance", first).payload == b"\xff\x00"
    assert (letters[1].entry, letters[1].at) == ("1700000000000-0", 1_700_000_000_500)


def test_a_dead_letter_of_strange_form_is_still_shown(link: PoolLink, pool: PlayedPool) -> None:
    letter_id = pool.raw.xadd(pool.keys().dead, {"reason": b"no \xff json"}).decode()
    assert read_dead(link, "binance", letter_id).reason.code == "unreadable_reason"


@pytest.mark.parametrize("wrong", ["1-1", "", "-", "+", "x", "1", "1-1\n"])
def test_a_dead_letter_that_is_not_there_is_named(link: PoolLink, pool: PlayedPool, wrong: str) -> None:
    bury(pool, b"x")
    for call in (read_dead, retry_dead):
        with pytest.raises(DeadLetterMissing, match="has no dead letter"):
            call(link, "binance", wrong)


def test_a_retry_puts_the_payload_back_as_the_newest_entry_and_once(link: PoolLink, pool: PlayedPool) -> None:
    payload = encode_intent(an_intent())
    letter_id = bury(pool, payload)
    entry = retry_dead(link, "binance", letter_id)
    assert pool.payloads() == [payload]
    assert [entry.encode()] == entries(pool)
    assert list_dead(link, "binance", 10) == []
    assert pool.order(an_intent()) is None
    with pytest.raises(DeadLetterMissing, match="it was retried"):
        retry_dead(link, "binance", letter_id)
    assert len(pool.payloads()) == 1


def test_a_retry_gives_the_queued_record_its_new_entry(
    client: Client, link: PoolLink, pool: PlayedPool
) -> None:
    client.submit(an_intent())
    pool.raw.delete(pool.keys().intents)
    entry = retry_dead(link, "binance", bury(pool, encode_intent(an_intent())))
    order = pool.order(an_intent())
    assert order is not None
    assert (order.status, order.entry, order.version) == (OrderStatus.QUEUED, entry, 2)
    assert client.submit(an_intent()).duplicate


def test_a_retry_starts_an_order_that_failed_before_it_was_sent_anew(
    link: PoolLink, pool: PlayedPool
) -> None:
    pool.advance(an_intent(), OrderStatus.FAILED, reason=Reason("poison", "it killed three workers"))
    pool.raw.pexpire(pool.order_key(an_intent()), 60_000)
    entry = retry_dead(link, "binance", bury(pool, encode_intent(an_intent())))
    order = pool.order(an_intent())
    assert order is not None
    assert (order.status, order.entry, order.version, order.reason) == (OrderStatus.QUEUED, entry, 2, None)
    assert pool.raw.pttl(pool.order_key(an_intent())) == -1


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (OrderStatus.SUBMITTED, {}),
        (OrderStatus.UNKNOWN, {}),
        (OrderStatus.FILLED, {}),
        (OrderStatus.FAILED, {"attempts": 1}),
        (OrderStatus.QUEUED, {"attempts": 1}),
        (OrderStatus.FAILED, {"times": Times(sent_at=5)}),
    ],
)
def test_what_may_have_been_sent_is_never_retried(
    link: PoolLink, pool: PlayedPool, status: OrderStatus, changes: dict[str, Any]
) -> None:
    pool.write(an_intent(), status, **changes)
    letter_id = bury(pool, encode_intent(an_intent()))
    for force in (False, True):
        with pytest.raises(RetryRefused, match="may have been sent"):
            retry_dead(link, "binance", letter_id, force=force)
    assert pool.payloads() == []
    assert len(list_dead(link, "binance", 10)) == 1


def test_an_id_of_another_intent_is_never_retried(client: Client, link: PoolLink, pool: PlayedPool) -> None:
    client.submit(an_intent())
    letter_id = bury(pool, encode_intent(an_intent(side=Side.SELL)))
    with pytest.raises(RetryRefused, match="belongs to another intent"):
        retry_dead(link, "binance", letter_id, force=True)


@pytest.mark.parametrize(
    "payload",
    [b"\xff\x00binary", b"", b'["a","1"]', encode_intent(an_intent(exchange="kraken"))],
    ids=["binary", "empty", "foreign fields", "other exchange"],
)
def test_what_is_no_intent_is_retried_only_by_force(link: PoolLink, pool: PlayedPool, payload: bytes) -> None:
    letter_id = bury(pool, payload)
    with pytest.raises(RetryRefused, match="use --force"):
        retry_dead(link, "binance", letter_id)
    assert pool.payloads() == []
    retry_dead(link, "binance", letter_id, force=True)
    assert pool.payloads() == [payload]


def test_a_record_that_changes_under_a_retry_is_looked_at_again(
    redis_url: str, link: PoolLink, pool: PlayedPool
) -> None:
    letter_id = bury(pool, encode_intent(an_intent()))

    def begin() -> None:
        pool.advance(an_intent(), OrderStatus.SUBMITTED)

    with proxy_of(redis_url) as proxy:
        behind = PoolLink(ClientSettings(url=proxy.url))
        proxy.before(b"EVALSHA", begin)
        with pytest.raises(RetryRefused, match="may have been sent"):
            retry_dead(behind, "binance", letter_id)
        behind.close()
    assert pool.payloads() == []


def test_a_retry_whose_reply_is_lost_adds_one_entry(redis_url: str, pool: PlayedPool) -> None:
    pool.redis.script_load(script("retry_dead").source)
    letter_id = bury(pool, encode_intent(an_intent()))
    with proxy_of(redis_url) as proxy:
        behind = PoolLink(ClientSettings(url=proxy.url))
        with pytest.raises(DeadLetterMissing):
            read_dead(behind, "binance", "1-1")
        proxy.lose_replies(to=b"EVALSHA", times=1)
        with pytest.raises(DeadLetterMissing, match="it was retried"):
            retry_dead(behind, "binance", letter_id)
        behind.close()
    assert len(pool.payloads()) == 1


def test_unknown_orders_are_listed_longest_first_with_their_parked_lanes(
    link: PoolLink, pool: PlayedPool
) -> None:
    first: Intent = an_intent("first", symbol="ETH/USDT:USDT")
    pool.advance(first, OrderStatus.UNKNOWN)
    pool.advance(an_intent("second"), OrderStatus.UNKNOWN)
    pool.raw.zadd(pool.keys().parked, {LANE: 1})
    listed = list_unknown(link, "binance")
    assert [(one.order.id, one.parked) for one in listed] == [("first", False), ("second", True)]
    assert listed[0].since < listed[1].since


def test_unparking_makes_a_lane_ready_and_rings_once(link: PoolLink, pool: PlayedPool) -> None:
    keys = pool.keys()
    pool.raw.zadd(keys.parked, {LANE: 1, "main|ETH/USDT": 2})
    assert unpark(link, "binance", LANE)
    assert pool.raw.zrange(keys.ready, 0, -1, withscores=True) == [[LANE.encode(), 0.0]]
    assert pool.raw.zrange(keys.parked, 0, -1) == [b"main|ETH/USDT"]
    assert pool.raw.xlen(keys.bell) == 1
    assert not unpark(link, "binance", LANE)
    assert pool.raw.xlen(keys.bell) == 1


def test_unparking_forgets_the_deaths_counted_against_the_entry(link: PoolLink, pool: PlayedPool) -> None:
    keys = pool.keys()
    entry: bytes = pool.raw.xadd(keys.intents, {"intent": "{}"}, id="1795000000000-0")
    pool.raw.xgroup_create(keys.intents, "workers", "0")
    pool.raw.xreadgroup("workers", "pool", {keys.intents: ">"})
    pool.raw.xclaim(keys.intents, "workers", "pool", 0, [entry], retrycount=4, justid=True)
    pool.raw.zadd(keys.waiting, {f"{LANE}\0!M1795000000000A0": 0})
    pool.raw.zadd(keys.parked, {LANE: 1})
    assert unpark(link, "binance", LANE)
    (pending,) = pool.raw.xpending_range(keys.intents, "workers", "-", "+", 10)
    assert pending["times_delivered"] == 1


def test_a_lane_that_someone_runs_is_not_given_to_a_second_worker(link: PoolLink, pool: PlayedPool) -> None:
    keys = pool.keys()
    pool.raw.zadd(keys.parked, {LANE: 1})
    pool.raw.hset(keys.owners, LANE, "w:1:a#1")
    assert unpark(link, "binance", LANE)
    assert pool.raw.zcard(keys.ready) == 0
    assert not unpark(link, "binance", "no|lane")


def test_without_redis_every_operation_says_so() -> None:
    link = PoolLink(ClientSettings(url="redis://127.0.0.1:1/0", retry_seconds=0))
    calls: list[Callable[[], object]] = [
        lambda: read_status(link, "binance"),
        lambda: list_dead(link, "binance", 1),
        lambda: retry_dead(link, "binance", "1-1"),
        lambda: list_unknown(link, "binance"),
        lambda: unpark(link, "binance", LANE),
    ]
    for call in calls:
        with pytest.raises(Unreachable):
            call()
    link.close()
