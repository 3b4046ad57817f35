import asyncio

import pytest

from workers.jobs.time_limit import within


class Swallowing:
    """Work that takes a cancellation for nothing, some times."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.ended = False

    async def run(self) -> None:
        try:
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    if self.left == 0:
                        raise
                    self.left -= 1
        finally:
            self.ended = True


async def test_work_in_time_gives_its_result_or_its_error() -> None:
    async def fails() -> None:
        raise KeyError("broken")

    assert await within(60, asyncio.sleep(0, "done")) == "done"
    with pytest.raises(KeyError):
        await within(60, fails())


async def test_work_out_of_time_has_ended_even_where_it_swallows_cancellations() -> None:
    work = Swallowing(3)
    with pytest.raises(TimeoutError):
        await within(0, work.run())
    assert work.ended


async def test_who_is_cancelled_while_waiting_ends_the_work_too() -> None:
    work = Swallowing(3)
    waiting = asyncio.create_task(within(60, work.run()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.ended
