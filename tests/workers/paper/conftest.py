"""A real paper exchange, and real ccxt clients on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import ccxt.async_support
import pytest

from tests.paper_process import PaperProcess, start
from workers.paper.redirect import paper_urls, venue_exceptions

STILL = ("--step-ms", "0", "--partial-fill-probability", "0")
Connect = Callable[..., Awaitable[Any]]

_markets: dict[str, tuple[Any, Any]] = {}


def point_at(client: Any, url: str, product: str) -> None:
    """Send everything ``client`` sends to the paper exchange, with the real host's error table."""
    client.urls["api"] = paper_urls(url)
    client.exceptions["exact"] = venue_exceptions(
        client.exceptions, "spot" if product == "spot" else "linear"
    )


def settings(account: str) -> dict[str, Any]:
    """A ccxt configuration with the account's well-known keys."""
    return {
        "apiKey": f"paper-{account}-key",
        "secret": f"paper-{account}-secret",
        "enableRateLimit": False,
        "options": {"fetchOpenOrders": {"warnWithoutSymbol": False}},
    }


async def connected(url: str, product: str, account: str = "main") -> Any:
    """A ccxt client of ``product`` with its markets loaded."""
    classes = {"spot": ccxt.async_support.binance, "usdm": ccxt.async_support.binanceusdm}
    client = classes[product](settings(account))
    point_at(client, url, product)
    if product in _markets:
        client.set_markets(*_markets[product])
    else:
        try:
            await client.load_markets()
        except BaseException:
            await client.close()
            raise
        _markets[product] = (client.markets, client.currencies)
    return client


@pytest.fixture(scope="session")
def paper_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaperProcess]:
    with start(tmp_path_factory.mktemp("paper"), *STILL) as process:
        yield process
        assert process.stop() == 0, "the paper exchange did not end cleanly on SIGTERM"


@pytest.fixture
def paper(paper_session: PaperProcess) -> PaperProcess:
    """A paper exchange without history whose prices stand still and whose orders fill whole."""
    paper_session.reset()
    return paper_session


@pytest.fixture
def own_paper(tmp_path: Path) -> Iterator[Callable[..., PaperProcess]]:
    """Starts paper exchanges with other arguments, for one test."""
    started: list[PaperProcess] = []

    def begin(*arguments: str) -> PaperProcess:
        directory = tmp_path / f"paper{len(started)}"
        directory.mkdir()
        started.append(start(directory, *(arguments or STILL)))
        return started[-1]

    yield begin
    for process in started:
        process.kill()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes ccxt clients and closes them."""
    clients: list[Any] = []

    async def make(paper: PaperProcess, product: str, account: str = "main") -> Any:
        clients.append(await connected(paper.url, product, account))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
async def usdm(paper: PaperProcess, connect: Connect) -> Any:
    return await connect(paper, "usdm")


@pytest.fixture
async def spot(paper: PaperProcess, connect: Connect) -> Any:
    return await connect(paper, "spot")
