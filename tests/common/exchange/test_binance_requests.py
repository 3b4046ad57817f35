"""The requests we write for Binance are, byte for byte, those that ccxt would have sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from common.exchange import Credentials
from common.exchange.base import ExchangeFailure, Outcome
from common.exchange.binance_requests import SignedRequests, query_string
from common.exchange.ccxt_exchange import CcxtExchange
from common.exchange.classify import Operation, Reply
from common.exchange.http_request import Origin
from common.exchange.transport import Call, Wire
from common.secrets import Secret
from orderlane.intents import OrderType, TimeInForce
from orderlane.orders import OrderStatus
from tests.common.exchange.stub_server import Answer
from tests.common.exchange.venues import (
    AT_MS,
    BINANCE,
    CREDENTIALS,
    USDM,
    VenueUnderTest,
    opened,
    order,
    reference,
)

BOTH = pytest.mark.parametrize("venue", [BINANCE, USDM], ids=lambda venue: venue.venue)
ODD = {"selfTradePreventionMode": "a b&c=d/é+~*'(", "strategyId": 7, "priceProtect": True}


class NotSent(Exception):
    """Instead of sending."""


@contextmanager
def nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Origin, bytes]]]:
    written: list[tuple[Origin, bytes]] = []

    async def send(_: Wire, origin: Origin, request: bytes, call: Call) -> Reply:
        written.append((origin, request))
        raise ExchangeFailure(Outcome.NOT_SENT, "test", "kept")

    with monkeypatch.context() as patched:
        patched.setattr(Wire, "send", send)
        yield written


def calls(exchange: CcxtExchange, venue: VenueUnderTest) -> list[Callable[[], Awaitable[object]]]:
    """Every kind of question about one order, or about all."""
    by_number = reference(venue, exchange_order_id="28")
    requests = [
        order(venue),
        order(venue, amount=Decimal("0.00001"), price=Decimal("1E+5"), params=ODD),
        order(venue, type=OrderType.MARKET, price=None),
        order(venue, type=OrderType.STOP_MARKET, price=None, trigger_price=Decimal("63000.5")),
        order(venue, time_in_force=TimeInForce.PO),
    ]
    made: list[Callable[[], Awaitable[object]]] = []
    for request in requests:
        made.append(partial(exchange.place, request, AT_MS))
    for named in (reference(venue), by_number, reference(venue, conditional=True)):
        made.append(partial(exchange.cancel, named, AT_MS))
        made.append(partial(exchange.find, named))
    made.append(lambda: exchange.open_orders("main"))
    made.append(lambda: exchange.open_orders("main", venue.symbol))
    made.append(lambda: exchange.cancel_all("main", venue.symbol, AT_MS))
    if exchange.amends_in_place:
        made.append(lambda: exchange.amend(reference(venue), order(venue), AT_MS))
    return made


@BOTH
async def test_every_request_is_the_one_that_ccxt_would_send(
    venue: VenueUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = frozenset(ODD)
    async with opened(venue.venue, allowed_params=names, receive_window_ms=4321) as (exchange, _):
        monkeypatch.setattr(exchange._clock, "now_ms", lambda: AT_MS + 17)
        for call in calls(exchange, venue):
            found: list[list[tuple[Origin, bytes]]] = []
            for ours in (True, False):
                monkeypatch.setattr(SignedRequests, "cover", staticmethod(lambda _, ours=ours: ours))
                exchange._venue.__dict__["_requests"] = {}
                with nothing_is_sent(monkeypatch) as written:
                    with pytest.raises(ExchangeFailure, match="kept"):
                        await call()
                    found.append(written)
            assert found[0] == found[1]
            assert len(found[0]) == 1
            assert b"signature=" in found[0][0][1]
            assert b"recvWindow=4321" in found[0][0][1]


@BOTH
async def test_the_signature_is_that_of_ccxts_sign(venue: VenueUnderTest) -> None:
    api = "private" if venue is BINANCE else "fapiPrivate"
    async with opened(venue.venue) as (exchange, stub):
        stub.answer(venue.place_route, Answer(venue.accepted))
        await exchange.place(order(venue), AT_MS)
        seen = stub.seen[-1]
        mine = {
            name: value
            for name, value in seen.params.items()
            if name not in ("signature", "recvWindow", "timestamp")
        }
        with Call(Operation.PLACE, AT_MS):
            theirs = exchange._public.sign("order", [api], "POST", mine)
        assert theirs["body"].endswith(f"&signature={seen.params['signature']}")
        assert all(seen.headers[name.lower()] == value for name, value in theirs["headers"].items())


def key_text(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> str:
    return (
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        .decode()
        .strip()
    )


@BOTH
@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
async def test_keys_of_other_kinds_are_left_to_ccxt(venue: VenueUnderTest, kind: str) -> None:
    private: Any = (
        ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else rsa.generate_private_key(65537, 2048)
    )
    accounts = {"main": Credentials(key=CREDENTIALS.key, secret=Secret(key_text(private)))}
    async with opened(venue.venue, accounts=accounts) as (exchange, stub):
        stub.answer(venue.place_route, Answer(venue.accepted))
        assert (await exchange.place(order(venue), AT_MS)).status is OrderStatus.ACTIVE
        assert len(stub.seen[-1].params["signature"]) == {"ed25519": 88, "rsa": 344}[kind]
        stub.answer(venue.place_route, Answer({**venue.accepted, "executedQty": "many"}))
        with pytest.raises(ExchangeFailure) as caught:
            await exchange.place(order(venue), AT_MS)
        assert caught.value.outcome is Outcome.UNKNOWN


async def test_without_a_key_nothing_is_sent() -> None:
    accounts = {"main": Credentials(key=Secret(""), secret=Secret(""))}
    async with opened("binance", accounts=accounts) as (exchange, stub):
        with pytest.raises(ExchangeFailure) as caught:
            await exchange.place(order(), AT_MS)
        assert caught.value.outcome is Outcome.REFUSED
        assert stub.seen == []


async def test_a_key_that_would_break_the_request_is_refused_and_not_shown() -> None:
    accounts = {"main": Credentials(key=Secret("a-key-0001\r\nX: y"), secret=CREDENTIALS.secret)}
    async with opened("binance", accounts=accounts) as (exchange, stub):
        with pytest.raises(ExchangeFailure) as caught:
            await exchange.place(order(), AT_MS)
        assert caught.value.outcome is Outcome.REFUSED
        assert "0001" not in str(caught.value)
        assert stub.seen == []


@BOTH
async def test_accounts_sign_with_their_own_keys(venue: VenueUnderTest) -> None:
    other = Credentials(key=Secret("another-key-0002"), secret=Secret("another-secret-0002"))
    async with opened(venue.venue, accounts={"main": CREDENTIALS, "alt": other}) as (exchange, stub):
        stub.answer(venue.place_route, Answer(venue.accepted))
        for account in ("main", "alt", "main"):
            await exchange.place(order(venue, account=account), AT_MS)
        keys = [seen.headers["x-mbx-apikey"] for seen in stub.seen]
        signatures = [seen.params["signature"] for seen in stub.seen]
        assert keys == [CREDENTIALS.key.reveal(), other.key.reveal(), CREDENTIALS.key.reveal()]
        assert signatures[0] == signatures[2] != signatures[1]


def test_parameters_are_written_in_their_order_and_percent_encoded() -> None:
    assert query_string({"b": "a-b_c.d~e", "a": 1, "c": False, "d e": "币/&= +"}) == (
        "b=a-b_c.d~e&a=1&c=false&d%20e=%E5%B8%81%2F%26%3D%20%2B"
    )
