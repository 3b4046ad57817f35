"""The pool's records, fills, positions and balances against the exchange's own books, until they agree."""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec
import redis
from msgspec import Struct

from orderlane.client import Client
from orderlane.orders import OrderStatus
from orderlane.positions import AccountPositions
from scripts.harness.chaos.books import mismatches, read_books
from scripts.harness.evidence import read_journal
from scripts.harness.processes import LocalPool

PATIENCE_SECONDS: Final = 15.0
"""For how long agreement is waited for: prices move on, so orders are filled while it is compared."""
POLL_SECONDS: Final = 0.05


class _Position(Struct, frozen=True):
    amount: Decimal


class _SpotBalance(Struct, frozen=True):
    free: Decimal
    locked: Decimal


class _Account(Struct, frozen=True):
    name: str
    balances: dict[str, _SpotBalance] = {}
    wallet: dict[str, Decimal] = {}
    positions: dict[str, _Position] = {}


class _Fills(Struct, frozen=True):
    client_order_id: str
    fills: list[msgspec.Raw] = []


class _Orders(Struct, frozen=True):
    orders: list[_Fills]


class Agreement(Struct, frozen=True, kw_only=True):
    """What was compared at the last look, and what of it was not as the exchange has it. `seconds`: how long it took
    until nothing differed, or until that was given up."""

    orders: int
    fills: int
    fills_booked: int
    figures: int
    differences: tuple[str, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        return not self.differences


def wait_for_agreement(
    local: LocalPool, client: redis.Redis, pool: str, products: Mapping[str, str]
) -> Agreement:
    """Compare until nothing differs, within `PATIENCE_SECONDS`. `products`: the paper product (`spot`, `usdm`) of each
    exchange of the pool, whose accounts are its own."""
    started_at = time.monotonic()
    while True:
        found = _compare(local, client, pool, products)
        seconds = time.monotonic() - started_at
        if found.holds or seconds > PATIENCE_SECONDS:
            return msgspec.structs.replace(found, seconds=seconds)
        local.check()
        time.sleep(POLL_SECONDS)


def _compare(local: LocalPool, client: redis.Redis, pool: str, products: Mapping[str, str]) -> Agreement:
    books = local.ask_paper("/paper/orders")
    records = read_journal(client, pool, tuple(products)).orders
    differences = [
        f"{name}: {difference}" for name, difference in mismatches(records, read_books(books)).items()
    ]
    placed = [one for one in records.values() if one.exchange_order_id and one.status is not OrderStatus.DONE]
    told = msgspec.json.decode(local.ask_paper("/paper/accounts"), type=list[_Account])
    accounts = {account.name: account for account in told}
    figures = counted = 0
    for exchange, product in products.items():
        with Client(local.redis_url, pool=pool, exchange=exchange) as reader:
            kept = reader.positions()
        for one in kept:
            compared, wrong = _figures(one, accounts[one.account], product)
            figures += compared
            counted += sum(position.fills for position in one.positions)
            differences += [f"{exchange}, account {one.account}: {difference}" for difference in wrong]
    booked = sum(
        len(one.fills)
        for one in msgspec.json.decode(books, type=_Orders).orders
        if one.client_order_id in records
    )
    if counted != booked:
        differences.append(f"{counted} fills are counted, the exchange made {booked}")
    return Agreement(
        orders=len(placed),
        fills=counted,
        fills_booked=booked,
        figures=figures,
        differences=tuple(differences),
        seconds=0.0,
    )


def _figures(kept: AccountPositions, account: _Account, product: str) -> tuple[int, list[str]]:
    """How many figures of an account were compared, and which differ."""
    if product == "usdm":
        held = dict(account.wallet)
        sizes = {name: position.amount for name, position in account.positions.items()}
        mine = {one.symbol.partition(":")[0].replace("/", ""): one.size for one in kept.positions}
    else:
        held = {asset: one.free + one.locked for asset, one in account.balances.items()}
        sizes, mine = {}, {}
    totals = {one.asset: one.total for one in kept.balances}
    wrong = [
        f"{name}: {ours.get(name, Decimal(0))} is kept, the exchange has {theirs.get(name, Decimal(0))}"
        for ours, theirs in ((totals, held), (mine, sizes))
        for name in sorted({*ours, *theirs})
        if ours.get(name, Decimal(0)) != theirs.get(name, Decimal(0))
    ]
    return len({*totals, *held}) + len({*mine, *sizes}), wrong
