"""The Lua scripts of `common/lua`, each read once, with what it includes put in its place.

A line `-- include: other.lua` is replaced by that file's text; a file included twice stands once. Redis
knows a script by the SHA-1 of its text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "lua"
_NAME = re.compile(r"[a-z0-9_]+\Z")
_INCLUDE = re.compile(r"^-- include: (.+?)\.lua[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """A script as Redis gets it: `sha1` is that of `source`, in hex."""

    name: str
    source: str
    sha1: str


@cache
def load_script(name: str) -> Script:
    """The script `common/lua/<name>.lua`, its includes expanded.

    Raises:
        ValueError: no such script, or one it includes is missing.
    """
    source = _expanded(name, set())
    return Script(name, source, sha1(source.encode(), usedforsecurity=False).hexdigest())


def _expanded(name: str, seen: set[str]) -> str:
    seen.add(name)
    path = FOLDER / f"{name}.lua"
    if not _NAME.match(name) or not path.is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.lua")))
        raise ValueError(f"no Lua script is named {name!r}; in common/lua there are: {known}")

    def included(line: re.Match[str]) -> str:
        return "" if line[1] in seen else _expanded(line[1], seen)

    return _INCLUDE.sub(included, path.read_text(encoding="utf-8"))
