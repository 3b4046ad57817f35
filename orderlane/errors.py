"""What a client raises. Each carries the values it speaks of, and its message says what to do."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from orderlane.intents import Intent
from orderlane.orders import Order


class OrderlaneError(Exception):
    """Everything a client raises, but for IntentInvalid and ValueError (the call itself is wrong)."""


class IdReused(OrderlaneError):
    """The intent id is taken by an intent with other content. Nothing was added; `existing` is its order."""

    def __init__(self, intent: Intent, existing: Order) -> None:
        super().__init__(
            f"intent id {intent.id!r} on {intent.exchange}/{intent.account} was used before for another intent "
            f"({type(existing.intent).__name__} {existing.intent.symbol}, now {existing.status}): an id stands for "
            "one intent for ever, so give the new one an id of its own"
        )
        self.intent = intent
        self.existing = existing


class BacklogBound(StrEnum):
    """Whose limit a backlog has reached: this client's own, the pool's for the exchange, or that for each account."""

    CLIENT = "client"
    EXCHANGE = "exchange"
    ACCOUNT = "account"


class Backlogged(OrderlaneError):
    """As many intents are unfinished as are admitted. Nothing was added; cancels and reduce-only orders still are.

    `bound` says whose limit it is, and `backlog` counts accordingly: the account's intents where it is the limit of
    each account, else the exchange's.
    """

    def __init__(
        self,
        exchange: str,
        account: str,
        backlog: int,
        limit: int,
        *,
        bound: BacklogBound = BacklogBound.CLIENT,
    ) -> None:
        of_account = bound is BacklogBound.ACCOUNT
        place = f"account {account} on {exchange}" if of_account else exchange
        whose = "this client adds" if bound is BacklogBound.CLIENT else "the pool admits"
        advice = "cancel some of them" if of_account else "start more workers"
        super().__init__(
            f"the backlog of {place} is {backlog} intents, and {whose} none at {limit} or more"
            f"{_SETTING[bound]}: wait and submit again, or {advice}"
        )
        self.exchange = exchange
        self.account = account
        self.backlog = backlog
        self.limit = limit
        self.bound = bound


_SETTING = {
    BacklogBound.CLIENT: "",
    BacklogBound.EXCHANGE: " (its setting backlog_limit)",
    BacklogBound.ACCOUNT: " (its setting account_backlog_limit)",
}


class Unreachable(OrderlaneError):
    """Redis did not answer, for as long as the client tries (`retry_seconds`). `cause` is its last failure."""

    def __init__(self, address: str, seconds: float, cause: str, consequence: str = "") -> None:
        super().__init__(
            f"Redis at {address} did not answer within {seconds:.1f} s ({cause})"
            f"{': ' + consequence if consequence else ''}"
        )
        self.address = address
        self.seconds = seconds
        self.cause = cause


class OutcomeUnknown(Unreachable):
    """Redis did not answer a submit: whether the intents were added is not known. Submitting them again is safe."""

    def __init__(self, failure: Unreachable, intent_ids: Iterable[str]) -> None:
        self.intent_ids = tuple(intent_ids)
        named = ", ".join(repr(one) for one in self.intent_ids[:3])
        more = f" and {len(self.intent_ids) - 3} more" if len(self.intent_ids) > 3 else ""
        super().__init__(
            failure.address,
            failure.seconds,
            failure.cause,
            f"whether intent {named}{more} was added is not known; submit it again with the same id, "
            "which never adds it twice",
        )


class WaitTimeout(OrderlaneError, TimeoutError):
    """The order did not come to what was waited for in time. `order` is how it stands, None: nothing is known."""

    def __init__(self, intent_id: str, seconds: float, order: Order | None) -> None:
        stands = f"it is {order.status}" if order else "the pool has no record of it yet"
        super().__init__(
            f"intent {intent_id!r} did not get there within {seconds:g} s: {stands}; "
            "wait again, or look at `orderlane status`"
        )
        self.intent_id = intent_id
        self.seconds = seconds
        self.order = order


class OrderNotFound(OrderlaneError, LookupError):
    """The pool has no record of the intent, where one is needed."""

    def __init__(self, intent_id: str, searched: Iterable[tuple[str, str]]) -> None:
        self.intent_id = intent_id
        self.searched = tuple(searched)
        places = ", ".join(f"{exchange}/{account}" for exchange, account in self.searched)
        super().__init__(
            f"no order of intent {intent_id!r} in {places or 'any account (the pool has none registered)'}: "
            "check the id, and give exchange and account"
        )


class IntentAmbiguous(OrderlaneError, LookupError):
    """Several accounts have an intent of this id: it is unique within one exchange and account only."""

    def __init__(self, intent_id: str, orders: Iterable[Order]) -> None:
        self.orders = tuple(orders)
        places = ", ".join(f"{one.intent.exchange}/{one.intent.account}" for one in self.orders)
        super().__init__(f"intent id {intent_id!r} exists in {places}: give exchange and account")


class ExchangeUnclear(OrderlaneError, ValueError):
    """The call needs one exchange, was given none, and the pool does not have exactly one."""

    def __init__(self, known: Iterable[str]) -> None:
        self.known = tuple(known)
        names = ", ".join(self.known) or "none registered: no worker has started yet"
        super().__init__(f"give the exchange by name (the pool has {names})")


class ExchangeUnknown(OrderlaneError, ValueError):
    """No worker of the pool has registered this exchange: what is sent to it would wait for ever. Nothing was added."""

    def __init__(self, exchange: str, known: Iterable[str]) -> None:
        self.exchange = exchange
        self.known = tuple(known)
        super().__init__(
            f"exchange is {exchange!r}, which the pool does not have (it has {', '.join(self.known)}): "
            "check the name, or start its workers first"
        )


class OrderEnded(OrderlaneError):
    """There is nothing left to cancel or amend: the order has ended. `order` is its record."""

    def __init__(self, order: Order) -> None:
        merged = order.merged_into
        into = (
            f" into {merged.intent_id!r}, whose order stands for both: cancel or amend that one"
            if merged
            else ""
        )
        super().__init__(
            f"the order of intent {order.id!r} has ended: it is {order.status}{into}; nothing was sent"
        )
        self.order = order
