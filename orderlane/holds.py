"""Stopping new placements by hand, and letting them go on: what an operator declares and lifts, through Redis alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from orderlane.keys import Keys
from orderlane.orders import Reason
from orderlane.pool_link import PoolLink
from orderlane.scripts import script
from orderlane.standing import (
    Cause,
    Standing,
    StandingState,
    decode_standings,
    lift_arguments,
    put_arguments,
)

RESUMABLE: Final = (Cause.OPERATOR, Cause.ERRORS, Cause.UNRECONCILED)
"""What an operator may end. A ban ends at its own time: what is sent before would prolong it. And a start that is under
way would declare itself again."""


def read_standings(link: PoolLink, exchange: str) -> tuple[int, list[Standing]]:
    """Redis TIME in ms, and what stands on this exchange, the widest first.

    Raises:
        Unreachable: Redis did not answer.
    """
    keys = link.settings.keys(exchange)
    now_ms, flat = link.ask(lambda: script("read_standings").run(link.redis, [keys.standings], []))
    return int(now_ms), decode_standings(dict(zip(flat[::2], flat[1::2], strict=True)))


def hold(link: PoolLink, exchange: str, scope: str, why: str) -> Standing:
    """Hold new placements of a scope (an account, or `*`), until somebody resumes them; the standing.

    One that an operator holds already stays held since when it was, for the new reason.

    Raises:
        Unreachable: Redis did not answer; it may be held.
    """
    keys = link.settings.keys(exchange)
    now_ms, standings = read_standings(link, exchange)
    before = _find(standings, scope, Cause.OPERATOR)
    standing = Standing(
        scope=scope,
        cause=Cause.OPERATOR,
        state=StandingState.CLOSED,
        reason=Reason(code="held_by_operator", message=why),
        since_ms=before.since_ms if before else now_ms,
    )
    arguments = put_arguments(standing, exchange, now_ms)
    link.ask(lambda: script("put_standing").run(link.redis, _named(keys), arguments))
    return standing


def resume(link: PoolLink, exchange: str, scope: str, causes: Iterable[Cause]) -> list[Standing]:
    """End what holds a scope for one of these causes (of `RESUMABLE`); what that was.

    Raises:
        Unreachable: Redis did not answer; some may be ended.
    """
    keys = link.settings.keys(exchange)
    now_ms, standings = read_standings(link, exchange)
    ended = []
    for cause in causes:
        standing = _find(standings, scope, cause)
        if standing is None:
            continue
        reason = Reason(
            code="resumed", message="an operator let it go on", numbers={"was": standing.reason.code}
        )
        arguments = lift_arguments(msgspec.structs.replace(standing, reason=reason), exchange, now_ms)
        _lift(link, keys, arguments)
        ended.append(standing)
    return ended


def _lift(link: PoolLink, keys: Keys, arguments: list[Any]) -> None:
    link.ask(lambda: script("lift_standing").run(link.redis, _named(keys), arguments))


def _find(standings: Iterable[Standing], scope: str, cause: Cause) -> Standing | None:
    return next((one for one in standings if one.scope == scope and one.cause is cause), None)


def _named(keys: Keys) -> list[str]:
    return [keys.standings, keys.events]
