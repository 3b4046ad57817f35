"""Cancel and amend: one cancel however often it is asked for, a new one when the last has failed."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest

from orderlane.admission import cancel_id
from orderlane.client import Client
from orderlane.errors import IdReused, OrderEnded, OrderNotFound
from orderlane.intents import AmendOrder, CancelAll, CancelOrder, Intent, IntentInvalid, decode_intent
from orderlane.orders import OrderStatus
from tests.orderlane.played_pool import PlayedPool, an_intent


def test_cancelling_twice_is_one_cancel(client: Client, pool: PlayedPool) -> None:
    client.submit(an_intent(strategy="grid"))
    first, second = client.cancel("grid-1"), client.cancel("grid-1")
    assert (first.duplicate, second.duplicate) == (False, True)
    assert first.order.id == second.order.id == "cancel:grid-1:1"
    assert decode_intent(pool.payloads()[1]) == CancelOrder(
        id="cancel:grid-1:1",
        exchange="binance",
        account="main",
        symbol="BTC/USDT:USDT",
        strategy="grid",
        target="grid-1",
    )
    assert len(pool.payloads()) == 2


@pytest.mark.parametrize("status", [OrderStatus.REJECTED, OrderStatus.FAILED, OrderStatus.EXPIRED])
def test_after_a_cancel_that_failed_the_next_call_makes_a_new_one(
    client: Client, pool: PlayedPool, status: OrderStatus
) -> None:
    client.submit(an_intent())
    failed = client.cancel("grid-1").order
    pool.advance(failed.intent, status)
    again = client.cancel("grid-1")
    assert not again.duplicate
    assert again.order.id == "cancel:grid-1:2"
    assert client.cancel("grid-1").order.id == "cancel:grid-1:2"
    pool.advance(again.order.intent, status)
    assert client.cancel("grid-1").order.id == "cancel:grid-1:3"


@pytest.mark.parametrize("status", [OrderStatus.SUBMITTED, OrderStatus.UNKNOWN, OrderStatus.DONE])
def test_a_cancel_under_way_or_done_is_the_answer(
    client: Client, pool: PlayedPool, status: OrderStatus
) -> None:
    client.submit(an_intent())
    pool.advance(client.cancel("grid-1").order.intent, status)
    again = client.cancel("grid-1")
    assert again.duplicate
    assert again.order.status is status


def test_eight_who_cancel_at_once_make_one_cancel(redis_url: str, pool: PlayedPool) -> None:
    pool.advance(an_intent(), OrderStatus.ACTIVE)
    with Client(redis_url, exchange="binance", account="main") as client:
        threads = [threading.Thread(target=client.cancel, args=("grid-1",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(pool.payloads()) == 1


def test_what_has_ended_can_not_be_cancelled_or_amended(client: Client, pool: PlayedPool) -> None:
    pool.advance(an_intent(), OrderStatus.FILLED)
    with pytest.raises(OrderEnded, match="has ended: it is FILLED") as caught:
        client.cancel("grid-1")
    assert caught.value.order.status is OrderStatus.FILLED
    with pytest.raises(OrderEnded):
        client.amend("grid-1", price=Decimal(1))
    assert pool.payloads() == []


def test_the_order_that_took_the_place_of_another_is_the_one_cancelled(
    client: Client, pool: PlayedPool
) -> None:
    pool.advance(an_intent("a"), OrderStatus.CANCELED, successor="b")
    pool.advance(an_intent("b"), OrderStatus.CANCELED, successor="c")
    pool.advance(an_intent("c"), OrderStatus.ACTIVE)
    cancel = client.cancel("a").order.intent
    assert isinstance(cancel, CancelOrder)
    assert cancel.target == "c"


def test_what_the_pool_does_not_know_is_cancelled_at_the_callers_word_alone(
    redis_url: str, pool: PlayedPool
) -> None:
    with Client(redis_url) as client:
        pool.register("binance", "main", "alt")
        with pytest.raises(OrderNotFound, match="'grid-1' in binance/alt, binance/main"):
            client.cancel("grid-1")
        with pytest.raises(OrderNotFound):
            client.cancel("grid-1", symbol="BTC/USDT:USDT")
        stated = client.cancel("grid-1", exchange="binance", account="main", symbol="BTC/USDT:USDT")
        assert not stated.duplicate
        pool.advance(an_intent(strategy="grid"), OrderStatus.ACTIVE)
        known = client.cancel("grid-1", exchange="binance", account="main")
        assert known.duplicate, "worded otherwise (a strategy), but the same cancel"


def test_a_foreign_intent_under_the_id_of_the_cancel_is_not_taken_for_it(
    client: Client, pool: PlayedPool
) -> None:
    pool.advance(an_intent(), OrderStatus.ACTIVE)
    client.submit(an_intent("cancel:grid-1:1"))
    with pytest.raises(IdReused):
        client.cancel("grid-1")


def test_a_cancel_places_nothing_and_can_not_be_cancelled(client: Client, pool: PlayedPool) -> None:
    intents: list[Intent] = [
        CancelOrder(id="c", exchange="binance", account="main", symbol="X/Y", target="t"),
        CancelAll(id="all", exchange="binance", account="main", symbol="X/Y"),
    ]
    for number, intent in enumerate(intents):
        client.submit(intent)
        with pytest.raises(ValueError, match="places no order"):
            client.cancel(intent.id)
        assert len(pool.payloads()) == number + 1


def test_ids_of_cancels_fit_and_never_meet() -> None:
    longest = "x" * 64
    ids = {
        cancel_id(target, number)
        for target in ("a", "a:1", longest, longest[:-1] + "y")
        for number in (1, 2, 11)
    }
    assert len(ids) == 12
    assert all(len(one) <= 64 for one in ids)
    assert all(cancel_id("t" * size, 9).startswith("cancel:") for size in range(1, 65))


def test_every_amend_is_one_of_its_own_unless_it_is_named(client: Client, pool: PlayedPool) -> None:
    client.submit(an_intent())
    there, back, there_again = (
        client.amend("grid-1", price=Decimal(price)).order for price in (65000, 64000, 65000)
    )
    assert len({there.id, back.id, there_again.id}) == 3
    named = client.amend("grid-1", amount=Decimal("0.4"), id="smaller")
    assert not named.duplicate
    assert client.amend("grid-1", amount=Decimal("0.4"), id="smaller").duplicate
    with pytest.raises(IdReused):
        client.amend("grid-1", amount=Decimal("0.3"), id="smaller")
    amends = [decode_intent(one) for one in pool.payloads()[1:]]
    assert [(one.target, one.price, one.amount) for one in amends if isinstance(one, AmendOrder)] == [
        ("grid-1", Decimal(65000), None),
        ("grid-1", Decimal(64000), None),
        ("grid-1", Decimal(65000), None),
        ("grid-1", None, Decimal("0.4")),
    ]


def test_an_amend_that_changes_nothing_or_has_no_number_is_refused(client: Client, pool: PlayedPool) -> None:
    client.submit(an_intent())
    wrong: list[dict[str, Any]] = [{}, {"price": Decimal(0)}, {"amount": Decimal("NaN")}, {"amount": 0.5}]
    for numbers in wrong:
        with pytest.raises(IntentInvalid):
            client.amend("grid-1", **numbers)
    assert len(pool.payloads()) == 1
