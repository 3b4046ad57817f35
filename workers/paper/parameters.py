"""Reading a request's parameters: present, well formed, and in range, or refused as Binance refuses them."""

from __future__ import annotations

import re
from collections.abc import Collection
from decimal import Decimal

from workers.paper.amounts import ZERO
from workers.paper.calls import Call
from workers.paper.errors import Refusal, empty, illegal_characters, mandatory, not_required
from workers.paper.signing import INTEGER_RANGE

DECIMAL_RANGE = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
_DECIMAL = re.compile(DECIMAL_RANGE)
_INTEGER = re.compile(INTEGER_RANGE)
CLIENT_ID_RANGES = {"spot": r"^[a-zA-Z0-9-_]{1,36}$", "usdm": r"^[\.A-Z\:/a-z0-9_-]{1,36}$"}
_CLIENT_IDS = {product: re.compile(pattern) for product, pattern in CLIENT_ID_RANGES.items()}
SIGNING = ("timestamp", "recvWindow", "signature")


def text(call: Call, name: str) -> str:
    """A parameter's value, or an empty string when it wasn't sent. One sent without value is refused
    (-1105).
    """
    value = call.params.get(name)
    if value is None:
        return ""
    if not value:
        raise empty(name)
    return value


def required(call: Call, name: str) -> str:
    """A parameter that must be there."""
    value = call.params.get(name)
    if not value:
        raise mandatory(name)
    return value


def amount(call: Call, name: str) -> Decimal:
    """A decimal parameter, zero when it wasn't sent."""
    value = text(call, name)
    if not value:
        return ZERO
    if not _DECIMAL.match(value):
        raise illegal_characters(name, DECIMAL_RANGE)
    return Decimal(value)


def required_amount(call: Call, name: str) -> Decimal:
    """A decimal parameter that must be there."""
    required(call, name)
    return amount(call, name)


def integer(call: Call, name: str, default: int = 0) -> int:
    """An integer parameter."""
    value = text(call, name)
    if not value:
        return default
    if not _INTEGER.match(value):
        raise illegal_characters(name, INTEGER_RANGE)
    return int(value)


def flag(call: Call, name: str) -> bool:
    """A boolean parameter: ``true`` or ``false`` in any case."""
    value = text(call, name).lower()
    if value not in ("", "true", "false"):
        raise illegal_characters(name, "^(true|false)$")
    return value == "true"


def choice(call: Call, name: str, allowed: Collection[str], code: int, message: str) -> str:
    """A required parameter that takes one of ``allowed``; otherwise ``code`` and ``message``."""
    value = required(call, name)
    if value not in allowed:
        raise Refusal(code, message)
    return value


def client_id(call: Call, name: str, product: str) -> str:
    """A client order id, empty when none was sent."""
    value = text(call, name)
    if value and not _CLIENT_IDS[product].match(value):
        if product == "usdm" and len(value) > 36:
            raise Refusal(-4015, "Client order id length should be less than 36 chars")
        raise illegal_characters(name, CLIENT_ID_RANGES[product])
    return value


def forbid(call: Call, names: Collection[str]) -> None:
    """None of ``names`` may be sent with this order type (-1106)."""
    for name in names:
        if name in call.params:
            raise not_required(name)
