"""What goes on beside the lanes of a worker."""

from __future__ import annotations

import asyncio
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


async def test_of_works_that_go_on_side_by_side_none_outlives_one_that_fails() -> None:
    ended: list[str] = []

    async def lasting(ending: type[BaseException]) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(ending.__name__)
            raise

    async def failing(error: BaseException) -> None:
        await asyncio.sleep(0)
        raise error

    for error in (ValueError("a fault"), asyncio.CancelledError()):
        with pytest.raises(type(error)):
            await background.together(lasting(type(error)), failing(error))
    assert ended == ["ValueError", "CancelledError"]
