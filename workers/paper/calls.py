"""A request as it arrived, its answer, and the table that says which function answers which path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote_plus

from workers.paper.rules import Product

Security = Literal["none", "key", "signed"]
JSON_TYPE = "application/json;charset=UTF-8"


@dataclass(slots=True)
class Call:
    """One HTTP request: where, what, from whom, when. ``query`` and ``body`` are exactly as received."""

    method: str
    path: str
    query: str
    body: str
    key: str
    address: str
    at_us: int
    params: dict[str, str]
    account: str = ""
    fault: str = ""
    reply_dropped: bool = False
    counted_orders: bool = False

    @property
    def at_ms(self) -> int:
        """When it arrived, epoch milliseconds."""
        return self.at_us // 1000


@dataclass(slots=True)
class Reply:
    """An answer: HTTP status, body and headers."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


Answer = Callable[[Any, Call], object]


class Route(NamedTuple):
    """How one path is answered.

    ``answer`` takes the venue and the call and returns what JSON to send. ``weight`` is the cost to the
    address, ``orders`` the cost to the account's order limits, ``kind`` the audit's word for a path that
    changes orders.
    """

    product: Product
    answer: Answer
    security: Security = "none"
    weight: Callable[[Call], int] = lambda call: 1
    orders: Callable[[Call], int] = lambda call: 0
    kind: str = ""


def costs(amount: int) -> Callable[[Call], int]:
    """A cost that is the same for every call."""
    return lambda call: amount


def costs_without_symbol(with_symbol: int, without: int) -> Callable[[Call], int]:
    """A cost that is higher when no symbol narrows the request."""
    return lambda call: with_symbol if call.params.get("symbol") else without


def parse_parameters(query: str, body: str) -> dict[str, str]:
    """The parameters of a query and a form body; one sent in both is taken from the query, as Binance does."""
    params: dict[str, str] = {}
    for part in (body, query):
        if part:
            for item in part.split("&"):
                name, _, value = item.partition("=")
                params[name] = unquote_plus(value) if "%" in value or "+" in value else value
    return params
