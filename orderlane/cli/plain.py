"""Values as JSON for scripts: nothing left out, decimals as plain text. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from orderlane.intents import Intent, encode_intent
from orderlane.orders import Order

_encoder = msgspec.json.Encoder()


def json_line(value: Any) -> str:
    """One JSON document on one line."""
    return _encoder.encode(plain(value)).decode()


def plain(value: Any) -> Any:
    """The value in dicts, lists, text and numbers."""
    if isinstance(value, Order):
        return _plain_order(value)
    if isinstance(value, msgspec.Struct):
        # Not to_builtins: it leaves out fields that have their default value.
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return value


def _plain_order(order: Order) -> dict[str, Any]:
    fields = {name: plain(getattr(order, name)) for name in order.__struct_fields__}
    for name in ("intent", "edited"):
        intent: Intent | None = getattr(order, name)
        fields[name] = None if intent is None else msgspec.json.decode(encode_intent(intent))
    return {"id": order.id, **fields}
