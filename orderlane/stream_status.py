"""Who hears of an account's orders from the exchange itself, and since when: its user stream, as the holder notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from orderlane.keys import Keys
from orderlane.pool_link import PoolLink


class StreamStatus(Struct, frozen=True, kw_only=True):
    """An account's user stream. Times are ms.

    `holder`: the worker that has it open, empty when none does: then the periodic sync alone brings in what happens.
    `state`: `connecting`, `backfilling` (a gap is being read) or `live`, for `since_ms`. `silent_ms`: how long ago the
    last message came; None: none has come yet.
    """

    account: str
    holder: str
    state: str
    since_ms: int
    silent_ms: int | None


def read_streams(link: PoolLink, keys: Keys, accounts: Sequence[str], now_ms: int) -> list[StreamStatus]:
    """The streams of these accounts, those that a worker has ever held.

    Raises:
        Unreachable: Redis did not answer.
    """

    def ask() -> list[Any]:
        with link.redis.pipeline(transaction=False) as pipeline:
            for account in accounts:
                pipeline.hgetall(keys.stream(account))
            return list(pipeline.execute())

    answers = link.ask(ask) if accounts else []
    return [
        _stream(account, fields, now_ms) for account, fields in zip(accounts, answers, strict=True) if fields
    ]


def _stream(account: str, fields: Mapping[bytes, bytes], now_ms: int) -> StreamStatus:
    def number(name: bytes) -> int:
        return int(fields.get(name, b"0"))

    last_message = number(b"last_message")
    return StreamStatus(
        account=account,
        holder=fields.get(b"holder", b"").decode() if number(b"until") > now_ms else "",
        state=fields.get(b"state", b"").decode(),
        since_ms=max(now_ms - number(b"since"), 0),
        silent_ms=max(now_ms - last_message, 0) if last_message else None,
    )
