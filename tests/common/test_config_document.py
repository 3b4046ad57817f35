from pathlib import Path

import pytest

from common.config.document import Section, read_document


def problems(text: str) -> list[str]:
    section, found = read_document(text, "file")
    assert found or section is None
    return [str(problem) for problem in found]


def test_a_key_given_twice_is_refused_with_both_lines() -> None:
    assert problems("a:\n  b: 1\n  c: 2\n  b: 3\n") == [
        "file:4: a.b: given twice, first in line 2: remove one"
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("12", 12),
        ("-3", -3),
        ("+3", 3),
        ("0", 0),
        ("1_000_000", 1_000_000),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("null", None),
        ("~", None),
        ("", None),
        ("2024-01-01", "2024-01-01"),
        ("'12'", "12"),
        ("[1, a]", [1, "a"]),
    ],
)
def test_scalars_mean_what_they_look_like(text: str, value: object) -> None:
    section, found = read_document(f"key: {text}", "file")
    assert not found
    assert section is not None
    assert section["key"] == value
    assert type(section["key"]) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "1: a",
        "true: a",
        "[a]: b",
        "a: !!binary aGVsbG8=",
        "a: !!python/object/apply:os.system [ls]",
        "a: !!int x",
        "<<: {a: 1}",
        "a: {",
        "a: b: c",
        "a\n b: c",
        "\tb: c",
        "a: *nowhere",
        "- a",
        "word",
        "a: 1\n---\nb: 2",
        "a: \x07",
        "a: &a [*a]",
        "a: " + "[" * 3000 + "]" * 3000,
        f"a: {'9' * 5000}",
    ],
)
def test_what_is_not_plain_settings_is_refused_and_never_run(text: str) -> None:
    assert problems(text)


def test_lines_are_known_and_an_alias_stands_for_what_it_names() -> None:
    section, found = read_document("a: &one\n  b: 1\nc: *one\n", "file")
    assert not found
    assert section is not None
    assert section.lines == {"a": 1, "c": 3}
    assert isinstance(section["c"], Section)
    assert section["c"].lines == {"b": 2}
    assert section["c"] == {"b": 1}


def test_an_alias_bomb_is_read_in_no_time_and_refused_by_the_settings() -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))]
    section, found = read_document("\n".join(lines), "file")
    assert not found
    assert section is not None
    assert len(section) == 60


def test_no_file_opens_another(tmp_path: Path) -> None:
    assert problems(f"a: !include {tmp_path}")
