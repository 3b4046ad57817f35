"""Whether a stream goes on where the archive ends, lacks something in between, or has gone back. Pure."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from orderlane.archive.state import event_position
from workers.archive.rows import Entry

START = "0-0"
"""The position of an archive that holds no event of a stream yet."""


class Position(Struct, frozen=True):
    """Where the archive ends: the id of its last event, and that event's payload.

    None: there is no such row; the archive ends at an id without an event (`START`, or where a gap or a stream that
    went back left it).
    """

    event_id: str
    payload: str | None


class StreamFacts(Struct, frozen=True):
    """What Redis says of a stream in one answer (XINFO STREAM); `first` is empty when it holds nothing.

    `last_generated` is `0-0` for a stream that does not exist.
    """

    last_generated: str
    first: str


class Finding(StrEnum):
    """What is to be done."""

    GOES_ON = "goes_on"
    GAP = "gap"
    """Events after the position were removed before they were archived, or may have been."""
    WENT_BACK = "went_back"
    """Redis was restored from an older state, replaced or emptied: what the archive holds last is not in the stream."""


def is_continued(position: Position, first: Entry | None) -> bool:
    """Whether the entry found at the position is the one that was archived: then nothing is missing after it."""
    return first is not None and first.id == position.event_id and first.payload == position.payload


def judge(position: Position, at_position: Entry | None, facts: StreamFacts) -> Finding:
    """What became of a stream that does not show the archive's last event where it was.

    `at_position`: what stands in the stream under the position's id now.
    """
    here = event_position(position.event_id)
    if event_position(facts.last_generated) < here:
        return Finding.WENT_BACK
    if position.payload is None or is_continued(position, at_position):
        return Finding.GOES_ON
    if not facts.first:
        return Finding.GOES_ON if facts.last_generated == position.event_id else Finding.GAP
    # Trimming begins at the oldest: if anything up to the position were left, the last archived event would be too.
    return Finding.GAP if event_position(facts.first) > here else Finding.WENT_BACK
