"""The pure decisions about replies."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.exchange.base import Outcome
from common.exchange.classify import (
    ErrorTable,
    Operation,
    Reply,
    VenueError,
    classify,
    decode,
    foreign_reply,
    retry_after_ms,
)

TABLE = ErrorTable(
    outcomes={"1": Outcome.REFUSED, "2": Outcome.THROTTLED, "3": Outcome.NOT_FOUND, "4": Outcome.DUPLICATE},
    retry_after_ms={"2": 5, "429": 6},
    default_retry_after_ms=7,
)
NOW_MS = 1_760_000_000_000


def reply(status: int = 200, body: bytes = b"{}", retry_after: str = "") -> Reply:
    return Reply(status, {"retry-after": retry_after} if retry_after else {}, body)


@given(st.integers(200, 599), st.sampled_from(Operation))
def test_only_a_code_on_the_list_is_a_verdict(status: int, operation: Operation) -> None:
    failure = classify(reply(status), VenueError("unlisted", ""), TABLE, operation, NOW_MS)
    assert failure is not None
    expected = Outcome.THROTTLED if status in (418, 429) else Outcome.UNKNOWN
    assert failure.outcome is expected


@given(st.integers(300, 599), st.sampled_from(Operation))
def test_a_status_without_a_code_is_no_verdict(status: int, operation: Operation) -> None:
    failure = classify(reply(status), None, TABLE, operation, NOW_MS)
    assert failure is not None
    assert failure.outcome in (Outcome.UNKNOWN, Outcome.THROTTLED)


def test_a_success_is_a_2xx_without_an_error() -> None:
    assert classify(reply(200), None, TABLE, Operation.PLACE, NOW_MS) is None
    assert classify(reply(200), VenueError("1", ""), TABLE, Operation.PLACE, NOW_MS) is not None


@pytest.mark.parametrize("operation", Operation)
def test_not_found_and_duplicate_count_only_where_they_can_be_meant(operation: Operation) -> None:
    missing = classify(reply(400), VenueError("3", ""), TABLE, operation, NOW_MS)
    double = classify(reply(400), VenueError("4", ""), TABLE, operation, NOW_MS)
    assert missing is not None
    assert double is not None
    placing = operation is Operation.PLACE
    assert missing.outcome is (Outcome.UNKNOWN if placing else Outcome.NOT_FOUND)
    assert double.outcome is (Outcome.DUPLICATE if placing else Outcome.UNKNOWN)


@pytest.mark.parametrize(
    "body", [b"", b" ", b"<html>", b'{"a":', b'"text"', b"7", b"null", b"\xff\xfe", b"[" * 5000]
)
def test_a_body_that_is_no_json_object_is_foreign(body: bytes) -> None:
    assert decode(reply(body=body)) is None
    assert foreign_reply(reply(200, body), TABLE, NOW_MS).outcome is Outcome.UNKNOWN


def test_numbers_keep_every_digit() -> None:
    decoded = decode(reply(body=b'{"price": 0.1234567890123456789, "id": 12345678901234567890123}'))
    assert Decimal(decoded["price"]) == Decimal("0.1234567890123456789")
    assert decoded["id"] == 12345678901234567890123


def test_how_long_to_wait_is_what_the_reply_says_else_what_the_table_says() -> None:
    assert retry_after_ms(reply(429, retry_after="12"), "2", "", TABLE, NOW_MS) == 12_000
    banned = f"Way too much request weight used; IP banned until {NOW_MS + 90_000}."
    assert retry_after_ms(reply(418), "-1003", banned, TABLE, NOW_MS) == 90_000
    assert retry_after_ms(reply(400), "2", "", TABLE, NOW_MS) == 5
    assert retry_after_ms(reply(429), "unlisted", "", TABLE, NOW_MS) == 6
    assert retry_after_ms(reply(400), "unlisted", "banned until 1", TABLE, NOW_MS) == 7
