"""What becomes of a request on its way: sent once, and known for what is known. Every row over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest

from common.exchange import Credentials, open_exchange
from common.exchange.base import ExchangeFailure, Outcome
from common.exchange.ccxt_exchange import MOST_WARMED
from common.exchange.classify import Operation
from common.exchange.http_connection import ReplyLost
from common.exchange.http_pool import NotConnected
from common.exchange.http_request import Origin
from common.exchange.transport import Call, current_call, transport_failure
from common.secrets import Secret
from orderlane.orders import OrderStatus
from tests.common.exchange.stub_server import Answer
from tests.common.exchange.venues import (
    AT_MS,
    BINANCE,
    BYBIT,
    CREDENTIALS,
    EVERY,
    ID,
    KRAKEN,
    OKX,
    USDM,
    VenueUnderTest,
    opened,
    order,
    reference,
    settings_on,
)

EACH_VENUE = pytest.mark.parametrize("venue", EVERY, ids=lambda venue: venue.venue)
HTML = "<!DOCTYPE html><html><body>Please stand by.</body></html>"


async def placing_fails(exchange: Any, venue: VenueUnderTest) -> ExchangeFailure:
    with pytest.raises(ExchangeFailure) as caught:
        await exchange.place(order(venue), AT_MS)
    return caught.value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@EACH_VENUE
async def test_an_accepted_order_is_reported(venue: VenueUnderTest) -> None:
    async with opened(venue.venue) as (exchange, stub):
        stub.answer(venue.place_route, Answer(venue.accepted))
        report = await exchange.place(order(venue), AT_MS)
        assert (report.client_order_id, report.status) == (ID, OrderStatus.ACTIVE)
        assert report.exchange_order_id
        assert (report.amount, report.price, report.filled) == (order().amount, order().price, Decimal(0))


@EACH_VENUE
@pytest.mark.parametrize(
    "answer",
    [
        Answer(HTML, headers={"Content-Type": "text/html"}),
        Answer(HTML, 502, {"Content-Type": "text/html"}),
        Answer('{"orderId": 28, "clientOrder'),
        Answer(""),
        Answer("null"),
        Answer("[]"),
        Answer({}),
        Answer({"result": None, "data": None, "retCode": 0, "code": 0}),
        Answer({"ok": True}, 500),
        Answer("", 403),
        Answer({}, 404),
        Answer("", 307, {"Location": "/elsewhere"}),
        Answer({"a": 1} | dict.fromkeys("bcdefgh", "x" * 100), fault="cut"),
        Answer(fault="close"),
        Answer(fault="reset"),
    ],
    ids=str,
)
async def test_whatever_is_no_clear_answer_leaves_the_order_unknown(
    venue: VenueUnderTest, answer: Answer
) -> None:
    async with opened(venue.venue) as (exchange, stub):
        stub.answer(venue.place_route, answer)
        failure = await placing_fails(exchange, venue)
        assert failure.outcome is Outcome.UNKNOWN, failure
        assert stub.paths() == [venue.place_route]


@pytest.mark.parametrize("venue", [BINANCE, USDM, BYBIT, OKX, KRAKEN], ids=lambda venue: venue.venue)
async def test_an_order_without_an_id_or_with_another_is_unknown(venue: VenueUnderTest) -> None:
    by_venue: dict[str, list[Any]] = {
        "binance": [
            {**BINANCE.accepted, "orderId": None},
            {**BINANCE.accepted, "orderId": ""},
            {**BINANCE.accepted, "clientOrderId": "another"},
            {**BINANCE.accepted, "status": "ODD"},
            {**BINANCE.accepted, "executedQty": "many"},
            {**BINANCE.accepted, "transactTime": "soon"},
            {**BINANCE.accepted, "fills": 7},
        ],
        "binanceusdm": [
            {**USDM.accepted, "orderId": None},
            {**USDM.accepted, "clientOrderId": "another"},
            {**USDM.accepted, "status": "ODD"},
            {**USDM.accepted, "updateTime": "soon"},
        ],
        "bybit": [
            {**BYBIT.accepted, "result": {"orderLinkId": ID}},
            {**BYBIT.accepted, "result": {"orderId": "1", "orderLinkId": "another"}},
            {**BYBIT.accepted, "result": {}},
            {**BYBIT.accepted, "time": "soon"},
        ],
        "okx": [
            {"code": "0", "data": [{"clOrdId": ID, "ordId": "", "sCode": "0"}]},
            {"code": "0", "data": [{"clOrdId": "another", "ordId": "1", "sCode": "0"}]},
            {"code": "0", "data": []},
        ],
        "kraken": [
            {"error": [], "result": {}},
            {"error": [], "result": {"txid": []}},
            {"error": [], "result": {"txid": ["A", "B"]}},
            {"error": []},
        ],
    }
    async with opened(venue.venue) as (exchange, stub):
        for body in by_venue[venue.venue]:
            stub.answer(venue.place_route, Answer(body))
            assert (await placing_fails(exchange, venue)).outcome is Outcome.UNKNOWN, body


async def test_no_reply_in_time_is_unknown() -> None:
    async with opened("binance", timeout_ms=150) as (exchange, stub):
        stub.answer(BINANCE.place_route, Answer(fault="hang"))
        failure = await placing_fails(exchange, BINANCE)
        assert (failure.outcome, failure.code) == (Outcome.UNKNOWN, "timeout")


async def test_a_refused_connection_has_sent_nothing() -> None:
    async with opened("binance") as (loaded, _):
        exchange = open_exchange(settings_on(f"http://127.0.0.1:{free_port()}", "binance"))
        exchange.use_ccxt_markets(loaded._public.markets)
        assert (await placing_fails(exchange, BINANCE)).outcome is Outcome.NOT_SENT
        with pytest.raises(ExchangeFailure) as caught:
            await exchange.find(reference())
        assert caught.value.outcome is Outcome.NOT_SENT
        await exchange.close()


async def test_a_failed_tls_handshake_has_sent_nothing() -> None:
    async with opened("binance") as (loaded, stub):
        exchange = open_exchange(settings_on(stub.url.replace("http:", "https:"), "binance"))
        exchange.use_ccxt_markets(loaded._public.markets)
        assert (await placing_fails(exchange, BINANCE)).outcome is Outcome.NOT_SENT
        assert stub.seen == []
        await exchange.close()


def test_only_failures_to_connect_have_certainly_sent_nothing() -> None:
    refused = transport_failure(NotConnected("ConnectionRefusedError", "[Errno 111]"), "h")
    assert (refused.outcome, refused.code) == (Outcome.NOT_SENT, "ConnectionRefusedError")
    for code in ("timeout", "disconnected", "ConnectionResetError", "unreadable_reply", "aborted"):
        lost = transport_failure(ReplyLost(code), "h")
        assert (lost.outcome, lost.code) == (Outcome.UNKNOWN, code)


@pytest.mark.parametrize("fault", ["close", "reset"])
async def test_a_request_is_never_sent_twice_when_a_kept_connection_breaks(fault: str) -> None:
    async with opened("binanceusdm") as (exchange, stub):
        stub.answer("GET /fapi/v1/time", Answer({"serverTime": AT_MS}))
        await exchange.server_time_ms()  # the connection that is kept, and on which the next request goes out
        calls: tuple[tuple[str, Callable[[], Awaitable[object]]], ...] = (
            ("GET /fapi/v1/order", lambda: exchange.find(reference(USDM))),
            ("PUT /fapi/v1/order", lambda: exchange.amend(reference(USDM), order(USDM), AT_MS)),
            ("DELETE /fapi/v1/order", lambda: exchange.cancel(reference(USDM), AT_MS)),
            ("POST /fapi/v1/order", lambda: exchange.place(order(USDM), AT_MS)),
        )
        for route, call in calls:
            await exchange.server_time_ms()
            stub.seen.clear()
            stub.answer(route, Answer(fault=fault), Answer(USDM.accepted))
            with pytest.raises(ExchangeFailure) as caught:
                await call()
            assert caught.value.outcome is Outcome.UNKNOWN
            assert stub.paths() == [route]


async def test_calls_in_flight_together_are_each_signed_with_their_own_time() -> None:
    async with opened("binance") as (exchange, stub):
        stub.answer(BINANCE.place_route, Answer(BINANCE.accepted))
        stub.answer(BINANCE.find_route, Answer(BINANCE.accepted))
        moments = range(AT_MS, AT_MS + 20)
        await asyncio.gather(
            *(exchange.place(order(), moment) for moment in moments), exchange.find(reference())
        )
        placed = [seen for seen in stub.seen if seen.method == "POST"]
        assert sorted(int(seen.params["timestamp"]) for seen in placed) == list(moments)
        asked = next(seen for seen in stub.seen if seen.method == "GET")
        assert int(asked.params["timestamp"]) not in moments


async def test_a_calls_time_ends_with_it() -> None:
    with Call(Operation.PLACE, AT_MS):
        assert current_call().at_ms == AT_MS
    assert current_call().at_ms == 0


async def test_a_failure_shows_no_signature() -> None:
    async with opened("binance", timeout_ms=150) as (exchange, stub):
        for fault in ("close", "reset", "hang", "cut"):
            stub.answer(BINANCE.find_route, Answer({"a": "b" * 99}, fault=fault))
            with pytest.raises(ExchangeFailure) as caught:
                await exchange.find(reference())
            assert "signature" in stub.seen[-1].params
            assert stub.seen[-1].params["signature"] not in f"{caught.value} {caught.value.__cause__}"
            assert "/api/v3/order" not in str(caught.value)


async def test_the_time_stamp_and_the_receive_window_are_what_was_asked_for() -> None:
    window = {"receive_window_ms": 4321}
    for venue in (BINANCE, USDM):
        async with opened(venue.venue, **window) as (exchange, stub):
            stub.answer(venue.place_route, Answer(venue.accepted))
            await exchange.place(order(venue), AT_MS)
            params = stub.seen[-1].params
            assert (params["timestamp"], params["recvWindow"]) == (str(AT_MS), "4321")
    async with opened("bybit", **window) as (exchange, stub):
        stub.answer(BYBIT.place_route, Answer(BYBIT.accepted))
        await exchange.place(order(BYBIT), AT_MS)
        headers = stub.seen[-1].headers
        assert (headers["x-bapi-timestamp"], headers["x-bapi-recv-window"]) == (str(AT_MS), "4321")
    async with opened("okx", **window) as (exchange, stub):
        stub.answer(OKX.place_route, Answer(OKX.accepted))
        await exchange.place(order(OKX), AT_MS)
        headers = stub.seen[-1].headers
        assert headers["ok-access-timestamp"] == "2025-10-09T08:53:20.000Z"
        assert headers["exptime"] == str(AT_MS + 4321)
    async with opened("kraken", **window) as (exchange, stub):
        stub.answer(KRAKEN.place_route, Answer(KRAKEN.accepted))
        await exchange.place(order(KRAKEN), AT_MS)
        assert stub.seen[-1].params["deadline"] == "2025-10-09T08:53:24.321Z"
        assert int(stub.seen[-1].params["nonce"]) >= AT_MS


async def test_what_ccxt_refuses_to_send_is_refused_unsent() -> None:
    async with opened("binance") as (exchange, stub):
        for request, code in (
            (order(symbol="NO/SUCH"), "unknown_symbol"),
            (order(account="nobody"), "unknown_account"),
            (order(params={"recvWindow": 60000}), "params_not_allowed"),
        ):
            with pytest.raises(ExchangeFailure) as caught:
                await exchange.place(request, AT_MS)
            assert (caught.value.outcome, caught.value.code) == (Outcome.REFUSED, code)
        assert stub.seen == []


async def test_without_markets_nothing_is_sent_and_the_order_may_be_tried_again() -> None:
    exchange = open_exchange(settings_on("http://127.0.0.1:9", "binance"))
    assert (await placing_fails(exchange, BINANCE)).outcome is Outcome.NOT_SENT
    await exchange.close()


async def test_a_closed_exchange_sends_nothing() -> None:
    async with opened("binance") as (exchange, stub):
        await exchange.close()
        await exchange.close()
        assert (await placing_fails(exchange, BINANCE)).outcome is Outcome.NOT_SENT
        assert stub.seen == []


async def test_a_reply_that_shows_a_secret_does_not_carry_it_further() -> None:
    async with opened("binance") as (exchange, stub):
        key, secret = CREDENTIALS.key.reveal(), CREDENTIALS.secret.reveal()
        for body in (f"<html>{key} {secret}</html>", {"code": -2010, "msg": f"key {key} secret {secret}"}):
            stub.answer(BINANCE.place_route, Answer(body, 400))
            failure = await placing_fails(exchange, BINANCE)
            assert key not in str(failure)
            assert secret not in failure.message


async def test_connections_are_opened_ahead_of_need_without_a_request_and_used_then() -> None:
    async with opened("binance") as (exchange, stub):
        stub.answer("GET /api/v3/time", Answer({"serverTime": AT_MS}))
        stub.answer(BINANCE.place_route, Answer(BINANCE.accepted))
        await exchange.sync_clock()
        stub.seen.clear()
        await exchange.warm(3)
        await stub.until_connected(4)
        assert stub.seen == []
        await asyncio.gather(*(exchange.place(order(), AT_MS) for _ in range(4)))
        assert {seen.connection for seen in stub.seen} == {0, 1, 2, 3}
        await stub.until_connected(4)


async def test_many_accounts_are_not_all_connected_ahead_of_need() -> None:
    async with opened("binance", accounts=many_accounts(200)) as (exchange, stub):
        stub.answer("GET /api/v3/time", Answer({"serverTime": AT_MS}))
        await exchange.sync_clock()
        await exchange.warm(2)
        await stub.until_connected(MOST_WARMED + 1)


async def test_what_can_not_be_opened_ahead_of_need_fails_nothing() -> None:
    async with opened("binance") as (exchange, stub):
        stub.answer("GET /api/v3/time", Answer({"serverTime": AT_MS}))
        await exchange.sync_clock()
        exchange._public.wire.last_origin = Origin(False, "127.0.0.1", 9)
        await exchange.warm(2)


@EACH_VENUE
async def test_each_of_many_accounts_signs_with_its_own_key(venue: VenueUnderTest) -> None:
    async with opened(venue.venue, accounts=many_accounts(20)) as (exchange, stub):
        stub.answer(venue.place_route, Answer(venue.accepted))
        for account in ("a07", "a00", "a19"):
            with suppress(ExchangeFailure):
                await exchange.place(order(venue, account=account), AT_MS)
            shown = str(stub.seen[-1])
            assert [name for name in exchange._settings.accounts if f"key-of-{name}" in shown] == [account]


async def test_an_account_has_no_client_of_ccxt_before_it_needs_one() -> None:
    async with opened("binance", accounts=many_accounts(20)) as (exchange, stub):
        stub.answer(BINANCE.place_route, Answer(BINANCE.accepted))
        await exchange.place(order(account="a07"), AT_MS)
        client: Any = exchange._client_of("a07")
        assert not client.made
        assert client.describe()["id"] == "binance"
        assert client.made.apiKey == "key-of-a07"
        assert client.made.markets is exchange._public.markets
        assert client.made.options is not exchange._public.options


async def test_a_client_made_before_new_markets_came_gets_them_too() -> None:
    async with opened("kraken", accounts=many_accounts(2)) as (exchange, _):
        client: Any = exchange._client_of("a01")
        assert client.describe()
        markets = [{**market} for market in exchange._public.markets.values()]
        exchange.use_ccxt_markets(markets)
        assert client.made.markets is exchange._public.markets


def many_accounts(count: int) -> dict[str, Credentials]:
    return {
        f"a{number:02d}": Credentials(
            key=Secret(f"key-of-a{number:02d}"),
            secret=Secret("c2VjcmV0LW9mLWFueQ=="),  # as Kraken's are written, base64
            password=Secret("phrase-of-any"),
        )
        for number in range(count)
    }


async def test_usage_is_told_after_each_reply_and_a_failing_listener_costs_no_order() -> None:
    told: list[Any] = []
    problems: list[Any] = []
    async with opened("binance") as (exchange, stub):
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        headers = {"X-MBX-USED-WEIGHT-1M": "17", "X-MBX-ORDER-COUNT-10S": "3", "X-MBX-USED-WEIGHT": "17"}
        stub.answer(BINANCE.place_route, Answer(BINANCE.accepted, headers=headers))

        def listen(usage: Any, account: str) -> None:
            told.append((account, {(one.scope, one.limit_name, one.used) for one in usage}))
            raise RuntimeError("the listener failed")

        exchange.on_usage = listen
        assert (await exchange.place(order(), AT_MS)).status is OrderStatus.ACTIVE
        await asyncio.sleep(0)
    assert told == [("main", {("ip", "weight_1m", 17), ("account", "orders_10s", 3)})]
    assert len(problems) == 1
