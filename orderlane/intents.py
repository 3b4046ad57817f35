"""What an application asks for: the intents, and how they are read from a stream entry.

An intent travels as one JSON object in the field `intent` of an entry of `<pool>:{<exchange>}:intents`:

    {"kind": "place", "id": "grid-1", "exchange": "binance", "account": "main",
     "symbol": "BTC/USDT:USDT", "side": "buy", "type": "limit", "amount": "0.5", "price": "64000"}

Amounts and prices are decimals carried as strings. A JSON number is taken only where it says exactly
what it means: an integer, or a float of at most 15 significant digits.
"""

from __future__ import annotations

import re
from decimal import Decimal
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from orderlane.repeated_keys import repeated_key

MAX_PAYLOAD_BYTES: Final = 65_536
"""A payload over this many bytes is refused unread: no honest intent comes near it."""

MAX_FRACTION_DIGITS: Final = 18
MAX_INTEGER_DIGITS: Final = 18
EXACT_FLOAT_DIGITS: Final = 15
"""An IEEE 754 double keeps 15 significant decimal digits through every round trip (DBL_DIG)."""

_DECIMAL_TEXT = re.compile(r"\d{1,18}(\.\d{1,18})?\Z", re.ASCII)
_DECIMAL_FIELDS = ("amount", "price", "trigger_price")
_KINDS = "place, cancel, amend or cancel_all"
_JSON_KINDS: Final = {
    list: "a JSON array",
    str: "a JSON string",
    int: "a JSON number",
    float: "a JSON number",
    bool: "a JSON boolean",
    type(None): "a JSON null",
}
_SECONDS_FROM: Final = 10**8
_SECONDS_TO: Final = 10**11
"""What a time of our age looks like in seconds (1973 to 5138); as milliseconds these are long gone (1970 to 1973)."""

Identifier = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}$(?!\n)", description="1 to 64 of A-Z a-z 0-9 . _ : -")
]
Name = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$(?!\n)", description="1 to 64 of A-Z a-z 0-9 . _ -")
]
Symbol = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9._/:-]{1,64}$(?!\n)",
        description="ccxt's unified form: BTC/USDT (spot), BTC/USDT:USDT (swap)",
    ),
]
EVERY_SYMBOL: Final = "*"
"""What a cancel_all may say for its symbol: all symbols of the account."""
SymbolOrEvery = Annotated[
    str,
    Meta(
        pattern=r"^(\*|[A-Za-z0-9._/:-]{1,64})$(?!\n)",
        description="ccxt's unified form: BTC/USDT (spot), BTC/USDT:USDT (swap); or * for every symbol",
    ),
]
Quantity = Annotated[
    Decimal,
    Meta(
        extra_json_schema={
            "pattern": r"^\d{1,18}(\.\d{1,18})?$",
            "description": "a positive decimal, as a string",
        }
    ),
]
Label = Annotated[str, Meta(max_length=64)]
Priority = Annotated[int, Meta(ge=0, le=9, description="0 (emergency) to 9; a smaller number goes first")]
TimeMs = Annotated[int, Meta(ge=0, le=9_999_999_999_999, description="milliseconds since 1970-01-01 UTC")]

DEFAULT_PRIORITY: Final = 5
URGENT_PRIORITY: Final = 2
"""What cancels and reduce-only orders default to: they take risk off."""


class Side(StrEnum):
    """FIX tag 54."""

    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """FIX tag 40; stop and take-profit types wait for `trigger_price`, then act as market or limit."""

    MARKET = "market"
    LIMIT = "limit"
    STOP_MARKET = "stop_market"
    STOP_LIMIT = "stop_limit"
    TAKE_PROFIT_MARKET = "take_profit_market"
    TAKE_PROFIT_LIMIT = "take_profit_limit"

    @property
    def has_price(self) -> bool:
        return self in (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT)

    @property
    def has_trigger(self) -> bool:
        return self not in (OrderType.MARKET, OrderType.LIMIT)


class TimeInForce(StrEnum):
    """FIX tag 59: good till cancelled, immediate or cancel, fill or kill, post only (maker or nothing)."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    PO = "PO"


class IntentInvalid(ValueError):
    """An entry that is no intent. `code` is stable and short, the message is for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class _Intent(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"
):
    id: Identifier
    """Chosen by the producer, unique per exchange and account: the same id is the same intent, for ever."""
    exchange: Name
    account: Name
    symbol: Symbol
    strategy: Label = ""
    priority: Priority | None = None
    expires_at: TimeMs | None = None
    """Do not send after this moment. The order, once sent, is not touched by it."""
    tags: dict[Label, Label] = {}
    """Carried through to the record and to every event, unread."""

    @property
    def lane(self) -> str:
        """`account|symbol`: intents of one lane reach the exchange one at a time, in order."""
        return f"{self.account}|{self.symbol}"


class PlaceOrder(_Intent, frozen=True, kw_only=True, tag="place"):
    """Put one new order on the exchange.

    `amount` is in the base currency (contracts' underlying on swaps), `price` and `trigger_price` in quote
    per base. `leg` names the order's part in the strategy (open, close, stop …), free text. `params` goes to
    the venue as extra request parameters; only those the venue's adapter allows are accepted.

    `replaces` names an earlier place intent of the same account, symbol and side, which this one takes the place of
    (FIX 35=G, Order Cancel/Replace): while that one still waits it ends unsent, and once it is on the exchange it is
    cancelled first and this one is placed only after the exchange has confirmed the cancel, never both. As with
    FIX's OrderQty (tag 38) `amount` is then a total: what the older order has filled counts towards it.
    """

    side: Side
    type: OrderType
    amount: Quantity
    price: Quantity | None = None
    trigger_price: Quantity | None = None
    time_in_force: TimeInForce | None = None
    reduce_only: bool = False
    leg: Label = ""
    params: dict[Label, str | int | bool] = {}
    replaces: Identifier | None = None

    def __post_init__(self) -> None:
        if self.replaces is not None and self.replaces == self.id:
            raise ValueError(
                f"replaces is {self.replaces!r}, this intent's own id: give the id of the earlier order it stands for"
            )
        _check_decimal("amount", self.amount)
        _check_price(self.type, "price", self.price, wanted=self.type.has_price)
        _check_price(self.type, "trigger_price", self.trigger_price, wanted=self.type.has_trigger)
        if self.time_in_force is not None and not self.type.has_price:
            raise ValueError(
                f"time_in_force is {self.time_in_force}, but a {self.type} order has none: leave it out"
            )
        _check_size("tags", self.tags)
        _check_size("params", self.params)

    @property
    def urgency(self) -> int:
        return _urgency(self.priority, URGENT_PRIORITY if self.reduce_only else DEFAULT_PRIORITY)


class CancelOrder(_Intent, frozen=True, kw_only=True, tag="cancel"):
    """Cancel what the intent `target` (same account and symbol) placed."""

    target: Identifier

    @property
    def urgency(self) -> int:
        return _urgency(self.priority, URGENT_PRIORITY)


class AmendOrder(_Intent, frozen=True, kw_only=True, tag="amend"):
    """Give the open order that `target` placed a new total amount, a new price, or both."""

    target: Identifier
    amount: Quantity | None = None
    price: Quantity | None = None

    def __post_init__(self) -> None:
        if self.amount is None and self.price is None:
            raise ValueError("an amend changes nothing: give amount, price or both")
        if self.amount is not None:
            _check_decimal("amount", self.amount)
        if self.price is not None:
            _check_decimal("price", self.price)
        _check_size("tags", self.tags)

    @property
    def urgency(self) -> int:
        return _urgency(self.priority, DEFAULT_PRIORITY)


class CancelAll(_Intent, frozen=True, kw_only=True, tag="cancel_all"):
    """Cancel what is open of the account on `symbol`, or with the symbol `*` on every symbol.

    Without `strategy`: every open order, those placed by others too. With it: the orders that this pool placed for
    that strategy, and no other.
    """

    symbol: SymbolOrEvery

    @property
    def covers_every_symbol(self) -> bool:
        return self.symbol == EVERY_SYMBOL

    @property
    def urgency(self) -> int:
        return _urgency(self.priority, URGENT_PRIORITY)


Intent = PlaceOrder | CancelOrder | AmendOrder | CancelAll

_decoder: msgspec.json.Decoder[Intent] = msgspec.json.Decoder(Intent)
_encoder = msgspec.json.Encoder(decimal_format="string", order="deterministic")

_AT_FIELD = re.compile(r" - at `\$\.(\w+)`\Z")
_EXPECTED: Final = {
    **dict.fromkeys(("id", "target", "replaces"), "expected a text of 1 to 64 of A-Z a-z 0-9 . _ : -"),
    **dict.fromkeys(("exchange", "account"), "expected a text of 1 to 64 of A-Z a-z 0-9 . _ -"),
    "symbol": "expected ccxt's unified form, such as BTC/USDT (spot) or BTC/USDT:USDT (swap)",
    "side": f"expected {', '.join(Side)}",
    "type": f"expected {', '.join(OrderType)}",
    "time_in_force": f"expected {', '.join(TimeInForce)}",
    "priority": "expected a whole number from 0 (most urgent) to 9",
    "expires_at": "expected milliseconds since 1970-01-01 UTC, a whole number",
}
"""What may stand in a field, for the message of one that holds something else."""


def encode_intent(intent: Intent) -> bytes:
    """The intent as canonical JSON: the same intent always gives the same bytes, which `intent_digest` relies on."""
    encoded = _encoder.encode(intent)
    # Decimal("0.0000001") calls itself 1E-7, which is no plain decimal to whoever reads the entry.
    values = {field: getattr(intent, field, None) for field in _DECIMAL_FIELDS}
    plain = {
        field: f"{value:f}" for field, value in values.items() if value is not None and "E" in str(value)
    }
    return _encoder.encode(msgspec.json.decode(encoded) | plain) if plain else encoded


def intent_digest(intent: Intent) -> str:
    """16 hex digits that tell two intents apart: the start of the SHA-256 of the canonical JSON.

    The record of an order carries it, so that an id that comes back with other content is noticed.
    """
    return sha256(encode_intent(intent)).hexdigest()[:16]


def decode_intent(payload: bytes) -> Intent:
    """Read one intent from the JSON in a stream entry.

    Raises:
        IntentInvalid: with code `payload_too_large`, `malformed_json`, `duplicate_key`, `inexact_number`,
            `unknown_kind` or `invalid_intent`.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise IntentInvalid(
            "payload_too_large",
            f"the payload has {len(payload)} bytes; an intent has at most {MAX_PAYLOAD_BYTES}",
        )
    try:
        raw = msgspec.json.decode(payload)
        repeated = repeated_key(payload, raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise IntentInvalid("malformed_json", f"the field `intent` holds no JSON object: {error}") from None
    if not isinstance(raw, dict):
        raise IntentInvalid(
            "malformed_json", f"the field `intent` holds {_JSON_KINDS[type(raw)]}, not an object"
        )
    if repeated is not None:
        raise IntentInvalid(
            "duplicate_key", f"the key {repeated[:40]!r} is given more than once: give it once"
        )
    _check_numbers(raw)
    try:
        intent = _decoder.decode(payload)
    except (msgspec.ValidationError, RecursionError) as error:
        if raw.get("kind") not in ("place", "cancel", "amend", "cancel_all"):
            kind = raw.get("kind", "")
            found = "missing" if "kind" not in raw else "null" if kind is None else repr(str(kind)[:40])
            raise IntentInvalid("unknown_kind", f"kind is {found}; expected {_KINDS}") from None
        raise IntentInvalid("invalid_intent", _in_words(str(error), raw)) from None
    if intent.expires_at is not None and _SECONDS_FROM <= intent.expires_at < _SECONDS_TO:
        raise IntentInvalid(
            "invalid_intent",
            f"expires_at is {intent.expires_at}: is it in seconds? {_EXPECTED['expires_at']}",
        )
    return intent


def intent_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of every intent, for producers in other languages."""
    return msgspec.json.schema(Intent)


def _in_words(problem: str, raw: dict[str, Any]) -> str:
    """msgspec's words, with the value they speak of and what may stand there instead."""
    found = _AT_FIELD.search(problem)
    field = found[1] if found else ""
    if field not in raw:
        return problem
    value = msgspec.json.encode(raw[field]).decode()
    shown = value if len(value) <= 40 else f"{value[:40]}…"
    if field == "symbol" and (raw["kind"] == "cancel_all" or raw["symbol"] == EVERY_SYMBOL):
        also = ", or * for every symbol" if raw["kind"] == "cancel_all" else "; only a cancel_all may say *"
        return f"{field} is {shown}: {_EXPECTED[field]}{also}"
    return f"{field} is {shown}: {_EXPECTED.get(field) or problem[: found.start() if found else None]}"


def _check_numbers(raw: dict[str, Any]) -> None:
    for field in _DECIMAL_FIELDS:
        value = raw.get(field)
        if isinstance(value, str):
            if not _DECIMAL_TEXT.match(value):
                raise IntentInvalid(
                    "inexact_number",
                    f'{field} is {value[:40]!r}; write a plain positive decimal such as "0.015" '
                    f"(up to {MAX_INTEGER_DIGITS} digits before and {MAX_FRACTION_DIGITS} after the point)",
                )
        elif isinstance(value, float):
            digits = len(Decimal(repr(value)).normalize().as_tuple().digits)
            if digits > EXACT_FLOAT_DIGITS:
                raise IntentInvalid(
                    "inexact_number",
                    f"{field} is the float {value!r}, whose {digits} digits a double cannot hold exactly; "
                    f'send it as a string, such as "{value:.8f}"',
                )


def _check_decimal(field: str, value: Decimal) -> None:
    if not isinstance(value, Decimal):
        raise ValueError(f"{field} is {value!r}, a {type(value).__name__}: give a Decimal")
    if not value.is_finite() or value <= 0:
        raise ValueError(f"{field} is {value}: expected a positive, finite decimal")
    exponent = value.normalize().as_tuple().exponent
    if (
        value.adjusted() >= MAX_INTEGER_DIGITS
        or not isinstance(exponent, int)
        or -exponent > MAX_FRACTION_DIGITS
    ):
        raise ValueError(
            f"{field} is {str(value)[:40]}: at most {MAX_INTEGER_DIGITS} digits before "
            f"and {MAX_FRACTION_DIGITS} after the point"
        )


def _check_price(order_type: OrderType, field: str, value: Decimal | None, *, wanted: bool) -> None:
    if wanted and value is None:
        raise ValueError(f"{field} is missing: a {order_type} order needs one")
    if not wanted and value is not None:
        raise ValueError(f"{field} is {value}, but a {order_type} order has none: leave it out")
    if value is not None:
        _check_decimal(field, value)


def _check_size(field: str, mapping: dict[str, Any]) -> None:
    if len(mapping) > 16:
        raise ValueError(f"{field} has {len(mapping)} entries; at most 16")


def _urgency(given: int | None, default: int) -> int:
    return default if given is None else given
