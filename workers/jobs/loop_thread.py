"""An event loop that outlives single jobs, in a thread of its own.

rq calls a job as a plain function, and gives a coroutine a new loop each time; sessions and connections belong to
the loop they were opened on. So the loop runs here, and a job waits for what it does. rq's time limit and signals
interrupt the waiting, in the main thread, and never a step inside the loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import uvloop

POLL_SECONDS: Final = 0.1
"""How soon a job that waits notices that it is to be cut short."""
STOP_SECONDS: Final = 5.0

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for a thread that can't; `cut_short` may be called from a signal handler."""

    def __init__(self) -> None:
        self.stopping = False
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="jobs", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Wait for `work` and return its result, or None when it was cut short.

        Whatever ends the waiting, an exception of rq's among it, cancels the work. Raises what the work raises.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while not self.stopping:
                if concurrent.futures.wait([future], POLL_SECONDS).done:
                    return future.result()
            return None
        finally:
            future.cancel()

    def cut_short(self) -> None:
        """Let the work under way, and all that may follow, return at once without a result."""
        self.stopping = True

    def close(self, last_work: Coroutine[Any, Any, None]) -> None:
        """Run what closes everything, for some seconds at most, and end the loop."""
        try:
            asyncio.run_coroutine_threadsafe(last_work, self._loop).result(STOP_SECONDS)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(STOP_SECONDS)
            if not self._thread.is_alive():
                self._loop.close()
