"""docs/configuration.md says what the structs say."""

from pathlib import Path

import msgspec

from common.config.loading import CONFIG_VARIABLE, SECRET_VARIABLES, TEXT_VARIABLES
from common.config.reference import field_texts, reference, sections
from common.config.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


def test_the_page_ends_with_the_tables_of_the_structs_as_they_are_now() -> None:
    remedy = (
        "bring the page up to date: replace its tables by the output of `python -m common.config --reference`"
    )
    assert PAGE.endswith(f"\n{reference()}"), remedy


def test_every_setting_has_a_text_that_says_what_it_does() -> None:
    for path, kind in sections(Settings):
        texts = field_texts(kind)
        assert set(texts) == {field.name for field in msgspec.structs.fields(kind)}, path
        for name, text in texts.items():
            assert text.endswith((".", ".**", "`")), f"{path}.{name}: {text!r}"
            assert f"| `{name}` |" in PAGE


def test_every_number_has_a_unit_and_says_what_another_value_leads_to() -> None:
    for path, kind in sections(Settings):
        for field in msgspec.structs.fields(kind):
            if not isinstance(field.default, int | float) or isinstance(field.default, bool):
                continue
            row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{field.name}` |"))
            unit, text = row.split(" | ")[2], row.split(" | ")[4]
            assert unit.strip(), f"{path}.{field.name} has no unit"
            assert any(word in text for word in ("maller", "arger", "onger", "More", "Less")), row


def test_every_environment_variable_is_on_the_page() -> None:
    for name in (CONFIG_VARIABLE, *TEXT_VARIABLES, *SECRET_VARIABLES):
        assert f"| `{name}` |" in PAGE
    for name, path in {**TEXT_VARIABLES, **SECRET_VARIABLES}.items():
        assert f"| `{name}` | `{'.'.join(path)}` |" in PAGE
