"""Whatever is traded, the books add up: money, locks and positions follow from the fills and from nothing else."""

import random
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from workers.paper import trading
from workers.paper.accounts import Account, default_credentials, opened
from workers.paper.amounts import ZERO
from workers.paper.conditional import place_conditional
from workers.paper.dispatch import match_everything
from workers.paper.errors import Refusal
from workers.paper.exchange import Behaviour, Exchange
from workers.paper.orders import NewOrder, Order
from workers.paper.rules import Product, SymbolRules
from workers.paper.server import growing_clock
from workers.paper.store import Store

ASSETS = ["BTC", "ETH", "USDT"]
SYMBOLS = ("BTCUSDT", "ETHUSDT")
SPOT_TYPES = ("LIMIT", "MARKET", "LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT")
USDM_TYPES = ("LIMIT", "MARKET", "LIMIT", "STOP", "TAKE_PROFIT_MARKET")


@pytest.fixture
async def exchange(tmp_path: Path) -> AsyncIterator[Exchange]:
    store = Store(tmp_path / "x.sqlite")
    behaviour = Behaviour(seed=1, volatility=Decimal("0.01"), partial_fill_probability=Decimal("0.5"))
    made = Exchange(store, [default_credentials("main")], behaviour, growing_clock())
    yield made
    await store.committed()
    store.close()


def drawn(chance: random.Random, exchange: Exchange, product: Product) -> NewOrder:
    """Any order near the market: some are refused, many execute at once, some later."""
    rules = exchange.rules(product, chance.choice(SYMBOLS))
    order_type = chance.choice(SPOT_TYPES if product == "spot" else USDM_TYPES)
    is_limit = order_type.endswith("LIMIT") or order_type in ("STOP", "LIMIT_MAKER")
    waits = order_type not in ("LIMIT", "MARKET", "LIMIT_MAKER")

    def near() -> Decimal:
        away = 1 + Decimal(chance.randint(-200, 200)) / 10_000
        return (exchange.mid(rules) * away // rules.tick) * rules.tick

    return NewOrder(
        product=product,
        account="main",
        symbol=rules.symbol,
        client_order_id="",
        side=chance.choice(("BUY", "SELL")),
        type=order_type,
        time_in_force=chance.choice(("GTC", "GTC", "IOC", "FOK")) if order_type == "LIMIT" else "GTC",
        quantity=rules.lot * chance.randint(1, 3000),
        price=near() if is_limit else ZERO,
        trigger_price=near() if waits else ZERO,
        reduce_only=product == "usdm" and chance.random() < 0.3,
    )


def act(chance: random.Random, exchange: Exchange) -> None:
    """One thing that may happen on an exchange."""
    now_ms = exchange.now_us() // 1000
    product: Product = chance.choice(("spot", "usdm"))
    waiting = exchange.register.open_of(product, "main")
    what = chance.random()
    if what < 0.6:
        new = drawn(chance, exchange, product)
        is_algo = product == "usdm" and new.trigger_price
        (place_conditional if is_algo else trading.place)(exchange, new, now_ms)
    elif what < 0.7 and waiting:
        trading.cancel(exchange, chance.choice(waiting), now_ms)
    elif what < 0.8 and waiting and product == "usdm":
        order = chance.choice(waiting)
        price = (exchange.mid(exchange.rules(product, order.symbol)) // 1) - chance.randint(-300, 300)
        trading.amend(exchange, order, order.quantity + chance.randint(0, 1), price, now_ms)
    else:
        exchange.step_prices()
        match_everything(exchange)


def check_order(order: Order) -> None:
    assert order.executed_quantity == sum((fill.quantity for fill in order.fills), ZERO) <= order.quantity
    assert order.executed_quote == sum((fill.price * fill.quantity for fill in order.fills), ZERO)
    assert (order.status == "FILLED") == (order.remaining == 0)
    assert order.is_open or order.locked == 0
    for fill in order.fills:
        worst = ZERO if order.amendments else order.price
        assert not worst or (fill.price <= worst if order.side == "BUY" else fill.price >= worst)


def check_spot(account: Account, fresh: Account, orders: list[Order], rules: dict[str, SymbolRules]) -> None:
    for asset in ASSETS:
        change = locked = ZERO
        for order in orders:
            pair = rules[order.symbol]
            sign = 1 if order.side == "BUY" else -1
            for fill in order.fills:
                change += sign * fill.quantity if asset == pair.base else ZERO
                change -= sign * fill.quote if asset == pair.quote else ZERO
                change -= fill.commission if asset == fill.commission_asset else ZERO
            if asset == (pair.quote if order.side == "BUY" else pair.base):
                locked += order.locked
        balance, start = account.balance(asset), fresh.balance(asset)
        assert balance.free + balance.locked == start.free + change, asset
        assert balance.locked == locked, asset
        assert balance.free >= 0, asset


def check_usdm(account: Account, fresh: Account, orders: list[Order]) -> None:
    wallet = fresh.wallet["USDT"]
    held = dict.fromkeys(SYMBOLS, ZERO)
    fills = sorted(
        ((fill, order) for order in orders for fill in order.fills), key=lambda pair: pair[0].trade_id
    )
    for fill, order in fills:
        before = held[order.symbol]
        held[order.symbol] += fill.quantity if order.side == "BUY" else -fill.quantity
        wallet += fill.realised - fill.commission
        if order.reduce_only:
            assert abs(held[order.symbol]) < abs(before)
            assert held[order.symbol] * before >= 0, "a reduce-only order turned a position around"
    assert account.wallet["USDT"] == wallet
    for symbol, amount in held.items():
        assert account.position(symbol).amount == amount
        assert (account.position(symbol).entry_price == 0) == (amount == 0)


@pytest.mark.parametrize("seed", range(6))
async def test_the_books_add_up_after_anything(exchange: Exchange, seed: int) -> None:
    chance = random.Random(seed)
    fresh = opened(default_credentials("main"), list(exchange.account("main").balances))
    refused = 0
    for _ in range(250):
        try:
            act(chance, exchange)
        except Refusal:
            refused += 1
    account, rules = exchange.account("main"), exchange.markets["spot"].symbols
    spot = [order for order in exchange.register.every() if order.product == "spot"]
    usdm = [order for order in exchange.register.every() if order.product == "usdm"]
    for order in (*spot, *usdm):
        check_order(order)
    check_spot(account, fresh, spot, rules)
    check_usdm(account, fresh, usdm)
    statuses = {order.status for order in (*spot, *usdm)}
    assert {"FILLED", "CANCELED", "EXPIRED"} <= statuses, "the run was too tame to show anything"
    assert refused < 150


async def test_what_is_read_back_from_file_is_what_was_in_memory(exchange: Exchange, tmp_path: Path) -> None:
    chance = random.Random(99)
    for _ in range(150):
        try:
            act(chance, exchange)
        except Refusal:
            continue
    await exchange.store.committed()
    again = Exchange(
        Store(tmp_path / "x.sqlite"), [default_credentials("main")], exchange.behaviour, growing_clock()
    )
    assert list(again.register.every()) == list(exchange.register.every())
    assert list(again.register.every_algo()) == list(exchange.register.every_algo())
    assert again.accounts == exchange.accounts
    assert again.state == exchange.state
    again.store.close()
