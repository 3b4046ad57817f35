"""A YAML text read strictly: no key twice, no surprising types, and the line of every key kept.

PyYAML's safe loader takes the last of two equal keys in silence and follows YAML 1.1, where `no` is false,
`010` is 8 and `1:30` is 90. Here keys are unique and scalars follow YAML 1.2's core schema: `true`, `false`,
`null`, plain decimal numbers (with `_` between digits); everything else is text."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from common.config.problems import Path, Problem

_TAG: Final = "tag:yaml.org,2002:"


class Section(dict[str, Any]):
    """A YAML mapping; `lines` holds the line, from 1, of each key, and `line` that of the whole."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}

    def copied(self) -> Section:
        """A copy to be changed: a part that a file uses twice (`*alias`) is one object in both places."""
        copy = Section(self.line)
        copy.update(self)
        copy.lines.update(self.lines)
        return copy


class _Loader(yaml.SafeLoader):
    """The safe loader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way to say it


for _name, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", [*"-+0123456789"]),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]*)?\.[0-9]+(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+",
        "-+0123456789.",
    ),
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(
        f"{_TAG}{_name}", re.compile(rf"(?:{_pattern})\Z"), list(_first) + [""] * (_name == "null")
    )


def read_document(text: str, source: str) -> tuple[Section | None, list[Problem]]:
    """The mapping a YAML text holds, and what is wrong with it as YAML; None where nothing can be made of it.

    Problems never quote the text: it may hold a secret that someone pasted in.
    """
    reader = _Reader(source)
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        return reader.document(node), reader.problems
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        return None, [Problem(source, line, (), f"not readable as YAML: {_what(error)}")]
    except yaml.YAMLError:
        return None, [Problem(source, 0, (), "not readable as YAML: it holds a character that YAML forbids")]
    except RecursionError:
        return None, [Problem(source, 0, (), "nested too deeply, or a part that contains itself")]


def _what(error: yaml.MarkedYAMLError) -> str:
    words = (error.problem or error.context or "wrong syntax").split("'")[0].split('"')[0].strip()
    return f"{words} (check the indentation, and put texts with : # {{ }} in quotes)"


class _Reader:
    """Turns nodes into values, and collects what is wrong on the way. A part used twice is read once."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.seen: dict[int, Any] = {}

    def document(self, node: yaml.Node | None) -> Section | None:
        if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}null"):
            return Section(1)
        value = self.value(node, ())
        if isinstance(value, Section):
            return value
        self.problem(node, (), "expected settings, each as `name: value`")
        return None

    def value(self, node: yaml.Node, path: Path) -> Any:
        if id(node) not in self.seen:
            self.seen[id(node)] = self.fresh_value(node, path)
        return self.seen[id(node)]

    def fresh_value(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.CollectionNode) and node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            self.problem(node, path, "a YAML tag (!) is not used here: leave it out")
            return None
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, f"[{index}]")) for index, item in enumerate(node.value)]
        return self.scalar(node, path)

    def mapping(self, node: yaml.MappingNode, path: Path) -> Section:
        section = Section(node.start_mark.line + 1)
        for key, value in node.value:
            name = key.value
            if key.tag == f"{_TAG}merge":
                self.problem(key, path, "merge keys (<<) are not used here: write the settings out")
            elif key.tag != f"{_TAG}str":
                self.problem(key, path, 'a key is a text: put it in quotes, as in "1":')
            elif name in section:
                first = section.lines[name]
                self.problem(key, (*path, name), f"given twice, first in line {first}: remove one")
            else:
                section[name] = self.value(value, (*path, name))
                section.lines[name] = key.start_mark.line + 1
        return section

    def scalar(self, node: yaml.Node, path: Path) -> Any:
        kind, text = node.tag.removeprefix(_TAG), node.value
        if kind == "str":
            return text
        if kind == "null":
            return None
        try:
            if kind == "bool":
                return {"true": True, "false": False}[text.lower()]
            if kind == "int":
                return int(text)
            if kind == "float":
                return float(text)
        except (KeyError, ValueError):
            pass
        self.problem(
            node, path, "a value that is neither a plain text nor a number: leave out its YAML tag (!)"
        )
        return None

    def problem(self, node: yaml.Node, path: Path, message: str) -> None:
        self.problems.append(Problem(self.source, node.start_mark.line + 1, path, message))
