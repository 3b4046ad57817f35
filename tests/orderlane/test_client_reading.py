"""Looking: get, open orders, wait and events, none of which may miss anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest

from common.redis_server import EmbeddedRedis
from orderlane.client import Client
from orderlane.errors import ExchangeUnclear, IntentAmbiguous, Unreachable, WaitTimeout
from orderlane.events import EventName
from orderlane.orders import OrderStatus, Reason
from orderlane.waiting import BLOCK_SECONDS
from tests.orderlane.played_pool import PlayedPool, advancing, an_intent
from tests.orderlane.proxies import proxy_of

LONG_SECONDS = 20.0
"""Longer than any of these waits takes."""


@pytest.fixture
def only_events_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the look at the record every other second, which would hide a wake-up that was lost."""
    monkeypatch.setattr("orderlane.client.BLOCK_SECONDS", 2 * LONG_SECONDS)
    monkeypatch.setattr("orderlane.pool_link.BLOCK_SECONDS", 2 * LONG_SECONDS)


def test_an_order_is_found_by_id_alone_in_any_account_the_workers_registered(
    redis_url: str, pool: PlayedPool
) -> None:
    with Client(redis_url) as client:
        pool.register("binance", "main", "alt")
        pool.register("kraken", "main")
        pool.advance(an_intent(exchange="kraken"), OrderStatus.ACTIVE)
        found = client.get("grid-1")
        assert found is not None
        assert found.intent.exchange == "kraken"
        assert client.get("grid-2") is None
        assert client.get("grid-1", exchange="binance") is None
        assert client.get("grid-1", account="alt") is None


def test_an_id_that_several_accounts_have_is_no_ones_guess(redis_url: str, pool: PlayedPool) -> None:
    pool.register("binance", "main", "alt")
    with Client(redis_url) as client:
        for account in ("main", "alt"):
            pool.advance(an_intent(account=account), OrderStatus.ACTIVE)
        for call in (client.get, client.cancel, client.wait):
            with pytest.raises(IntentAmbiguous, match="binance/alt, binance/main: give exchange and account"):
                call("grid-1")
        order = client.get("grid-1", account="alt")
        assert order is not None
        assert order.intent.account == "alt"


def test_a_raw_entry_has_no_record_until_a_worker_begins_it(client: Client, pool: PlayedPool) -> None:
    pool.redis.xadd(pool.keys().intents, {"intent": b"{}"})
    assert client.get("grid-1") is None


def test_open_orders_are_those_begun_and_not_ended(client: Client, pool: PlayedPool) -> None:
    client.submit(an_intent("queued"))
    for name, status in [
        ("active", OrderStatus.ACTIVE),
        ("unknown", OrderStatus.UNKNOWN),
        ("filled", OrderStatus.FILLED),
    ]:
        pool.advance(an_intent(name), status)
    pool.advance(an_intent("other", account="alt"), OrderStatus.ACTIVE)
    assert [one.id for one in client.open_orders()] == ["active", "unknown"]
    assert [one.id for one in client.open_orders("alt")] == ["other"]
    pool.register("binance", "main", "alt")
    with Client(client.settings.url) as anyone:
        assert {one.id for one in anyone.open_orders()} == {"active", "unknown", "other"}


def test_thousands_of_open_orders_are_read(client: Client, pool: PlayedPool) -> None:
    for number in range(1100):
        pool.advance(an_intent(f"i-{number}"), OrderStatus.ACTIVE)
    assert len(client.open_orders()) == 1100


@pytest.mark.parametrize("status", sorted(set(OrderStatus) - {"QUEUED", "SUBMITTED", "UNKNOWN"}))
def test_any_word_of_the_exchange_or_the_pool_is_an_acknowledgement(
    client: Client, pool: PlayedPool, status: OrderStatus
) -> None:
    pool.advance(an_intent(), status)
    assert client.wait("grid-1", timeout_seconds=0).status == status


@pytest.mark.parametrize("status", ["QUEUED", "SUBMITTED", "UNKNOWN"])
def test_no_word_yet_is_waited_through(client: Client, pool: PlayedPool, status: str) -> None:
    client.submit(an_intent())
    if status != "QUEUED":
        pool.advance(an_intent(), OrderStatus(status))
    with pytest.raises(WaitTimeout, match=f"it is {status}") as caught:
        client.wait("grid-1", timeout_seconds=0)
    assert caught.value.order == pool.order(an_intent())


def test_a_wait_for_what_nobody_knows_says_so(client: Client) -> None:
    with pytest.raises(WaitTimeout, match="no record of it yet") as caught:
        client.wait("grid-1", timeout_seconds=0.01)
    assert caught.value.order is None


def test_waiting_for_a_status_that_can_not_come_ends_with_the_order(client: Client, pool: PlayedPool) -> None:
    pool.advance(an_intent(), OrderStatus.REJECTED, reason=Reason("filter", "too small"))
    assert client.wait("grid-1", {OrderStatus.PARTIAL}, 0).reason == Reason("filter", "too small")


@pytest.mark.parametrize("wrong", ["done", set(), {"ACTIV"}])
def test_a_wait_for_no_status_is_refused(client: Client, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"until is|is not a valid OrderStatus"):
        client.wait("grid-1", wrong)


@pytest.mark.usefixtures("only_events_wake")
@pytest.mark.parametrize("command", [b"HGETALL", b"XREAD"])
def test_a_status_passed_through_at_any_moment_of_a_wait_ends_it(
    redis_url: str, pool: PlayedPool, command: bytes
) -> None:
    """Only the event can tell: no look at the record, the last one neither, finds the status that was waited for."""
    pool.advance(an_intent(), OrderStatus.SUBMITTED)
    with proxy_of(redis_url) as proxy, Client(proxy.url, exchange="binance", account="main") as client:
        proxy.before(command, advancing(pool, OrderStatus.UNKNOWN, OrderStatus.ACTIVE))
        order = client.wait("grid-1", {OrderStatus.UNKNOWN}, timeout_seconds=LONG_SECONDS)
    assert order.status is OrderStatus.ACTIVE


@pytest.mark.usefixtures("only_events_wake")
def test_a_change_before_a_wait_has_its_place_in_the_stream_is_seen_by_its_look(
    redis_url: str, pool: PlayedPool
) -> None:
    pool.advance(an_intent(), OrderStatus.SUBMITTED)
    with proxy_of(redis_url) as proxy, Client(proxy.url, exchange="binance", account="main") as client:
        proxy.before(b"XREVRANGE", advancing(pool, OrderStatus.ACTIVE))
        proxy.lose_requests(to=b"XREAD", times=1)
        assert client.wait("grid-1", timeout_seconds=LONG_SECONDS).status is OrderStatus.ACTIVE
        assert proxy.lost == 0, "it did not have to read the stream"


@pytest.mark.usefixtures("only_events_wake")
def test_waits_for_many_orders_each_end_with_their_change(redis_url: str, pool: PlayedPool) -> None:
    ids = [f"i-{number}" for number in range(60)]

    def change_all() -> None:
        played = PlayedPool(redis_url)
        for one in ids:
            played.advance(an_intent(one), OrderStatus.SUBMITTED)
            played.advance(an_intent(one), OrderStatus.ACTIVE)
        played.close()

    changing = threading.Thread(target=change_all)
    with Client(redis_url, exchange="binance", account="main") as client:
        changing.start()
        found = [client.wait(one, timeout_seconds=LONG_SECONDS).id for one in ids]
    changing.join()
    assert found == ids


@pytest.mark.usefixtures("only_events_wake")
def test_news_of_others_do_not_end_a_wait(redis_url: str, pool: PlayedPool) -> None:
    pool.advance(an_intent(), OrderStatus.SUBMITTED)

    def others_first() -> None:
        pool.advance(an_intent("grid-10"), OrderStatus.ACTIVE)
        pool.advance(an_intent(account="alt"), OrderStatus.FILLED)
        pool.redis.xadd(pool.keys().events, {"event": b"no event"})
        pool.advance(an_intent(), OrderStatus.ACTIVE)

    with proxy_of(redis_url) as proxy, Client(proxy.url, exchange="binance", account="main") as client:
        proxy.before(b"XREAD", others_first)
        assert client.wait("grid-1", timeout_seconds=LONG_SECONDS).intent == an_intent()


def test_a_wait_survives_lost_connections(redis_url: str, pool: PlayedPool) -> None:
    pool.advance(an_intent(), OrderStatus.SUBMITTED)
    with proxy_of(redis_url) as proxy, Client(proxy.url, exchange="binance", account="main") as client:
        proxy.lose_replies(to=b"XREVRANGE", times=1)
        proxy.lose_replies(to=b"HGETALL", times=2)
        proxy.lose_requests(to=b"XREAD", times=2)
        proxy.before(b"XREAD", advancing(pool, OrderStatus.FILLED))
        assert client.wait("grid-1", timeout_seconds=LONG_SECONDS).status is OrderStatus.FILLED
        assert proxy.lost >= 3


def test_a_change_whose_event_was_lost_is_seen_all_the_same(client: Client, pool: PlayedPool) -> None:
    pool.advance(an_intent(), OrderStatus.SUBMITTED)
    later = threading.Timer(0.1, lambda: pool.redis.hset(pool.order_key(an_intent()), "status", "ACTIVE"))
    later.start()
    assert client.wait("grid-1", timeout_seconds=LONG_SECONDS).status is OrderStatus.ACTIVE
    later.join()


def test_a_wait_looks_at_the_record_less_than_once_a_second(client: Client, pool: PlayedPool) -> None:
    pool.redis.config_resetstat()
    with pytest.raises(WaitTimeout):
        client.wait("grid-1", timeout_seconds=3)
    calls: dict[str, Any] = pool.raw.info("commandstats")
    assert calls["cmdstat_hgetall"]["calls"] <= 3
    assert calls["cmdstat_xread"]["calls"] <= 3


def test_events_are_read_from_any_point_and_again(client: Client, pool: PlayedPool) -> None:
    for status in (OrderStatus.SUBMITTED, OrderStatus.ACTIVE, OrderStatus.FILLED):
        pool.advance(an_intent(), status)
    everything = list(islice(client.events("0"), 3))
    assert [one.name for one in everything] == [
        EventName.SUBMITTED, EventName.ACKNOWLEDGED, EventName.FILLED,
    ]  # fmt: skip
    assert list(islice(client.events(everything[0].id), 2)) == everything[1:]
    assert list(islice(client.events("0"), 3)) == everything, "reading consumes nothing"


def test_events_from_now_on_leave_out_what_was(client: Client, pool: PlayedPool) -> None:
    pool.advance(an_intent("before"), OrderStatus.ACTIVE)
    after = client.last_event_id()
    pool.advance(an_intent("after"), OrderStatus.ACTIVE)
    assert next(iter(client.events(after))).intent_id == "after"
    later = threading.Timer(0.2, lambda: pool.advance(an_intent("later"), OrderStatus.ACTIVE))
    later.start()
    assert next(iter(client.events())).intent_id == "later"
    later.join()


def test_an_event_this_version_can_not_read_is_left_out_and_logged(
    client: Client, pool: PlayedPool, caplog: pytest.LogCaptureFixture
) -> None:
    pool.redis.xadd(pool.keys().events, {"event": b'{"name":"order.teleported","at":1}'})
    pool.redis.xadd(pool.keys().events, {"foreign": b"1"})
    pool.advance(an_intent(), OrderStatus.ACTIVE)
    assert next(iter(client.events("0"))).intent_id == "grid-1"
    assert len(caplog.records) == 2


def test_events_go_on_after_cut_connections_without_gap_or_repeat(redis_url: str, pool: PlayedPool) -> None:
    ids = [f"i-{number}" for number in range(40)]
    with proxy_of(redis_url) as proxy, Client(proxy.url, exchange="binance") as client:
        events = client.events("0")
        seen = []
        for number, one in enumerate(ids):
            pool.advance(an_intent(one), OrderStatus.ACTIVE)
            if number % 7 == 3:
                proxy.cut_all()
            if number % 7 == 5:
                proxy.lose_replies(to=b"XREAD", times=2)
            seen.append(next(events).intent_id)
    assert seen == ids


def test_events_outlive_a_restart_of_redis(fresh_redis: EmbeddedRedis) -> None:
    pool = PlayedPool(fresh_redis.url)
    with Client(fresh_redis.url, exchange="binance", retry_seconds=30) as client:
        events = client.events("0")
        pool.advance(an_intent("before"), OrderStatus.ACTIVE)
        assert next(events).intent_id == "before"
        fresh_redis.kill()
        pool.close()

        def come_back() -> None:
            fresh_redis.restart()
            PlayedPool(fresh_redis.url).advance(an_intent("after"), OrderStatus.ACTIVE)

        back = threading.Timer(0.3, come_back)
        back.start()
        assert next(events).intent_id == "after"
        back.join()
    pool.close()


def test_events_without_redis_end_with_an_error_that_allows_to_go_on_from_the_last_id() -> None:
    with (
        Client("redis://127.0.0.1:1/0", exchange="binance", retry_seconds=0) as client,
        pytest.raises(Unreachable),
    ):
        next(client.events("5-0"))


@pytest.mark.parametrize("wrong", ["", "now", "1-", "-", "1-2-3", "1700000000000-0\n"])
def test_a_place_in_the_stream_that_is_none_is_refused_at_once(client: Client, wrong: str) -> None:
    with pytest.raises(ValueError, match="expected '\\$'"):
        client.events(wrong)


def test_events_need_one_exchange_and_find_the_only_one(redis_url: str, pool: PlayedPool) -> None:
    with Client(redis_url) as client:
        with pytest.raises(ExchangeUnclear, match="none registered"):
            next(client.events("0"))
        pool.register("binance")
        pool.advance(an_intent(), OrderStatus.ACTIVE)
        assert next(client.events("0")).exchange == "binance"
        pool.register("kraken")
        with pytest.raises(ExchangeUnclear, match="binance, kraken"):
            next(client.events("0"))


def test_reading_writes_nothing(client: Client, pool: PlayedPool) -> None:
    pool.advance(an_intent(), OrderStatus.ACTIVE)
    before = {key: pool.raw.dump(key) for key in pool.raw.keys("*")}
    reads: list[Callable[[], object]] = [
        lambda: client.get("grid-1"),
        lambda: client.wait("grid-1"),
        client.open_orders,
        lambda: next(iter(client.events("0"))),
    ]
    for read in reads:
        read()
    assert {key: pool.raw.dump(key) for key in pool.raw.keys("*")} == before


def test_a_blocking_read_has_a_socket_timeout_above_its_block(client: Client) -> None:
    options = client._link._blocking.connection_pool.connection_kwargs
    assert options["socket_timeout"] > BLOCK_SECONDS
    started = time.monotonic()
    client._link.next_events({"binance": "0-0"}, 60)
    assert time.monotonic() - started >= BLOCK_SECONDS * 0.9
