"""The intent in a stream entry."""

from __future__ import annotations

from collections.abc import Sequence

from common.lanes import Hold
from orderlane.intents import Intent, IntentInvalid, decode_intent
from orderlane.keys import INTENT_FIELD


def read_fields(fields: Sequence[bytes]) -> Intent:
    """The intent in an entry's fields (name, value, …).

    Raises:
        IntentInvalid: foreign fields, or a payload that is no intent.
    """
    names = [name.decode("utf-8", "replace") for name in fields[::2]]
    if names != [INTENT_FIELD]:
        raise IntentInvalid(
            "foreign_fields",
            f"the entry has the fields {', '.join(names)[:200]}; "
            f"expected exactly one, {INTENT_FIELD!r}, with one JSON object",
        )
    return decode_intent(fields[1])


def read_entry(hold: Hold) -> Intent:
    """The intent of the entry in hand.

    Raises:
        IntentInvalid: foreign fields, or a payload that is no intent of this lane.
    """
    intent = read_fields(hold.fields)
    if intent.lane != hold.lane:
        raise IntentInvalid(
            "unreadable_lane", f"account and symbol ({intent.lane[:140]!r}) could not be read alike twice"
        )
    return intent
