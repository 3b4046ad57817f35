"""A document's values into a typed struct, with everything that is wrong, each with its path and line.

msgspec's own decoder stops at the first error; here it judges one value at a time, so a person sees them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, Protocol, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Struct, inspect

from common.config.document import Section
from common.config.problems import Path, Problem, did_you_mean, value_text
from common.config.wording import expectation
from common.secrets import Secret, scrub

S = TypeVar("S", bound=Struct)

Flaw = tuple[Path, str]
"""What a check of a whole struct found: the field, relative to the struct, and the message."""
Checks = Mapping[type[Struct], Callable[[Any], Iterable[Flaw]]]


class SecretReader(Protocol):
    """Makes a secret of a value in the document; raises ValueError, without the value in its message."""

    def __call__(self, kind: type[Secret], raw: object) -> Secret: ...


class _Wrong(Exception):
    """The value can't be used, and the problem is noted already."""


_MISSING: Final = object()


class Decoder:
    """Decodes one document. `problems` fills up on the way, in the order of the structs' fields."""

    def __init__(self, source: str, read_secret: SecretReader, checks: Checks) -> None:
        self.source = source
        self.read_secret = read_secret
        self.checks = checks
        self.problems: list[Problem] = []

    def decode(self, kind: type[S], section: Section) -> S | None:
        """The struct a document describes; None if it has problems that keep it from being built."""
        try:
            return self._struct(kind, section, (), section.line)
        except _Wrong:
            return None

    def _struct(self, kind: type[S], raw: object, path: Path, line: int) -> S:
        raw = Section(line) if raw is None else raw
        if not isinstance(raw, Section):
            shown = "a text" if isinstance(raw, str) else value_text(raw)
            raise self._wrong(path, line, f"expected settings, each as `name: value`, not {shown}")
        hints = get_type_hints(kind, include_extras=True)
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        broken = self._unknown_keys(raw, fields, path)
        values: dict[str, Any] = {}
        for name, field in fields.items():
            given = raw.get(name, _MISSING)
            try:
                if given is not _MISSING:
                    where = raw.lines.get(name, line)
                    values[field.name] = self._value(hints[field.name], given, (*path, name), where)
                elif field.required:
                    raise self._wrong(
                        (*path, name), line, f"missing: expected {expectation(hints[field.name])}"
                    )
            except _Wrong:
                broken = True
        if broken:
            raise _Wrong
        return self._checked(kind, values, path, raw)

    def _unknown_keys(self, raw: Section, known: Iterable[str], path: Path) -> bool:
        unknown = [name for name in raw if name not in known]
        for name in unknown:
            hint = did_you_mean(name, known) or f" (known here: {', '.join(known)})"
            self._wrong((*path, name), raw.lines[name], f"there is no such setting{hint}")
        return bool(unknown)

    def _checked(self, kind: type[S], values: dict[str, Any], path: Path, raw: Section) -> S:
        try:
            built = kind(**values)
        except ValueError as error:
            raise self._wrong(path, raw.line, str(error)) from None
        flaws = list(self.checks.get(kind, lambda _: ())(built))
        for where, message in flaws:
            self._wrong((*path, *where), _line_of(raw, where), message)
        if flaws:
            raise _Wrong
        return built

    def _value(self, hint: Any, raw: object, path: Path, line: int) -> Any:
        """One value of any type; `hint` keeps its bounds (`Annotated`)."""
        info = bare(inspect.type_info(hint))
        if isinstance(info, inspect.UnionType):
            if raw is None and info.includes_none:
                return None
            options = [option for option in get_args(unwrapped(hint)) if option is not type(None)]
            if len(options) == 1:
                return self._value(options[0], raw, path, line)
        if isinstance(info, inspect.StructType):
            return self._struct(info.cls, raw, path, line)
        if isinstance(info, inspect.CustomType) and issubclass(info.cls, Secret):
            return self._secret(info.cls, raw, path, line)
        if isinstance(info, inspect.DictType) and isinstance(raw, Section):
            return self._mapping(hint, raw, path, line)
        if isinstance(info, inspect.VarTupleType) and isinstance(raw, list):
            return self._items(hint, raw, path, line)
        return self._plain(hint, raw, path, line)

    def _mapping(self, hint: Any, raw: Section, path: Path, line: int) -> dict[str, Any]:
        key_hint, value_hint = get_args(unwrapped(hint))
        values, broken = {}, False
        for name, value in raw.items():
            where = raw.lines.get(name, line)
            try:
                self._plain(key_hint, name, (*path, name), where, "a name has")
                values[name] = self._value(value_hint, value, (*path, name), where)
            except _Wrong:
                broken = True
        if broken:
            raise _Wrong
        info = bare(inspect.type_info(hint))
        assert isinstance(info, inspect.DictType)
        if len(values) < (info.min_length or 0):
            raise self._wrong(path, line, f"empty: expected {expectation(hint)}")
        return values

    def _items(self, hint: Any, raw: list[object], path: Path, line: int) -> tuple[Any, ...]:
        item_hint = get_args(unwrapped(hint))[0]
        values, broken = [], False
        for index, item in enumerate(raw):
            try:
                values.append(self._value(item_hint, item, (*path, f"[{index}]"), line))
            except _Wrong:
                broken = True
        if broken:
            raise _Wrong
        info = bare(inspect.type_info(hint))
        assert isinstance(info, inspect.VarTupleType)
        if not (info.min_length or 0) <= len(values) <= (info.max_length or len(values)):
            raise self._wrong(path, line, f"{len(values)} items: expected {expectation(hint)}")
        return tuple(values)

    def _secret(self, kind: type[Secret], raw: object, path: Path, line: int) -> Secret:
        try:
            return self.read_secret(kind, raw)
        except ValueError as error:
            raise self._wrong(path, line, str(error)) from None

    def _plain(self, hint: Any, raw: object, path: Path, line: int, expected: str = "expected") -> Any:
        try:
            value = msgspec.convert(raw, hint, strict=True)
        except msgspec.ValidationError:
            words = expectation(hint)
            choices = did_you_mean(raw, words.split('"')[1::2]) if isinstance(raw, str) else ""
            raise self._wrong(
                path, line, f"{value_text(raw)} is wrong: {expected} {words}{choices}"
            ) from None
        if isinstance(value, Decimal) and not value.is_finite():
            raise self._wrong(path, line, f"{value_text(raw)} is wrong: expected a finite number")
        return value

    def _wrong(self, path: Path, line: int, message: str) -> _Wrong:
        self.problems.append(Problem(self.source, line, path, scrub(message)))
        return _Wrong()


def bare(info: inspect.Type) -> inspect.Type:
    """The type without what is only said about it (titles, units)."""
    return bare(info.type) if isinstance(info, inspect.Metadata) else info


def unwrapped(hint: Any) -> Any:
    """The type inside (nested) `Annotated`."""
    return unwrapped(hint.__origin__) if hasattr(hint, "__metadata__") else hint


def _line_of(section: Section, path: Path) -> int:
    line, here = section.line, section
    for part in path:
        line = here.lines.get(part, line)
        inner = here.get(part)
        if not isinstance(inner, Section):
            break
        here = inner
    return line
