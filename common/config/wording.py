"""What a setting may be, in words: for messages and for the reference."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec import inspect

from common.secrets import Secret, SecretUrl
from orderlane.intents import Name

SECRET: Final = "{env: NAME} or {file: PATH}"
NAME: Final = "1 to 64 of A-Z a-z 0-9 . _ -"


def expectation(hint: Any) -> str:
    """A type with its bounds for a person: `a whole number from 50 to 20000`."""
    return _words(inspect.type_info(hint))


def _words(info: inspect.Type) -> str:
    match info:
        case inspect.Metadata(type=inner, extra=extra):
            return str((extra or {}).get("expected") or _words(inner))
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"a whole number{_range(info)}"
        case inspect.FloatType() | inspect.DecimalType():
            return f"a number{_range(info)}"
        case inspect.StrType():
            return _text(info)
        case inspect.LiteralType(values=values):
            return _choice(values)
        case inspect.EnumType(cls=cls):
            return _choice(member.value for member in cls)
        case inspect.CustomType(cls=cls) if issubclass(cls, Secret):
            return f"a URL without a password, {SECRET}" if issubclass(cls, SecretUrl) else SECRET
    return _compound(info)


def _compound(info: inspect.Type) -> str:
    match info:
        case inspect.VarTupleType(item_type=item, min_length=least):
            return f"a list{f' of {least} or more' if least else ''}, each {_words(item)}"
        case inspect.DictType(min_length=least):
            return "a mapping of names to their settings" + (", one or more" if least else "")
        case inspect.UnionType(types=types):
            return " or ".join(_words(each) for each in types if not isinstance(each, inspect.NoneType))
    return "settings, each as `name: value`"


def _text(info: inspect.StrType) -> str:
    if info.pattern is not None:
        return NAME if info.pattern == _pattern_of_names() else f"a text like {info.pattern}"
    return f"a text of at most {info.max_length} characters" if info.max_length else "a text"


def _pattern_of_names() -> str | None:
    info = inspect.type_info(Name)
    inner = info.type if isinstance(info, inspect.Metadata) else info
    return inner.pattern if isinstance(inner, inspect.StrType) else None


def _choice(values: Iterable[object]) -> str:
    return " or ".join(f'"{value}"' for value in values)


def _range(info: inspect.IntType | inspect.FloatType | inspect.DecimalType) -> str:
    if isinstance(info, inspect.DecimalType):
        return ""
    match info.ge, info.le:
        case None, None:
            return ""
        case least, None:
            return f", {least} or more"
        case None, most:
            return f", at most {most}"
        case least, most:
            return f" from {least} to {most}"
