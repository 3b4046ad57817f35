"""When an account's open orders were last compared with the exchange's, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from orderlane.keys import Keys
from orderlane.pool_link import PoolLink


class SyncState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The field of an account in the hash `synced`. Times are ms by Redis' clock, 0: never.

    `began`: when its last comparison began. `listed`: when the exchange last gave its whole list of open orders, and
    `open` how many it showed. `asked`, `changed`, `failed`: requests, records changed and questions without an answer
    of the last comparison that ended. `error`: why the last one failed, empty if it did not. `period_seconds`: after
    how long the next is due.
    """

    account: str
    began: int
    listed: int = 0
    open: int = 0
    asked: int = 0
    changed: int = 0
    failed: int = 0
    error: str = ""
    period_seconds: int = 0


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(SyncState)


def encode_sync(state: SyncState) -> bytes:
    """The state as JSON."""
    return _encoder.encode(state)


def decode_syncs(fields: Mapping[bytes, bytes]) -> dict[str, SyncState]:
    """The states in the hash `synced`, by account; values that are none are passed over."""
    found: dict[str, SyncState] = {}
    for value in fields.values():
        try:
            state = _decoder.decode(value)
        except msgspec.DecodeError:
            continue
        found[state.account] = state
    return found


def read_syncs(link: PoolLink, keys: Keys) -> list[SyncState]:
    """When each account of an exchange was last compared, by account.

    Raises:
        Unreachable: Redis did not answer.
    """
    fields: Any = link.ask(lambda: link.redis.hgetall(keys.synced))
    return sorted(decode_syncs(fields).values(), key=lambda one: one.account)
