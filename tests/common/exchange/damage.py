"""Every way to damage every field of a reply, one at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct

from orderlane.identity import client_order_id

OTHER_ID: Final = client_order_id("orderlane", "test", "main", "grid-2")
ABSENT: Final = object()

Path = tuple[str | int, ...]

VALUES: Final[dict[str, Any]] = {
    "missing": ABSENT,
    "null": None,
    "empty text": "",
    "x": "x",
    "empty list": [],
    "empty object": {},
    "true": True,
    "negative": -1,
    "negative text": "-1",
    "overflow": "1e400",
    "huge": 10**40,
    "not a number": "NaN",
    "other client id": OTHER_ID,
}


class Damaged(Struct, frozen=True):
    """A reply with one field damaged: where (`result.list.0.qty`), how, and what it is then."""

    where: str
    how: str
    reply: Any


def damaged(reply: Any, other_order_id: Any) -> Iterator[Damaged]:
    """The reply with each field damaged in each way; `other_order_id` is the venue's id of another order."""
    for path in _paths(reply):
        value = _at(reply, path)
        names = {"other order id": other_order_id} if _names_an_order(path) else {}
        for how, damage in {**VALUES, **names}.items():
            if (damage is not ABSENT or path) and damage != value:
                yield Damaged(_shown(path), how, _with(reply, path, damage))
        yield Damaged(_shown(path), "in a list", _with(reply, path, [value]))
        if isinstance(value, list):
            yield Damaged(_shown(path), "as an object", _with(reply, path, {"0": value}))
            if value:
                yield Damaged(_shown(path), "doubled", _with(reply, path, [*value, value[-1]]))
    for path in _paths(reply):
        fields = _at(reply, path)
        for name in fields if isinstance(fields, dict) else ():
            renamed = {"x" if key == name else key: inner for key, inner in fields.items()}
            yield Damaged(_shown((*path, name)), "renamed", _with(reply, path, renamed))


def _names_an_order(path: Path) -> bool:
    return any(str(part).lower().endswith("id") for part in path[-2:])


def _paths(value: Any, before: Path = ()) -> Iterator[Path]:
    yield before
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _paths(inner, (*before, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _paths(inner, (*before, place))


def _shown(path: Path) -> str:
    return ".".join(map(str, path))


def _at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


def _with(value: Any, path: Path, damage: Any) -> Any:
    if not path:
        return damage
    changed = copy.deepcopy(value)
    here = _at(changed, path[:-1])
    if damage is ABSENT:
        del here[path[-1]]
    else:
        here[path[-1]] = damage
    return changed
