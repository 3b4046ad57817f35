"""A limit in time that holds even where a library swallows the cancellation.

`asyncio.timeout` cancels once. redis-py sends under `asyncio.wait_for`, which on Python 3.11 drops a cancellation that
arrives just as the sending is done: the work would go on as if nothing had happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

AGAIN_SECONDS: Final = 0.05
"""How long work that was cancelled has to end before it is cancelled again."""

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which has ended in any case when this returns or raises.

    Raises:
        TimeoutError: it took longer, and was cancelled. Besides, whatever the work raises.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
        raise TimeoutError
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=AGAIN_SECONDS)
