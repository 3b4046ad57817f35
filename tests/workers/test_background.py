"""What goes on beside the lanes of a worker."""

from __future__ import annotations

import logging

import pytest

from workers import background


async def test_a_part_that_fails_starts_over_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "START_OVER_SECONDS", 0)
    failures = [RuntimeError("first"), ValueError("second")]

    async def work() -> None:
        if failures:
            raise failures.pop(0)

    with caplog.at_level(logging.ERROR, "orderlane.worker"):
        await background.kept_going("a part", work)
    assert [str(one.exc_info[1]) for one in caplog.records if one.exc_info] == ["first", "second"]
