"""Fixtures for the clients' tests: one who plays the pool, and clients of the same Redis."""

from collections.abc import AsyncIterator, Iterator

import pytest

from orderlane.async_client import AsyncClient
from orderlane.client import Client
from tests.orderlane.cli_runs import process, run
from tests.orderlane.played_pool import ACCOUNT, EXCHANGE, PlayedPool

__all__ = ["async_client", "client", "pool", "process", "run"]


@pytest.fixture
def pool(redis_url: str) -> Iterator[PlayedPool]:
    played = PlayedPool(redis_url)
    yield played
    played.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(redis_url, exchange=EXCHANGE, account=ACCOUNT) as one:
        yield one


@pytest.fixture
async def async_client(redis_url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(redis_url, exchange=EXCHANGE, account=ACCOUNT) as one:
        yield one
