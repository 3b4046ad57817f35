"""Why new placements of an exchange, or of one of its accounts, wait: what workers and operators have declared.

A standing lives in Redis (hash `standings`), so it holds for every worker and outlives all of them. One scope may have
several, one for each cause: placements go when the last of them is lifted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from orderlane.events import Event, EventName, encode_event
from orderlane.orders import Reason

WHOLE_EXCHANGE: Final = "*"
"""The scope of a standing that holds for every account of the exchange; no account can be called so."""
ANY: Final = "*"
"""As what was seen before a change: whatever is there may be replaced."""


class Cause(StrEnum):
    """Why a scope stands as it does; each is declared, and lifted, by a part of its own."""

    ERRORS = "errors"
    """Too many requests failed: a probe finds out when it is over."""
    BAN = "ban"
    """The exchange said to stay away until a moment (status 418 and its like): cancels wait, too."""
    OPERATOR = "operator"
    """A person holds it (`orderlane hold`), until a person lets it go (`orderlane resume`)."""
    RECONCILING = "reconciling"
    """The journal and the exchange are being brought to agreement, at a start or after Redis forgot."""
    UNRECONCILED = "unreconciled"
    """They could not be: it is tried again, and a person should look."""


class StandingState(StrEnum):
    """How far a scope is shut."""

    CLOSED = "closed"
    PROBING = "probing"
    """Closed, and one worker asks the exchange right now whether it has to be."""
    RECOVERING = "recovering"
    """A part of the new placements goes through, a growing one."""


class Standing(Struct, frozen=True, kw_only=True):
    """Why, and how far, new placements of a scope wait. Times are ms by Redis' clock.

    `scope` is `*` (the whole exchange) or an account's name. `since_ms`: since when the cause stands. `until_ms`: the
    end that is known (of a ban), or when the state is looked at again (the next probe, the end of the probe, the next
    step); 0: neither is known. `step` counts the steps of the recovery, from 1, and `share` is the part of new
    placements that goes through meanwhile. `probes`: how many have failed since the cause stands, from which the wait
    for the next grows.
    """

    scope: str
    cause: Cause
    state: StandingState
    reason: Reason
    since_ms: int
    until_ms: int = 0
    step: int = 0
    share: float = 0.0
    probes: int = 0

    @property
    def field(self) -> str:
        """Its field in the hash `standings`."""
        return standing_field(self.scope, self.cause)

    @property
    def ends_at_ms(self) -> int:
        """When it holds nothing any more though nobody lifts it, ms by Redis' clock; 0: only when somebody does."""
        return self.until_ms if self.cause is Cause.BAN else 0

    def covers(self, account: str) -> bool:
        """Whether it says something of this account."""
        return self.scope in (WHOLE_EXCHANGE, account)

    def holds(self, now_ms: int, draw: float = 1.0) -> bool:
        """Whether a new placement has to wait; `draw`, its number in [0, 1), says who is of a recovery's share."""
        if self.cause is Cause.BAN:
            return now_ms < self.until_ms
        return self.state is not StandingState.RECOVERING or draw >= self.share


def standing_field(scope: str, cause: Cause) -> str:
    """The field of a standing in the hash `standings`."""
    return f"{scope}|{cause}"


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Standing)


def encode_standing(standing: Standing) -> bytes:
    """The standing as JSON: the same bytes for the same standing."""
    return _encoder.encode(standing)


def decode_standings(fields: Mapping[bytes, bytes]) -> list[Standing]:
    """The standings in the hash `standings`, the widest and oldest first; values that are none are passed over."""
    found: list[Standing] = []
    for value in fields.values():
        try:
            found.append(_decoder.decode(value))
        except msgspec.DecodeError:
            continue
    return sorted(found, key=lambda one: (one.scope != WHOLE_EXCHANGE, one.scope, one.since_ms, one.cause))


def holding(standings: Iterable[Standing], account: str, now_ms: int, draw: float = 1.0) -> Standing | None:
    """Why a new placement of the account has to wait now; None when it may go."""
    return next((one for one in standings if one.covers(account) and one.holds(now_ms, draw)), None)


def put_arguments(
    standing: Standing, exchange: str, now_ms: int, seen: Standing | str | None = ANY
) -> list[str | bytes]:
    """ARGV of `put_standing.lua`. `seen`: the standing that this one may replace (None: there was none), or ANY."""
    event = standing_event(standing, exchange, now_ms)
    return [standing.field, encode_standing(standing), encode_event(event), *_seen_arguments(seen)]


def lift_arguments(
    lifted: Standing, exchange: str, now_ms: int, seen: Standing | str | None = ANY
) -> list[str | bytes]:
    """ARGV of `lift_standing.lua`; `lifted` as it was, with the reason of its end."""
    event = standing_event(lifted, exchange, now_ms, lifted=True)
    return [lifted.field, encode_event(event), *_seen_arguments(seen)]


def _seen_arguments(seen: Standing | str | None) -> Sequence[str | bytes]:
    if isinstance(seen, Standing):
        return ["1", encode_standing(seen)]
    return ["1", b""] if seen is None else ["0", b""]


_EVENTS: Final[dict[Cause, tuple[EventName, EventName]]] = {
    Cause.RECONCILING: (EventName.RECONCILING, EventName.RECONCILED),
    Cause.UNRECONCILED: (EventName.UNRECONCILED, EventName.RECONCILED),
}
"""What the beginning and the end of a cause are called, where not degraded and recovered."""


def standing_event(standing: Standing, exchange: str, now_ms: int, *, lifted: bool = False) -> Event:
    """The event that tells of a standing that was declared or has changed, or (`lifted`) is over."""
    began, ended = _EVENTS.get(standing.cause, (EventName.DEGRADED, EventName.RECOVERED))
    recovering = standing.state is StandingState.RECOVERING
    name = ended if lifted else EventName.RECOVERING if recovering else began
    numbers = {"cause": str(standing.cause), "since_ms": str(standing.since_ms)}
    if lifted:
        numbers["lasted_ms"] = str(max(now_ms - standing.since_ms, 0))
    else:
        numbers["state"] = str(standing.state)
        if standing.until_ms:
            numbers["until_ms"] = str(standing.until_ms)
        if recovering:
            numbers |= {"step": str(standing.step), "share": f"{standing.share:g}"}
        if standing.probes:
            numbers["probes"] = str(standing.probes)
    return Event(
        name=name,
        at=now_ms,
        exchange=exchange,
        account="" if standing.scope == WHOLE_EXCHANGE else standing.scope,
        reason=standing.reason,
        numbers={**standing.reason.numbers, **numbers},
    )


def describe(standing: Standing, now_ms: int) -> str:
    """What a standing means for new placements, and what ends it, in one line for a person."""
    whose = "the whole exchange" if standing.scope == WHOLE_EXCHANGE else f"account {standing.scope}"
    lasting = _span(now_ms - standing.since_ms)
    left = _span(standing.until_ms - now_ms)
    why = standing.reason.message
    match standing.cause, standing.state:
        case Cause.BAN, _:
            rest = (
                f"for another {left}"
                if now_ms < standing.until_ms
                else "until a worker notices that it is over"
            )
            return f"{whose} is banned {rest}, nothing is sent: {why}"
        case Cause.OPERATOR, _:
            return f"{whose} is held by an operator for {lasting}, until `orderlane resume`: {why}"
        case Cause.RECONCILING, _:
            return f"{whose} is being brought to agreement with the exchange for {lasting}: {why}"
        case Cause.UNRECONCILED, _:
            return f"{whose} could not be brought to agreement with the exchange for {lasting}: {why}"
        case _, StandingState.RECOVERING:
            return (
                f"{whose} is recovering, {standing.share:.0%} of new placements go through (step {standing.step}), "
                f"the next step in {left}: {why}"
            )
        case _, StandingState.PROBING:
            return f"{whose} is closed for new placements for {lasting}, a probe is under way: {why}"
    failed = f" after {standing.probes} that failed" if standing.probes else ""
    return f"{whose} is closed for new placements for {lasting}, the next probe in {left}{failed}: {why}"


def _span(milliseconds: int) -> str:
    """A duration as a person says it, whole seconds."""
    seconds = max(-(-milliseconds // 1000), 0)
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
