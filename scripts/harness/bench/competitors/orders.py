"""The job that every queue runs: one `create_order` of ccxt, with an exchange object that is kept from job to job.

Runs in a queue's own environment, with nothing of the pool: it must import ccxt and the standard library alone.
`BENCH_EXCHANGE_URL` says where the exchange is, `BENCH_ACCOUNT` whose keys to use.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from typing import Any

OPTIONS = {"fetchMarkets": {"types": ["linear"]}, "fetchCurrencies": False, "fetchMargins": False}
_of_thread = threading.local()
_loading = threading.Lock()
_of_process: dict[str, Any] = {}


def open_client(ccxt_module: Any) -> Any:
    """ccxt's client of either kind, its hosts replaced by the exchange's of this measurement, throttler off."""
    account = os.environ["BENCH_ACCOUNT"]
    client = ccxt_module.binanceusdm(
        {
            "apiKey": f"paper-{account}-key",
            "secret": f"paper-{account}-secret",
            "enableRateLimit": False,
            "options": OPTIONS,
        }
    )
    url = os.environ["BENCH_EXCHANGE_URL"]
    client.urls["api"] = {
        name: re.sub(r"^[a-z]+://[^/]+", url, found) if isinstance(found, str) else found
        for name, found in client.urls["api"].items()
    }
    return client


def preload() -> None:
    """Open this process' client before it forks: its children inherit it, and each opens a connection of its own."""
    blocking_client().session.close()


def blocking_client() -> Any:
    """This thread's client; ccxt's blocking one is not made to be shared by threads."""
    client = getattr(_of_thread, "client", None)
    if client is None:
        import ccxt

        client = _of_thread.client = open_client(ccxt)
        with _loading:
            if "markets" in _of_process:
                client.set_markets(list(_of_process["markets"].values()))
            else:
                _of_process["markets"] = client.load_markets()
    return client


def place(symbol: str, side: str, amount: float, price: float) -> str:
    """Place one order, the blocking way; the exchange's id."""
    return str(blocking_client().create_order(symbol, "limit", side, amount, price)["id"])


async def place_async(symbol: str, side: str, amount: float, price: float) -> str:
    """Place one order, the asynchronous way; the exchange's id."""
    client = await async_client()
    return str((await client.create_order(symbol, "limit", side, amount, price))["id"])


async def async_client() -> Any:
    """This process' client, made by the first job that needs it; the others wait for it."""
    if "opening" not in _of_process:
        _of_process["opening"] = asyncio.ensure_future(_open_async())
    return await _of_process["opening"]


async def _open_async() -> Any:
    import ccxt.async_support

    client = open_client(ccxt.async_support)
    await client.load_markets()
    return client


def jobs(text: str) -> list[tuple[str, str, float, float]]:
    """The arguments of every job: what the command line gives as JSON, `count` and `instruments`."""
    given = json.loads(text)
    made = []
    for number in range(given["count"]):
        one = given["instruments"][number % len(given["instruments"])]
        buying = number // len(given["instruments"]) % 2 == 0
        price = one["buy_price"] if buying else one["sell_price"]
        made.append((one["symbol"], "buy" if buying else "sell", float(one["amount"]), float(price)))
    return made
