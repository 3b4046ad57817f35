"""What a submit promises: once, or an error that says what is known."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest
from redis.exceptions import ResponseError

from common.redis_server import EmbeddedRedis
from orderlane.admission import Submitted
from orderlane.client import Client
from orderlane.errors import Backlogged, ExchangeUnknown, IdReused, OutcomeUnknown, Unreachable
from orderlane.intents import IntentInvalid, OrderType, Side, encode_intent, intent_digest
from orderlane.orders import OrderStatus
from orderlane.scripts import script
from tests.orderlane.played_pool import PlayedPool, an_intent
from tests.orderlane.proxies import proxy_of


def test_a_new_intent_joins_the_stream_and_gets_its_record(client: Client, pool: PlayedPool) -> None:
    intent = an_intent()
    submitted = client.submit(intent)
    assert pool.payloads() == [encode_intent(intent)]
    fields: dict[bytes, bytes] = pool.raw.hgetall(pool.order_key(intent))
    entry = pool.raw.xrange(pool.keys().intents)[0][0]
    assert fields[b"status"] == b"QUEUED"
    assert fields[b"version"] == b"1"
    assert fields[b"entry"] == entry
    assert fields[b"digest"].decode() == intent_digest(intent)
    assert submitted == Submitted(order=pool.order(intent), duplicate=False)  # type: ignore[arg-type]
    assert submitted.order.times.queued_at == int(entry.split(b"-")[0])
    assert pool.raw.pttl(pool.order_key(intent)) == -1, "what waits must not expire"


def test_the_same_intent_again_is_answered_with_its_order_as_it_stands(
    client: Client, pool: PlayedPool
) -> None:
    client.submit(an_intent())
    pool.advance(an_intent(), OrderStatus.ACTIVE, exchange_order_id="77")
    again = client.submit(an_intent())
    assert again.duplicate
    assert (again.order.status, again.order.exchange_order_id) == (OrderStatus.ACTIVE, "77")
    assert len(pool.payloads()) == 1


def test_an_id_with_other_content_is_refused_and_shows_the_order_that_has_it(
    client: Client, pool: PlayedPool
) -> None:
    client.submit(an_intent())
    with pytest.raises(IdReused, match="used before for another intent") as caught:
        client.submit(an_intent(amount=Decimal("0.6")))
    assert caught.value.existing.intent == an_intent()
    assert len(pool.payloads()) == 1


def test_the_same_id_on_another_account_is_another_intent(client: Client, pool: PlayedPool) -> None:
    assert not client.submit(an_intent()).duplicate
    assert not client.submit(an_intent(account="alt")).duplicate
    assert len(pool.payloads()) == 2


def test_a_record_written_by_a_worker_for_a_raw_entry_counts_as_the_intent(
    client: Client, pool: PlayedPool
) -> None:
    pool.advance(an_intent(), OrderStatus.SUBMITTED)
    assert client.submit(an_intent()).duplicate
    with pytest.raises(IdReused):
        client.submit(an_intent(side=Side.SELL))
    assert pool.payloads() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "no blanks"},
        {"id": ""},
        {"exchange": "bin{ance}"},
        {"symbol": "BTC|USDT"},
        {"priority": 10},
        {"expires_at": -1},
        {"params": {"a": 1.5}},
        {"params": {"a": object()}},
        {"strategy": "s" * 65},
    ],
)
def test_what_python_lets_through_is_still_refused_before_anything_is_added(
    client: Client, pool: PlayedPool, wrong: dict[str, Any]
) -> None:
    with pytest.raises(IntentInvalid):
        client.submit(an_intent(**wrong))
    assert pool.raw.dbsize() == 0


def test_a_tiny_and_a_round_number_travel_as_plain_decimals(client: Client, pool: PlayedPool) -> None:
    client.submit(an_intent(amount=Decimal("0.0000001"), price=Decimal("64E+3")))
    assert b'"amount":"0.0000001"' in pool.payloads()[0]
    assert b'"price":"64000"' in pool.payloads()[0]


def test_a_full_backlog_adds_nothing_but_still_answers_for_known_intents(
    redis_url: str, pool: PlayedPool
) -> None:
    with Client(redis_url, backlog_limit=2) as client:
        client.submit(an_intent("a"))
        client.submit(an_intent("b"))
        with pytest.raises(Backlogged, match="the backlog of binance is 2 intents") as caught:
            client.submit(an_intent("c"))
        assert (caught.value.exchange, caught.value.backlog, caught.value.limit) == ("binance", 2, 2)
        assert client.submit(an_intent("a")).duplicate
        assert not client.submit(an_intent("d", exchange="kraken")).duplicate, "each exchange has its own"
    assert len(pool.payloads()) == 2
    assert pool.order(an_intent("c")) is None


def test_eight_submitters_at_once_never_pass_the_limit(redis_url: str, pool: PlayedPool) -> None:
    limit, refused, start = 50, [], threading.Barrier(8)

    def submit_all(submitter: int) -> None:
        with Client(redis_url, backlog_limit=limit) as client:
            start.wait()
            for number in range(20):
                try:
                    client.submit(an_intent(f"{submitter}-{number}"))
                except Backlogged as error:
                    refused.append(error.backlog)

    threads = [threading.Thread(target=submit_all, args=(one,)) for one in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pool.raw.xlen(pool.keys().intents) == limit
    assert len(refused) == 8 * 20 - limit
    assert set(refused) == {limit}
    assert len(pool.raw.keys("*:order:*")) == limit


@pytest.mark.parametrize("silently", [False, True], ids=["cut", "silence"])
def test_a_lost_reply_leads_to_one_entry_and_is_no_duplicate(
    redis_url: str, pool: PlayedPool, silently: bool
) -> None:
    pool.redis.script_load(script("submit").source)
    with proxy_of(redis_url) as proxy, Client(proxy.url) as client:
        client._link.redis.connection_pool.connection_kwargs["socket_timeout"] = 0.3
        proxy.lose_replies(to=b"EVALSHA", times=2, silently=silently)
        submitted = client.submit(an_intent())
        assert proxy.lost == 2
    assert len(pool.payloads()) == 1
    assert not submitted.duplicate, "the entry is this call's own"
    assert submitted.order.entry.encode() == pool.raw.xrange(pool.keys().intents)[0][0]


def test_a_request_that_never_arrived_is_sent_again(redis_url: str, pool: PlayedPool) -> None:
    with proxy_of(redis_url) as proxy, Client(proxy.url) as client:
        proxy.lose_requests(to=b"EVALSHA", times=2)
        client.submit(an_intent())
    assert len(pool.payloads()) == 1


def test_giving_up_says_that_the_outcome_is_unknown_and_submitting_again_is_safe(
    redis_url: str, pool: PlayedPool
) -> None:
    with proxy_of(redis_url) as proxy, Client(proxy.url, retry_seconds=0.3) as client:
        client.last_event_id("binance")
        proxy.lose_replies(to=b"EVALSHA", times=100)
        with pytest.raises(
            OutcomeUnknown, match="'grid-1' was added is not known; submit it again"
        ) as caught:
            client.submit(an_intent())
        assert caught.value.intent_ids == ("grid-1",)
    with Client(redis_url) as client:
        assert client.submit(an_intent()).order.intent == an_intent()
    assert len(pool.payloads()) == 1


def test_no_redis_at_all_is_said_with_its_address_and_without_its_password() -> None:
    with (
        Client("redis://:hunter2@127.0.0.1:1/0", retry_seconds=0) as client,
        pytest.raises(Unreachable, match=r"Redis at redis://:\*\*\*@127.0.0.1:1/0 did not answer") as caught,
    ):
        client.submit(an_intent())
    assert "hunter2" not in str(caught.value)


def test_a_redis_that_comes_back_in_time_is_waited_for(fresh_redis: EmbeddedRedis) -> None:
    with Client(fresh_redis.url, retry_seconds=30) as client:
        client.submit(an_intent("before"))
        fresh_redis.kill()
        back = threading.Timer(0.5, fresh_redis.restart)
        back.start()
        assert not client.submit(an_intent("after")).duplicate
        back.join()
        assert client.submit(an_intent("before")).duplicate


def test_a_script_cache_that_was_emptied_is_filled_again(client: Client, pool: PlayedPool) -> None:
    client.submit(an_intent("a"))
    pool.redis.script_flush()
    client.submit(an_intent("b"))
    assert len(pool.payloads()) == 2


def test_a_script_cache_that_is_emptied_again_and_again_is_no_failure(
    redis_url: str, pool: PlayedPool
) -> None:
    flushes = iter(range(2))

    def flush() -> None:
        pool.redis.script_flush()
        if next(flushes, None) is not None:
            proxy.before(b"EVALSHA", flush)

    with proxy_of(redis_url) as proxy, Client(proxy.url) as client:
        proxy.before(b"EVALSHA", flush)
        assert not client.submit(an_intent()).duplicate
    assert len(pool.payloads()) == 1


def test_nothing_is_repeated_behind_the_clients_back(redis_url: str, pool: PlayedPool) -> None:
    pool.redis.script_load(script("submit").source)
    with proxy_of(redis_url) as proxy, Client(proxy.url, retry_seconds=0) as client:
        proxy.lose_replies(to=b"EVALSHA", times=1)
        with pytest.raises(OutcomeUnknown):
            client.submit(an_intent())
        assert len(pool.payloads()) == 1


def test_an_error_of_redis_itself_is_passed_on_and_nothing_is_half_done(
    client: Client, pool: PlayedPool
) -> None:
    pool.redis.set(pool.keys().intents, "no stream")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        client.submit(an_intent())
    assert pool.order(an_intent()) is None


def test_many_are_each_on_their_own_and_in_order(redis_url: str, pool: PlayedPool) -> None:
    with Client(redis_url, backlog_limit=3) as client:
        client.submit(an_intent("b"))
        results = client.submit_many(
            [
                an_intent("a"),
                an_intent("b"),
                an_intent("b", side=Side.SELL),
                an_intent("not valid"),
                an_intent("c", type=OrderType.MARKET, price=None),
                an_intent("d"),
                an_intent("a"),
            ]
        )
    kinds = [(type(one), one.duplicate if isinstance(one, Submitted) else None) for one in results]
    assert kinds == [
        (Submitted, False),
        (Submitted, True),
        (IdReused, None),
        (IntentInvalid, None),
        (Submitted, False),
        (Backlogged, None),
        (Submitted, True),
    ]
    assert [b'"id":"b"' in one for one in pool.payloads()] == [True, False, False]


def test_many_through_lost_replies_are_added_once_each_in_order(redis_url: str, pool: PlayedPool) -> None:
    ids = [f"i-{number:04}" for number in range(1200)]
    with proxy_of(redis_url) as proxy, Client(proxy.url) as client:
        proxy.lose_replies(to=b"EVALSHA", times=3)
        results = client.submit_many([an_intent(one) for one in ids])
    assert all(isinstance(one, Submitted) and not one.duplicate for one in results)
    assert [one.split(b'"id":"')[1][:6].decode() for one in pool.payloads()] == ids


def test_many_to_a_redis_that_is_gone_say_which_may_have_been_added() -> None:
    with Client("redis://127.0.0.1:1/0", retry_seconds=0) as client:
        results = client.submit_many(
            [an_intent(f"i-{number}") for number in range(501)] + [an_intent("not valid")]
        )
    assert {type(one) for one in results[:500]} == {OutcomeUnknown}
    assert type(results[500]) is Unreachable
    assert type(results[501]) is IntentInvalid


@pytest.mark.parametrize(
    "wrong",
    [
        {"pool": "a:b"},
        {"exchange": "{x}"},
        {"account": ""},
        {"backlog_limit": 0},
        {"retry_seconds": -1},
        {"retry_seconds": float("nan")},
    ],
)
def test_a_client_refuses_arguments_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is"):
        Client("redis://localhost", **wrong)


def test_an_exchange_the_pool_does_not_have_is_refused_and_asked_for_once(
    client: Client, pool: PlayedPool
) -> None:
    assert not client.submit(an_intent("early", exchange="any")).duplicate, "no worker has ever run"
    pool.register("kraken")
    with pytest.raises(ExchangeUnknown, match="it has kraken"):
        client.submit(an_intent())
    unknown, known = client.submit_many([an_intent(), an_intent(exchange="kraken")])
    assert isinstance(unknown, ExchangeUnknown)
    assert isinstance(known, Submitted)
    with pytest.raises(ExchangeUnknown):
        client.cancel("grid-2", exchange="binance", account="main", symbol="X/Y")
    assert pool.payloads() == []
    pool.register("binance")
    assert not client.submit(an_intent()).duplicate, "its workers have started since"
    pool.raw.config_resetstat()
    client.submit(an_intent("b"))
    client.submit_many([an_intent("c")])
    assert "cmdstat_smembers" not in pool.raw.info("commandstats")
