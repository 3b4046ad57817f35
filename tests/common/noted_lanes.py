"""The scripts as they are, but for the length from which on they take notes of what waits in a lane."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common import scripts

LONG = "local LONG = 128"


@contextmanager
def noted_from(length: int, folder: Path) -> Iterator[None]:
    """Lanes of more than `length` entries have notes; `folder` is an empty one for the scripts."""
    copied = Path(shutil.copytree(scripts.FOLDER, folder / "lua"))
    source = (copied / "enqueue.lua").read_text()
    assert source.count(LONG) == 1
    (copied / "enqueue.lua").write_text(source.replace(LONG, f"local LONG = {length}"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scripts, "FOLDER", copied)
        scripts.load_script.cache_clear()
        try:
            yield
        finally:
            scripts.load_script.cache_clear()
