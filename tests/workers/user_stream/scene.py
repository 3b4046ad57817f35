"""A pool whose workers hear user streams, trade that goes on while something goes wrong, and the books to compare with.

No scheduler runs: whatever reaches a record came by a worker's own reply, by a stream, or by a backfill.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from common.exchange.base import Exchange, OrderRequest
from orderlane.events import EventName
from orderlane.identity import external_intent_id
from orderlane.intents import OrderType, PlaceOrder, Side
from orderlane.orders import OrderStatus
from tests.paper_process import ROOT, PaperProcess
from tests.workers.pool_fixture import CONFIG, STATUSES, Pool
from tests.workers.products import Product

MOST_SECONDS: Final = 30.0
"""How long agreement may take before a test gives up on it."""
STREAMING: Final = CONFIG.replace(
    "user_stream: {enabled: false}", "user_stream: {lease_ms: 1000, ping_seconds: 1, overlap_seconds: 3}"
)
OPTIONS: Final = (
    *("--step-ms", "0", "--partial-fill-probability", "0.6"),
    *("--orders-10s", "100000", "--orders-1m", "100000", "--weight-limit", "1000000"),
)


class Trade:
    """Orders of one product, some filled at once, some bit by bit, some cancelled; and the market that moves."""

    def __init__(self, pool: Pool, product: Product) -> None:
        self.pool = pool
        self.product = product
        self.intents: list[PlaceOrder] = []
        self.by_hand: dict[str, str] = {}
        """Client order ids of what somebody else placed, by the intent id that its record has."""

    async def go_on(self, seconds: float, trouble: Callable[[int], object] = lambda step: None) -> None:
        """Trade for so long; `trouble` is told the number of each step, some four a second."""
        ends_at = time.monotonic() + seconds
        step = 0
        while time.monotonic() < ends_at:
            self.step(step)
            await asyncio.to_thread(trouble, step)
            await asyncio.sleep(0.2)
            step += 1

    def step(self, step: int) -> None:
        """One market order, one that rests, now and then a cancel; the market touches what rests and comes back."""
        number = len(self.intents)
        market = self.product.order(f"market-{number}", None, type="market", amount=f"0.0{1 + step % 5}")
        resting = self.product.order(f"resting-{number}", "59000", amount="0.05")
        self.pool.send(market, resting)
        self.intents += [market, resting]
        if step % 3 == 2:
            target = self.intents[-3]
            self.pool.send(self.product.cancels(f"cancel-{number}", target.id))
        name, symbol = self.product.product, self.product.venue_symbol
        try:
            self.pool.paper.set_price(name, symbol, 58_900, hold=True)
            self.pool.paper.set_price(name, symbol, 60_000, hold=True)
        except OSError:
            return  # it is being restarted

    async def place_by_hand(self, exchange: Exchange, *, rests: bool) -> None:
        """Place an order past the pool, as a person would; it is compared, too."""
        name = f"web_{len(self.by_hand)}"
        request = OrderRequest(
            account="main", symbol=self.product.symbol, side=Side.BUY, amount=Decimal("0.03"),
            type=OrderType.LIMIT if rests else OrderType.MARKET, price=Decimal(59_000) if rests else None,
            client_order_id=name,
        )  # fmt: skip
        report = await exchange.place(request, exchange.now_ms())
        intent = self.product.order(external_intent_id(self.product.symbol, report.exchange_order_id))
        self.by_hand[intent.id] = name
        self.intents.append(intent)

    async def agreement(self, name: str) -> float:
        """Wait until journal and books agree, order by order, fill by fill, fee by fee; how long that took, printed."""
        began_at = time.monotonic()
        await self.pool.ended(self.product)
        while found := self.disagreements():
            assert time.monotonic() - began_at < MOST_SECONDS, "\n".join(found)
            await asyncio.sleep(0.05)
        seconds = time.monotonic() - began_at
        fills = sum(len(order["fills"]) for order in self.pool.paper.orders(product=self.product.product))
        print(  # noqa: T201 - a measure that whoever runs the tests asks for
            f"{name}, {self.product.product}: {len(self.intents)} orders and {fills} fills agree "
            f"{seconds:.2f} s after the trouble ended"
        )
        return seconds

    def disagreements(self) -> list[str]:
        """Where the journal says other than the exchange's books."""
        booked = {
            order["client_order_id"]: order for order in self.pool.paper.orders(product=self.product.product)
        }
        told: dict[str, list[dict[str, str]]] = {}
        for event in self.pool.events(self.product):
            if event.name is EventName.TRADE:
                told.setdefault(event.client_order_id, []).append(event.numbers)
        found: list[str] = []
        for intent in self.intents:
            identifier = self.pool.client_order_id(intent)
            order = booked.get(self.by_hand.get(intent.id, identifier))
            if order is None:
                record = self.pool.record(intent)
                if record is None or record.status not in (OrderStatus.FAILED, OrderStatus.CANCELED):
                    found.append(f"{intent.id} is on no book: {record}")
                continue
            found += self._of_record(intent, order) + _of_fills(intent.id, told.get(identifier, []), order)
        return found

    def _of_record(self, intent: PlaceOrder, order: dict[str, Any]) -> list[str]:
        record = self.pool.record(intent)
        if record is None:
            return [f"{intent.id}: no record"]
        filled, spent = Decimal(order["executed_quantity"]), Decimal(order["executed_quote"])
        fees: dict[str, Decimal] = {}
        for fill in order["fills"]:
            asset = fill["commission_asset"]
            fees[asset] = fees.get(asset, Decimal(0)) + Decimal(fill["commission"])
        pairs = {
            "status": (record.status, STATUSES[order["status"]]),
            "exchange order id": (record.exchange_order_id, str(order["order_id"])),
            "filled": (record.filled, filled),
            "fees": (record.fees, fees),
            "average": (
                record.average and record.average.quantize(Decimal("1e-9")),
                (spent / filled).quantize(Decimal("1e-9")) if filled else record.average,
            ),
        }
        return [f"{intent.id}: {name} {ours} != {its}" for name, (ours, its) in pairs.items() if ours != its]


def _of_fills(intent_id: str, told: list[dict[str, str]], order: dict[str, Any]) -> list[str]:
    counts = Counter(numbers["trade_id"] for numbers in told)
    found = [
        f"{intent_id}: trade {trade_id} told {count} times" for trade_id, count in counts.items() if count > 1
    ]
    by_id = {numbers["trade_id"]: numbers for numbers in told}
    for fill in order["fills"]:
        numbers = by_id.pop(str(fill["trade_id"]), None)
        if numbers is None:
            found.append(f"{intent_id}: trade {fill['trade_id']} was not told")
            continue
        its = (
            Decimal(fill["quantity"]), Decimal(fill["price"]), Decimal(fill["commission"]),
            fill["commission_asset"], "maker" if fill["maker"] else "taker", str(fill["time_ms"]),
            order["side"].lower(),
        )  # fmt: skip
        ours = (
            Decimal(numbers["amount"]), Decimal(numbers["price"]), Decimal(numbers["fee"]),
            numbers["fee_currency"], numbers["liquidity"], numbers["traded_at"], numbers["side"],
        )  # fmt: skip
        if ours != its:
            found.append(f"{intent_id}: trade {fill['trade_id']} {ours} != {its}")
    return found + [f"{intent_id}: trade {trade_id} is on no book" for trade_id in by_id]


def stream_of(pool: Pool, product: Product, account: str = "main") -> dict[str, str]:
    """What Redis says of an account's stream."""
    fields: Any = pool.client.hgetall(pool.keys(product).stream(account))
    return {name.decode(): value.decode() for name, value in fields.items()}


async def live(pool: Pool, product: Product, *, but: str = "", account: str = "main") -> str:
    """Wait until a stream is held (by another than `but`) and has no gap; its holder."""

    def holder() -> str:
        stream = stream_of(pool, product, account)
        alive = int(stream.get("until", 0)) > time.time() * 1000
        held = stream.get("holder", "") if alive and stream.get("state") == "live" else ""
        return held if held != but else ""

    return str(await pool.until(holder, "a user stream without a gap"))


@contextmanager
def worker_process(
    pool: Pool, product: Product, folder: Path, name: str, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a process of its own, until the block ends."""
    config = folder / "orderlane.yaml"
    config.write_text(pool.config)
    command = [
        sys.executable,
        "-m",
        "workers.exchange",
        "--exchange",
        product.exchange,
        "--config",
        str(config),
    ]
    environ = {
        **os.environ,
        "REDIS_URL": pool.redis_url,
        "ORDERLANE_PAPER_URL": pool.paper.url,
        **environment,
    }
    with (folder / f"{name}.log").open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def market_at_sixty_thousand(paper: PaperProcess, product: Product) -> None:
    paper.set_price(product.product, product.venue_symbol, 60_000, hold=True)
