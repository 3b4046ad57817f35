"""The clients and the command on a real Redis Cluster of three masters."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from common.redis_cluster_server import EmbeddedCluster
from orderlane.async_client import AsyncClient
from orderlane.cli.app import group
from orderlane.client import Client
from orderlane.cluster_connections import SlotElsewhere
from orderlane.connection import connect, connect_async
from orderlane.errors import Unreachable
from orderlane.keys import Keys, exchanges_key
from orderlane.orders import OrderStatus
from tests.orderlane.played_pool import ACCOUNT, PlayedPool, an_intent

EXCHANGES = ("binance", "binance-spot")


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster() as one:
        yield one


@pytest.fixture
def pool(cluster: EmbeddedCluster) -> Iterator[PlayedPool]:
    for node in cluster.nodes:
        with connect(node.url) as client:
            client.flushall()
            client.script_flush()
    played = PlayedPool(cluster.url)
    for exchange in EXCHANGES:
        played.register(exchange, ACCOUNT)
    yield played
    played.redis.close()


@pytest.fixture
def client(cluster: EmbeddedCluster) -> Iterator[Client]:
    with Client(cluster.url, account=ACCOUNT) as one:
        yield one


@pytest.fixture
async def async_client(cluster: EmbeddedCluster) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(cluster.url, account=ACCOUNT) as one:
        yield one


def run(cluster: EmbeddedCluster, *words: str) -> Any:
    result = CliRunner(env={"ORDERLANE_REDIS_URL": cluster.url, "COLUMNS": "100"}).invoke(
        group, [*words, "--json"]
    )
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def test_the_exchanges_and_their_list_are_on_three_masters(cluster: EmbeddedCluster) -> None:
    keys = [*(Keys(exchange).intents for exchange in EXCHANGES), exchanges_key()]
    assert len({cluster.master_of(key).port for key in keys}) == 3


def test_intents_of_several_exchanges_are_submitted_and_found(pool: PlayedPool, client: Client) -> None:
    submitted = client.submit(an_intent())
    assert not submitted.duplicate
    assert client.submit(an_intent()).duplicate
    many = client.submit_many([an_intent(f"grid-{n}", exchange=EXCHANGES[n % 2]) for n in range(2, 12)])
    assert [one for one in many if isinstance(one, Exception)] == []
    found = client.get("grid-5")
    assert found is not None
    assert found.intent.exchange == "binance-spot"
    lengths = [pool.redis.xlen(pool.keys(exchange).intents) for exchange in EXCHANGES]
    assert lengths == [6, 5]


def test_a_wait_over_all_exchanges_ends_with_the_order_on_either(pool: PlayedPool, client: Client) -> None:
    intent = an_intent(exchange="binance-spot")
    client.submit(intent)
    later = threading.Timer(0.3, lambda: pool.advance(intent, OrderStatus.ACTIVE))
    later.start()
    assert client.wait(intent.id, timeout_seconds=20).status is OrderStatus.ACTIVE
    later.join()


async def test_the_asyncio_client_submits_and_waits(pool: PlayedPool, async_client: AsyncClient) -> None:
    intents = [an_intent(f"grid-{n}", exchange=EXCHANGES[n % 2]) for n in range(4)]
    results = await async_client.submit_many(intents)
    assert [one for one in results if isinstance(one, Exception)] == []
    pool.advance(intents[0], OrderStatus.ACTIVE)
    order = await async_client.wait("grid-0", timeout_seconds=20, exchange="binance")
    assert order.status is OrderStatus.ACTIVE


def test_the_command_shows_every_exchange_of_the_cluster(
    pool: PlayedPool, client: Client, cluster: EmbeddedCluster
) -> None:
    for exchange in EXCHANGES:
        client.submit(an_intent(exchange=exchange))
    pool.redis.xadd(Keys("unheard-of").intents, {"intent": b"{}"})
    shown = run(cluster, "status")[0]
    assert [(one["exchange"], one["backlog"]) for one in shown["exchanges"]] == [
        ("binance", 1), ("binance-spot", 1), ("unheard-of", 1),
    ]  # fmt: skip
    assert (
        run(cluster, "get", "grid-1", "--exchange", "binance-spot")[0]["intent"]["exchange"] == "binance-spot"
    )


def test_a_slot_that_moves_is_followed(pool: PlayedPool, client: Client, cluster: EmbeddedCluster) -> None:
    client.submit(an_intent())
    key = pool.keys().intents
    before = cluster.master_of(key)
    cluster.move(key, next(node for node in cluster.nodes if node is not before))
    assert client.get("grid-1", exchange="binance") is not None
    assert not client.submit(an_intent("grid-2")).duplicate
    after = cluster.master_of(key)
    assert after is not before
    with connect(after.url) as there:
        assert there.xlen(key) == 2


async def test_a_command_for_a_slot_that_moved_was_not_executed_and_breaks_its_connection(
    cluster: EmbeddedCluster, pool: PlayedPool
) -> None:
    key = pool.keys().bell
    client = connect_async(cluster.url, home=key)
    try:
        await client.set(key, "1")
        before = cluster.master_of(key)
        cluster.move(key, next(node for node in cluster.nodes if node is not before))
        with pytest.raises(SlotElsewhere):
            await client.append(key, "2")
        await client.append(key, "3")
        assert await client.get(key) == b"13"
    finally:
        await client.aclose()


def test_a_cluster_of_which_no_node_answers_is_unreachable() -> None:
    nowhere = "redis+cluster://127.0.0.1:1,127.0.0.1:2"
    with (
        Client(nowhere, exchange="binance", retry_seconds=0.1) as client,
        pytest.raises(Unreachable, match="no node of the cluster answers"),
    ):
        client.get("grid-1", account=ACCOUNT)
