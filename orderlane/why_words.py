"""Lengths of time and moments, as the sentences of `orderlane why` say them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from orderlane.why_facts import Facts


def entry_ms_of(entry: str) -> int:
    """When Redis took an entry: the first part of its id; 0 for none."""
    return int(entry.partition("-")[0] or 0)


def clock(ms: int) -> str:
    """A moment, to the second."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(facts: Facts, ms: int) -> str:
    """A moment as how long ago it was."""
    if not ms:
        return "at a time not known"
    passed = facts.now_ms - ms
    return f"{span(passed)} ago" if passed >= 0 else f"at {clock(ms)}"


def span(ms: int) -> str:
    """A length of time in its largest sensible unit."""
    for unit, size in (("days", 86_400_000), ("hours", 3_600_000), ("min", 60_000)):
        if ms >= 2 * size:
            return f"{ms / size:.1f} {unit}"
    return f"{ms / 1000:.1f} s"


def lasting(facts: Facts, ms: int) -> str:
    """For how long something has been so that began at `ms`."""
    return span(max(facts.now_ms - ms, 0)) if ms else "a time not known"
