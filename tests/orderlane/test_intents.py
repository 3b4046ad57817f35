"""What an intent is and is not: read strictly, written canonically, refused in words."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderlane.intents import (
    MAX_PAYLOAD_BYTES,
    AmendOrder,
    CancelAll,
    CancelOrder,
    Intent,
    IntentInvalid,
    OrderType,
    PlaceOrder,
    Side,
    TimeInForce,
    decode_intent,
    encode_intent,
    intent_digest,
    intent_schema,
)
from orderlane.repeated_keys import repeated_key
from tests.orderlane.played_pool import an_intent

PLACE: dict[str, Any] = {
    "kind": "place", "id": "grid-1", "exchange": "binance", "account": "main", "symbol": "BTC/USDT:USDT",
    "side": "buy", "type": "limit", "amount": "0.5", "price": "64000",
}  # fmt: skip
CANCEL: dict[str, Any] = {
    "kind": "cancel", "id": "c", "exchange": "binance", "account": "main", "symbol": "BTC/USDT", "target": "t",
}  # fmt: skip

fitting_ids = st.from_regex(r"[A-Za-z0-9._:-]{1,64}", fullmatch=True)
fitting_names = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)
quantities = st.decimals("0.000000000000000001", "999999999999999999", allow_nan=False, places=18)
labels = st.text(st.characters(exclude_categories=["Cs"]), max_size=64)
tags = st.dictionaries(labels, labels, max_size=16)
common = {
    "id": fitting_ids,
    "exchange": fitting_names,
    "account": fitting_names,
    "symbol": st.sampled_from(["BTC/USDT", "BTC/USDT:USDT", "1000PEPE/USDC:USDC-251226"]),
    "strategy": labels,
    "priority": st.none() | st.integers(0, 9),
    "expires_at": st.none() | st.integers(10**11, 9_999_999_999_999),
    "tags": tags,
}


@st.composite
def placed(draw: st.DrawFn) -> PlaceOrder:
    kind = draw(st.sampled_from(OrderType))
    return PlaceOrder(
        **{name: draw(values) for name, values in common.items()},  # type: ignore[arg-type]
        side=draw(st.sampled_from(Side)),
        type=kind,
        amount=draw(quantities),
        price=draw(quantities) if kind.has_price else None,
        trigger_price=draw(quantities) if kind.has_trigger else None,
        time_in_force=draw(st.none() | st.sampled_from(TimeInForce)) if kind.has_price else None,
        reduce_only=draw(st.booleans()),
        leg=draw(labels),
        replaces=draw(st.none() | st.just("an.earlier:one")),
        params=draw(
            st.dictionaries(labels, labels | st.integers(-(2**63), 2**63 - 1) | st.booleans(), max_size=16)
        ),
    )


intents: st.SearchStrategy[Intent] = st.one_of(
    placed(),
    st.builds(CancelOrder, **common, target=fitting_ids),
    st.builds(AmendOrder, **common, target=fitting_ids, amount=quantities, price=st.none() | quantities),
    st.builds(CancelAll, **(common | {"symbol": st.sampled_from(["*", "BTC/USDT"])})),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | quantities.map(str),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
known_fields = st.sampled_from(
    [*PLACE, "trigger_price", "target", "tags", "params", "priority", "expires_at", "leg"]
)


def read(payload: bytes) -> Intent | None:
    """decode_intent, which may raise nothing but IntentInvalid, with words for a person."""
    try:
        return decode_intent(payload)
    except IntentInvalid as error:
        code, words = error.code, str(error)
    assert code
    assert 0 < len(words.encode()) < 500
    return None


@given(intents)
def test_what_is_written_is_read_back_equal_and_written_the_same(intent: Intent) -> None:
    encoded = encode_intent(intent)
    again = decode_intent(encoded)
    assert again == intent
    assert encode_intent(again) == encoded
    assert intent_digest(again) == intent_digest(intent)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_intent_invalid(payload: bytes) -> None:
    assert read(payload) is None


@given(json_values)
def test_no_json_raises_anything_but_intent_invalid(value: Any) -> None:
    assert read(json.dumps(value).encode()) is None


@given(
    st.sampled_from([PLACE, CANCEL]),
    st.dictionaries(known_fields | st.text(max_size=8), json_values, max_size=3),
)
def test_nothing_in_any_field_raises_anything_but_intent_invalid(
    base: dict[str, Any], changes: dict[str, Any]
) -> None:
    intent = read(json.dumps(base | changes).encode())
    if intent is not None:
        assert decode_intent(encode_intent(intent)) == intent


@given(st.data())
def test_no_mutilated_intent_raises_anything_but_intent_invalid(data: st.DataObject) -> None:
    payload = bytearray(encode_intent(data.draw(intents)))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(payload)))
        payload[start : start + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    read(bytes(payload))


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "malformed_json"),
        (b"[]", "malformed_json"),
        (b"null", "malformed_json"),
        (b"\xff\xfe", "malformed_json"),
        (b"[" * 60_000, "malformed_json"),
        (b'{"a":' * 10_000, "malformed_json"),
        (b'{"kind":"\\ud800"}', "malformed_json"),
        (b'{"kind":' + b"1" * 5000 + b"}", "malformed_json"),
        (b'{"kind":"place","kind":"cancel"}', "duplicate_key"),
        (b'{"kind":"place","tags":{"a":"1","\\u0061":"2"}}', "duplicate_key"),
        (b'{"kind":"place","id":"a","id":"\\u003a"}', "duplicate_key"),
        (b"{}", "unknown_kind"),
        (b'{"kind":"destroy"}', "unknown_kind"),
        (b'{"kind":["place"]}', "unknown_kind"),
        (b" " * (MAX_PAYLOAD_BYTES + 1), "payload_too_large"),
        (json.dumps(PLACE).encode() + b"x", "malformed_json"),
    ],
)
def test_what_is_no_intent_is_named_for_what_it_is(payload: bytes, code: str) -> None:
    with pytest.raises(IntentInvalid) as caught:
        decode_intent(payload)
    assert caught.value.code == code
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"{}", "kind is missing; expected place, cancel, amend or cancel_all"),
        (b'{"kind":null}', "kind is null; expected"),
        (b"null", "holds a JSON null, not an object"),
        (b"[]", "holds a JSON array, not an object"),
        (b'{"id":"x","id":"y"}', "the key 'id' is given more than once"),
    ],
)
def test_what_was_found_instead_is_named(payload: bytes, words: str) -> None:
    with pytest.raises(IntentInvalid) as caught:
        decode_intent(payload)
    assert words in caught.value.message


objects = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(':a\\"{é', max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(':a\\"{é', max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def written(value: Any, repeat_at: list[int], escape: bool) -> str:
    """JSON in which the `repeat_at[0]`th of all keys is given twice, with another value first."""
    if isinstance(value, list):
        return "[" + ",".join(written(one, repeat_at, escape) for one in value) + "]"
    if not isinstance(value, dict):
        return text_of(value, escape)
    members = []
    for key, one in value.items():
        repeat_at[0] -= 1
        if repeat_at[0] == -1:
            members.append(f"{text_of(key, not escape)}:" + text_of(":", escape))
        members.append(f"{text_of(key, escape)}: {written(one, repeat_at, escape)}")
    return "{" + ",".join(members) + "}"


def text_of(value: Any, escape: bool) -> str:
    text = json.dumps(value, ensure_ascii=escape)
    return text.replace(":", "\\u003A") if escape else text


def keys_in(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(keys_in, value.values()))
    return sum(map(keys_in, value)) if isinstance(value, list) else 0


@given(objects, st.booleans(), st.data())
def test_a_key_given_twice_at_any_depth_is_found_and_nothing_else_is(
    value: Any, escape: bool, data: st.DataObject
) -> None:
    whole = {"kind": "place", "tags": value}
    once = written(whole, [-1], escape).encode()
    assert json.loads(once) == whole
    assert repeated_key(once, msgspec.json.decode(once)) is None
    twice = written(whole, [data.draw(st.integers(0, keys_in(whole) - 1))], escape).encode()
    assert json.loads(twice) == whole
    assert repeated_key(twice, msgspec.json.decode(twice)) is not None
    with pytest.raises(IntentInvalid) as caught:
        decode_intent(twice)
    assert caught.value.code == "duplicate_key"


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"id": "a b"}, "invalid_intent", 'id is "a b": expected a text of 1 to 64'),
        ({"id": "a\n"}, "invalid_intent", 'id is "a\\n"'),
        ({"id": "x" * 65}, "invalid_intent", "1 to 64"),
        ({"exchange": "a:b"}, "invalid_intent", 'exchange is "a:b"'),
        ({"account": None}, "invalid_intent", "account is null"),
        ({"symbol": "BTC|USDT"}, "invalid_intent", "unified form"),
        ({"symbol": "*"}, "invalid_intent", 'symbol is "*": expected ccxt\'s unified form, such as BTC/USDT (spot) or '
         "BTC/USDT:USDT (swap); only a cancel_all may say *"),
        ({"replaces": "a b"}, "invalid_intent", 'replaces is "a b": expected a text of 1 to 64'),
        ({"replaces": "grid-1"}, "invalid_intent", "this intent's own id"),
        ({"side": "long"}, "invalid_intent", 'side is "long": expected buy, sell'),
        ({"type": "iceberg"}, "invalid_intent", "take_profit_limit"),
        ({"priority": 10}, "invalid_intent", "priority is 10: expected a whole number from 0"),
        ({"expires_at": 1e3}, "invalid_intent", "expires_at is 1000"),
        ({"expires_at": 1_800_000_000}, "invalid_intent", "is it in seconds? expected milliseconds"),
        ({"time_in_force": "GTD"}, "invalid_intent", "GTC, IOC, FOK, PO"),
        ({"reduce_only": "yes"}, "invalid_intent", 'reduce_only is "yes"'),
        ({"surprise": 1}, "invalid_intent", "unknown field `surprise`"),
        ({"tags": {"a": 1}}, "invalid_intent", "$.tags"),
        ({"tags": {str(n): "" for n in range(17)}}, "invalid_intent", "tags has 17 entries; at most 16"),
        ({"params": {str(n): 1 for n in range(17)}}, "invalid_intent", "params has 17 entries"),
        ({"price": None}, "invalid_intent", "price is missing: a limit order needs one"),
        ({"type": "market"}, "invalid_intent", "a market order has none: leave it out"),
        ({"type": "stop_limit"}, "invalid_intent", "trigger_price is missing"),
        ({"trigger_price": "1"}, "invalid_intent", "trigger_price is 1, but a limit order has none"),
        ({"type": "market", "price": None, "time_in_force": "IOC"}, "invalid_intent", "a market order has none"),
        ({"amount": "0"}, "invalid_intent", "amount is 0: expected a positive"),
        ({"amount": 0}, "invalid_intent", "amount is 0: expected a positive"),
        ({"amount": "-1"}, "inexact_number", "amount is '-1'"),
        ({"amount": "1e5"}, "inexact_number", "amount is '1e5'"),
        ({"amount": "NaN"}, "inexact_number", "amount is 'NaN'"),
        ({"amount": "Infinity"}, "inexact_number", "plain positive decimal"),
        ({"amount": "1_000"}, "inexact_number", "plain positive decimal"),
        ({"amount": "٣"}, "inexact_number", "plain positive decimal"),
        ({"amount": " 1"}, "inexact_number", "plain positive decimal"),
        ({"amount": ".5"}, "inexact_number", "plain positive decimal"),
        ({"amount": "1" * 19}, "inexact_number", "18 digits"),
        ({"amount": "0." + "1" * 19}, "inexact_number", "18 after"),
        ({"amount": 0.1 + 0.2}, "inexact_number", "whose 17 digits a double cannot hold"),
        ({"amount": 10**18}, "invalid_intent", "at most 18 digits"),
        ({"amount": 10**400}, "invalid_intent", "at most 18 digits"),
        ({"amount": 1e-19}, "invalid_intent", "18 after the point"),
        ({"amount": True}, "invalid_intent", "amount is true"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_its_value_and_what_was_expected(
    changes: dict[str, Any], code: str, words: str
) -> None:
    with pytest.raises(IntentInvalid) as caught:
        decode_intent(json.dumps(PLACE | changes).encode())
    assert caught.value.code == code
    assert words in caught.value.message


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e400", "0x10", "01", "+1"])
def test_numbers_that_are_no_json_are_refused(literal: str) -> None:
    payload = json.dumps(PLACE).replace('"0.5"', literal)
    with pytest.raises(IntentInvalid):
        decode_intent(payload.encode())


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("0.5", "0.5"), ("0.50", "0.50"), (1, "1"), (0.1, "0.1"), (1e-7, "0.0000001"), (1e5, "100000.0"),
        ("0.000000000000000001", "0.000000000000000001"), ("999999999999999999", "999999999999999999"),
    ],
)  # fmt: skip
def test_a_number_that_says_exactly_what_it_means_is_taken(number: Any, value: str) -> None:
    intent = decode_intent(json.dumps(PLACE | {"amount": number}).encode())
    assert isinstance(intent, PlaceOrder)
    assert intent.amount == Decimal(value)
    assert json.loads(encode_intent(intent))["amount"] == value


def test_an_exponent_in_a_json_number_does_not_travel_on() -> None:
    intent = decode_intent(json.dumps(PLACE).replace('"0.5"', "1e5").encode())
    assert b'"amount":"100000"' in encode_intent(intent)


@pytest.mark.parametrize("missing", sorted(PLACE))
def test_nothing_that_is_needed_may_be_missing(missing: str) -> None:
    with pytest.raises(IntentInvalid):
        decode_intent(json.dumps({name: value for name, value in PLACE.items() if name != missing}).encode())


def test_python_refuses_numbers_that_are_no_decimals() -> None:
    wrong: list[Any] = [
        0.5,
        "0.5",
        1,
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal(-1),
        Decimal(0),
        Decimal("1E+18"),
    ]
    for amount in wrong:
        with pytest.raises(ValueError, match="amount is"):
            an_intent(amount=amount)


def test_a_cancel_all_alone_may_mean_every_symbol() -> None:
    names = {name: CANCEL[name] for name in ("id", "exchange", "account")}
    every = decode_intent(
        json.dumps({"kind": "cancel_all", "symbol": "*", "strategy": "grid", **names}).encode()
    )
    assert isinstance(every, CancelAll)
    assert (every.covers_every_symbol, every.strategy, every.lane) == (True, "grid", "main|*")
    one = decode_intent(json.dumps({"kind": "cancel_all", "symbol": "BTC/USDT", **names}).encode())
    assert isinstance(one, CancelAll)
    assert not one.covers_every_symbol
    with pytest.raises(IntentInvalid, match="only a cancel_all may say"):
        decode_intent(json.dumps(CANCEL | {"symbol": "*"}).encode())
    with pytest.raises(IntentInvalid, match=r'symbol is "\*\*": expected .*, or \* for every symbol'):
        decode_intent(json.dumps({"kind": "cancel_all", "symbol": "**", **names}).encode())


def test_an_amend_that_changes_nothing_is_refused() -> None:
    with pytest.raises(IntentInvalid, match="changes nothing"):
        decode_intent(json.dumps(CANCEL | {"kind": "amend"}).encode())


def test_what_takes_risk_off_goes_first_unless_told_otherwise() -> None:
    names: dict[str, Any] = {"id": "i", "exchange": "e", "account": "a", "symbol": "X/Y"}
    assert an_intent().urgency == AmendOrder(**names, target="t", price=Decimal(1)).urgency == 5
    assert an_intent(reduce_only=True).urgency == 2
    assert CancelOrder(**names, target="t").urgency == CancelAll(**names).urgency == 2
    assert an_intent(reduce_only=True, priority=9).urgency == 9
    assert CancelOrder(**names, target="t", priority=0).urgency == 0


def test_a_lane_is_one_symbol_of_one_account() -> None:
    assert an_intent().lane == "main|BTC/USDT:USDT"


def test_the_digest_knows_intents_apart_and_not_the_order_of_their_fields() -> None:
    shuffled = json.dumps(dict(reversed(PLACE.items())) | {"reduce_only": False, "strategy": ""}).encode()
    assert intent_digest(decode_intent(shuffled)) == intent_digest(an_intent())
    assert intent_digest(an_intent(tags={"a": "1", "b": "2"})) == intent_digest(
        an_intent(tags={"b": "2", "a": "1"})
    )
    others = [an_intent(amount=Decimal("0.6")), an_intent(account="alt"), an_intent(tags={"a": ""})]
    assert len({intent_digest(one) for one in [an_intent(), *others]}) == 4
    assert len(intent_digest(an_intent())) == 16


def test_the_schema_covers_every_kind_with_the_rules_of_its_fields() -> None:
    schema = intent_schema()
    assert set(schema["$defs"]) >= {"PlaceOrder", "CancelOrder", "AmendOrder", "CancelAll"}
    place = schema["$defs"]["PlaceOrder"]
    assert place["additionalProperties"] is False
    assert {"kind", "id", "exchange", "account", "symbol", "side", "type", "amount"} <= set(place["required"])
    assert place["properties"]["kind"]["enum"] == ["place"]
    assert place["properties"]["amount"]["pattern"] == r"^\d{1,18}(\.\d{1,18})?$"
    json.dumps(schema)
