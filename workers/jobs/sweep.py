"""The job that looks for what nobody would touch any more: entries in no lane, lanes without a worker.

In ordinary running it finds nothing. It is for what comes from outside: an operator's own XREADGROUP, XACK or XDEL, a
pool whose last worker was killed, a Redis restored from an old file.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Final

from common.lanes import lane_keys
from common.redis import ScriptRunner
from orderlane.keys import Keys
from workers.jobs.open_exchange import OpenExchange
from workers.jobs.plan import JobPlan

log: Final = logging.getLogger("orderlane.jobs")

PHASES: Final = ("owners", "workers", "entries", "pending", "lanes", "parked")
"""In this order: what one frees, a later one finds. `lua/sweep.lua` says what each does."""
PAGE: Final = 100
"""How many things one script looks at: bounds how long it holds Redis."""
PAGES: Final = 50
"""Scripts for one phase in one run; a longer stream is gone through in several runs."""


async def sweep(one: OpenExchange, plan: JobPlan) -> None:
    """Go through the exchange's bookkeeping once, or as far as one run goes.

    Raises:
        redis.exceptions.RedisError: no answer; the next period goes on from there.
    """
    repaired = await sweep_exchange(one.runner, one.keys, one.sweep_cursors)
    if repaired:
        log.warning("the sweep put right what nobody would have touched", extra={"repaired": repaired})


async def sweep_exchange(
    runner: ScriptRunner,
    keys: Keys,
    cursors: MutableMapping[str, str],
    *,
    page: int = PAGE,
    pages: int = PAGES,
) -> dict[str, int]:
    """Run every phase; how much each put right, those that found something.

    `cursors` says where a phase that was cut off goes on, and is changed accordingly.
    """
    repaired: dict[str, int] = {}
    for phase in PHASES:
        found = 0
        for _ in range(pages):
            cursor, count = await runner.run(
                "sweep", [*lane_keys(keys), keys.unseen, keys.notes], [phase, cursors.pop(phase, ""), page]
            )
            found += int(count)
            if not cursor:
                break
            cursors[phase] = cursor.decode()
        if found:
            repaired[phase] = found
    return repaired
