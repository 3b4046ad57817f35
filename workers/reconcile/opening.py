"""Whether a pool starts, decided in Redis in one step with what follows from it.

A pool starts when a worker comes and none has a living lease; and, as far as its journal is concerned, when Redis was
restarted or failed over, since it may have forgotten. Either way the accounts are closed for new placements (a
standing, `Cause.RECONCILING`) before the worker can join: whoever has joined has asked before, and learns of what
stands with its first take.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common import failpoints
from common.redis import ScriptRunner
from common.standings import Standings
from orderlane.events import encode_event
from orderlane.keys import Keys
from orderlane.orders import Reason
from orderlane.standing import (
    Cause,
    Standing,
    StandingState,
    encode_standing,
    standing_event,
    standing_field,
)

STARTS = Reason(
    code="pool_starts",
    message="the pool starts, or Redis was restarted: journal and exchange are brought to agreement first",
)

NOT_ASKED_FOR = Reason(
    code="not_reconciled",
    message="reconcile.enabled is off: placements go without agreement with the exchange",
)


async def open_pool(
    runner: ScriptRunner, keys: Keys, accounts: Sequence[str], now_ms: int, *, holder: str
) -> list[str]:
    """To be called before a worker id joins the pool; the accounts that were closed by this call.

    Where a pool starts, nobody waits for user streams that the dead hold; `holder` is who this process is there.

    Raises:
        redis.exceptions.RedisError: no answer; it may have been done, and asking again does no harm.
    """
    arguments: list[Any] = [holder]
    for account in accounts:
        standing = Standing(
            scope=account, cause=Cause.RECONCILING, state=StandingState.CLOSED, reason=STARTS, since_ms=now_ms
        )
        event = standing_event(standing, keys.exchange, now_ms)
        arguments += [
            standing_field(account, Cause.RECONCILING), encode_standing(standing), encode_event(event)
        ]  # fmt: skip
    closed = await runner.run(
        "open_pool",
        [
            keys.workers, keys.control, keys.standings, keys.events,
            *(key for account in accounts for key in (keys.reconcile(account), keys.stream(account))),
        ],
        arguments,
    )  # fmt: skip
    failpoints.reach("reconcile.opened")
    return [account for account, is_new in zip(accounts, closed, strict=True) if is_new]


async def reopen(standings: Standings, accounts: Sequence[str]) -> None:
    """Lift what an earlier start has left standing, where agreement is not asked for any more.

    Raises:
        redis.exceptions.RedisError: no answer; asking again does no harm.
    """
    await standings.refresh()
    for account in accounts:
        for cause in (Cause.RECONCILING, Cause.UNRECONCILED):
            if standings.find(account, cause) is not None:
                await standings.lift(account, cause, reason=NOT_ASKED_FOR)
