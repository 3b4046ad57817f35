"""Reading a reply field by field: each is what it must be, or the outcome is unknown.

A reply that was damaged on its way, or that a venue writes in a new form, must never become an order with wrong
numbers, nor an absence. So a field that is missing, null, of another type, negative, not finite, or too large to be
meant raises `ExchangeFailure` UNKNOWN, and so does a reply that speaks of another order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from common.exact import plain
from common.exchange.base import ExchangeFailure, OrderReference, OrderReport, Outcome
from orderlane.orders import OrderStatus

LONGEST_NUMBER_ID: Final = 20
"""Digits of the greatest 64-bit number."""
MOST_DIGITS: Final = 24
"""Before the point, in a number that can be meant: the supply of the most divided coin, times its price."""
LONGEST_TEXT: Final = 64
"""Characters of an id, a name or a number in a reply; the longest in use, a UUID, has 36."""
EARLIEST_MS: Final = 1_000_000_000_000
"""September 2001: what is below isn't a moment in milliseconds."""
LATEST_MS: Final = 9_999_999_999_999

_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_MARKET_ID: Final = re.compile(r"[A-Za-z0-9._/-]{4,}")


def unreadable(what: str, reply: object) -> ExchangeFailure:
    """A reply that reports success but isn't what it should be: nothing is known."""
    return ExchangeFailure(Outcome.UNKNOWN, "unreadable_reply", f"{what}: {str(reply)[:200]}")


def decimal_in(fields: Mapping[str, Any], name: str) -> Decimal | None:
    """A field's number; None where it is missing, empty or null.

    Raises:
        ExchangeFailure: UNKNOWN, the field holds something else.
    """
    value = fields.get(name)
    return None if value is None or value == "" else _number(name, value)


def _number(name: str, value: object) -> Decimal:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    number = Decimal(text) if len(text) <= LONGEST_TEXT and _NUMBER.fullmatch(text) else None
    if number is None or (abs(number.adjusted()) > MOST_DIGITS and number):
        raise unreadable(f"field {name} is no number", value)
    return number


def measure_in(fields: Mapping[str, Any], name: str, *, may_be_empty: bool = False) -> Decimal | None:
    """A size or a price that a reply must have; None for what venues write where there is none: 0.

    `may_be_empty`: the venue writes an empty text for this, too.

    Raises:
        ExchangeFailure: UNKNOWN, the field is missing, null, negative or no number.
    """
    value = fields.get(name)
    if may_be_empty and value == "":
        return None
    number = _number(name, value)
    if number < 0:
        raise unreadable(f"field {name} is negative", value)
    return number or None


def moment_in(fields: Mapping[str, Any], name: str) -> int:
    """A time stamp in ms that a reply must have.

    Raises:
        ExchangeFailure: UNKNOWN, it is missing, or no moment of this age.
    """
    moment = _number(name, fields.get(name))
    if moment != moment.to_integral_value() or not EARLIEST_MS <= moment <= LATEST_MS:
        raise unreadable(f"field {name} is no time in ms", fields.get(name))
    return int(moment)


def filled_in(fields: Mapping[str, Any], name: str, amount: Decimal | None) -> Decimal:
    """How much is filled, by a field that every reply about an order must have.

    Raises:
        ExchangeFailure: UNKNOWN, the field is missing, negative, or more than the order's amount.
    """
    filled = decimal_in(fields, name)
    if filled is None or filled < 0 or (amount and filled > amount):
        raise unreadable(f"field {name} says nothing of what is filled", fields)
    return filled


def status_in(statuses: Mapping[str, OrderStatus], given: object) -> OrderStatus:
    """Our status for the venue's.

    Raises:
        ExchangeFailure: UNKNOWN, the venue's status is none we know.
    """
    status = statuses.get(given) if isinstance(given, str) else None
    if status is None:
        raise unreadable("no such order status is known", given)
    return status


def text_in(fields: Mapping[str, Any], name: str) -> str:
    """A field that a reply must have, as text.

    Raises:
        ExchangeFailure: UNKNOWN, it is missing, empty or no text - an order without an id is no answer.
    """
    value = fields.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT:
        raise unreadable(f"field {name} is missing or no text", fields)
    return value


def optional_text_in(fields: Mapping[str, Any], name: str) -> str:
    """A text that a reply must have but may leave empty, as the client order id of an order that was given none.

    Raises:
        ExchangeFailure: UNKNOWN, it is missing, or no text.
    """
    return "" if fields.get(name) == "" else text_in(fields, name)


def number_id_in(fields: Mapping[str, Any], name: str) -> str:
    """The id of an order on a venue that numbers its orders, as text.

    Raises:
        ExchangeFailure: UNKNOWN, it is missing or no such number - with another one the order could never be named.
    """
    value = fields.get(name)
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER_ID):
        raise unreadable(f"field {name} is no order's number", value)
    return text


def market_id_in(fields: Mapping[str, Any], name: str, expected: str | None = None) -> str:
    """The venue's id of a market, which must be the expected one if there is any.

    Raises:
        ExchangeFailure: UNKNOWN, it is missing, another one, or no such id.
    """
    found = text_in(fields, name)
    if not _MARKET_ID.fullmatch(found) or expected not in (None, found):
        raise unreadable(f"field {name} is not the market {expected or 'of an order'}", found)
    return found


def fields_in(decoded: Any) -> dict[str, Any]:
    """A reply that must be one JSON object.

    Raises:
        ExchangeFailure: UNKNOWN, it is not.
    """
    if not isinstance(decoded, dict):
        raise unreadable("expected one object", decoded)
    return decoded


def rows_in(decoded: Any) -> list[dict[str, Any]]:
    """A reply that must be a JSON array of objects.

    Raises:
        ExchangeFailure: UNKNOWN, it is not.
    """
    if not isinstance(decoded, list) or not all(isinstance(row, dict) for row in decoded):
        raise unreadable("expected a list of objects", decoded)
    return decoded


def only_row(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of a reply about one thing.

    Raises:
        ExchangeFailure: UNKNOWN, there are none or several.
    """
    if len(rows) != 1:
        raise unreadable("expected one row", rows)
    return rows[0]


def distinct(reports: Iterable[OrderReport]) -> list[OrderReport]:
    """The reports of a list, each order once: a list read in pages may show one twice, the later state counts."""
    latest: dict[tuple[str, str], OrderReport] = {}
    for report in reports:
        key = (report.symbol, report.exchange_order_id)
        if key not in latest or latest[key].exchange_at <= report.exchange_at:
            latest[key] = report
    return list(latest.values())


def same_order(expected: str, found: str) -> None:
    """Check that a reply speaks of the order that was asked about.

    Raises:
        ExchangeFailure: UNKNOWN, it speaks of another one.
    """
    if expected and expected != found:
        raise unreadable(f"the reply speaks of another order than {expected}", found)


def confirmed(reference: OrderReference, report: OrderReport) -> OrderReport:
    """The report, once every id by which the order is known stands in it, and its symbol.

    Raises:
        ExchangeFailure: UNKNOWN, it speaks of another one.
    """
    same_order(reference.exchange_order_id, report.exchange_order_id)
    same_order(reference.client_order_id, report.client_order_id)
    if report.symbol != reference.symbol:
        raise unreadable(f"the reply speaks of another market than {reference.symbol}", report.symbol)
    return report


def middle(symbol: str, bid: object, ask: object, last: object = None) -> Decimal:
    """The middle of bid and ask; the last price where the venue tells neither.

    Raises:
        ExchangeFailure: UNKNOWN, there is no price, or bid and ask can't both be true.
    """
    prices = {"bid": bid, "ask": ask, "last": last}
    if bid is None and ask is None and last is not None:
        traded = measure_in(prices, "last")
        if traded is not None:
            return traded
    best_bid, best_ask = measure_in(prices, "bid"), measure_in(prices, "ask")
    if best_bid is None or best_ask is None or best_bid > best_ask:
        raise unreadable(f"{symbol} has no price now", prices)
    return plain((best_bid + best_ask) / 2)
