"""What is wrong with a configuration, said so that a person can mend it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from msgspec import Struct

from common.secrets import scrub

_SHOWN_LENGTH: Final = 80

Path = tuple[str, ...]
"""Where a setting stands: `("exchanges", "binance", "accounts", "main", "key")`."""


class Problem(Struct, frozen=True):
    """One thing that is wrong. `line` counts from 1 and is 0 where none is known; `source` is a file or
    `environment`."""

    source: str
    line: int
    path: Path
    message: str

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}" if self.line else self.source
        return f"{where}: {path_text(self.path)}: {self.message}" if self.path else f"{where}: {self.message}"


class ConfigInvalid(ValueError):
    """A configuration that can't be used; `problems` lists all that is wrong with it, and so does the
    message."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = tuple(problems)
        count = len(self.problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(scrub(f"the configuration has {count} problem{'s' * (count != 1)}:\n{lines}"))


def path_text(path: Path) -> str:
    """`exchanges.binance.worker.resolve_delays_ms[2]`; a name that isn't plain stands in quotes."""
    text = ""
    for part in path:
        if part.startswith("["):
            text += part
        else:
            text += ("." if text else "") + (
                part if part.replace("-", "").replace("_", "").isalnum() else repr(part)
            )
    return text


def value_text(value: object) -> str:
    """A value for a message: short ones as they are, what has parts by its kind alone."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = scrub(repr(value))  # before it is cut: a half secret would no longer be recognised
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}… ({len(text)} characters)"


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """` (did you mean "worker"?)` for a near miss, else nothing."""
    near = get_close_matches(str(given), list(known), n=1, cutoff=0.6)
    return f' (did you mean "{near[0]}"?)' if near else ""
