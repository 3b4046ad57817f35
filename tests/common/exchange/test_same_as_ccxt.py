"""What is sent for an order is what ccxt's own `create_order` sends for it, for every type and flag."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from common.exchange.base import ExchangeFailure, OrderRequest, Outcome
from common.exchange.classify import Operation
from common.exchange.kraken import client_order_uuid
from common.exchange.transport import Call
from orderlane.intents import OrderType, Side, TimeInForce
from tests.common.exchange.stub_server import Answer, Seen, Stub
from tests.common.exchange.venues import (
    AT_MS,
    EVERY,
    ID,
    LINEAR,
    SPOT,
    VenueUnderTest,
    opened,
    order,
    without,
)

MARKETS = [(venue, venue.symbol) for venue in EVERY]
MARKETS += [(venue, SPOT) for venue in EVERY if venue.symbol == LINEAR and venue.venue in ("bybit", "okx")]
ALGO = {
    "symbol": "BTCUSDT",
    "algoId": 7,
    "clientAlgoId": ID,
    "algoStatus": "NEW",
    "quantity": "0.5",
    "price": "64000",
    "updateTime": AT_MS,
}


def every_order(venue: VenueUnderTest, symbol: str) -> list[OrderRequest]:
    """Every combination of type, side, time in force and reduce-only that an intent can ask for."""
    requests = []
    for kind, side, time_in_force, reduce_only in product(
        OrderType, Side, [None, *TimeInForce], [False, True]
    ):
        if time_in_force is None or kind.has_price:
            requests.append(
                order(
                    venue,
                    symbol=symbol,
                    type=kind,
                    side=side,
                    amount=Decimal("0.01230"),
                    price=Decimal("64000.10") if kind.has_price else None,
                    trigger_price=Decimal("63000.50") if kind.has_trigger else None,
                    time_in_force=time_in_force,
                    reduce_only=reduce_only,
                )
            )
    return requests


async def by_ccxt(client: Any, venue: VenueUnderTest, request: OrderRequest) -> None:
    """The same order through ccxt's unified method."""
    params: dict[str, Any] = {"clientOrderId": request.client_order_id}
    if request.time_in_force is not None:
        params["timeInForce"] = str(request.time_in_force)
    if request.reduce_only:
        params["reduceOnly"] = True
    stops = request.type in (OrderType.STOP_MARKET, OrderType.STOP_LIMIT)
    if request.trigger_price is not None:
        if venue.venue == "bybit":
            params["triggerPrice"] = str(request.trigger_price)
            if request.symbol == LINEAR:
                rising = stops == (request.side is Side.BUY)
                params["triggerDirection"] = "ascending" if rising else "descending"
        else:
            params["stopLossPrice" if stops else "takeProfitPrice"] = str(request.trigger_price)
    amount = str(request.amount)
    if venue.venue == "okx":
        client.options["createOrder"] = "privatePostTradeOrder"  # one order; ccxt's way is a batch of one
        amount = "1.23" if request.symbol == LINEAR else amount  # contracts of 0.01 BTC
    if venue.venue == "kraken":
        params |= {"clientOrderId": client_order_uuid(ID), "deadline": "2025-10-09T08:53:30.000Z"}
        if (
            params.pop("timeInForce", None) == "PO"
        ):  # which ccxt would hand on as it is; Kraken knows no such value
            params["postOnly"] = True
        elif request.time_in_force is not None:
            params["timeInForce"] = str(request.time_in_force)
    kind, price = ("limit", str(request.price)) if request.type.has_price else ("market", None)
    await client.create_order(request.symbol, kind, str(request.side), amount, price, params)


def compared(seen: Seen) -> tuple[str, str, dict[str, str], dict[str, str]]:
    headers = {
        name: value
        for name, value in seen.headers.items()
        if name.startswith(("x-", "ok-", "api-", "content-type")) and "sign" not in name
    }
    return seen.method, seen.path, without(seen.params, "signature", "nonce"), headers


def teach_orders(stub: Stub, venue: VenueUnderTest) -> None:
    stub.answer(venue.place_route, Answer(venue.accepted))
    stub.answer("POST /fapi/v1/algoOrder", Answer(ALGO))


@pytest.mark.parametrize(
    ("venue", "symbol"), MARKETS, ids=[f"{venue.venue} {symbol}" for venue, symbol in MARKETS]
)
async def test_every_order_is_sent_as_ccxt_sends_it_or_refused_unsent(
    venue: VenueUnderTest, symbol: str
) -> None:
    sent, refused = 0, 0
    async with opened(venue.venue) as (exchange, stub):
        teach_orders(stub, venue)
        client = exchange._public
        for request in every_order(venue, symbol):
            stub.seen.clear()
            try:
                report = await exchange.place(request, AT_MS)
            except ExchangeFailure as failure:
                if failure.code != "unsupported_order" or failure.outcome is not Outcome.REFUSED:
                    raise
                assert stub.seen == []
                refused += 1
                continue
            assert report.client_order_id == ID
            with Call(Operation.PLACE, AT_MS):
                await by_ccxt(client, venue, request)
            ours, theirs = stub.seen
            assert compared(ours) == compared(theirs), request
            sent += 1
    assert sent
    expected_refusals = {
        "binance": refused_of(reduce_only=True, post_only_stops=True),
        "binanceusdm": 0,
        "bybit": refused_of(reduce_only=True) if symbol == SPOT else 0,
        "okx": None,
        "kraken": None,
    }[venue.venue]
    assert expected_refusals in (None, refused)


def refused_of(*, reduce_only: bool = False, post_only_stops: bool = False) -> int:
    """How many of `every_order` carry what spot has not."""
    every = every_order(EVERY[0], SPOT)
    return sum(
        (reduce_only and request.reduce_only)
        or (post_only_stops and request.type.has_trigger and request.time_in_force is TimeInForce.PO)
        for request in every
    )


@pytest.mark.parametrize("venue", EVERY, ids=lambda venue: venue.venue)
async def test_markets_load_with_the_fewest_requests_and_none_that_needs_a_key(venue: VenueUnderTest) -> None:
    async with opened(venue.venue) as (exchange, stub):
        loaded = await exchange.fetch_ccxt_markets()
        assert venue.symbol in loaded
        # Bybit: spot, linear, and linear before its launch; OKX: spot and swaps.
        assert len(stub.seen) == {"bybit": 3, "okx": 2}.get(venue.venue, 1), stub.paths()
        assert not any("signature" in seen.params or "api-sign" in seen.headers for seen in stub.seen)


@pytest.mark.parametrize("venue", EVERY, ids=lambda venue: venue.venue)
async def test_no_request_is_made_that_was_not_asked_for(venue: VenueUnderTest) -> None:
    async with opened(venue.venue) as (exchange, stub):
        teach_orders(stub, venue)
        await exchange.place(order(venue), AT_MS)
        assert stub.paths() == [venue.place_route]
