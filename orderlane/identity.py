"""The client order id: computed from the intent, never drawn, so that every replay names the same order.

An id is 16 bytes: a 2-byte prefix that marks the pool, and 14 bytes of a hash over (exchange, account,
intent id). Venues want it in different clothes; all of them are made here, from the same bytes.
"""

from __future__ import annotations

from base64 import b32decode, b32encode
from hashlib import sha256
from uuid import UUID

TEXT_LENGTH = 25


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

    >>> client_order_id("orderlane", "binance", "main", "grid-1")
    't5adgclpum3sy4pdooaqb7jeu'
    """
    return as_text(client_order_id_bytes(pool, exchange, account, intent_id))


def belongs_to_pool(pool: str, text: str) -> bool:
    """Whether a client order id seen on an exchange was made by this pool (compares its 2-byte prefix)."""
    return len(text) == TEXT_LENGTH and text[:3] == as_text(pool_prefix(pool) + bytes(14))[:3]
