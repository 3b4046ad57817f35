"""Cancelling many orders with one intent: everything open on a symbol, on an account, or of a strategy.

A symbol is cleared by the venue's own request for it; an account symbol by symbol, as the exchange lists them, once
what waits in its other lanes has ended (`workers.cancel_account`); a strategy order by order, as the journal knows
them. Several requests are under way at once, each within the limits: what one meets doesn't hold up the others. What
one order or symbol is refused does not spare the others either: the intent ends REJECTED and names what is left.
"""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import Final

from common.exchange.base import ExchangeFailure, Outcome
from common.lanes import Hold
from common.venue_limits import Operation
from orderlane.intents import EVERY_SYMBOL, AmendOrder, CancelAll, PlaceOrder
from orderlane.orders import Order, OrderStatus, Reason
from workers.cancel_account import Others, position, strategy_of
from workers.command import CommandEnds, CommandRun, NotDone
from workers.desk import backoff_ms, log, reason_of
from workers.side_by_side import side_by_side
from workers.targets import look_at

MAYBE_DONE = Reason(
    code="redis_restarted",
    message="Redis restarted after this cancel-all was appended, and may have forgotten that it was executed; done "
    "again it could cancel what was placed after it: look at the open orders, and send another if it is still wanted",
)
NAMED_AT_MOST: Final = 10
"""Refused symbols or orders that the reason names one by one."""
AT_ONCE: Final = 8
"""Symbols or orders dealt with side by side: enough for 30 symbols in four rounds, and few enough to leave most of a
worker's requests to other lanes."""
LOOKED_AT_AT_MOST: Final = 200
"""Orders that are asked for one by one at the end, each for a request; the sync sees to the others."""


async def run_cancel_all(run: CommandRun, intent: CancelAll) -> Hold | None:
    """Cancel what the intent covers; DONE when the exchange has done all of it.

    However it ends, the orders it may have met are looked at first: where it takes several requests, one may be
    carried out and the next refused.
    """
    try:
        if not intent.strategy:
            if not run.replaying and run.desk.is_forgotten(run.hold):
                return await run.end(OrderStatus.FAILED, MAYBE_DONE)
            run.before_end = partial(_bring_up_to_date, run, intent)
        others = Others(run, intent) if intent.covers_every_symbol else None
        if others is not None:
            if not run.replaying:
                run.check_expiry()
            await others.annul()
        refused = await (_cancel_strategy(run, intent) if intent.strategy else _clear_symbols(run, intent))
        if others is not None:
            refused |= await others.await_in_work()
    except CommandEnds as ends:
        return await ends.finish()
    if not refused:
        return await run.end(OrderStatus.DONE)
    left_over = _left_over(refused)
    return await run.end(left_over.status, left_over.reason)


async def _cancel_strategy(run: CommandRun, intent: CancelAll) -> dict[str, NotDone]:
    """Cancel each order of the strategy that was submitted before this intent; what was refused, by intent id.

    An order submitted later is not met, however often this is done.
    """
    refused: dict[str, NotDone] = {}

    async def cancel(order: Order) -> None:
        result = await run.try_cancel(order)
        if isinstance(result, NotDone):
            refused[order.intent.id] = result

    before = position(run.hold.entry)
    on_record = await _maybe_open(run, intent)
    await side_by_side(run.desk, [one for one in on_record if position(one.entry) < before], cancel, AT_ONCE)
    return refused


async def _clear_symbols(run: CommandRun, intent: CancelAll) -> dict[str, NotDone]:
    """Clear each symbol covered; what was refused, by symbol.

    A request is sent again, or left behind, only when an earlier one can't be executed any more: a late one would
    cancel what its lane places next.
    """
    if run.replaying:
        await run.let_pass()
    symbols = [intent.symbol] if intent.symbol != EVERY_SYMBOL else await _open_symbols(run, intent)
    refused: dict[str, NotDone] = {}

    async def clear(symbol: str) -> None:
        not_done = await _clear(run, intent.account, symbol)
        if not_done is not None:
            refused[symbol] = not_done

    await side_by_side(run.desk, symbols, clear, AT_ONCE)
    return refused


async def _clear(run: CommandRun, account: str, symbol: str) -> NotDone | None:
    """Cancel everything open on one symbol; why not, where the exchange did not."""
    for tries in count(1):
        outcome = await run.attempt(
            Operation.CANCEL_ALL, lambda at_ms: run.desk.exchange.cancel_all(account, symbol, at_ms), symbol
        )
        if not isinstance(outcome, ExchangeFailure):
            return None
        if outcome.outcome is Outcome.REFUSED:
            return NotDone(OrderStatus.REJECTED, reason_of(outcome))
        await run.let_pass()
        given_up = run.given_up(tries, outcome)
        if given_up is not None:
            return NotDone(OrderStatus.FAILED, given_up)
    raise AssertionError("count never ends")


async def _open_symbols(run: CommandRun, intent: CancelAll) -> list[str]:
    """The symbols on which the account has open orders, as the exchange lists them.

    Raises:
        CommandEnds: the exchange refuses to say.
    """
    for delay_ms in backoff_ms():
        try:
            await run.desk.throttle.acquire(
                Operation.OPEN_ORDERS_ALL, intent.account, intent.symbol, intent.urgency
            )
            async with run.desk.request_slot():
                reports = await run.desk.exchange.open_orders(intent.account)
            return sorted({report.symbol for report in reports})
        except ExchangeFailure as failure:
            if failure.outcome is Outcome.REFUSED:
                raise CommandEnds(partial(run.end, OrderStatus.REJECTED, reason_of(failure))) from None
            await run.desk.pause_if_throttled(intent.account, failure)
            await run.desk.sleep(delay_ms)
            run.check_expiry()
    raise AssertionError("unreachable")


async def _bring_up_to_date(run: CommandRun, intent: CancelAll) -> None:
    """Look once at each order that may have been cancelled; the sync looks again at what can't be seen now."""
    refused = True

    async def look(order: Order) -> None:
        nonlocal refused
        if not refused:
            return
        try:
            await look_at(run.desk, order)
        except ExchangeFailure as failure:
            await run.desk.pause_if_throttled(order.intent.account, failure)
            log.warning(
                "asking for a cancelled order failed", extra={"client_order_id": order.client_order_id}
            )
            refused = failure.outcome is Outcome.REFUSED  # anything else strikes the next question too

    met = [order for order in await _maybe_open(run, intent) if order.exchange_order_id]
    await side_by_side(run.desk, met[:LOOKED_AT_AT_MOST], look, AT_ONCE)


async def _maybe_open(run: CommandRun, intent: CancelAll) -> list[Order]:
    """The orders that the intent covers and the journal shows as open, or sent without a known outcome."""
    return [
        order
        for order in await run.desk.journal.open_orders(intent.account)
        if _placed_an_order(order)
        and intent.symbol in (order.intent.symbol, EVERY_SYMBOL)
        and (not intent.strategy or await strategy_of(run, order) == intent.strategy)
    ]


def _placed_an_order(order: Order) -> bool:
    """Whether a request may have placed an order under this intent's id: of an amend, once its replacement began."""
    if isinstance(order.intent, AmendOrder):
        return order.amount is not None
    return isinstance(order.intent, PlaceOrder)


def _left_over(refused: dict[str, NotDone]) -> NotDone:
    """How the intent ends when something of it was not done."""
    if len(refused) == 1:
        [only] = refused.values()
        return only
    shown = sorted(refused.items())[:NAMED_AT_MOST]
    words = "; ".join(f"{name}: {one.reason.code} {one.reason.message}" for name, one in shown)
    more = f"; and {len(refused) - len(shown)} more" if len(refused) > len(shown) else ""
    reason = Reason(
        code="partly_refused",
        message=f"not everything could be cancelled: {words}{more}",
        numbers={"refused": str(len(refused))},
    )
    return NotDone(OrderStatus.REJECTED, reason)
