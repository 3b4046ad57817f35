"""Binance USDⓈ-M futures against the paper exchange: amended in place, conditional orders apart."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from common.exchange.base import ExchangeFailure, Outcome
from common.exchange.ccxt_exchange import CcxtExchange
from orderlane.intents import OrderType, Side
from orderlane.orders import OrderStatus
from tests.common.exchange.stub_server import Answer
from tests.common.exchange.venues import AT_MS, ID, LINEAR, USDM, opened, order, reference
from tests.paper_process import PaperProcess

FAR: dict[str, Any] = {"price": Decimal(60000), "amount": Decimal("0.01")}
STOP: dict[str, Any] = {
    "type": OrderType.STOP_MARKET,
    "side": Side.SELL,
    "price": None,
    "amount": Decimal("0.01"),
    "trigger_price": Decimal(50000),
}
CONDITIONAL: dict[str, Any] = {"conditional": True}


async def test_an_order_is_placed_found_listed_and_cancelled(usdm: CcxtExchange) -> None:
    placed = await usdm.place(order(USDM, **FAR), usdm.now_ms())
    assert (placed.status, placed.client_order_id, placed.filled) == (OrderStatus.ACTIVE, ID, Decimal(0))
    found = await usdm.find(reference(USDM))
    assert found is not None
    assert found.exchange_order_id == placed.exchange_order_id
    assert found == await usdm.find(reference(USDM, exchange_order_id=placed.exchange_order_id))
    assert [(one.client_order_id, one.symbol) for one in await usdm.open_orders("main")] == [(ID, LINEAR)]
    cancelled = await usdm.cancel(reference(USDM), usdm.now_ms())
    assert cancelled is not None
    assert cancelled.status is OrderStatus.CANCELED
    assert await usdm.find(reference(USDM, client_order_id="x" * 25)) is None


async def test_a_market_order_reports_its_average(usdm: CcxtExchange) -> None:
    bought = await usdm.place(order(USDM, type=OrderType.MARKET, price=None), usdm.now_ms())
    assert (bought.status, bought.filled) == (OrderStatus.FILLED, Decimal("0.5"))
    assert bought.average is not None
    assert bought.average > 0


async def test_reduce_only_reaches_the_exchange(usdm: CcxtExchange, paper: PaperProcess) -> None:
    with pytest.raises(ExchangeFailure) as caught:
        await usdm.place(order(USDM, reduce_only=True, **FAR), usdm.now_ms())
    assert (caught.value.outcome, caught.value.code) == (Outcome.REFUSED, "-2022")
    await usdm.place(order(USDM, type=OrderType.MARKET, price=None), usdm.now_ms())
    closing = order(
        USDM, type=OrderType.MARKET, price=None, side=Side.SELL, reduce_only=True, client_order_id="r" * 25
    )
    assert (await usdm.place(closing, usdm.now_ms())).status is OrderStatus.FILLED
    assert Decimal(paper.accounts()["main"]["positions"]["BTCUSDT"]["amount"]) == 0


async def test_an_order_is_amended_in_place_and_again_without_harm(usdm: CcxtExchange) -> None:
    assert usdm.amends_in_place
    placed = await usdm.place(order(USDM, **FAR), usdm.now_ms())
    wanted = order(USDM, price=Decimal(61000), amount=Decimal("0.02"))
    for _ in range(2):  # as when the first reply was lost
        amended = await usdm.amend(reference(USDM), wanted, usdm.now_ms())
        assert (amended.price, amended.amount) == (Decimal(61000), Decimal("0.02"))
        assert amended.exchange_order_id == placed.exchange_order_id
    with pytest.raises(ExchangeFailure) as caught:
        await usdm.amend(reference(USDM, client_order_id="x" * 25), wanted, usdm.now_ms())
    assert caught.value.outcome is Outcome.NOT_FOUND


async def test_only_a_limit_order_can_be_amended(usdm: CcxtExchange) -> None:
    for named, request in (
        (reference(USDM, **CONDITIONAL), order(USDM, **FAR)),
        (reference(USDM), order(USDM, **STOP)),
    ):
        with pytest.raises(ExchangeFailure) as caught:
            await usdm.amend(named, request, usdm.now_ms())
        assert (caught.value.outcome, caught.value.code) == (Outcome.REFUSED, "amend_unsupported")


@pytest.mark.parametrize("kind", [kind for kind in OrderType if kind.has_trigger])
async def test_a_conditional_order_lives_under_its_own_endpoints(
    usdm: CcxtExchange, paper: PaperProcess, kind: OrderType
) -> None:
    stops = kind in (OrderType.STOP_MARKET, OrderType.STOP_LIMIT)
    trigger = Decimal(50000 if stops else 90000)
    request = order(
        USDM, **{**STOP, "type": kind, "trigger_price": trigger, "price": trigger if kind.has_price else None}
    )
    placed = await usdm.place(request, usdm.now_ms())
    assert (placed.status, placed.client_order_id, placed.amount) == (OrderStatus.ACTIVE, ID, Decimal("0.01"))
    assert [one["client_algo_id"] for one in paper.algo_orders()] == [ID]
    for named in (
        reference(USDM, **CONDITIONAL),
        reference(USDM, exchange_order_id=placed.exchange_order_id, **CONDITIONAL),
    ):
        found = await usdm.find(named)
        assert found is not None
        assert (found.status, found.client_order_id) == (OrderStatus.ACTIVE, ID)
    assert [one.client_order_id for one in await usdm.open_orders("main", LINEAR)] == [ID]
    with pytest.raises(ExchangeFailure) as caught:
        await usdm.place(request, usdm.now_ms())
    assert caught.value.outcome is Outcome.DUPLICATE
    assert await usdm.cancel(reference(USDM, **CONDITIONAL), usdm.now_ms()) is None
    found = await usdm.find(reference(USDM, **CONDITIONAL))
    assert found is not None
    assert found.status is OrderStatus.CANCELED
    with pytest.raises(ExchangeFailure) as again:
        await usdm.cancel(reference(USDM, **CONDITIONAL), usdm.now_ms())
    assert again.value.outcome is Outcome.NOT_FOUND
    assert await usdm.find(reference(USDM, client_order_id="x" * 25, **CONDITIONAL)) is None


async def test_a_triggered_order_is_followed_under_its_first_ids(
    usdm: CcxtExchange, paper: PaperProcess
) -> None:
    placed = await usdm.place(order(USDM, **STOP), usdm.now_ms())
    paper.set_price("usdm", "BTCUSDT", 49900, hold=True)
    found = await usdm.find(reference(USDM, **CONDITIONAL))
    assert found is not None
    assert (found.status, found.filled) == (OrderStatus.FILLED, Decimal("0.01"))
    assert (found.client_order_id, found.exchange_order_id) == (ID, placed.exchange_order_id)
    assert found.average is not None


async def test_a_triggered_order_that_rests_can_still_be_cancelled(
    usdm: CcxtExchange, paper: PaperProcess
) -> None:
    resting = {**STOP, "type": OrderType.STOP_LIMIT, "price": Decimal(60000)}
    placed = await usdm.place(order(USDM, **resting), usdm.now_ms())
    paper.set_price("usdm", "BTCUSDT", 49900, hold=True)
    found = await usdm.find(reference(USDM, **CONDITIONAL))
    assert found is not None
    assert found.status is OrderStatus.ACTIVE
    cancelled = await usdm.cancel(reference(USDM, **CONDITIONAL), usdm.now_ms())
    assert cancelled is not None
    assert cancelled.status is OrderStatus.CANCELED
    assert cancelled.exchange_order_id == placed.exchange_order_id
    assert await usdm.open_orders("main") == []


async def test_the_loss_of_a_triggered_orders_successor_is_no_absence() -> None:
    algo = {
        "algoId": 7,
        "clientAlgoId": ID,
        "algoStatus": "TRIGGERED",
        "quantity": "0.01",
        "actualOrderId": "31",
    }
    async with opened("binanceusdm") as (exchange, stub):
        for body in (algo, {**algo, "actualOrderId": ""}, {**algo, "algoStatus": "FINISHED"}):
            stub.answer("GET /fapi/v1/algoOrder", Answer(body))
            stub.answer(USDM.find_route, Answer({"code": -2013, "msg": "Order does not exist."}, 400))
            with pytest.raises(ExchangeFailure) as caught:
                await exchange.find(reference(USDM, **CONDITIONAL))
            assert caught.value.outcome is Outcome.UNKNOWN


async def test_cancel_all_takes_conditional_orders_too(usdm: CcxtExchange) -> None:
    await usdm.place(order(USDM, **STOP), usdm.now_ms())
    await usdm.place(order(USDM, client_order_id="o" * 25, **FAR), usdm.now_ms())
    await usdm.cancel_all("main", LINEAR, usdm.now_ms())
    assert await usdm.open_orders("main") == []
    await usdm.cancel_all("main", LINEAR, usdm.now_ms())


async def test_the_reference_price_is_the_mark_price() -> None:
    async with opened("binanceusdm") as (exchange, stub):
        stub.answer("GET /fapi/v1/premiumIndex", Answer({"symbol": "BTCUSDT", "markPrice": "64000.12345678"}))
        assert await exchange.reference_price(LINEAR) == Decimal("64000.12345678")
        stub.answer("GET /fapi/v1/premiumIndex", Answer({"symbol": "BTCUSDT", "markPrice": "0"}))
        with pytest.raises(ExchangeFailure):
            await exchange.reference_price(LINEAR)


async def test_overload_protection_is_certainly_no_order() -> None:
    async with opened("binanceusdm") as (exchange, stub):
        protected = {"code": -1008, "msg": "Request throttled by system-level protection."}
        stub.answer(
            USDM.place_route, Answer(protected, 503), Answer({"code": -1000, "msg": "Unknown error"}, 503)
        )
        for outcome in (Outcome.THROTTLED, Outcome.UNKNOWN):
            with pytest.raises(ExchangeFailure) as caught:
                await exchange.place(order(USDM), AT_MS)
            assert caught.value.outcome is outcome
