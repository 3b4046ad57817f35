"""Which orders are stuck, when each is asked for, and what an answer is evidence of; pure.

An order is watched from when something is missing about it until that has come. Being asked for and being told are
two things: a question is worth its weight early, an alarm only once the order's deadline has passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from common.closed_orders import MINUTE_MS, may_be_forgotten
from common.config import StuckSection
from common.exchange.base import OrderReport, TradeReport
from orderlane.intents import AmendOrder, CancelAll, CancelOrder, PlaceOrder
from orderlane.orders import Order, OrderStatus, Reason
from orderlane.stuck import StuckKind, Watch

PROOFS: Final = 2
"""Answers "no such order" before fills are looked for and absence may count: one may come from a server that lags."""
MARGIN_MS: Final = 10 * MINUTE_MS
"""How far apart the clocks of a venue's memory, of the pool's Redis and of its workers may be."""
_COMMANDS: Final = (CancelOrder, CancelAll, AmendOrder)


class Kept(Struct, frozen=True):
    """What the settings say of one kind, ms: from when on it is asked for here, and when it is told."""

    ask_after_ms: int
    deadline_ms: int


def kept(kind: StuckKind, section: StuckSection) -> Kept:
    """The times of a kind."""
    seconds = {
        StuckKind.UNACKNOWLEDGED: (section.unacknowledged_seconds, section.unacknowledged_seconds),
        StuckKind.CANCEL: (section.cancel_seconds, section.cancel_seconds),
        StuckKind.ABSENT: (0, section.absent_seconds),
        StuckKind.UNKNOWN: (section.unknown_seconds / 2, section.unknown_seconds),
    }[kind]
    return Kept(*(int(one * 1000) for one in seconds))


def kind_of(record: Order, *, absent: bool) -> StuckKind | None:
    """What is missing about an order that has not ended; None: nothing. `absent`: the exchange's list lacks it."""
    if record.status not in (OrderStatus.SUBMITTED, OrderStatus.UNKNOWN):
        return StuckKind.ABSENT if absent else None
    if isinstance(record.intent, _COMMANDS) and not record.exchange_order_id:
        return StuckKind.CANCEL
    return StuckKind.UNKNOWN if record.status is OrderStatus.UNKNOWN else StuckKind.UNACKNOWLEDGED


def watched(
    records: Iterable[Order],
    absent: frozenset[str] | None,
    before: Mapping[str, Watch],
    listed_at: int,
    now_ms: int,
    section: StuckSection,
) -> dict[str, Watch]:
    """The watches as they should stand now, by client order id.

    `absent`: the client order ids that the exchange's list lacks; None: there was no list, and those watched as absent
    before stay so. `listed_at`: when the exchange last gave its list before this, ms; 0: never.
    """
    found: dict[str, Watch] = {}
    for record in records:
        name = record.client_order_id
        known = before.get(name)
        was_absent = known is not None and known.kind is StuckKind.ABSENT
        kind = kind_of(record, absent=was_absent if absent is None else name in absent)
        if kind is None:
            continue
        if known is not None and known.kind is kind:
            found[name] = known
            continue
        since = now_ms if kind is StuckKind.ABSENT else record.times.sent_at or record.times.updated_at
        times = kept(kind, section)
        if now_ms - since < times.ask_after_ms:
            continue
        found[name] = Watch(
            client_order_id=name,
            intent_id=record.intent.id,
            symbol=record.intent.symbol,
            kind=kind,
            since=since,
            deadline=since + times.deadline_ms,
            seen_open=max(listed_at, record.times.exchange_at) if kind is StuckKind.ABSENT else 0,
        )
    return found


def due(watches: Iterable[Watch], now_ms: int, most: int) -> list[Watch]:
    """Those to be asked for now, at most so many: who waited longest since the last question goes first."""
    waiting = [one for one in watches if one.next <= now_ms]
    return sorted(waiting, key=lambda one: (one.last, one.since, one.client_order_id))[:most]


def asked_now(watch: Watch, now_ms: int, section: StuckSection) -> Watch:
    """The watch once a question is about to be sent: counted, and the next not before its growing wait is over."""
    wait_seconds = min(section.ask_first_seconds * 2 ** min(watch.asked, 30), section.ask_cap_seconds)
    return msgspec.structs.replace(
        watch, asked=watch.asked + 1, last=now_ms, next=now_ms + wait_seconds * 1000
    )


def to_tell(watches: Iterable[Watch], now_ms: int) -> list[Watch]:
    """Those whose deadline has passed without evidence, and that nobody was told of: once each."""
    return [one for one in watches if not one.told and now_ms >= one.deadline]


def stuck_reason(watch: Watch, now_ms: int) -> Reason:
    """Why an order is told to be stuck, with the numbers."""
    what = {
        StuckKind.UNACKNOWLEDGED: "its request was sent, and there is no word of what became of it",
        StuckKind.CANCEL: "the exchange has not confirmed it",
        StuckKind.ABSENT: "it is on record as open, and not among the exchange's open orders",
        StuckKind.UNKNOWN: "what became of it is not known",
    }[watch.kind]
    stuck_ms = max(now_ms - watch.since, 0)
    said = f"; last answer: {watch.said}" if watch.said else ""
    return Reason(
        code=f"stuck_{watch.kind}",
        message=f"{what} for {stuck_ms // 1000} s, {watch.asked} questions brought no evidence{said}: it stays as it "
        "is and is asked for again; look at the exchange",
        numbers=stuck_numbers(watch, now_ms),
    )


def stuck_numbers(watch: Watch, now_ms: int) -> dict[str, str]:
    """The figures of `order.stuck`."""
    return {
        "kind": watch.kind.value,
        "stuck_ms": str(max(now_ms - watch.since, 0)),
        "deadline_ms": str(watch.deadline - watch.since),
        "asked": str(watch.asked),
        "not_found": str(watch.not_found),
        "failed": str(watch.failed),
        "next_at": str(watch.next),
    }


def report_of_trades(record: Order, trades: Sequence[TradeReport]) -> OrderReport | None:
    """What an order's fills, all that the exchange has of it, say: filled as a whole, or further than is known.

    None: nothing new. How an order ended that is filled in part, they do not say.
    """
    own = [trade for trade in trades if trade.exchange_order_id == record.exchange_order_id]
    filled = sum((trade.amount for trade in own), Decimal(0))
    if not own or filled <= record.filled:
        return None
    fees: dict[str, Decimal] = {}
    for trade in own:
        if trade.fee is not None and trade.fee_currency:
            fees[trade.fee_currency] = fees.get(trade.fee_currency, Decimal(0)) + trade.fee
    whole = record.amount is not None and filled >= record.amount
    return OrderReport(
        client_order_id=record.client_order_id,
        exchange_order_id=record.exchange_order_id,
        symbol=record.intent.symbol,
        status=OrderStatus.FILLED if whole else OrderStatus.PARTIAL,
        filled=filled,
        average=sum((trade.amount * trade.price for trade in own), Decimal(0)) / filled,
        fees=fees,
        exchange_at=max(trade.traded_at for trade in own),
    )


def forgotten(record: Order, watch: Watch, venue: str, now_ms: int) -> Reason | None:
    """Why an open order that the exchange neither lists nor knows, and of which it has no fills, has ended unfilled.

    Only where the venue's own rule says that it forgets such orders, and enough time has passed for it to have done so.
    None: "no such order" is no evidence of anything.
    """
    if record.filled or record.status is not OrderStatus.ACTIVE or watch.not_found < PROOFS:
        return None
    placed_at = record.times.sent_at or record.times.queued_at
    if not may_be_forgotten(
        venue, placed_at=placed_at, seen_open_at=watch.seen_open, now_ms=now_ms, margin_ms=MARGIN_MS
    ):
        return None
    return Reason(
        code="forgotten_by_exchange",
        message="not among the exchange's open orders, without fills, and not known there any more, as is usual for "
        f"orders that were cancelled or expired unfilled: {watch.not_found} answers",
        numbers={
            "not_found": str(watch.not_found),
            "seen_open": str(watch.seen_open),
            "placed_at": str(placed_at),
        },
    )


def end_of_cancel(record: Order, target: Order) -> tuple[OrderStatus, Reason | None] | None:
    """How a cancel ends whose target has ended, as its worker would end it; None: not yet, or not for us to say."""
    if not isinstance(record.intent, CancelOrder) or not target.status.terminal:
        return None
    if target.status is OrderStatus.CANCELED:
        return OrderStatus.DONE, None
    return OrderStatus.REJECTED, Reason(
        code="target_closed",
        message=f"order {target.intent.id!r} is {target.status} with {target.filled} filled: nothing is left to change",
        numbers={"filled": str(target.filled)},
    )


def placing(record: Order) -> bool:
    """Whether the order's own id can be asked for."""
    return isinstance(record.intent, PlaceOrder) or bool(record.exchange_order_id)
