"""Dealing with many things of one intent at once, within its lane's task."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from workers.desk import Desk

T = TypeVar("T")


def current_task() -> asyncio.Task[Any]:
    """The task that this is called in."""
    task = asyncio.current_task()
    assert task is not None, "only within a task"
    return task


async def side_by_side(
    desk: Desk, things: Sequence[T], deal_with: Callable[[T], Awaitable[None]], at_once: int
) -> None:
    """Deal with each thing, in order, at most `at_once` at a time. After a failure none is begun any more; it is raised
    once those under way are through.

    While all that is under way only waits, for tokens or for time, so does the lane: it leaves its room to others. A
    shutdown lets requests under way finish, as it does for a single one, and ends a lane that only waits.
    """
    lane = current_task()
    failures: list[BaseException] = []
    following = iter(things)

    async def work() -> None:
        this = current_task()
        with desk.idle.part_of(lane):
            for thing in following:
                if failures or this.cancelling():
                    return
                try:
                    await deal_with(thing)
                except BaseException as failure:  # raised below, when nothing of the intent runs any more
                    failures.append(failure)
                    if not isinstance(failure, Exception):
                        raise  # a cancellation: a group would pass over it in silence, with the thing left undone

    desk.in_request.add(lane)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(things))):
                group.create_task(work())
    finally:
        desk.in_request.discard(lane)
    if failures:
        raise failures[0]
