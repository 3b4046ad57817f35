"""The other side of the throughput measure: ccxt's async `create_order` in a loop, and nothing else.

    python -m scripts.harness.bench.bare_ccxt --url URL --orders 6000 --concurrency 64 --instruments JSON

It has what the pool's workers have: uvloop, no throttler, connections kept, markets loaded once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

import ccxt.async_support
import click
import msgspec
import uvloop

from scripts.harness.bench.instruments import Instrument


def open_client(url: str, account: str) -> Any:
    """ccxt's client, its hosts replaced by `url`."""
    client = ccxt.async_support.binanceusdm(
        {
            "apiKey": f"paper-{account}-key",
            "secret": f"paper-{account}-secret",
            "enableRateLimit": False,
            "options": {
                "fetchMarkets": {"types": ["linear"]},
                "fetchCurrencies": False,
                "fetchMargins": False,
            },
        }
    )
    client.urls["api"] = {
        name: re.sub(r"^[a-z]+://[^/]+", url, found) if isinstance(found, str) else found
        for name, found in client.urls["api"].items()
    }
    return client


async def place(client: Any, orders: Iterator[tuple[int, Instrument]]) -> None:
    """Take the next order and place it, until there is none."""
    for number, instrument in orders:
        buying = number % 2 == 0
        await client.create_order(
            instrument.symbol,
            "limit",
            "buy" if buying else "sell",
            float(instrument.amount),
            float(instrument.buy_price if buying else instrument.sell_price),
        )


async def run(url: str, account: str, orders: int, concurrency: int, traded: list[Instrument]) -> None:
    """Place all orders, `concurrency` at once."""
    client = open_client(url, account)
    try:
        await client.load_markets()
        numbered = enumerate(islice(cycle(traded), orders))
        await asyncio.gather(*(place(client, numbered) for _ in range(concurrency)))
    finally:
        await client.close()


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option("--url", required=True)
@click.option("--account", required=True)
@click.option("--orders", type=int, required=True)
@click.option("--concurrency", type=int, required=True)
@click.option("--instruments", "listed", required=True, help="The instruments, as JSON.")
def main(url: str, account: str, orders: int, concurrency: int, listed: str) -> None:
    """Run it."""
    uvloop.run(run(url, account, orders, concurrency, msgspec.json.decode(listed, type=list[Instrument])))


if __name__ == "__main__":
    main()
