"""What bad input gets: a reason that a person understands, while the lane behind it goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orderlane.events import EventName
from orderlane.identity import client_order_id
from orderlane.intents import Intent
from orderlane.orders import Order, OrderStatus, decode_order
from tests.workers.pool_fixture import Pool, paper, paper_of_module, pool
from tests.workers.products import SPOT, USDM

__all__ = ["paper", "paper_of_module", "pool"]

GOOD: dict[str, Any] = {
    "kind": "place",
    "id": "bad",
    "exchange": "binance",
    "account": "main",
    "symbol": "BTC/USDT:USDT",
    "side": "buy",
    "type": "limit",
    "amount": "0.01",
    "price": "50000",
}


def changed(**fields: Any) -> bytes:
    """The good intent with some fields changed; None leaves one out."""
    return json.dumps(
        {name: value for name, value in {**GOOD, **fields}.items() if value is not None}
    ).encode()


def raw(field: str, number: str) -> bytes:
    """The good intent with a JSON number as it is written here."""
    return changed(**{field: "@"}).replace(b'"@"', number.encode())


DEAD = [
    pytest.param(b"", "malformed_json", "no JSON object", id="nothing"),
    pytest.param(b'{"kind":"place","id":', "malformed_json", "no JSON object", id="cut JSON"),
    pytest.param(b"hello", "malformed_json", "no JSON object", id="text"),
    pytest.param(b"[1,2]", "malformed_json", "not an object", id="a list"),
    pytest.param(b"null", "malformed_json", "not an object", id="null"),
    pytest.param(b"{}", "unknown_kind", "expected place, cancel, amend or cancel_all", id="an empty object"),
    pytest.param(b"\xff\xfe\x00\x01 not even text", "malformed_json", "no JSON object", id="binary"),
    pytest.param(b'{"kind":"place","id":"\xff"}', "malformed_json", "no JSON object", id="broken UTF-8"),
    pytest.param(b"[" * 50_000, "malformed_json", "no JSON object", id="deep nesting"),
    pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "malformed_json", "no JSON", id="deep objects"),
    pytest.param(changed(kind="teleport"), "unknown_kind", "'teleport'", id="an unknown kind"),
    pytest.param(changed(kind=None), "unknown_kind", "kind is", id="no kind"),
    pytest.param(changed(surprise=1), "invalid_intent", "surprise", id="an unknown field"),
    pytest.param(changed(id=None), "invalid_intent", "id", id="no id"),
    pytest.param(changed(id="a" * 65), "invalid_intent", "1 to 64", id="a long id"),
    pytest.param(changed(id="a b"), "invalid_intent", "1 to 64", id="an id with a blank"),
    pytest.param(changed(id="bad\n"), "invalid_intent", "1 to 64", id="an id with a line end"),
    pytest.param(changed(account="a|b"), "invalid_intent", "account", id="an account with a bar"),
    pytest.param(changed(account=7), "invalid_intent", "account", id="an account that is a number"),
    pytest.param(changed(symbol=""), "invalid_intent", "unified form", id="no symbol"),
    pytest.param(changed(side="long"), "invalid_intent", "buy, sell", id="an unknown side"),
    pytest.param(changed(type="iceberg"), "invalid_intent", "market, limit", id="an unknown type"),
    pytest.param(changed(price=None), "invalid_intent", "price is missing", id="a limit without a price"),
    pytest.param(changed(type="market"), "invalid_intent", "leave it out", id="a market order with a price"),
    pytest.param(changed(amount="-1"), "inexact_number", "plain positive decimal", id="a negative amount"),
    pytest.param(changed(amount="0"), "invalid_intent", "positive", id="a zero amount"),
    pytest.param(changed(amount="NaN"), "inexact_number", "plain positive decimal", id="NaN as text"),
    pytest.param(changed(amount="Infinity"), "inexact_number", "plain positive", id="infinity as text"),
    pytest.param(changed(price="1e5"), "inexact_number", "plain positive decimal", id="an exponent as text"),
    pytest.param(
        changed(price="٣"), "inexact_number", "plain positive decimal", id="another script's digits"
    ),
    pytest.param(changed(price=" 5"), "inexact_number", "plain positive decimal", id="a blank before"),
    pytest.param(changed(amount="9" * 19), "inexact_number", "18 digits", id="too many digits"),
    pytest.param(changed(amount="0." + "1" * 19), "inexact_number", "18 after", id="too many decimals"),
    pytest.param(changed(amount=True), "invalid_intent", "amount", id="a truth value as amount"),
    pytest.param(changed(amount=["1"]), "invalid_intent", "amount", id="a list as amount"),
    pytest.param(raw("amount", "NaN"), "malformed_json", "no JSON object", id="NaN"),
    pytest.param(raw("amount", "Infinity"), "malformed_json", "no JSON object", id="infinity"),
    pytest.param(raw("amount", "1e400"), "malformed_json", "no JSON object", id="a number beyond a double"),
    pytest.param(raw("amount", "0.1234567890123456789"), "inexact_number", "exactly", id="an inexact float"),
    pytest.param(raw("amount", "9" * 5_000), "malformed_json", "", id="a number of 5 000 digits"),
    pytest.param(raw("priority", "-0.5"), "invalid_intent", "from 0", id="a fraction as priority"),
    pytest.param(changed(priority=10), "invalid_intent", "from 0", id="a priority too low"),
    pytest.param(changed(expires_at=-1), "invalid_intent", "milliseconds", id="a deadline before time"),
    pytest.param(changed(expires_at="soon"), "invalid_intent", "milliseconds", id="a deadline in words"),
    pytest.param(changed(tags={"x": "y" * 65}), "invalid_intent", "64", id="a long tag"),
    pytest.param(changed(tags={"note": "x" * 1_000_000}), "payload_too_large", "65536", id="a megabyte"),
    pytest.param(
        changed(kind="amend", target="x", side=None, type=None, amount=None, price=None),
        "invalid_intent",
        "changes nothing",
        id="an amend of nothing",
    ),
]


@pytest.mark.parametrize(("payload", "code", "says"), DEAD)
async def test_what_is_no_intent_ends_among_the_dead_letters_with_a_reason(
    pool: Pool, payload: bytes, code: str, says: str
) -> None:
    before, behind = USDM.order("before"), USDM.order("behind")
    async with pool.working():
        pool.send(before)
        entry = pool.append(payload)
        pool.send(behind)
        await pool.outcome(behind)
        await pool.ended()
        [letter] = pool.dead()
        assert len(pool.workers()) == 1, "the worker fell"
    assert letter.entry == entry
    assert letter.payload == payload
    assert letter.reason.code == code, letter.reason
    assert says in letter.reason.message, letter.reason
    assert len(letter.reason.message) < 400
    rejected = [event for event in pool.events() if event.name is EventName.REJECTED]
    assert [event.numbers for event in rejected] == [{"entry": entry}]
    pool.assert_once(before)
    pool.assert_once(behind)


@pytest.mark.parametrize(
    "fields",
    [{"order": b"{}"}, {"intent": changed(), "more": b"1"}, {"intent": changed(), "Intent": changed()}],
    ids=["another field", "one more field", "two payloads"],
)
async def test_an_entry_with_foreign_fields_ends_among_the_dead_letters(
    pool: Pool, fields: dict[str, bytes]
) -> None:
    behind = USDM.order("behind")
    async with pool.working():
        pool.client.xadd(pool.keys().intents, fields)  # type: ignore[arg-type]
        pool.send(behind)
        await pool.outcome(behind)
        await pool.ended()
    [letter] = pool.dead()
    assert letter.reason.code == "foreign_fields"
    assert "expected exactly one, 'intent'" in letter.reason.message
    assert len(pool.paper.audit()) == 1


REFUSED = [
    pytest.param({"account": "nobody"}, "unknown_account", "configured are: alt, main", id="unknown account"),
    pytest.param({"exchange": "kraken"}, "wrong_exchange", "stream of 'binance'", id="another exchange"),
    pytest.param({"symbol": "NOPE/USDT:USDT"}, "unknown_symbol", "did you mean", id="unknown symbol"),
    pytest.param({"symbol": "BTC/USDT"}, "unknown_symbol", "BTC/USDT:USDT", id="the other product's symbol"),
    pytest.param(
        {"amount": "0.000000000000000001"}, "amount_below_minimum", "0.001: ask for more", id="a tiny amount"
    ),
    pytest.param(
        {"amount": "999999999999999999"}, "amount_above_maximum", "1000: split it", id="a huge amount"
    ),
    pytest.param({"amount": 1e17}, "amount_above_maximum", "1000: split it", id="a huge float"),
    pytest.param({"price": "0.000000000000000001"}, None, "", id="a tiny price"),
    pytest.param({"price": "999999999999999999"}, None, "", id="a huge price"),
    pytest.param(
        {"params": {"newClientOrderId": "mine"}}, "param_not_allowed", "newClientOrderId", id="our id"
    ),
    pytest.param({"params": {"recvWindow": 60_000}}, "param_not_allowed", "recvWindow", id="our window"),
    pytest.param({"params": {"symbol": "ETHUSDT"}}, "param_not_allowed", "symbol", id="another symbol"),
]


@pytest.mark.parametrize(("fields", "code", "says"), REFUSED)
async def test_an_intent_that_can_not_be_executed_is_refused_with_a_reason_and_never_sent(
    pool: Pool, fields: dict[str, Any], code: str | None, says: str
) -> None:
    behind = USDM.order("behind", symbol=fields.get("symbol", USDM.symbol))
    payload = changed(**fields)
    async with pool.working():
        pool.append(payload)
        bad = USDM.order("bad", **{k: v for k, v in fields.items() if k in ("account", "exchange", "symbol")})
        if "symbol" not in fields:
            pool.send(behind)
            await pool.outcome(behind)
        await pool.ended()
    order = refused(pool, bad)
    assert order.status is OrderStatus.FAILED
    assert order.reason is not None
    assert code is None or order.reason.code == code, order.reason
    assert says in order.reason.message, order.reason
    assert len(pool.paper.audit()) == ("symbol" not in fields)
    assert pool.dead() == []


def refused(pool: Pool, intent: Intent) -> Order:
    """The record of an intent, which lies in the stream's exchange whatever exchange the intent names."""
    identifier = client_order_id("orderlane", "binance", intent.account, intent.id)
    fields: Any = pool.client.hgetall(pool.keys().order(identifier))
    assert fields
    return decode_order(fields)


async def test_an_entry_deleted_while_it_waits_is_passed_over(pool: Pool) -> None:
    slow, deleted, behind = USDM.order("slow"), USDM.order("deleted"), USDM.order("behind")
    pool.paper.fault(USDM.place, "delay_reply", count=1, delay_ms=300)
    async with pool.working():
        pool.send(slow)
        await pool.status(slow, OrderStatus.SUBMITTED)
        entry = pool.send(deleted)
        pool.send(behind)
        await pool.until(lambda: pool.client.zcard(pool.keys().waiting) == 3, "three entries that wait")
        pool.client.xdel(pool.keys().intents, entry)
        await pool.outcome(behind)
    assert pool.record(deleted) is None
    assert pool.dead() == []
    assert pool.client.zcard(pool.keys().waiting) == 0
    pool.assert_once(slow)
    pool.assert_once(behind)


async def test_a_number_written_as_a_json_number_is_taken_where_it_is_exact(pool: Pool) -> None:
    async with pool.working(SPOT):
        pool.append(
            changed(amount=0.01, price=50_000, exchange="binance-spot", symbol="BTC/USDT"),
            exchange=SPOT.exchange,
        )
        await pool.ended(SPOT)
    pool.assert_once(SPOT.order("bad"))
