"""A pool that keeps positions, someone who trades on its account by hand, and the exchange's books to compare with."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final

from common.config import exchange_settings
from common.exchange import open_exchange
from common.exchange.base import OrderRequest
from common.exchange.ccxt_exchange import CcxtExchange
from orderlane.client import Client
from orderlane.events import Event, EventName
from orderlane.intents import OrderType, Side
from orderlane.positions import AccountPositions, ComparedState
from tests.paper_process import PaperProcess
from tests.workers.pool_fixture import Pool
from tests.workers.products import USDM, Product
from tests.workers.user_stream.scene import STREAMING

MOST_SECONDS: Final = 30.0
KEEPING: Final = STREAMING.replace(
    "positions: {enabled: false}",
    "positions: {compare_period_seconds: 1, confirm_delay_seconds: 1, critical_share: 0.1, critical_notional: 500}",
).replace("limits_reserve: 0", "limits_reserve: 0\n    limits: {weight_1m: 600000/minute}")
"""Compared every second: what the product does in a minute. A drift worth 500 (0.0084 BTC) can be critical. Limits that
are never met: a start waits for nothing."""
_numbers: Iterator[int] = itertools.count(1)


@asynccontextmanager
async def hand(pool: Pool, product: Product) -> AsyncIterator[CcxtExchange]:
    """Somebody's own connection to the exchange, without a pool."""
    exchange = open_exchange(exchange_settings(pool.settings(), product.exchange))
    try:
        await exchange.fetch_ccxt_markets()
        yield exchange
    finally:
        await exchange.close()


async def trade_by_hand(exchange: CcxtExchange, product: Product, side: Side, amount: str) -> Decimal:
    """A market order on the account that the pool knows nothing of; how much of it the market took."""
    report = await exchange.place(
        OrderRequest(
            account="main",
            symbol=product.symbol,
            side=side,
            type=OrderType.MARKET,
            amount=Decimal(amount),
            client_order_id=f"by-hand-{next(_numbers)}",
        ),
        exchange.now_ms(),
    )
    return report.filled


def kept(pool: Pool, product: Product, account: str = "main") -> AccountPositions:
    """What `orderlane positions` would show."""
    with Client(pool.redis_url, exchange=product.exchange, account=account) as client:
        [found] = client.positions()
    return found


def disagreements(pool: Pool, product: Product) -> list[str]:
    """Where what is kept is not what the exchange's books say, to the last digit."""
    found, books = kept(pool, product), pool.paper.accounts()["main"]
    if product is USDM:
        held = {asset: Decimal(amount) for asset, amount in books["wallet"].items()}
        sizes = {
            "BTC/USDT:USDT": Decimal(books["positions"].get("BTCUSDT", {}).get("amount", 0)),
        }
    else:
        held = {
            asset: Decimal(balance["free"]) + Decimal(balance["locked"])
            for asset, balance in books["balances"].items()
        }
        sizes = {}
    ours = {balance.asset: balance.total for balance in found.balances}
    wrong = [
        f"{asset}: {ours.get(asset)} != {total}"
        for asset, total in held.items()
        if ours.get(asset, 0) != total
    ]
    mine = {position.symbol: position for position in found.positions}
    for symbol, size in sizes.items():
        if (mine[symbol].size if symbol in mine else 0) != size:
            wrong.append(f"{symbol}: {mine.get(symbol)} != {size}")
    return wrong


def fees_of(pool: Pool, product: Product) -> dict[str, Decimal]:
    """What the pool's own orders cost, by the exchange's books."""
    fees: dict[str, Decimal] = {}
    for order in pool.paper.orders(product=product.product):
        if order["client_order_id"].startswith("by-hand"):
            continue
        for fill in order["fills"]:
            asset = fill["commission_asset"]
            fees[asset] = fees.get(asset, Decimal(0)) + Decimal(fill["commission"])
    return fees


async def compared(pool: Pool, product: Product, *, after: int = 0) -> AccountPositions:
    """Wait until the account was found (or made) to be as the exchange says, later than `after`."""

    def done() -> AccountPositions | None:
        found = kept(pool, product)
        state = found.comparison
        return found if state is not None and state.compared_at > after else None

    result: AccountPositions = await pool.until(done, "a comparison with the exchange")
    return result


async def agreement(pool: Pool, product: Product, name: str) -> float:
    """Wait until what is kept is what the books say; how long that took, printed."""
    began_at = time.monotonic()
    await pool.ended(product)
    while found := disagreements(pool, product):
        assert time.monotonic() - began_at < MOST_SECONDS, "\n".join(
            [*found, *(str(one) for one in corrections(pool, product)), str(kept(pool, product).comparison)]
        )
        await asyncio.sleep(0.05)
    seconds = time.monotonic() - began_at
    print(  # noqa: T201 - a measure that whoever runs the tests asks for
        f"{name}, {product.product}: positions and balances are the books' {seconds:.2f} s after the trouble ended"
    )
    return seconds


def corrections(pool: Pool, product: Product) -> list[Event]:
    """Every correction that was told."""
    wanted = (EventName.POSITION_CORRECTED, EventName.BALANCE_CORRECTED)
    return [event for event in pool.events(product) if event.name in wanted]


def disabled(pool: Pool, product: Product) -> list[Event]:
    """Every strategy that was disabled."""
    return [event for event in pool.events(product) if event.name is EventName.STRATEGY_DISABLED]


def state_of(pool: Pool, product: Product) -> ComparedState | None:
    found: Any = kept(pool, product).comparison
    return found.state if found else None


def at_sixty_thousand(paper: PaperProcess, product: Product) -> None:
    paper.set_price(product.product, product.venue_symbol, 60_000, hold=True)
