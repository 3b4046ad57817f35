"""The client order id: the same for ever, apart for all, and fit for every venue."""

from __future__ import annotations

import re
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from orderlane.identity import (
    as_text,
    as_uuid,
    belongs_to_pool,
    client_order_id,
    client_order_id_bytes,
    pool_prefix,
)

names = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)
ids = st.from_regex(r"[A-Za-z0-9._:-]{1,64}", fullmatch=True)


def test_an_id_never_changes_from_one_release_to_the_next() -> None:
    identifier = client_order_id_bytes("orderlane", "binance", "main", "grid-1")
    assert identifier.hex() == "9f4033096fa3372c71e3738100fd24a1"
    assert as_text(identifier) == "t5adgclpum3sy4pdooaqb7jeu"
    assert as_uuid(as_text(identifier)) == "9f403309-6fa3-372c-71e3-738100fd24a0"


@given(names, names, names, ids)
def test_it_fits_what_binance_bybit_and_okx_take(
    pool: str, exchange: str, account: str, intent_id: str
) -> None:
    text = client_order_id(pool, exchange, account, intent_id)
    assert re.fullmatch(r"[a-z2-7]{25}", text)
    assert text == client_order_id(pool, exchange, account, intent_id)
    assert as_text(UUID(as_uuid(text)).bytes) == text


@given(st.lists(st.tuples(names, names, ids), unique=True, min_size=2, max_size=8))
def test_different_intents_have_different_ids(parts: list[tuple[str, str, str]]) -> None:
    assert len({client_order_id("orderlane", *part) for part in parts}) == len(parts)


def test_the_parts_do_not_run_into_each_other() -> None:
    assert client_order_id("p", "a", "bc", "d") != client_order_id("p", "ab", "c", "d")
    assert client_order_id("p", "a", "b", "cd") != client_order_id("p", "a", "bc", "d")


@given(names, names, names, ids)
def test_a_pool_knows_its_own_ids(pool: str, exchange: str, account: str, intent_id: str) -> None:
    assert belongs_to_pool(pool, client_order_id(pool, exchange, account, intent_id))


def test_a_pool_does_not_take_foreign_ids_for_its_own() -> None:
    assert not belongs_to_pool("orderlane", client_order_id("staging", "binance", "main", "grid-1"))
    for foreign in (
        "",
        "web_1234567890",
        "x" * 25,
        "t5" * 20,
        client_order_id("orderlane", "a", "b", "c") + "a",
    ):
        assert not belongs_to_pool("orderlane", foreign)
    assert len(pool_prefix("orderlane")) == 2
