"""An account's user stream and its past trades, on a real paper exchange through the real ccxt.pro."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest

from common.exchange.base import ExchangeFailure, Liquidity, OrderRequest, Outcome, StreamUpdate
from common.exchange.binance_streams import SpotStreamReader, UsdmStreamReader
from common.exchange.binance_usdm import BinanceUsdm
from common.exchange.ccxt_exchange import CcxtExchange
from orderlane.intents import OrderType, Side
from orderlane.orders import OrderStatus
from tests.common.exchange.conftest import on_paper
from tests.common.exchange.venues import LINEAR, SPOT
from tests.paper_process import PaperProcess

WAIT_SECONDS: Final = 20
PRODUCTS: Final = [
    pytest.param("binance", "spot", SPOT, id="spot"),
    pytest.param("binanceusdm", "usdm", LINEAR, id="usdm"),
]
MESSAGES: Final = "^STREAM (executionReport|ORDER_TRADE_UPDATE)$"


@pytest.fixture
async def exchange(
    request: pytest.FixtureRequest, paper: PaperProcess
) -> AsyncIterator[tuple[CcxtExchange, str, str]]:
    """An exchange, its product's name on the paper exchange, and its market of BTC at 60 000."""
    venue, product, symbol = request.param
    paper.set_price(product, "BTCUSDT", 60_000, hold=True)
    exchange = on_paper(paper, venue)
    await exchange.sync_clock()
    await exchange.fetch_ccxt_markets()
    yield exchange, product, symbol
    await exchange.close()


on_both: Final = pytest.mark.parametrize(
    "exchange", [pytest.param(one.values, id=one.id) for one in PRODUCTS], indirect=True
)


def order(symbol: str, client_order_id: str, **changes: Any) -> OrderRequest:
    """A buy of 0.01 BTC at 50 000."""
    usual = OrderRequest(
        account="main",
        symbol=symbol,
        side=Side.BUY,
        type=OrderType.LIMIT,
        amount=Decimal("0.01"),
        price=Decimal(50_000),
        client_order_id=client_order_id,
    )
    return msgspec.structs.replace(usual, **changes)


class Heard:
    """A stream that is open, and what it told."""

    def __init__(self, exchange: CcxtExchange, account: str = "main", ping_seconds: float = 10) -> None:
        self.stream = exchange.user_stream(account, ping_seconds)
        self.updates: list[StreamUpdate] = []

    async def __aenter__(self) -> Heard:
        try:
            await self.stream.open()
        except BaseException:
            await self.stream.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stream.close()

    async def until(self, condition: Callable[[list[StreamUpdate]], object]) -> list[StreamUpdate]:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition(self.updates):
                self.updates += await self.stream.updates()
        return self.updates

    async def end(self) -> ExchangeFailure:
        """Why the stream ended."""
        with pytest.raises(ExchangeFailure) as caught:
            await self.until(lambda _: False)
        return caught.value


@on_both
async def test_nothing_is_lost_between_opening_and_the_first_question(
    exchange: tuple[CcxtExchange, str, str], paper: PaperProcess
) -> None:
    venue, _, symbol = exchange
    async with Heard(venue) as heard:
        placed = [await venue.place(order(symbol, f"order-{number}"), venue.now_ms()) for number in range(20)]
        await asyncio.sleep(0.2)
        assert heard.stream.oldest_unread() is not None
        updates = await heard.until(lambda told: len(told) == 20)
        assert heard.stream.oldest_unread() is None
    assert [one.report.client_order_id for one in updates] == [f"order-{number}" for number in range(20)]
    assert [one.report for one in updates] == [
        msgspec.structs.replace(told.report, exchange_order_id=report.exchange_order_id)
        for told, report in zip(updates, placed, strict=True)
    ]
    assert {one.report.status for one in updates} == {OrderStatus.ACTIVE}
    assert {one.report.symbol for one in updates} == {symbol}


@on_both
@pytest.mark.parametrize("liquidity", list(Liquidity))
async def test_a_fill_is_told_and_listed_exactly_as_booked(
    exchange: tuple[CcxtExchange, str, str], paper: PaperProcess, liquidity: Liquidity
) -> None:
    venue, product, symbol = exchange
    since_ms = venue.now_ms() - 1000
    async with Heard(venue) as heard:
        if liquidity is Liquidity.TAKER:
            market = order(symbol, "order-1", type=OrderType.MARKET, price=None, amount=Decimal(1))
            await venue.place(market, venue.now_ms())
        else:
            await venue.place(order(symbol, "order-1"), venue.now_ms())
            paper.set_price(product, "BTCUSDT", 49_000, hold=True)
        [booked] = paper.orders(product=product)
        updates = await heard.until(lambda told: told and told[-1].report.status is OrderStatus.FILLED)
    told = [one.trade for one in updates if one.trade is not None]
    listed = await venue.trades("main", symbol, since_ms)
    for trades in (told, listed):
        assert [trade.trade_id for trade in trades] == [str(fill["trade_id"]) for fill in booked["fills"]]
        for trade, fill in zip(trades, booked["fills"], strict=True):
            assert (trade.amount, trade.price) == (Decimal(fill["quantity"]), Decimal(fill["price"]))
            assert (trade.fee, trade.fee_currency) == (Decimal(fill["commission"]), fill["commission_asset"])
            assert (trade.liquidity, trade.side, trade.symbol) == (liquidity, Side.BUY, symbol)
            assert (trade.traded_at, trade.exchange_order_id) == (fill["time_ms"], str(booked["order_id"]))
    assert updates[-1].report.filled == Decimal(booked["executed_quantity"])


@on_both
async def test_a_cancel_is_told_under_the_order_s_own_name(
    exchange: tuple[CcxtExchange, str, str], paper: PaperProcess
) -> None:
    venue, _, symbol = exchange
    await venue.place(order(symbol, "order-1"), venue.now_ms())
    async with Heard(venue) as heard:
        await venue.cancel_all("main", symbol, venue.now_ms())
        [update] = await heard.until(lambda told: told)
    assert (update.report.client_order_id, update.report.status) == ("order-1", OrderStatus.CANCELED)


@on_both
async def test_past_trades_come_page_by_page_each_once(
    exchange: tuple[CcxtExchange, str, str], paper: PaperProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue, _, symbol = exchange
    since_ms = venue.now_ms() - 1000
    for number in range(7):
        market = order(symbol, f"order-{number}", type=OrderType.MARKET, price=None)
        await venue.place(market, venue.now_ms())
    monkeypatch.setattr("common.exchange.binance_trades.PAGE", 3)
    found: list[str] = []
    page = await venue.trades("main", symbol, since_ms)
    while page:
        assert len(page) <= 3
        found += [trade.trade_id for trade in page]
        page = await venue.trades("main", symbol, since_ms, page[-1].trade_id)
    assert found == sorted(found, key=int)
    assert len(set(found)) == len(found) == 7


@on_both
async def test_a_cut_ends_the_stream_after_what_came_before_it(
    exchange: tuple[CcxtExchange, str, str], paper: PaperProcess
) -> None:
    venue, _, symbol = exchange
    async with Heard(venue) as heard:
        await venue.place(order(symbol, "order-1"), venue.now_ms())
        await heard.until(lambda told: told)
        paper.fault(MESSAGES, "cut_stream", count=1)
        await venue.place(order(symbol, "order-2"), venue.now_ms())
        assert (await heard.end()).code == "stream_lost"
    assert [one.report.client_order_id for one in heard.updates] == ["order-1"]


@on_both
async def test_an_expired_key_or_subscription_ends_the_stream(
    exchange: tuple[CcxtExchange, str, str], paper: PaperProcess
) -> None:
    venue, product, _ = exchange
    async with Heard(venue) as heard:
        paper.control("POST", "expire_listen_key", {"account": "main"})
        ended = await heard.end()
    assert ended.code == {"spot": "eventStreamTerminated", "usdm": "listenKeyExpired"}[product]
    async with Heard(venue):  # and another can be had at once
        pass


async def test_a_missed_keep_alive_ends_the_stream(
    paper: PaperProcess, usdm: CcxtExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BinanceUsdm.options, "listenKeyRefreshRate", 200)
    async with Heard(usdm) as heard:
        paper.fault("PUT /fapi/v1/listenKey", "error_before")
        assert (await heard.end()).code == "http_503"


@on_both
async def test_a_connection_that_says_nothing_any_more_ends_the_stream(
    exchange: tuple[CcxtExchange, str, str], paper: PaperProcess
) -> None:
    venue, _, _ = exchange
    async with Heard(venue, ping_seconds=0.2) as heard:
        paper.pause()
        try:
            assert (await heard.end()).code == "stream_lost"
        finally:
            paper.resume()


@on_both
async def test_what_can_t_be_opened_says_why(
    exchange: tuple[CcxtExchange, str, str], paper: PaperProcess
) -> None:
    venue, product, _ = exchange
    path = {"spot": "GET /ws-api/v3", "usdm": "POST /fapi/v1/listenKey"}[product]
    paper.fault(path, "429", count=1, headers={"Retry-After": "3"})
    with pytest.raises(ExchangeFailure) as caught:
        async with Heard(venue):
            pass
    assert caught.value.outcome is {"spot": Outcome.UNKNOWN, "usdm": Outcome.THROTTLED}[product]
    async with Heard(venue):
        pass


def test_a_message_about_an_order_that_can_t_be_read_is_no_update() -> None:
    event = {"e": "executionReport", "c": "x", "C": "", "X": "NEW", "q": "1", "z": "2", "i": 1, "T": 1}
    event["s"] = "BTCUSDT"
    with pytest.raises(ExchangeFailure, match="what is filled"):
        SpotStreamReader().read(None, event, 1)
    with pytest.raises(ExchangeFailure):
        UsdmStreamReader().read(None, {"e": "ORDER_TRADE_UPDATE", "o": None}, 1)


@pytest.mark.parametrize("name", ["ACCOUNT_UPDATE", "outboundAccountPosition", "MARGIN_CALL"])
def test_events_about_other_things_than_orders_are_passed_over(name: str) -> None:
    for reader in (SpotStreamReader(), UsdmStreamReader()):
        assert reader.read(None, {"e": name}, 1) is None
