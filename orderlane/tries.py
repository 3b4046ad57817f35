"""What was asked about one order, and what the answer was: the last few questions, kept beside its record.

The list `tries:<client order id>` is for people (`orderlane why`): nothing is decided by it, and a try that could
not be noted is noted nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

MOST_KEPT: Final = 20
"""Tries kept for one order, the latest."""


class Try(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One question to the exchange about an order, `at` ms. `by`: the process (a worker's id, or `scheduler`). `asked`:
    what was asked, `said`: what came of it, both in words. `next`: not before when it is asked again, ms; 0: not known.
    """

    at: int
    by: str
    asked: str
    said: str
    next: int = 0


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Try)


def encode_try(one: Try) -> bytes:
    """The try as JSON."""
    return _encoder.encode(one)


def decode_tries(values: Iterable[bytes]) -> list[Try]:
    """The tries, oldest first; values that are none are passed over."""
    found = []
    for value in values:
        try:
            found.append(_decoder.decode(value))
        except msgspec.DecodeError:
            continue
    return found


def add_try(pipeline: Any, key: str, one: Try, retention_ms: int) -> None:
    """Put into a pipeline what notes a try; run twice, it is noted twice."""
    pipeline.rpush(key, encode_try(one))
    pipeline.ltrim(key, -MOST_KEPT, -1)
    pipeline.pexpire(key, retention_ms)
