"""When new placements stop because requests fail, and how they start again; pure.

A tally counts what became of requests. Requests that change orders and questions are counted apart, since one may work
while the other does not: an exchange that lists orders well and takes none is no healthy one. From such counts, and
from what stands so far, follows what stands next:

    trading --too many failures--> closed --a probe that is answered--> recovering, step by step --> trading
                                     ^  '--a probe that fails: a longer wait for the next--'  |
                                     '------------------- failures return --------------------'
"""

from __future__ import annotations

from collections import deque
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from common.exchange.base import ExchangeFailure, Outcome
from orderlane.orders import Reason
from orderlane.standing import Cause, Standing, StandingState

BAN_MS: Final = 120_000
"""Told to stay away for so long, or with status 418, we are banned: the shortest of Binance's bans ("bans scale in
duration for repeat offenders, from 2 minutes to 3 days")."""
SPREAD_MS: Final = 1_000
"""A run of failures is this long at least before it counts: one cut may end every request under way at once, and is
over before anybody could have stopped anything."""
RETURN_PART: Final = 3
"""While it recovers, a run of failures a third as long is enough to close again."""
LEAST_PARTS: Final = 2
"""In so many parts of the window there must have been failures before a rate counts, for the same reason."""
LONGEST_WORDS: Final = 200
"""How much of the exchange's words goes into a reason, in characters."""
_SLOTS: Final = 10
"""Parts into which the window of the error rate is cut."""


class DegradedPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When new placements stop because the exchange, or what an account asks of it, fails, and how they start again.
    They stay queued meanwhile; cancels and reduce-only orders are still tried."""

    enabled: bool = True
    """Off: nothing but the venue's own throttling and an operator stops placements; an exchange in trouble gets all of
    them, and each may end with an unknown outcome. A ban is heeded all the same."""
    failures: Annotated[int, Meta(ge=2, le=1000, extra={"unit": "requests"})] = 10
    """So many failures in a row, over a second at least: timeouts, broken connections, 5xx, throttling, replies that
    can't be read, and for an account what the venue says of its key. Verdicts on an order are none. Each worker counts
    its own requests, and any may stop all. Smaller: a hiccup stops the trading for seconds. Larger: more orders of
    unknown outcome before it stops."""
    error_rate: Annotated[float, Meta(gt=0, le=1, extra={"unit": "share"})] = 0.5
    """The share of failures among the requests of the last `window_seconds` at which it stops, though some succeed. 1:
    only when all fail. Smaller: it stops for an exchange that is slow, but works."""
    min_requests: Annotated[int, Meta(ge=2, le=100_000, extra={"unit": "requests"})] = 30
    """How many requests of one worker within the window it takes for a rate. Smaller: a few failures in a quiet hour
    stop the trading. Larger: a worker with little to do never sees a rate."""
    window_seconds: Annotated[int, Meta(ge=1, le=3600)] = 30
    """How far back the rate looks. Smaller: it follows faster. Larger: failures of a while ago still count."""
    probe_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 1.0
    """How long to wait for the first probe: one signed question to the exchange, by one worker of the pool. After each
    that fails the wait doubles. Smaller: the trading goes on sooner after a hiccup. Larger: less is asked of an
    exchange in trouble."""
    probe_cap_seconds: Annotated[float, Meta(ge=0.1, le=86_400)] = 60.0
    """The longest wait between two probes. Larger: the end of a long outage is noticed later."""
    recovery_shares: Annotated[
        tuple[Annotated[float, Meta(gt=0, lt=1)], ...], Meta(max_length=20, extra={"unit": "share"})
    ] = (0.1, 0.3, 0.6)
    """After a probe that was answered: the shares of the new placements that are let through, one step after the other;
    then all. None: all at once, so that an exchange that has just come back gets everything that has waited."""
    step_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 3.0
    """How long each step lasts. Failures in it (a third of `failures` in a row) close again, with the next longer wait
    for a probe. Smaller: trouble that comes back meets more placements. Larger: they wait longer."""

    def probe_wait_ms(self, failed: int) -> int:
        """How long to wait for the next probe when so many have failed."""
        doubled = self.probe_seconds * 2.0 ** min(failed, 40)
        return round(min(doubled, self.probe_cap_seconds) * 1000)


class Counts(Struct, frozen=True):
    """What a tally says at one moment: failures in a row, and for how long, ms; within the window the failures, in how
    many of its parts there were any, and the requests."""

    in_row: int
    row_ms: int
    failed: int
    parts: int
    asked: int


class Tally:
    """What became of the requests of one kind, in one scope. Times are ms of any clock that only goes forward."""

    def __init__(self, window_seconds: int) -> None:
        self._slot_ms = max(window_seconds * 1000 // _SLOTS, 1)
        self._slots: deque[list[int]] = deque(maxlen=_SLOTS)
        self._in_row = 0
        self._row_since_ms = 0

    def note(self, failed: bool, now_ms: int) -> None:
        """Count one request."""
        slots, number = self._slots, now_ms // self._slot_ms
        if not slots or slots[-1][0] != number:
            slots.append([number, 0, 0])
        slots[-1][1] += 1
        if not failed:
            self._in_row = 0
            return
        slots[-1][2] += 1
        if not self._in_row:
            self._row_since_ms = now_ms
        self._in_row += 1

    def counts(self, now_ms: int) -> Counts:
        """What is counted now."""
        first = now_ms // self._slot_ms - _SLOTS + 1
        recent = [slot for slot in self._slots if slot[0] >= first]
        return Counts(
            in_row=self._in_row,
            row_ms=now_ms - self._row_since_ms if self._in_row else 0,
            failed=sum(slot[2] for slot in recent),
            parts=sum(slot[2] > 0 for slot in recent),
            asked=sum(slot[1] for slot in recent),
        )


def is_failure(failure: ExchangeFailure) -> bool:
    """Whether it says something of the exchange, or of the account's access to it, rather than of one order."""
    if failure.outcome is Outcome.REFUSED:
        return failure.per_account
    return failure.outcome in (Outcome.UNKNOWN, Outcome.NOT_SENT, Outcome.THROTTLED)


def is_ban(failure: ExchangeFailure) -> bool:
    """Whether the exchange said to stay away: anything sent before it is over would prolong it."""
    return failure.outcome is Outcome.THROTTLED and (
        failure.status == 418 or failure.retry_after_ms >= BAN_MS
    )


def too_many(counts: Counts, policy: DegradedPolicy, last: ExchangeFailure) -> Reason | None:
    """Why new placements must stop; None where they need not. `last`: the latest failure."""
    said = {"last_code": last.code} | ({"http_status": str(last.status)} if last.status else {})
    if counts.in_row >= policy.failures and counts.row_ms >= SPREAD_MS:
        return Reason(
            code="failures_in_a_row",
            message=f"{counts.in_row} requests failed in a row, the last with {_words(last)}",
            numbers={"failures": str(counts.in_row), **said},
        )
    rate_counts = counts.asked >= policy.min_requests and counts.parts >= LEAST_PARTS
    if rate_counts and counts.failed >= policy.error_rate * counts.asked:
        return Reason(
            code="error_rate",
            message=f"{counts.failed} of {counts.asked} requests failed within {policy.window_seconds} s, the last "
            f"with {_words(last)}",
            numbers={"failures": str(counts.failed), "requests": str(counts.asked), **said},
        )
    return None


def has_returned(counts: Counts, policy: DegradedPolicy) -> bool:
    """Whether failures are back while the scope recovers; the counts begin with the recovery."""
    return counts.in_row >= max(policy.failures // RETURN_PART, 1)


def returned(counts: Counts, last: ExchangeFailure) -> Reason:
    """Why a scope that was recovering closes again."""
    return Reason(
        code="failures_returned",
        message=f"{counts.in_row} requests failed in a row while it recovered, the last with {_words(last)}",
        numbers={"failures": str(counts.in_row), "last_code": last.code},
    )


def closed(
    scope: str, reason: Reason, now_ms: int, policy: DegradedPolicy, before: Standing | None = None
) -> Standing:
    """Closed for `reason`. `before`: what stood until now, when failures returned while it recovered."""
    probes = before.probes + 1 if before else 0
    return Standing(
        scope=scope,
        cause=Cause.ERRORS,
        state=StandingState.CLOSED,
        reason=reason,
        since_ms=before.since_ms if before else now_ms,
        until_ms=now_ms + policy.probe_wait_ms(probes),
        probes=probes,
    )


def is_due(standing: Standing, now_ms: int) -> bool:
    """Whether something is to be done about it: a probe (also in the stead of a prober that died), the next step, or
    the end of a ban."""
    return standing.cause in (Cause.ERRORS, Cause.BAN) and now_ms >= standing.until_ms


def probing(standing: Standing, now_ms: int, lease_ms: int) -> Standing:
    """What stands while one worker probes. Whoever puts it is the prober, until its time is over."""
    return msgspec.structs.replace(
        standing, state=StandingState.PROBING, until_ms=now_ms + lease_ms, step=0, share=0.0
    )


def after_probe(
    standing: Standing, failure: ExchangeFailure | None, now_ms: int, policy: DegradedPolicy
) -> Standing | None:
    """What follows a probe, with the failure it met; None: all placements go again."""
    if failure is None:
        return _step(standing, 1, now_ms, policy)
    numbers = {**standing.reason.numbers, "last_probe": failure.code}
    reason = msgspec.structs.replace(standing.reason, numbers=numbers)
    return closed(standing.scope, reason, now_ms, policy, standing)


def after_step(standing: Standing, now_ms: int, policy: DegradedPolicy) -> Standing | None:
    """What follows a step of the recovery in which no failures returned; None: all placements go again."""
    return _step(standing, standing.step + 1, now_ms, policy)


def _step(standing: Standing, step: int, now_ms: int, policy: DegradedPolicy) -> Standing | None:
    if step > len(policy.recovery_shares):
        return None
    return msgspec.structs.replace(
        standing,
        state=StandingState.RECOVERING,
        until_ms=now_ms + round(policy.step_seconds * 1000),
        step=step,
        share=policy.recovery_shares[step - 1],
    )


def ban(scope: str, failure: ExchangeFailure, until_ms: int, now_ms: int) -> Standing:
    """Banned until a moment, in the exchange's own words."""
    numbers = {"code": failure.code} | ({"http_status": str(failure.status)} if failure.status else {})
    return Standing(
        scope=scope,
        cause=Cause.BAN,
        state=StandingState.CLOSED,
        reason=Reason(
            code="banned", message=f"the exchange said to stay away: {_words(failure)}", numbers=numbers
        ),
        since_ms=now_ms,
        until_ms=until_ms,
    )


def policy_flaws(policy: DegradedPolicy) -> list[tuple[str, str]]:
    """What contradicts itself between the settings: (setting, message)."""
    flaws = []
    if policy.probe_cap_seconds < policy.probe_seconds:
        flaws.append(
            (
                "probe_cap_seconds",
                f"{policy.probe_cap_seconds:g} is less than probe_seconds {policy.probe_seconds:g}: expected at least "
                "that",
            )
        )
    shares = list(policy.recovery_shares)
    if shares != sorted(set(shares)):
        flaws.append(
            ("recovery_shares", f"{shares} is wrong: expected each share to be larger than the one before")
        )
    return flaws


def _words(failure: ExchangeFailure) -> str:
    return f"{failure.code}: {failure.message}"[:LONGEST_WORDS]
