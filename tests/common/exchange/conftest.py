"""The paper exchange, as the tests of Binance's two products use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from common.exchange import Credentials, open_exchange
from common.exchange.ccxt_exchange import CcxtExchange
from common.secrets import Secret
from tests.common.exchange.venues import settings_on
from tests.paper_process import PaperProcess

ACCOUNTS = ("main", "alt")


@pytest.fixture(scope="module")
def paper_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaperProcess]:
    """A paper exchange whose prices stand still, shared by the tests of one file."""
    with PaperProcess(
        tmp_path_factory.mktemp("paper"), "--step-ms", "0", "--partial-fill-probability", "0"
    ) as process:
        yield process


@pytest.fixture
def paper(paper_process: PaperProcess) -> Iterator[PaperProcess]:
    """The paper exchange as new."""
    paper_process.reset()
    yield paper_process
    paper_process.clear_faults()


def on_paper(paper: PaperProcess, venue: str, **changes: Any) -> CcxtExchange:
    """An exchange of the two paper accounts."""
    accounts = {
        name: Credentials(key=Secret(f"paper-{name}-key"), secret=Secret(f"paper-{name}-secret"))
        for name in ACCOUNTS
    }
    return open_exchange(settings_on(paper.url, venue, **{"accounts": accounts, **changes}))


@pytest.fixture
async def spot(paper: PaperProcess) -> AsyncIterator[CcxtExchange]:
    """Binance spot on the paper exchange, ready to place."""
    exchange = on_paper(paper, "binance")
    await exchange.sync_clock()
    await exchange.fetch_ccxt_markets()
    yield exchange
    await exchange.close()


@pytest.fixture
async def usdm(paper: PaperProcess) -> AsyncIterator[CcxtExchange]:
    """Binance USDⓈ-M futures on the paper exchange, ready to place."""
    exchange = on_paper(paper, "binanceusdm")
    await exchange.sync_clock()
    await exchange.fetch_ccxt_markets()
    yield exchange
    await exchange.close()
