"""What the pool publishes: one entry, field `event`, of `<pool>:{<exchange>}:events` for every state change.

An event is written by the same script as the state it reports, so neither exists without the other.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec
from msgspec import Struct

from orderlane.orders import Order, OrderStatus, Reason, Times


class EventName(StrEnum):
    """What an event is called; consumers filter by it."""

    SUBMITTED = "order.submitted"
    ACKNOWLEDGED = "order.acknowledged"
    PARTIAL = "order.partial"
    FILLED = "order.filled"
    CANCELLED = "order.cancelled"
    EXPIRED = "order.expired"
    REJECTED = "order.rejected"
    """Refused by the exchange (`to` is REJECTED) or by the pool before anything was sent (`to` is FAILED)."""
    ERROR = "order.error"
    """Given up after sending, with proof that the exchange has no such order (`to` is FAILED)."""
    UNKNOWN = "order.unknown"
    DUPLICATE = "order.duplicate"
    MERGED = "order.merged"
    """Absorbed by another intent, which `related` names."""
    AMENDED = "order.amended"
    """Changed while it waited, by the intent that `related` names."""
    TRADE = "order.trade"
    """One fill, by the exchange's own id of it. `numbers` holds `trade_id`, `side`, `amount` (base), `price` (quote per
    base), `fee`, `fee_currency`, `liquidity` (`maker` or `taker`), `realised` (profit on a derivatives position) and
    `traded_at` (ms, the exchange's time); what is not known is left out."""
    STUCK = "order.stuck"
    """Nothing moves about this order, and its deadline has passed without evidence (once for each deadline). `reason`
    says what is missing; `numbers` holds `kind` (`unacknowledged`, `cancel`, `absent` or `unknown`), `stuck_ms` (for
    how long), `deadline_ms` (how long is usual), `asked` (questions about it), `not_found` (answered by "no such
    order"), `failed` (not answered) and `next_at` (ms: when it is asked for again)."""
    EXTERNAL = "order.external"
    """The exchange has an order that the pool did not place; told once for each, and once more when more is done about
    it. `intent_id` is the name by which intents may speak of it, once it is tracked. `numbers` holds what is known:
    `action` (`report`, `adopt` or `cancel`), `client_order_id` (as the exchange has it), `status`, `side`, `type`,
    `amount`, `price`, `filled`, and `pool` where it seems to be another pool's."""
    REBUILT = "order.rebuilt"
    """An order of the pool whose record was lost is on record again, as the exchange shows it."""
    LATENCY = "execution.latency"
    RATE_LIMIT = "execution.rate_limit"
    SYSTEM_ERROR = "system.error"
    BACKLOG = "system.backlog"
    """Every 10 s while intents wait for longer than that (in lanes that are not parked), and once more when none does
    any more. `numbers` holds `depth` (unfinished intents of the exchange), `oldest_ms` (age of the oldest of them),
    `drained_per_second` (how many ended; left out where it is not known yet) and `account:<name>` (the depth of an
    account, for the five deepest)."""
    DEGRADED = "system.degraded"
    """New placements of an exchange, or of the `account`, wait: `reason` says why, `numbers` holds `cause` (`errors`,
    `ban` or `operator`), `since_ms`, where known `until_ms` (the end of a ban, or the next probe), and the figures
    behind it. Once more for each probe that fails."""
    RECOVERING = "system.recovering"
    """The next step of a recovery: `share` of the new placements go through."""
    RECOVERED = "system.recovered"
    """New placements go again, as far as this `cause` is concerned; `lasted_ms`: how long they waited for it."""
    RECONCILING = "account.reconciling"
    """Journal and exchange are being brought to agreement; new placements of the account wait."""
    RECONCILED = "account.reconciled"
    UNRECONCILED = "account.unreconciled"
    """They could not be: new placements of the account wait until they are."""

    POSITION_CORRECTED = "position.corrected"
    """A position was not what the exchange says, in two readings, and is now. `numbers` holds `expected` (what fills
    added up to), `exchange` (what the exchange says), `drift` (the difference, base), `worth` (of the drift, in quote;
    left out where no price is known), `critical` (`1` where it is beyond the thresholds) and `at` (ms)."""
    BALANCE_CORRECTED = "balance.corrected"
    """The same of a balance, whose asset is in `numbers` as `asset`; drift and figures count in it."""
    STRATEGY_DISABLED = "risk.strategy_disabled"
    """New opening orders of `strategy` (`*`: of all) on `symbol` are refused, for the `reason`."""
    STRATEGY_ENABLED = "risk.strategy_enabled"
    """They are accepted again: a person said so."""


EVENT_OF_STATUS: dict[OrderStatus, EventName] = {
    OrderStatus.SUBMITTED: EventName.SUBMITTED,
    OrderStatus.ACTIVE: EventName.ACKNOWLEDGED,
    OrderStatus.DONE: EventName.ACKNOWLEDGED,
    OrderStatus.PARTIAL: EventName.PARTIAL,
    OrderStatus.FILLED: EventName.FILLED,
    OrderStatus.CANCELED: EventName.CANCELLED,
    OrderStatus.EXPIRED: EventName.EXPIRED,
    OrderStatus.REJECTED: EventName.REJECTED,
    OrderStatus.FAILED: EventName.REJECTED,
    OrderStatus.MERGED: EventName.MERGED,
    OrderStatus.UNKNOWN: EventName.UNKNOWN,
}


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened. Fields that do not apply are left out of the JSON.

    `id` is the stream id, filled in when read: pass the last one seen to `events(after=…)` to go on from
    there. `at` is ms since the epoch. `numbers` holds the figures of system and latency events. `related` is the
    id of the other intent, where one intent ended or changed another that was still waiting: both are named.
    """

    name: EventName
    at: int
    id: str = ""
    intent_id: str = ""
    client_order_id: str = ""
    exchange: str = ""
    account: str = ""
    symbol: str = ""
    strategy: str = ""
    leg: str = ""
    from_status: OrderStatus | None = None
    to_status: OrderStatus | None = None
    reason: Reason | None = None
    changes: dict[str, str] = {}
    exchange_order_id: str = ""
    filled: Decimal | None = None
    average: Decimal | None = None
    times: Times | None = None
    tags: dict[str, str] = {}
    worker: str = ""
    related: str = ""
    numbers: dict[str, str] = {}


_encoder = msgspec.json.Encoder(decimal_format="string")
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encode_event(event: Event) -> bytes:
    """The event as JSON, for the `event` field of a stream entry."""
    return _encoder.encode(event)


def decode_event(entry_id: str, payload: bytes) -> Event:
    """An event from the `event` field of a stream entry, with the entry's id as its own."""
    return msgspec.structs.replace(_decoder.decode(payload), id=entry_id)


def order_event(
    order: Order, before: OrderStatus | None, *, at: int, name: EventName | None = None, worker: str = ""
) -> Event:
    """The event that reports that `order` has just reached its status, coming from `before`."""
    intent = order.intent
    given_up = order.status is OrderStatus.FAILED and before not in (None, OrderStatus.QUEUED)
    return Event(
        name=name or (EventName.ERROR if given_up else EVENT_OF_STATUS[order.status]),
        at=at,
        intent_id=intent.id,
        client_order_id=order.client_order_id,
        exchange=intent.exchange,
        account=intent.account,
        symbol=intent.symbol,
        strategy=intent.strategy,
        leg=getattr(intent, "leg", ""),
        from_status=before,
        to_status=order.status,
        reason=order.reason,
        changes=order.changes,
        exchange_order_id=order.exchange_order_id,
        filled=order.filled if order.filled else None,
        average=order.average,
        times=order.times,
        tags=intent.tags,
        worker=worker,
        related=order.related,
    )
