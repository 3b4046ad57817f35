"""The parts of a worker that go on beside its lanes: one that fails is said to, and starts over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from workers.life import cancel_all

log: Final = logging.getLogger("orderlane.worker")

START_OVER_SECONDS: Final = 1.0

Result = TypeVar("Result")


async def kept_going(part: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` until it ends or this is cancelled; where it fails by a fault of ours, again after a second.

    Without this a part that failed once would be missing until the process ends, and nobody would know.
    """
    while True:
        try:
            await work()
        except Exception as error:
            log.error("a part of this worker failed and starts over", exc_info=error, extra={"part": part})
        else:
            return
        await asyncio.sleep(START_OVER_SECONDS)


async def together(*works: Coroutine[Any, Any, Result]) -> list[Result]:
    """The results of works that go on side by side. None outlives this: where one fails, or this is cancelled, the
    others are ended first (`asyncio.gather` would leave them to go on)."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel_all(tasks)
