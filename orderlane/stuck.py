"""Orders about which nothing moves, as the scheduler watches them: what is missing, since when, and what was asked.

The hash `stuck:<account>` holds one of these for each; it is gone once the exchange has said what became of the order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from orderlane.keys import Keys
from orderlane.pool_link import PoolLink


class StuckKind(StrEnum):
    """What is missing; each has a deadline of its own (`scheduler.stuck` in the configuration)."""

    UNACKNOWLEDGED = "unacknowledged"
    """SUBMITTED, and no word of what became of the request."""
    CANCEL = "cancel"
    """A cancel or an amend that the exchange has not confirmed."""
    ABSENT = "absent"
    """On the exchange's book by its record, and not among the exchange's open orders."""
    UNKNOWN = "unknown"
    """Sent, and nobody has seen what became of it, its lane parked or not."""


class Watch(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One order that is watched. Times are ms by Redis' clock, 0: not yet.

    `since`: when it came to stand so. `deadline`: when it counts as stuck, and is told. `seen_open`: when the exchange
    last listed it among the open orders, as far as is known (`absent` alone). `asked` counts the questions about it,
    `not_found` those answered by "no such order", `failed` those that brought no answer. `next`: before when it is not
    asked for again. `told`: when `order.stuck` was published. `said`: the last answer, in words.
    """

    client_order_id: str
    intent_id: str
    symbol: str
    kind: StuckKind
    since: int
    deadline: int
    seen_open: int = 0
    asked: int = 0
    not_found: int = 0
    failed: int = 0
    last: int = 0
    next: int = 0
    told: int = 0
    said: str = ""


class StuckOrders(Struct, frozen=True, kw_only=True):
    """An account's stuck orders: those whose deadline has passed, longest first; `asked_about`: how many more are
    watched."""

    account: str
    stuck: list[Watch]
    asked_about: int


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Watch)


def encode_watch(watch: Watch) -> bytes:
    """The watch as JSON."""
    return _encoder.encode(watch)


def decode_watches(fields: Mapping[bytes, bytes]) -> dict[str, Watch]:
    """The watches of `stuck:<account>` by client order id; values that are none are passed over."""
    found: dict[str, Watch] = {}
    for name, value in fields.items():
        try:
            found[name.decode()] = _decoder.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found


def read_stuck(link: PoolLink, keys: Keys, accounts: Sequence[str]) -> list[StuckOrders]:
    """The stuck orders of these accounts, those that have any.

    Raises:
        Unreachable: Redis did not answer.
    """

    def ask() -> list[Any]:
        with link.redis.pipeline(transaction=False) as pipeline:
            for account in accounts:
                pipeline.hgetall(keys.stuck(account))
            return list(pipeline.execute())

    answers = link.ask(ask) if accounts else []
    found = []
    for account, fields in zip(accounts, answers, strict=True):
        watches = decode_watches(fields).values()
        stuck = sorted((one for one in watches if one.told), key=lambda one: one.since)
        if watches:
            found.append(StuckOrders(account=account, stuck=stuck, asked_about=len(watches) - len(stuck)))
    return found
