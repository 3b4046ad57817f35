"""What an operator sees of orders that the pool did not place, and of accounts that have to agree with the exchange."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from orderlane.external import ExternalAction, ExternalOrder, encode_external
from orderlane.identity import (
    belongs_to_pool,
    client_order_id,
    external_intent_id,
    is_made_by_a_pool,
)
from orderlane.intents import OrderType, PlaceOrder, Side
from orderlane.orders import Order
from tests.orderlane.cli_runs import Run, documents, run
from tests.orderlane.played_pool import PlayedPool

__all__ = ["run"]


def note(pool: PlayedPool, number: int, *, ended_at: int = 0, **fields: Any) -> ExternalOrder:
    """What a worker or a sync notes of an order."""
    order = ExternalOrder(
        id=external_intent_id("BTC/USDT", str(number)), account="main", symbol="BTC/USDT",
        exchange_order_id=str(number),
        client_order_id="web_1", side="buy", type="limit", amount=Decimal("0.5"), price=Decimal(64_000),
    )  # fmt: skip
    order = msgspec.structs.replace(order, **fields)
    pool.raw.hset(pool.keys().external("main"), order.id, encode_external(order))
    if ended_at:
        pool.raw.zadd(pool.keys().external_ended("main"), {order.id: ended_at})
    return order


def test_orders_of_others_are_listed_with_their_names_and_counted_while_they_are_open(
    pool: PlayedPool, run: Run
) -> None:
    pool.register("binance", "main", "alt")
    open_one = note(pool, 7, action=ExternalAction.ADOPT)
    others = note(pool, 8, other_pool=True)
    ended = note(pool, 9, ended_at=1_760_000_000_000)
    assert [one["id"] for one in documents(run("--json", "external"))] == [open_one.id, others.id]
    assert [one["id"] for one in documents(run("--json", "external", "--all"))] == [
        open_one.id,
        others.id,
        ended.id,
    ]
    table = run("external", columns=200).stdout
    assert "external:BTC-USDT:7" in table
    assert "tracked" in table
    assert "another pool's" in table
    [exchange] = json.loads(run("--json", "status").stdout)["exchanges"]
    assert exchange["external_orders"] == {"main": 2}
    assert "main 2 (orderlane external)" in run("status", columns=160).stdout


@pytest.mark.parametrize("command", ["external", "positions"])
def test_of_an_exchange_or_an_account_that_the_pool_does_not_have_nothing_is_said(
    pool: PlayedPool, run: Run, command: str
) -> None:
    """An empty list would be an answer."""
    pool.register("binance", "main", "alt")
    for words, known in (("--exchange", "it has binance"), ("--account", "it has alt, main")):
        said = run(command, words, "mian")
        assert (said.exit_code, said.stdout) == (2, "")
        assert "'mian'" in said.stderr
        assert known in said.stderr


def test_without_any_it_says_so(pool: PlayedPool, run: Run) -> None:
    pool.register("binance", "main")
    assert "no orders that the pool did not place" in run("external").stdout
    assert "external orders" not in run("status").stdout


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": "asking", "asked": 3, "to_ask": 12}, "reconciling main: 3 of 12 orders asked"),
        (
            {"state": "failed", "failures": 2, "reason": "-2015: no rights"},
            "-2015: no rights; failed 2 times",
        ),
        (
            {"state": "done", "took_ms": 41, "orders": 5, "rebuilt": 2},
            "in agreement after 41 ms: 5 orders, 2 rebuilt",
        ),
    ],
)
def test_the_status_says_how_far_an_account_is_with_agreeing(
    pool: PlayedPool, run: Run, fields: dict[str, object], words: str
) -> None:
    pool.register("binance", "main")
    pool.raw.hset(pool.keys().reconcile("main"), mapping=fields)
    assert words in run("status", columns=200).stdout


def test_the_name_of_an_order_of_others_is_an_intent_id_whatever_the_venue_calls_it() -> None:
    uuid = "1f3c8a90-5d3e-4c3b-9c52-0a3b5f6e7d8c"
    assert external_intent_id("BTC/USDT:USDT", "7", own_book=True) == "external:BTC-USDT:USDT:algo-7"
    long = external_intent_id("1000000MOG/USDT:USDT-260327", uuid)
    assert len(long) <= 64
    assert long != external_intent_id("1000000MOG/USDT:USDT-260327", uuid[::-1])
    names = {external_intent_id(symbol, "7") for symbol in ("BTC/USDT", "BTC/USDT:USDT", "ETH/USDT")}
    assert len(names) == 3


def test_a_rebuilt_order_is_named_by_its_client_order_id_and_by_its_own_intent() -> None:
    name = client_order_id("orderlane", "binance", "main", "grid-1")
    assert client_order_id("orderlane", "binance", "main", f"rebuilt:{name}") == name
    others = client_order_id("another", "binance", "main", "grid-1")
    assert client_order_id("orderlane", "binance", "main", f"rebuilt:{others}") != others
    assert is_made_by_a_pool(others)
    assert not belongs_to_pool("orderlane", others)
    assert not is_made_by_a_pool("web_3fJk2")


def test_a_rebuilt_order_may_be_of_an_intent_of_its_side_and_symbol_alone() -> None:
    intent = PlaceOrder(
        id="rebuilt:x", exchange="binance", account="main", symbol="BTC/USDT", side=Side.BUY, type=OrderType.MARKET,
        amount=Decimal(1),
    )  # fmt: skip
    order = Order(client_order_id="x", intent=intent, rebuilt=True)
    same = PlaceOrder(
        id="n1", exchange="binance", account="main", symbol="BTC/USDT", side=Side.BUY, type=OrderType.LIMIT,
        amount=Decimal(2), price=Decimal(5),
    )  # fmt: skip
    assert order.may_be_of(same)
    sell = PlaceOrder(
        id="n1", exchange="binance", account="main", symbol="BTC/USDT", side=Side.SELL, type=OrderType.MARKET,
        amount=Decimal(1),
    )  # fmt: skip
    assert not order.may_be_of(sell)
    assert not Order(client_order_id="x", intent=intent).may_be_of(same)
