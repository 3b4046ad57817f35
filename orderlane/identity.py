"""The client order id: computed from the intent, never drawn, so that every replay names the same order.

An id is 16 bytes: a 2-byte prefix that marks the pool, and 14 bytes of a hash over (exchange, account,
intent id). Venues want it in different clothes; all of them are made here, from the same bytes.
"""

from __future__ import annotations

from base64 import b32decode, b32encode
from hashlib import sha256
from uuid import UUID

TEXT_LENGTH = 25
LONGEST_INTENT_ID = 64
EXTERNAL = "external:"
"""What the intent ids of orders begin with that the pool did not place."""
REBUILT = "rebuilt:"
"""What the intent ids of orders of the pool begin with whose intents nobody knows any more; their client order id
follows."""


_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz234567")


def pool_prefix(pool: str) -> bytes:
    """The 2 bytes with which every client order id of this pool starts."""
    return sha256(pool.encode()).digest()[:2]


def client_order_id_bytes(pool: str, exchange: str, account: str, intent_id: str) -> bytes:
    """The 16 bytes that name the order of one intent, on any machine, for ever.

    The parts are joined with NUL, which none of them can contain, so ("a", "bc") and ("ab", "c") differ.
    """
    named = f"{exchange}\0{account}\0{intent_id}".encode()
    return pool_prefix(pool) + sha256(named).digest()[:14]


def as_text(identifier: bytes) -> str:
    """25 characters of `[a-z2-7]`: fits Binance (36), Bybit (36) and OKX (32, alphanumeric only)."""
    return b32encode(identifier).decode().lower()[:TEXT_LENGTH]


def as_uuid(text: str) -> str:
    """The client order id as a UUID, which Kraken takes as `cl_ord_id`: 25 letters (125 bits) and three zero bits."""
    return str(UUID(bytes=b32decode(f"{text.upper()}A======")))


def client_order_id(pool: str, exchange: str, account: str, intent_id: str) -> str:
    """The canonical (text) client order id of an intent: the last part of its record's key.

    A rebuilt order's stand-in for an intent id holds it.

    >>> client_order_id("orderlane", "binance", "main", "grid-1")
    't5adgclpum3sy4pdooaqb7jeu'
    >>> client_order_id("orderlane", "binance", "main", "rebuilt:t5adgclpum3sy4pdooaqb7jeu")
    't5adgclpum3sy4pdooaqb7jeu'
    """
    if intent_id.startswith(REBUILT) and belongs_to_pool(pool, intent_id.removeprefix(REBUILT)):
        return intent_id.removeprefix(REBUILT)
    return as_text(client_order_id_bytes(pool, exchange, account, intent_id))


def external_intent_id(symbol: str, exchange_order_id: str, *, own_book: bool = False) -> str:
    """By which name intents speak of an order that the pool did not place: `external:`, the symbol with `-` for `/`,
    and the exchange's id of the order, after `algo-` where it is kept in a book of its own (the algo orders of Binance
    USDⓈ-M, which are numbered apart).

    >>> external_intent_id("BTC/USDT:USDT", "8389765")
    'external:BTC-USDT:USDT:8389765'
    """
    named = f"{EXTERNAL}{symbol.replace('/', '-')}:{'algo-' if own_book else ''}{exchange_order_id}"
    if len(named) <= LONGEST_INTENT_ID:
        return named
    return f"{EXTERNAL}{sha256(named.encode()).hexdigest()[:40]}"


def is_made_by_a_pool(text: str) -> bool:
    """Whether a client order id has the form of those that pools make: this one's, or another's."""
    return len(text) == TEXT_LENGTH and not set(text) - _LETTERS


def belongs_to_pool(pool: str, text: str) -> bool:
    """Whether a client order id seen on an exchange was made by this pool (compares its 2-byte prefix)."""
    return len(text) == TEXT_LENGTH and text[:3] == as_text(pool_prefix(pool) + bytes(14))[:3]
