"""JSON that gives a key twice, which readers silently settle each in their own way (RFC 8259, section 4). Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def repeated_key(payload: bytes, read: Any) -> str | None:
    """A key that some object of `payload` gives more than once, or None.

    Args:
        payload: well-formed JSON.
        read: what a reader for whom the last of equal keys counts made of it.

    Raises:
        RecursionError: it is nested too deeply.
    """
    # Each key has one colon outside of texts; a value that was dropped took its colons along. So the counts are equal
    # only where nothing was dropped, as long as each colon in a text stands for itself: \u003a is one that does not.
    if b"\\u003" not in payload and payload.count(b":") == _colons(read):
        return None
    repeated: list[str] = []

    def gather(pairs: Sequence[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                repeated.append(key)
            seen.add(key)

    # Numbers stay text: Python refuses to make an int of more than 4300 digits.
    json.loads(payload.decode(), object_pairs_hook=gather, parse_int=str, parse_float=str)
    return repeated[0] if repeated else None


def _colons(value: Any) -> int:
    """How many colons `value` has when it is written as JSON with no character escaped."""
    if isinstance(value, str):
        return value.count(":")
    if isinstance(value, list):
        return sum(map(_colons, value))
    if not isinstance(value, dict):
        return 0
    # All texts at this level are counted at once: every intent that is read passes here.
    texts = [*value, *(one for one in value.values() if isinstance(one, str))]
    inner = [_colons(one) for one in value.values() if isinstance(one, (dict, list))]
    return len(value) + "".join(texts).count(":") + sum(inner)
