"""How far accounts are with being brought to agreement with the exchange, as whoever does it notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from orderlane.keys import Keys
from orderlane.pool_link import PoolLink


class ReconcileState(StrEnum):
    """What is being done."""

    WAITING = "waiting"
    """Nobody is at it yet."""
    LISTING = "listing"
    """The account's open orders are asked for."""
    ASKING = "asking"
    """Orders that the list lacks are asked for one by one."""
    FILLS = "fills"
    """The user stream brings in the fills that happened meanwhile."""
    POSITIONS = "positions"
    """Positions and balances are compared."""
    FAILED = "failed"
    """It did not succeed, and is tried again."""
    DONE = "done"


class ReconcileStatus(Struct, frozen=True, kw_only=True):
    """An account's agreement with the exchange: the one under way, or the last. Times are ms.

    `asked` of `to_ask` orders were asked for one by one. `orders`: open records that were compared. `changed`,
    `rebuilt`, `external`, `not_found`: records brought up to date, records that were lost and are rebuilt, orders that
    the pool did not place and that were new, orders that the exchange does not know. `failures` in a row, the last for
    `reason`; `next_in_ms`: how long until it is tried again. `since_ms`: for how long it is under way; `took_ms`: how
    long it took.
    """

    account: str
    state: ReconcileState
    holder: str = ""
    since_ms: int = 0
    took_ms: int = 0
    asked: int = 0
    to_ask: int = 0
    orders: int = 0
    changed: int = 0
    rebuilt: int = 0
    external: int = 0
    not_found: int = 0
    failures: int = 0
    next_in_ms: int = 0
    reason: str = ""

    @property
    def words(self) -> str:
        """What is being done, in one line for a person."""
        if self.state is ReconcileState.DONE:
            return f"in agreement after {self.took_ms} ms: {self.found}"
        if self.state is ReconcileState.FAILED:
            return f"{self.reason}; failed {self.failures} times, again in {self.next_in_ms // 1000} s"
        if self.state is ReconcileState.ASKING:
            return f"{self.asked} of {self.to_ask} orders asked"
        return self.state.value

    @property
    def found(self) -> str:
        """What was compared, and what came of it."""
        parts = {
            "orders": self.orders, "brought up to date": self.changed, "rebuilt": self.rebuilt,
            "external": self.external, "not known there": self.not_found,
        }  # fmt: skip
        return ", ".join(f"{count} {name}" for name, count in parts.items() if count or name == "orders")


def read_reconciles(
    link: PoolLink, keys: Keys, accounts: Sequence[str], now_ms: int
) -> list[ReconcileStatus]:
    """How each account stands, of those of which something is noted.

    Raises:
        Unreachable: Redis did not answer.
    """

    def ask() -> list[Any]:
        with link.redis.pipeline(transaction=False) as pipeline:
            for account in accounts:
                pipeline.hgetall(keys.reconcile(account))
            return list(pipeline.execute())

    answers = link.ask(ask) if accounts else []
    read = [read_reconcile(*pair, now_ms) for pair in zip(accounts, answers, strict=True)]
    return [one for one in read if one is not None]


def read_reconcile(account: str, fields: Mapping[bytes, bytes], now_ms: int) -> ReconcileStatus | None:
    """What is noted of an account, or None."""
    text = {name.decode(): value.decode(errors="replace") for name, value in fields.items()}
    if text.get("state") not in list(ReconcileState):
        return None

    def number(name: str) -> int:
        value = text.get(name, "")
        return int(value) if value.isascii() and value.isdecimal() else 0

    return ReconcileStatus(
        account=account,
        state=ReconcileState(text["state"]),
        holder=text.get("holder", "") if number("until") > now_ms else "",
        since_ms=max(now_ms - number("since"), 0) if number("since") else 0,
        next_in_ms=max(number("next_at") - now_ms, 0),
        reason=text.get("reason", ""),
        **{
            name: number(name)
            for name in (
                "took_ms", "asked", "to_ask", "orders", "changed", "rebuilt", "external", "not_found", "failures",
            )
        },
    )  # fmt: skip
