import hashlib
from pathlib import Path

import pytest

import common.scripts
from common.scripts import FOLDER, Script, load_script


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(common.scripts, "FOLDER", tmp_path)
    return tmp_path


def read(name: str) -> Script:
    """As `load_script` does, but not from what it keeps."""
    return load_script.__wrapped__(name)


def test_an_include_line_gives_way_to_the_files_text(folder: Path) -> None:
    (folder / "part.lua").write_text("local one = 1\n")
    (folder / "whole.lua").write_text("-- a header\n-- include: part.lua  \nreturn one\n")
    assert read("whole").source == "-- a header\nlocal one = 1\n\nreturn one\n"


def test_a_file_included_twice_or_by_itself_stands_once(folder: Path) -> None:
    (folder / "a.lua").write_text("local a = 1\n-- include: b.lua\n-- include: a.lua\n")
    (folder / "b.lua").write_text("local b = 1\n-- include: a.lua\n")
    (folder / "whole.lua").write_text("-- include: a.lua\n-- include: b.lua\nreturn a\n")
    source = read("whole").source
    assert source.count("local a = 1") == source.count("local b = 1") == 1
    assert "include" not in source


def test_the_sha1_is_the_one_redis_computes(folder: Path) -> None:
    (folder / "one.lua").write_text("return 'ä'\n", encoding="utf-8")
    script = read("one")
    assert script.sha1 == hashlib.sha1(script.source.encode()).hexdigest()


@pytest.mark.parametrize("name", ["missing", "../acquire", "Acquire", ""])
def test_a_name_that_is_no_script_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ValueError, match="acquire"):
        load_script(name)


@pytest.mark.parametrize("name", [file.stem for file in FOLDER.glob("*.lua")])
def test_every_script_has_one_header_that_says_what_it_takes_and_gives(name: str) -> None:
    header = (FOLDER / f"{name}.lua").read_text().split("\n\n")[0].splitlines()
    assert all(line.startswith("--") for line in header)
    starts = [line.removeprefix("-- ").split(":")[0] for line in header]
    assert [starts.count(word) for word in ("KEYS", "ARGV", "Returns", "Safe to run twice")] == [1, 1, 1, 1]


def test_a_script_is_read_once() -> None:
    assert load_script("acquire") is load_script("acquire")
