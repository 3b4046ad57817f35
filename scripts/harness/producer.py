"""An application like any other: appends intents to the streams, some wrong on purpose, and remembers what it sent.

python -m scripts.harness.producer --redis-url URL --intents 300 --seed 1 --record FILE
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

import click
import msgspec
import redis

from orderlane.connection import connect
from orderlane.identity import client_order_id
from orderlane.intents import (
    AmendOrder,
    CancelOrder,
    Intent,
    OrderType,
    PlaceOrder,
    Side,
    TimeInForce,
    encode_intent,
)
from orderlane.keys import INTENT_FIELD, Keys
from scripts.harness.material import Appended

ACCOUNTS: Final = ("main", "alt")
SPOT_SHARE: Final = 0.25
COINS: Final = {
    "BTC": ("0.002", 3), "ETH": ("0.05", 3), "BNB": ("0.2", 2), "SOL": ("1", 0), "XRP": ("100", 0), "ADA": ("150", 0),
    "DOGE": ("700", 0), "LTC": ("1", 2), "LINK": ("5", 0), "AVAX": ("3", 0), "DOT": ("10", 0), "ATOM": ("8", 0),
}  # fmt: skip
"""Twelve coins, each with an amount worth some 50 to 150 USDT."""

BROKEN: Final = (
    (b"intent", b'{"kind":"place","id":'),
    (b"intent", b'{"kind":"teleport","id":"x","exchange":"binance","account":"main","symbol":"BTC/USDT"}'),
    (b"intent", b"\xff\xfe\x00\x01 not even text"),
    (b"order", b'{"kind":"place"}'),
    (b"intent", b"[" * 3000),
)
"""Entries that are no intents: cut JSON, a foreign kind, binary, a foreign field, deep nesting."""


class Plan:
    """What to append, in order: drawn from a seed, so that the same seed gives the same run."""

    def __init__(self, seed: int, prices: dict[str, Decimal]) -> None:
        self._random = random.Random(seed)
        self._prices = prices
        self._open: list[PlaceOrder] = []
        self._last: PlaceOrder | None = None
        self._count = 0

    def intents(self, number: int) -> Iterator[Intent | tuple[bytes, bytes]]:
        """`number` things to append; a pair of bytes is a raw field and value."""
        for _ in range(number):
            self._count += 1
            yield self._next()

    def _next(self) -> Intent | tuple[bytes, bytes]:
        draw = self._random.random()
        if draw < 0.04:
            return self._random.choice(BROKEN)
        if draw < 0.10:
            return self._wrong()
        if draw < 0.13 and self._last is not None:
            return self._last
        if draw < 0.22 and self._open:
            return self._cancel(self._open.pop(self._random.randrange(len(self._open))))
        if draw < 0.28 and self._open:
            return self._amend(self._random.choice(self._open))
        return self._place()

    def _id(self) -> str:
        return f"demo-{self._count}"

    def _place(self) -> PlaceOrder:
        spot = self._random.random() < SPOT_SHARE
        coin = self._random.choice(tuple(COINS))
        symbol = f"{coin}/USDT" if spot else f"{coin}/USDT:USDT"
        amount, digits = COINS[coin]
        size = (Decimal(amount) * Decimal(self._random.randint(60, 180)) / 100).quantize(
            Decimal(1).scaleb(-digits)
        )
        order_type = OrderType.MARKET if self._random.random() < 0.3 else OrderType.LIMIT
        side = Side.BUY if self._random.random() < 0.6 else Side.SELL
        price = None
        if order_type is OrderType.LIMIT:
            away = Decimal(self._random.randint(-20, 150)) / 10_000
            price = self._prices[symbol] * (1 - away if side is Side.BUY else 1 + away)
            price = price.quantize(Decimal("1e-10")).normalize() + 0
        intent = PlaceOrder(
            id=self._id(), exchange="binance-spot" if spot else "binance", account=self._random.choice(ACCOUNTS),
            symbol=symbol, side=side, type=order_type, amount=max(size, Decimal(1).scaleb(-digits)),
            price=None if price is None else Decimal(f"{price:f}"),
            time_in_force=TimeInForce.GTC if price else None, strategy=f"demo-{self._random.randint(1, 3)}",
        )  # fmt: skip
        self._last = intent
        if order_type is OrderType.LIMIT:
            self._open.append(intent)
        return intent

    def _cancel(self, target: PlaceOrder) -> CancelOrder:
        return CancelOrder(
            id=self._id(),
            exchange=target.exchange,
            account=target.account,
            symbol=target.symbol,
            target=target.id,
        )

    def _amend(self, target: PlaceOrder) -> AmendOrder:
        assert target.price is not None
        price = target.price * (Decimal("0.995") if target.side is Side.BUY else Decimal("1.005"))
        return AmendOrder(
            id=self._id(), exchange=target.exchange, account=target.account, symbol=target.symbol, target=target.id,
            price=Decimal(f"{price:.8f}"),
        )  # fmt: skip

    def _wrong(self) -> Intent:
        """A valid intent that must be refused: each with a reason of its own."""
        good = self._place()
        if good.type is OrderType.LIMIT:
            self._open.remove(good)
        self._last = None
        change = msgspec.structs.replace
        return self._random.choice(
            [
                change(good, amount=Decimal("0.000000001")),
                change(good, account="nobody"),
                change(good, symbol="NOPE/USDT"),
                change(good, expires_at=1),
                change(good, amount=Decimal(900_000_000)),
                self._too_dear(),
                change(good, params={"newClientOrderId": "mine"}),
            ]
        )

    def _too_dear(self) -> PlaceOrder:
        """Within the market's rules and beyond the account's means: the exchange refuses it."""
        symbol = "BTC/USDT"
        return PlaceOrder(
            id=self._id(), exchange="binance-spot", account="main", symbol=symbol, side=Side.BUY, type=OrderType.LIMIT,
            amount=Decimal(500), price=Decimal(round(self._prices[symbol])),
        )  # fmt: skip


def _text(entry: bytes | str) -> str:
    return entry.decode() if isinstance(entry, bytes) else entry


def append(client: redis.Redis, pool: str, intent: Intent | tuple[bytes, bytes]) -> Appended:
    """XADD one thing, as a producer in any language would."""
    if isinstance(intent, tuple):
        keys = Keys("binance", pool)
        entry = client.xadd(keys.intents, {intent[0]: intent[1]})
        return Appended("binance", _text(entry))
    entry = client.xadd(Keys(intent.exchange, pool).intents, {INTENT_FIELD: encode_intent(intent)})
    return Appended(
        intent.exchange,
        _text(entry),
        client_order_id(pool, intent.exchange, intent.account, intent.id),
        intent,
    )


@click.command()
@click.option("--redis-url", required=True)
@click.option("--pool", default="orderlane", show_default=True)
@click.option("--intents", "number", default=300, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--rate", default=0.0, show_default=True, help="Intents a second; 0: as fast as Redis takes them."
)
@click.option("--prices", required=True, help="JSON object: symbol -> price to quote around.")
@click.option(
    "--record",
    required=True,
    type=click.Path(path_type=Path),
    help="Where to write what was appended, a JSON line each.",
)
def main(redis_url: str, pool: str, number: int, seed: int, rate: float, prices: str, record: Path) -> None:
    """Append intents and remember them."""
    plan = Plan(seed, msgspec.json.decode(prices, type=dict[str, Decimal]))
    client = connect(redis_url)
    with record.open("wb") as file:
        for intent in plan.intents(number):
            file.write(msgspec.json.encode(append(client, pool, intent)) + b"\n")
            if rate:
                time.sleep(1 / rate)
    client.close()


if __name__ == "__main__":
    main()
