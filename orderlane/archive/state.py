"""What an archiver says of its archive in Redis, for whoever trims events and whoever looks at the pool."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct


class ArchiveState(Struct, frozen=True, kw_only=True):
    """How far one archive has come with one exchange.

    `archive` is the archive's own id, `event_id` the last event in it (`0-0`: none yet), `at` when this was said, ms
    by Redis' clock. `notices` counts what went wrong with its history so far (events that were gone before they could
    be archived, a Redis that went back), `last_notice` tells the latest in a sentence, and when.
    """

    archive: str
    event_id: str
    at: int
    notices: int = 0
    last_notice: str = ""
    last_notice_at: int = 0


_decoder: msgspec.json.Decoder[ArchiveState] = msgspec.json.Decoder(ArchiveState)


def encode_state(state: ArchiveState) -> bytes:
    """The value of the field `state.archive` of the exchange's hash `archive`."""
    return msgspec.json.encode(state)


def decode_states(fields: Mapping[bytes, bytes]) -> list[ArchiveState]:
    """The archives of an exchange, from its hash `archive`; what can't be read is left out."""
    found = []
    for value in fields.values():
        try:
            found.append(_decoder.decode(value))
        except msgspec.MsgspecError:
            continue
    return sorted(found, key=lambda state: state.archive)


def event_position(event_id: str) -> tuple[int, int]:
    """A stream id as numbers, which compare as Redis does.

    >>> event_position("1700000000000-7")
    (1700000000000, 7)
    """
    ms, _, sequence = event_id.partition("-")
    return int(ms), int(sequence or 0)
