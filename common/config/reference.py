"""The tables of `docs/configuration.md`, made from the structs: a test compares the two, so neither can
drift."""

from __future__ import annotations

import ast
import inspect as source_inspect
from collections.abc import Iterator
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct, inspect

from common.config.decoding import bare
from common.config.settings import Settings
from common.config.wording import expectation

_UNITS: Final = {"_ms": "ms", "_seconds": "s"}


def reference() -> str:
    """One heading and one table in Markdown for each section of the settings, from the top of the file
    down."""
    return "\n".join(_table(path, kind) for path, kind in sections(Settings))


def sections(kind: type[Struct], path: str = "") -> Iterator[tuple[str, type[Struct]]]:
    """Every struct below `kind` with its path: `exchanges.<exchange>.worker`."""
    yield path, kind
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        info = bare(inspect.type_info(hints[field.name]))
        inner_path = f"{path}.{field.name}".lstrip(".")
        if isinstance(info, inspect.DictType):
            info = bare(info.value_type)
            inner_path += f".<{field.name.removesuffix('s')}>"
        if isinstance(info, inspect.StructType):
            yield from sections(info.cls, inner_path)


def _table(path: str, kind: type[Struct]) -> str:
    hints = get_type_hints(kind, include_extras=True)
    texts = field_texts(kind)
    lines = [
        f"### `{path}`" if path else "### Top level",
        "",
        " ".join((kind.__doc__ or "").partition("\n\n    Raises:")[0].split()),
        "",
        "| setting | default | unit | may be | what it does, and what too small or too large leads to |",
        "|---|---|---|---|---|",
    ]
    for field in msgspec.structs.fields(kind):
        hint = hints[field.name]
        cells = (
            f"`{field.name}`",
            _default(field),
            _unit(field.name, hint),
            expectation(hint),
            texts[field.name],
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def field_texts(kind: type[Struct]) -> dict[str, str]:
    """The text under each field of a struct, by name, in one line; read from the source, which alone has
    it."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not issubclass(base, Struct) or base is Struct:
            continue
        tree = ast.parse(source_inspect.getsource(base)).body[0]
        assert isinstance(tree, ast.ClassDef)
        for field, text in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                texts[field.target.id] = _said(text)
    return texts


def _said(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return " ".join(str(statement.value.value).split())
    return ""


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not NODEFAULT else field.default_factory()
    if isinstance(value, Struct):
        return "see below"
    if value is None or value in ((), {}, ""):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"


def _unit(name: str, hint: Any) -> str:
    info = inspect.type_info(hint)
    while isinstance(info, inspect.Metadata):
        if info.extra and "unit" in info.extra:
            return str(info.extra["unit"])
        info = info.type
    return next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")
