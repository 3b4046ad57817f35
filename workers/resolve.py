"""Finding out what became of a request whose outcome is not known.

The exchange is asked by id until it shows the order, or until it has said twice that it knows none *after* the
moment at which it could still have executed the request. A query that fails is no answer. On a venue
without such a moment absence is never proven, and a person decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from enum import StrEnum

from common import failpoints
from common.exchange.base import ExchangeFailure, OrderReference, OrderReport, Outcome
from common.venue_limits import Operation
from orderlane.intents import URGENT_PRIORITY
from orderlane.orders import Reason
from orderlane.tries import Try
from workers.desk import Desk, LanePolicy, log, reason_of

MOST_SAID = 300
"""Of an answer's words, so many letters are noted."""
PROOFS_OF_ABSENCE = 2
"""'Not found' answers needed after the bound: one may come from a replica that lags."""


class Absence(StrEnum):
    """Why an order that was not found counts as absent, or does not."""

    PROVEN = "proven"
    """The exchange has no such order and can't come to have one from the request in question."""
    UNPROVABLE = "unprovable"
    """Not found so far, but nothing rules out that it still appears."""


def is_executable(executable_until: int, exchange_now_ms: int, margin_ms: int) -> bool:
    """Whether the exchange may still execute a request stamped to be refused after `executable_until`."""
    return exchange_now_ms <= executable_until + margin_ms


def delays_ms(policy: LanePolicy) -> Iterator[int]:
    """The waits before each question: the configured ones, then doubling up to the cap."""
    delay = policy.resolve_delays_ms[-1]
    yield from policy.resolve_delays_ms
    while True:
        delay = min(delay * 2, policy.resolve_delay_cap_ms)
        yield delay


async def resolve(
    desk: Desk,
    reference: OrderReference,
    executable_until: int,
    *,
    seen: bool = False,
    on_refusal: Callable[[Reason], Awaitable[None]] | None = None,
) -> OrderReport | Absence:
    """Ask until there is evidence.

    `executable_until` is in the exchange's clock; 0 means there is no such bound. `seen` says the exchange itself
    called the client order id a duplicate: then "not found" proves nothing. `on_refusal` is told why the exchange
    won't even be asked (a key without the right to read, say), once for each code: that ends only when a person
    changes something, and the question is then repeated at the longest wait.

    Raises:
        Stopping, LeaseLost: somebody else will ask.
    """
    started_at, proofs = desk.now_ms(), 0
    margin_ms = desk.policy.clock_margin_ms
    delays, was_open, refused_code, said = delays_ms(desk.policy), True, "", ""
    while True:
        is_open = is_executable(executable_until, desk.exchange.now_ms(), margin_ms)
        if was_open and not is_open:
            delays = delays_ms(desk.policy)  # absence can be proven from now on: ask closely again
        was_open = is_open
        wait_ms = (
            desk.policy.resolve_delay_cap_ms
            if refused_code
            else _until_bound(desk, executable_until, next(delays))
        )
        if said:
            await _note(desk, reference, said, wait_ms)
        await desk.sleep(wait_ms)
        closed = bool(executable_until) and not seen and await _is_closed(desk, executable_until, margin_ms)
        try:
            await desk.throttle.acquire(
                Operation.FIND,
                reference.account,
                reference.symbol,
                URGENT_PRIORITY,
                conditional=reference.conditional,
            )
            failpoints.reach("resolve.before")
            async with desk.request_slot():
                report = await desk.exchange.find(reference)
            failpoints.reach("resolve.asked")
        except ExchangeFailure as failure:
            await desk.pause_if_throttled(reference.account, failure)
            log.warning(
                "asking for an order of unknown outcome failed",
                extra={"client_order_id": reference.client_order_id, "reason": str(failure)},
            )
            is_refused = failure.outcome is Outcome.REFUSED
            if is_refused and failure.code != refused_code and on_refusal is not None:
                await on_refusal(_cannot_ask(failure))
            refused_code = failure.code if is_refused else ""
            said = f"no answer ({failure.code}: {failure.message})"[:MOST_SAID]
            continue
        refused_code, said = "", "no such order" + ("" if closed else ", which is no proof yet")
        if report is not None:
            return report
        proofs += closed
        if proofs >= PROOFS_OF_ABSENCE:
            return Absence.PROVEN
        if (seen or not executable_until) and desk.now_ms() - started_at > desk.policy.unprovable_after_ms:
            return Absence.UNPROVABLE


async def _note(desk: Desk, reference: OrderReference, said: str, wait_ms: float) -> None:
    """Note the last question for people, with when the next one comes."""
    now_ms = desk.now_ms()
    await desk.journal.note_try(
        reference.client_order_id,
        Try(
            at=now_ms, by=desk.dispatcher.worker_id, asked="for the order", said=said,
            next=int(now_ms + wait_ms),
        ),
    )  # fmt: skip


def _cannot_ask(failure: ExchangeFailure) -> Reason:
    said = reason_of(failure)
    return Reason(
        code="query_refused",
        message="whether the order exists is not known, and the exchange refuses to say "
        f"({said.code}: {said.message}): it is asked again and again; "
        "see to the account's key and its rights, or look at the exchange",
        numbers=said.numbers,
    )


def _until_bound(desk: Desk, executable_until: int, delay_ms: int) -> float:
    """The next wait, cut short where the bound passes earlier: absence is proven as soon as it can be."""
    if not executable_until:
        return delay_ms
    left_ms = executable_until + desk.policy.clock_margin_ms - desk.exchange.now_ms()
    return min(delay_ms, left_ms + 1) if left_ms > 0 else delay_ms


async def _is_closed(desk: Desk, executable_until: int, margin_ms: int) -> bool:
    """Whether the bound has certainly passed: our estimate says so, and so does the exchange when asked now."""
    if is_executable(executable_until, desk.exchange.now_ms(), margin_ms):
        return False
    try:
        async with desk.request_slot():
            return not is_executable(executable_until, await desk.exchange.server_time_ms(), margin_ms)
    except ExchangeFailure:
        return False
