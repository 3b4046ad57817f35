"""The parts of a worker that go on beside its lanes: one that fails is said to, and starts over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

log: Final = logging.getLogger("orderlane.worker")

START_OVER_SECONDS: Final = 1.0


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
