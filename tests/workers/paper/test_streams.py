"""What ccxt.pro hears from a real paper exchange, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import ccxt.pro
import pytest
from ccxt.base.errors import ExchangeError, NetworkError

from tests.paper_process import PaperProcess
from tests.workers.paper.conftest import STILL, connected, point_at, settings

SYMBOLS = {"spot": "BTC/USDT", "usdm": "BTC/USDT:USDT"}
PRODUCTS = [pytest.param("spot", id="spot"), pytest.param("usdm", id="usdm")]
WAIT_SECONDS = 20
Listen = Callable[..., Awaitable[Any]]


@pytest.fixture
async def listen(paper: PaperProcess) -> AsyncIterator[Listen]:
    """Makes ccxt.pro clients on the paper exchange, and closes them."""
    clients: list[Any] = []

    async def make(product: str, account: str = "main", url: str = "", **options: Any) -> Any:
        rest = await connected(url or paper.url, product)
        classes = {"spot": ccxt.pro.binance, "usdm": ccxt.pro.binanceusdm}
        client = classes[product](settings(account))
        client.options.update(options)
        client.options["watchPositions"]["fetchPositionsSnapshot"] = False
        point_at(client, url or paper.url, product)
        client.set_markets(rest.markets, rest.currencies)
        client.rest = rest
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.rest.close()
        await client.close()


async def waiting(client: Any, watch: Awaitable[Any], message_hash: str) -> asyncio.Task[Any]:
    """Start to watch, and return once ccxt waits: what comes before that is in its cache, and wakes nobody."""
    task: asyncio.Task[Any] = asyncio.ensure_future(watch)
    await until(lambda: task.done() or any(message_hash in one.futures for one in client.clients.values()))
    return task


async def opened(paper: PaperProcess, client: Any, account: str = "main") -> asyncio.Task[Any]:
    """Start `watch_orders`, and return once the exchange has the user stream open and ccxt waits."""
    watching = await waiting(client, client.watch_orders(), "orders")
    await until(lambda: any(one["account"] == account for one in paper.control("GET", "streams")))
    return watching


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - another process tells nothing when it comes true
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("product", PRODUCTS)
async def test_an_order_is_heard_of_from_its_acceptance_to_its_end(
    paper: PaperProcess, listen: Listen, product: str
) -> None:
    client = await listen(product)
    watching = await opened(paper, client)
    placed = await client.rest.create_order(
        SYMBOLS[product], "limit", "buy", 0.01, 50_000, {"clientOrderId": "first"}
    )
    [order] = await asyncio.wait_for(watching, WAIT_SECONDS)
    assert (order["id"], order["clientOrderId"], order["status"]) == (placed["id"], "first", "open")
    assert (order["symbol"], order["amount"], order["price"]) == (SYMBOLS[product], 0.01, 50_000)
    watching = await waiting(client, client.watch_orders(), "orders")
    await client.rest.cancel_order(placed["id"], SYMBOLS[product])
    [order] = await asyncio.wait_for(watching, WAIT_SECONDS)
    assert (order["id"], order["clientOrderId"], order["status"]) == (placed["id"], "first", "canceled")


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("liquidity", ["taker", "maker"])
async def test_each_fill_is_told_once_with_its_trade_id_fee_and_side_of_the_book(
    paper: PaperProcess, listen: Listen, product: str, liquidity: str
) -> None:
    client = await listen(product)
    await opened(paper, client)
    trades = await waiting(client, client.watch_my_trades(), "myTrades")
    if liquidity == "taker":
        await client.rest.create_order(SYMBOLS[product], "market", "buy", 1)
    else:
        paper.set_price(product, "BTCUSDT", 60_000, hold=True)
        await client.rest.create_order(SYMBOLS[product], "limit", "buy", 0.01, 59_000)
        paper.set_price(product, "BTCUSDT", 58_000, hold=True)
    await asyncio.wait_for(trades, WAIT_SECONDS)
    [booked] = paper.orders(product=product)
    await until(lambda: len(client.myTrades) == len(booked["fills"]))
    found = list(client.myTrades)
    fills = {str(fill["trade_id"]): fill for fill in booked["fills"]}
    assert len(found) == len(fills)
    assert {trade["id"] for trade in found} == set(fills)
    for trade in found:
        fill = fills[trade["id"]]
        assert trade["order"] == str(booked["order_id"])
        assert (trade["price"], trade["amount"]) == (float(fill["price"]), float(fill["quantity"]))
        assert trade["fee"] == {"cost": float(fill["commission"]), "currency": fill["commission_asset"]}
        assert (trade["takerOrMaker"], trade["timestamp"]) == (liquidity, fill["time_ms"])
    [order] = client.orders
    assert (order["status"], order["filled"]) == ("closed", float(booked["executed_quantity"]))


@pytest.mark.parametrize("product", PRODUCTS)
async def test_balances_are_told_as_they_are_after_a_fill(
    paper: PaperProcess, listen: Listen, product: str
) -> None:
    client = await listen(product)
    await opened(paper, client)
    kind = {"spot": "spot", "usdm": "linear"}[product]
    balances = await waiting(client, client.watch_balance(), f"{kind}:balance")
    await client.rest.create_order(SYMBOLS[product], "market", "buy", 0.01)
    told = await asyncio.wait_for(balances, WAIT_SECONDS)
    account = paper.accounts()["main"]
    if product == "spot":
        assert told["BTC"]["free"] == float(account["balances"]["BTC"]["free"])
    else:
        assert told["USDT"]["total"] == float(account["wallet"]["USDT"])


async def test_a_position_is_told_after_a_fill(paper: PaperProcess, listen: Listen) -> None:
    client = await listen("usdm")
    await opened(paper, client)
    positions = await waiting(client, client.watch_positions(), "linear:positions")
    await client.rest.create_order(SYMBOLS["usdm"], "market", "sell", 0.01)
    [position] = await asyncio.wait_for(positions, WAIT_SECONDS)
    assert (position["symbol"], position["side"], position["contracts"]) == (SYMBOLS["usdm"], "short", 0.01)


async def test_an_amended_order_is_told_with_its_new_numbers(paper: PaperProcess, listen: Listen) -> None:
    client = await listen("usdm")
    symbol = SYMBOLS["usdm"]
    placed = await client.rest.create_order(symbol, "limit", "buy", 0.01, 60_000)
    watching = await opened(paper, client)
    await client.rest.edit_order(placed["id"], symbol, "limit", "buy", 0.02, 61_000)
    [order] = await asyncio.wait_for(watching, WAIT_SECONDS)
    assert (order["id"], order["amount"], order["price"]) == (placed["id"], 0.02, 61_000)


async def test_a_conditional_order_is_told_waiting_triggered_and_as_what_it_became(
    paper: PaperProcess, listen: Listen
) -> None:
    client = await listen("usdm")
    paper.set_price("usdm", "BTCUSDT", 60_000, hold=True)
    watching = await opened(paper, client)
    params = {"clientOrderId": "stop", "triggerPrice": 65_000}
    placed = await client.rest.create_order(SYMBOLS["usdm"], "market", "buy", 0.01, None, params)
    [order] = await asyncio.wait_for(watching, WAIT_SECONDS)
    assert (order["id"], order["clientOrderId"], order["triggerPrice"]) == (placed["id"], "stop", 65_000)
    paper.set_price("usdm", "BTCUSDT", 66_000, hold=True)
    actual = str(paper.algo_orders()[0]["actual_order_id"])
    await until(
        lambda: any(one["id"] == placed["id"] and one["info"]["X"] == "FINISHED" for one in client.orders)
    )
    told = {order["id"]: order for order in client.orders}
    assert set(told) == {placed["id"], actual}
    assert (told[actual]["status"], told[actual]["clientOrderId"]) == ("closed", "stop")
    assert told[placed["id"]]["info"]["ai"] == actual


@pytest.mark.parametrize("product", PRODUCTS)
async def test_one_account_hears_nothing_of_another(
    paper: PaperProcess, listen: Listen, product: str
) -> None:
    client, other = await listen(product), await listen(product, "alt")
    watching = await opened(paper, client)
    watching_other = await opened(paper, other, "alt")
    await client.rest.create_order(SYMBOLS[product], "limit", "buy", 0.01, 50_000)
    await asyncio.wait_for(watching, WAIT_SECONDS)
    placed = await connected(paper.url, product, "alt")
    try:
        order = await placed.create_order(SYMBOLS[product], "limit", "buy", 0.02, 50_000)
    finally:
        await placed.close()
    [first] = await asyncio.wait_for(watching_other, WAIT_SECONDS)
    assert first["id"] == order["id"]


@pytest.mark.parametrize("product", PRODUCTS)
async def test_a_wrong_signature_opens_no_spot_stream_and_an_unknown_key_no_listen_key(
    paper: PaperProcess, listen: Listen, product: str
) -> None:
    client = await listen(product)
    client.secret = client.apiKey = "nobody"
    with pytest.raises((ExchangeError, KeyError)):  # ccxt's own clearing up stumbles over spot's
        await asyncio.wait_for(client.watch_orders(), WAIT_SECONDS)


@pytest.mark.parametrize("product", PRODUCTS)
async def test_a_stream_cut_by_request_or_by_a_fault_ends_what_watches_it(
    paper: PaperProcess, listen: Listen, product: str
) -> None:
    client = await listen(product)
    watching = await opened(paper, client)
    assert paper.control("POST", "cut_streams", {"account": "main"}) == {"cut": 1}
    with pytest.raises(NetworkError):
        await asyncio.wait_for(watching, WAIT_SECONDS)
    paper.fault("^STREAM (executionReport|ORDER_TRADE_UPDATE)$", "cut_stream", count=1)
    watching = await opened(paper, client)
    await client.rest.create_order(SYMBOLS[product], "limit", "buy", 0.01, 50_000)
    with pytest.raises(NetworkError):
        await asyncio.wait_for(watching, WAIT_SECONDS)


@pytest.mark.parametrize("fault", ["repeat_message", "reorder_message", "delay_message"])
@pytest.mark.parametrize("product", PRODUCTS)
async def test_messages_are_repeated_reordered_and_delayed_on_demand(
    paper: PaperProcess, listen: Listen, product: str, fault: str
) -> None:
    client = await listen(product)
    raw: list[tuple[int, str]] = []
    handle = client.handle_message

    def note(connection: Any, message: Any) -> None:
        body = message.get("event", message)
        body = body.get("o") if isinstance(body.get("o"), dict) else body
        if "i" in body:
            raw.append((body["i"], body["x"]))
        handle(connection, message)

    client.handle_message = note
    await opened(paper, client)
    paper.fault("^STREAM (executionReport|ORDER_TRADE_UPDATE)$", fault, count=1, delay_ms=300)
    first = await client.rest.create_order(SYMBOLS[product], "limit", "buy", 0.01, 50_000)
    second = await client.rest.create_order(SYMBOLS[product], "limit", "buy", 0.01, 50_001)
    one, other = (int(first["id"]), "NEW"), (int(second["id"]), "NEW")
    expected = {
        "repeat_message": [one, other, one],
        "reorder_message": [other, one],
        "delay_message": [one, other],
    }[fault]
    await until(lambda: len(raw) >= len(expected))
    if product == "spot" and fault == "reorder_message":
        expected.sort()  # the account's balances are told in between: the order's message comes after those
    assert raw == expected
    assert paper.faults()[0]["struck"] == 1


async def test_an_expired_listen_key_is_told_and_its_stream_says_nothing_more(
    paper: PaperProcess, listen: Listen
) -> None:
    client = await listen("usdm")
    heard_raw: list[Any] = []
    client.handle_message = lambda connection, message: heard_raw.append(message)
    await opened(paper, client)
    key = client.options["linear"]["listenKey"]
    assert paper.control("POST", "expire_listen_key", {"account": "main"}) == {"told": 1}
    await until(lambda: heard_raw)
    assert (heard_raw[0]["e"], heard_raw[0]["listenKey"]) == ("listenKeyExpired", key)
    await client.rest.create_order(SYMBOLS["usdm"], "limit", "buy", 0.01, 50_000)
    with pytest.raises(ExchangeError, match="-1125"):
        await client.fapiPrivatePutListenKey()
    assert (await client.fapiPrivatePostListenKey())["listenKey"] != key
    assert len(heard_raw) == 1


async def test_a_listen_key_lives_as_long_as_it_is_kept_alive(
    own_paper: Callable[..., PaperProcess], listen: Listen
) -> None:
    paper = own_paper(*STILL, "--listen-key-seconds", "1")
    kept = await listen("usdm", url=paper.url, listenKeyRefreshRate=300)
    watching = await opened(paper, kept)
    left = await listen("usdm", "alt", url=paper.url, listenKeyRefreshRate=60_000)
    await opened(paper, left, "alt")
    await until(lambda: not any(one["account"] == "alt" for one in paper.control("GET", "streams")))
    placed = await kept.rest.create_order(SYMBOLS["usdm"], "limit", "buy", 0.01, 50_000)
    [order] = await asyncio.wait_for(watching, WAIT_SECONDS)
    assert order["id"] == placed["id"]


async def test_a_restarted_exchange_knows_the_listen_keys_it_gave(
    own_paper: Callable[..., PaperProcess], listen: Listen
) -> None:
    paper = own_paper()
    client = await listen("usdm", url=paper.url)
    await opened(paper, client)
    key = client.options["linear"]["listenKey"]
    paper.restart()
    assert (await client.fapiPrivatePostListenKey())["listenKey"] == key


@pytest.mark.parametrize("product", PRODUCTS)
async def test_prices_are_pushed_at_once_and_whenever_they_move(
    paper: PaperProcess, listen: Listen, product: str
) -> None:
    client, symbol = await listen(product), SYMBOLS[product]
    paper.set_price(product, "BTCUSDT", 60_000, hold=True)
    book = await asyncio.wait_for(client.watch_bids_asks([symbol]), WAIT_SECONDS)
    assert book[symbol]["bid"] == float(paper.books()[product, "BTCUSDT"]["bid"])
    ticker = await asyncio.wait_for(client.watch_ticker(symbol), WAIT_SECONDS)
    assert ticker["last"] == 60_000
    moved = await waiting(client, client.watch_bids_asks([symbol]), f"bidask:bookTicker@{symbol}")
    paper.set_price(product, "BTCUSDT", 61_000, hold=True)
    book = await asyncio.wait_for(moved, WAIT_SECONDS)
    assert book[symbol]["ask"] == float(paper.books()[product, "BTCUSDT"]["ask"])
    assert book[symbol]["ask"] > 61_000
    moved = await waiting(client, client.watch_ticker(symbol), f"ticker:miniTicker@{symbol}")
    paper.set_price(product, "BTCUSDT", 62_000, hold=True)
    assert (await asyncio.wait_for(moved, WAIT_SECONDS))["last"] == 62_000
