"""One account floods the pool: what that does to the others, measured on real parts.

Calm accounts submit steadily, first alone, then while another account has far more intents waiting than its own limit
lets out. Each worker may be at work on fewer lanes than the flood fills, so that lanes which only wait for tokens would
starve the others if they counted. What is left of the flood expires at the end of the run: it is not drained.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from typing import Final

import msgspec
import redis
from msgspec import Struct

from orderlane.admission import Submitted
from orderlane.client import Client
from orderlane.connection import connect
from orderlane.intents import OrderType, PlaceOrder, Side, TimeInForce
from orderlane.keys import Keys
from scripts.harness.evidence import leaked_keys, read_arrived, read_journal
from scripts.harness.processes import LocalPool, PoolFailed
from scripts.harness.verdict import Appended, Verdict, judge, latencies_ms

POOL: Final = "orderlane"
EXCHANGE: Final = "binance"
FLOOD: Final = "flood"
CALM: Final = ("calm-1", "calm-2", "calm-3", "calm-4")
FLOOD_SYMBOLS: Final = 30
CALM_SYMBOLS: Final = 10
CALM_RATE: Final = 32.0
"""Intents a second of all calm accounts together: each stays below its own limit, which is the flood's too."""
LANES: Final = 8
"""Lanes a worker may be at work on at once."""
WORTH: Final = Decimal(600)
"""What one order is worth, in quote currency."""
DRAIN_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 2.0
ARRIVAL_SECONDS: Final = 8.0
"""More than it takes to append the flood."""
PAPER_OPTIONS: Final = (
    "--accounts", ",".join((FLOOD, *CALM)), "--step-ms", "0",
    "--weight-limit", "1000000", "--orders-10s", "300", "--orders-1m", "1200",
)  # fmt: skip
CONFIG: Final = f"""\
exchanges:
  {EXCHANGE}:
    venue: binanceusdm
    accounts: {{{", ".join(f"{name}: {{}}" for name in (FLOOD, *CALM))}}}
    limits: {{weight_1m: 1000000/minute, orders_10s: 135/10 seconds}}
    worker: {{lanes: {LANES}, in_flight: {LANES}}}
"""
"""A limit of 135 in any 10 s comes to 10 a second in the long run, margins and burst taken off."""


class Outcome(Struct, frozen=True, kw_only=True):
    """The run's verdict, and the calm accounts' ms from XADD to the exchange: without the flood, while it was being
    appended, and while it waited.

    Of the `flood` intents, `sent` reached the exchange; `waiting` were unfinished when the calm accounts had ended.
    """

    verdict: Verdict
    alone_ms: tuple[float, ...]
    arriving_ms: tuple[float, ...]
    flooded_ms: tuple[float, ...]
    flood: int
    sent: int
    waiting: int


class Steady(threading.Thread):
    """Submits for the calm accounts at a steady rate, for so many seconds; `appended` is what it submitted."""

    def __init__(
        self, client: Client, orders: Callable[[str, str], PlaceOrder], phase: str, seconds: float, seed: int
    ):
        super().__init__(daemon=True)
        self.appended: list[Appended] = []
        self.failure: Exception | None = None
        self._stopped = False
        self._client, self._orders, self._phase = client, orders, phase
        self._count = int(seconds * CALM_RATE)
        self._random = random.Random(seed)

    def stop(self) -> None:
        """Submit nothing more."""
        self._stopped = True

    def run(self) -> None:
        """Submit until the time is up."""
        started_at = time.monotonic()
        try:
            for number in range(self._count):
                if self._stopped:
                    return
                time.sleep(max(started_at + number / CALM_RATE - time.monotonic(), 0))
                account = CALM[number % len(CALM)]
                intent = self._orders(account, f"{self._phase}-{number}")
                self.appended.append(appended_as(self._client.submit(intent)))
        except Exception as error:  # noqa: BLE001 - told to the main thread
            self.failure = error


class Orders:
    """Makes limit orders far below the market, immediate or cancel: each is one request, and none stays on the books.
    So the exchange and the sync have no more to do late in the run than early."""

    def __init__(self, prices: dict[str, Decimal], seed: int) -> None:
        self.symbols = list(prices)
        self._prices = prices
        self._random = random.Random(seed)

    def one(
        self, account: str, identifier: str, symbols: int, *, expires_at: int | None = None
    ) -> PlaceOrder:
        symbol = self._random.choice(self.symbols[:symbols])
        price = self._prices[symbol] * Decimal("0.95")
        return PlaceOrder(
            id=identifier, exchange=EXCHANGE, account=account, symbol=symbol, side=Side.BUY, type=OrderType.LIMIT,
            amount=Decimal(f"{WORTH / price:.8f}"), price=Decimal(f"{price:.8f}"), expires_at=expires_at,
            time_in_force=TimeInForce.IOC,
        )  # fmt: skip


def appended_as(submitted: Submitted) -> Appended:
    """What the verdict is told of an intent that was admitted."""
    order = submitted.order
    return Appended(EXCHANGE, order.entry, order.client_order_id, order.intent)


def prices(pool: LocalPool) -> dict[str, Decimal]:
    """The exchange's prices by unified symbol, of what trades there."""
    rules = msgspec.json.decode(pool.ask_paper("/fapi/v1/exchangeInfo"))["symbols"]
    rows = msgspec.json.decode(pool.ask_paper("/fapi/v1/ticker/price"))
    by_id = {row["symbol"]: Decimal(row["price"]) for row in rows}
    return {
        f"{rule['baseAsset']}/USDT:USDT": by_id[rule["symbol"]]
        for rule in rules
        if rule["status"] == "TRADING" and rule["symbol"] in by_id
    }


def run_flood(pool: LocalPool, flood: int, seconds: float, seed: int, say: Callable[[str], None]) -> Outcome:
    """The phases, those that are compared of some `seconds` each, on a pool whose workers have joined.

    Raises:
        PoolFailed: a process of the pool ended, or what was left of the flood did not end.
    """
    orders = Orders(prices(pool), seed)

    def calm(account: str, identifier: str) -> PlaceOrder:
        return orders.one(account, identifier, CALM_SYMBOLS)

    connection, keys = connect(pool.redis_url), Keys(EXCHANGE, POOL)
    with closing(connection), Client(pool.redis_url, pool=POOL) as client:
        warm = steadily(pool, Steady(client, calm, "warm", SETTLE_SECONDS, seed))
        say(f"{len(CALM)} calm accounts alone, {CALM_RATE:g} intents a second for {seconds:g} s")
        alone = steadily(pool, Steady(client, calm, "alone", seconds, seed))
        say(f"the same again while account {FLOOD} has {flood} intents waiting")
        expires_at = int((time.time() + ARRIVAL_SECONDS + seconds) * 1000)
        wave = [
            orders.one(FLOOD, f"flood-{number}", FLOOD_SYMBOLS, expires_at=expires_at)
            for number in range(flood)
        ]
        meanwhile = Steady(client, calm, "arriving", ARRIVAL_SECONDS, seed)
        meanwhile.start()
        with Client(pool.redis_url, pool=POOL) as flooder:
            flooded = [appended_as(one) for one in flooder.submit_many(wave) if isinstance(one, Submitted)]
        meanwhile.stop()
        arriving = steadily(pool, meanwhile)
        waited = steadily(pool, Steady(client, calm, "flooded", seconds - SETTLE_SECONDS, seed))
        waiting = int(connection.xlen(keys.intents))
        say(f"{waiting} intents still wait; they expire now")
        drain(pool, connection, keys)
        leaked = leaked_keys(connection)
        appended = [*warm, *alone, *arriving, *waited, *flooded]
        arrived, journal = read_arrived(pool), read_journal(connection, POOL, (EXCHANGE,))
    if leaked:
        raise PoolFailed(
            f"keys that orderlane.keys does not know were left in Redis: {', '.join(leaked[:10])}"
        )
    if len(flooded) != flood:
        raise PoolFailed(f"only {len(flooded)} of {flood} intents of the flood were admitted")
    ids = {one.client_order_id for one in flooded}
    return Outcome(
        verdict=judge(appended, arrived, journal),
        alone_ms=latencies_ms(alone, arrived),
        arriving_ms=latencies_ms(arriving, arrived),
        flooded_ms=latencies_ms(waited, arrived),
        flood=flood,
        sent=sum(one.client_order_id in ids and one.kind == "place" for one in arrived),
        waiting=waiting,
    )


def steadily(pool: LocalPool, thread: Steady) -> list[Appended]:
    """Let it submit to its end; what it appended."""
    if thread.ident is None:
        thread.start()
    while thread.is_alive():
        pool.check()
        thread.join(0.2)
    if thread.failure is not None:
        raise PoolFailed(f"a calm account could not submit: {thread.failure}")
    return thread.appended


def drain(pool: LocalPool, client: redis.Redis, keys: Keys) -> None:
    """Wait until every entry has ended."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while left := int(client.xlen(keys.intents)):
        pool.check()
        if time.monotonic() > deadline:
            raise PoolFailed(f"{left} intents did not end within {DRAIN_SECONDS:g} s after they had expired")
        time.sleep(0.1)
