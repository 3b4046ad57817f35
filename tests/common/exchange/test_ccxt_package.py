"""One venue of ccxt without the others, and all of ccxt for whoever asks for more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.exchange.ccxt_package import errors, venue_class
from common.exchange.venues import VENUES

ROOT = Path(__file__).parents[3]
ONE_VENUE = (
    "import sys; from common.exchange.ccxt_package import errors, venue_class;"
    "found = venue_class('binanceusdm');"
)


def printed(program: str) -> str:
    """What a fresh process prints: in this one ccxt may have been imported in any way."""
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.strip()


def test_one_venue_comes_without_the_others() -> None:
    program = f"{ONE_VENUE} print(*(name for name in sys.modules if name.startswith('ccxt')))"
    loaded = set(printed(program).split())
    assert {"ccxt.async_support.binance", "ccxt.async_support.binanceusdm"} <= loaded
    assert not {"ccxt.binance", "ccxt.async_support.okx", "ccxt.abstract.okx"} & loaded


def test_who_asks_for_more_gets_all_of_ccxt() -> None:
    program = (
        f"{ONE_VENUE} import ccxt, ccxt.async_support as asynchronous; from ccxt.base.exchange import Exchange;"
        "assert ccxt.Exchange is Exchange and asynchronous.Exchange is not Exchange;"
        "assert asynchronous.binanceusdm is found and issubclass(found, asynchronous.binance);"
        "assert ccxt.OrderNotFound is errors.OrderNotFound is asynchronous.OrderNotFound;"
        "assert 'okx' in asynchronous.exchanges == ccxt.exchanges;"
        "print(ccxt.__version__, ccxt.okx.__name__, asynchronous.okx({'apiKey': 'k'}).id, type(ccxt).__name__)"
    )
    version, *rest = printed(program).split()
    assert version.startswith("4.")
    assert rest == ["okx", "okx", "module"]


def test_a_ccxt_that_is_there_already_is_used_as_it_is() -> None:
    program = (
        "import ccxt.async_support as asynchronous; from common.exchange.ccxt_package import venue_class;"
        "print(venue_class('kraken') is asynchronous.kraken, type(asynchronous).__name__)"
    )
    assert printed(program) == "True module"


@pytest.mark.parametrize("venue", sorted(VENUES))
def test_every_venue_of_ours_is_there(venue: str) -> None:
    assert venue_class(venue).__name__ == venue


@pytest.mark.parametrize("venue", ["", "base", "nowhere", "base.exchange", "../binance"])
def test_what_is_no_venue_is_refused(venue: str) -> None:
    with pytest.raises(ValueError, match="expected a ccxt id"):
        venue_class(venue)


def test_its_errors_are_ccxts() -> None:
    assert issubclass(errors.OrderNotFound, errors.ExchangeError)
