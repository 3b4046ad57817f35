"""The intent in a stream entry."""

from __future__ import annotations

from collections.abc import Sequence

from common.lanes import Hold
from orderlane.intents import Intent, IntentInvalid, decode_intent
from orderlane.keys import INTENT_FIELD


def read_fields(fields: Sequence[bytes], lane: str) -> Intent:
    """The intent in the fields (name, value, …) of an entry that was sorted into `lane`.

    Raises:
        IntentInvalid: foreign fields, or a payload that is no intent of this lane.
    """
    names = [name.decode("utf-8", "replace") for name in fields[::2]]
    if names != [INTENT_FIELD]:
        raise IntentInvalid(
            "foreign_fields",
            f"the entry has the fields {', '.join(names)[:200]}; "
            f"expected exactly one, {INTENT_FIELD!r}, with one JSON object",
        )
    intent = decode_intent(fields[1])
    if intent.lane != lane:
        raise IntentInvalid(
            "unreadable_lane", f"account and symbol ({intent.lane[:140]!r}) could not be read alike twice"
        )
    return intent


def read_entry(hold: Hold) -> Intent:
    """The intent of the entry in hand.

    Raises:
        IntentInvalid: foreign fields, or a payload that is no intent of this lane.
    """
    return read_fields(hold.fields, hold.lane)
