"""What can be waited for, and how a client reads the stream of events. Pure."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from orderlane.events import Event, decode_event
from orderlane.keys import EVENT_FIELD
from orderlane.orders import Order, OrderStatus

Until = Literal["acknowledged", "terminal"] | Collection[OrderStatus]

TERMINAL: Final = frozenset(status for status in OrderStatus if status.terminal)
ACKNOWLEDGED: Final = frozenset({OrderStatus.ACTIVE, OrderStatus.PARTIAL}) | TERMINAL

BLOCK_SECONDS: Final = 2.0
"""How long one XREAD waits: as often a waiting client looks at the record itself, should an event have been lost
with Redis' last second of writes."""
READ_COUNT: Final = 500

_POSITION = re.compile(r"\d{1,20}(-\d{1,20})?\Z", re.ASCII)
_log = logging.getLogger(__name__)


def statuses_of(until: Until) -> frozenset[OrderStatus]:
    """The statuses that end a wait. An order that has ended can reach nothing more, so these always count.

    Raises:
        ValueError: neither one of the words nor a collection of statuses.
    """
    if until == "acknowledged":
        return ACKNOWLEDGED
    if until == "terminal":
        return TERMINAL
    if isinstance(until, str) or not until:
        raise ValueError(
            f"until is {until!r}; expected 'acknowledged', 'terminal' or a set of OrderStatus, such as "
            "{OrderStatus.PARTIAL}"
        )
    return frozenset(OrderStatus(status) for status in until) | TERMINAL


def has_reached(order: Order | None, wanted: frozenset[OrderStatus]) -> bool:
    """Whether an order's record ends the wait."""
    return order is not None and order.status in wanted


def reports(event: Event, intent_id: str, account: str | None) -> bool:
    """Whether an event is about this intent (of this account, where it is known)."""
    return event.intent_id == intent_id and account in (None, event.account)


def check_position(after: str) -> str:
    """`after` as XREAD takes it: `$` (now), `0` (all that is kept) or the id of the last event seen.

    Raises:
        ValueError: anything else.
    """
    if after != "$" and not _POSITION.match(after):
        raise ValueError(
            f"after is {after!r}; expected '$' (from now on), '0' (all that is kept) or the id of an event, "
            "such as '1700000000000-0'"
        )
    return after


def read_entries(reply: Mapping[bytes, Sequence[Any]] | None, stream: str) -> list[tuple[bytes, Any]]:
    """The entries of one stream in the answer of XREAD (RESP3): `(id, fields)`, oldest first."""
    return [entry for batch in (reply or {}).get(stream.encode(), ()) for entry in batch]


def read_event(entry: tuple[bytes, Mapping[bytes, bytes]]) -> Event | None:
    """The event of a stream entry; None, with a warning in the log, for one this version can't read."""
    entry_id, fields = entry[0].decode(), entry[1]
    try:
        return decode_event(entry_id, fields[EVENT_FIELD.encode()])
    except (KeyError, msgspec.MsgspecError) as error:
        _log.warning(
            "event %s can't be read by this version of orderlane and is left out: %s", entry_id, error
        )
        return None
