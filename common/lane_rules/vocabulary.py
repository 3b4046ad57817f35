"""What the lane rules are told, and what they may decide: plain values.

Every decision names the stream entries it is about. Applying decisions one after another, each on the lane that
the one before left behind, is what `decide` promises them to be right for.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from orderlane.intents import AmendOrder, Intent, PlaceOrder
from orderlane.orders import Absorbed

LARGEST_LOOK_AHEAD = 1000


class Waiting(Struct, frozen=True, kw_only=True):
    """One entry of a lane.

    `rank` is its urgency in the lane (0 to 9, less is sooner), `intent` what is to be sent for it now: the edited
    one, where the record has one. `absorbed` are the intents that were merged into it before, their amounts part of
    the intent's. `begun`: no rule may touch it. That is so for an entry that has begun, and must be said too of one
    that is not what it seems: whose record stands as another entry's (a repeated id), as anything but QUEUED, or
    which the worker would refuse for its account or exchange.
    """

    entry: str
    rank: int
    intent: Intent
    client_order_id: str
    begun: bool = False
    absorbed: tuple[Absorbed, ...] = ()

    @property
    def id(self) -> str:
        return self.intent.id

    @property
    def appended(self) -> tuple[int, int]:
        """The stream id as numbers: less was appended sooner."""
        ms, _, sequence = self.entry.partition("-")
        return int(ms), int(sequence or 0)


class LaneRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is decided about intents that wait in one lane (account and symbol), before a request is made for them.

    No rule touches what has begun, looks across a cancel-all, or lets an intent pass one that it depends on. Each
    decision is an event that names both intents.

    Off by default are the rules that take more of an intent than a request: its own id, or its own order."""

    look_ahead: Annotated[int, Meta(ge=1, le=LARGEST_LOOK_AHEAD, extra={"unit": "intents"})] = 64
    """How many intents of a lane, from the one about to begin, are looked at together. Larger: more requests are
    spared in a long queue, and each look at it costs a worker more time. Smaller: less is found. 1: nothing but
    what has expired."""
    expire_waiting: bool = True
    """An intent whose `expires_at` has passed ends as EXPIRED as soon as it is seen, wherever it waits. Off: only
    when its turn has come. It is not sent either way."""
    annul_cancelled: bool = True
    """A cancel whose target still waits ends both without a request: the target as CANCELED, the cancel as DONE.
    Off: the target is sent first and then cancelled, and may have traded in between."""
    edit_waiting: bool = True
    """An amend whose target still waits changes the target, and ends as DONE. Off: the target is sent as it was
    asked for, and amended then. If the exchange refuses the changed order there is none, where the unchanged one
    would have stood. With `merge_closes`, reduce-only market orders are left as they are."""
    replace_waiting: bool = True
    """A place that `replaces` an order that still waits ends that one as CANCELED, unsent. Off: the older one is
    sent, cancelled, and only then the newer one is sent."""
    merge_closes: bool = True
    """Reduce-only market orders of one strategy and side that follow each other become one order with the sum of
    their amounts, under the id of the first; the others end as MERGED, with their share of its fills. Off: each costs
    a request."""
    merge_amends: bool = True
    """Amends of one order that follow each other become the last of them, if it says all that they say; the others
    end as MERGED. If the exchange refuses the last, none of them has happened. Off: each costs a request."""
    merge_amends_apart: bool = False
    """With `merge_amends`: also where amends of other orders stand between them, as when two quotes are moved in turn.
    On: one quote may be moved before the other has made way for it, and cross it for a moment. Post-only orders
    are then refused, others trade with yourself or fall to the venue's self-trade prevention."""
    merge_small_limits: bool = False
    """Limit orders of one strategy, side and price, each worth `small_notional` or less, become one order under the
    id of the first. A merged order is one order once it is sent: a cancel of the first then cancels the whole, and the
    others can't be cancelled or amended any more by their own ids."""
    small_notional: Annotated[Decimal, Meta(extra={"unit": "quote currency"})] = Decimal(100)
    """Up to which worth (price times amount) an order is small, for `merge_small_limits`. Larger: more orders lose
    an id they can be cancelled by. Smaller: fewer are merged."""
    annul_open_and_close: bool = False
    """A market order that opens and a reduce-only (on spot: `leg: close`) market order of the same strategy that
    closes the same amount end each other, both as CANCELED, while both wait. Only for accounts in which strategies
    don't hold opposite positions in one symbol: **where the opening order would in truth have reduced another
    strategy's position, that reduction is lost.** Closes of another amount are left alone."""

    def __post_init__(self) -> None:
        if not (self.small_notional.is_finite() and self.small_notional > 0):
            raise ValueError(
                f"small_notional is {self.small_notional}: expected a worth above 0 in the quote currency, such as 100"
            )
        if self.merge_amends_apart and not self.merge_amends:
            raise ValueError(
                "merge_amends_apart is true, which does nothing alone: expected merge_amends too"
            )


class SumBounds(Struct, frozen=True, kw_only=True):
    """What a sum of amounts must keep, for orders of one kind. None: no such rule.

    An amount that is no multiple of `lot_size` would be rounded down by itself, so it is not summed with others:
    the sum would be more than the parts were to be.
    """

    limit: Decimal | None = None
    """The most base an order may have."""
    notional_limit: Decimal | None = None
    """The most it may be worth at its limit price, in quote."""
    lot_size: Decimal | None = None


class MergeBounds(Struct, frozen=True, kw_only=True):
    """The bounds of the lane's symbol, for market orders and for limit orders."""

    market: SumBounds = SumBounds()
    limit: SumBounds = SumBounds()


class Why(StrEnum):
    """Why two intents annulled each other. Stable: it is the code of their reason."""

    CANCELLED = "cancelled_while_waiting"
    CLOSED = "closed_while_waiting"


class Expire(Struct, frozen=True, tag="expire"):
    """Its deadline has passed: it ends as EXPIRED."""

    entry: str


class Annul(Struct, frozen=True, tag="annul"):
    """`first` (a place) and `second` end without a request. CANCELLED: `first` as CANCELED, `second`, its cancel, as
    DONE. CLOSED: both, an opening and a closing order, as CANCELED."""

    first: str
    second: str
    why: Why


class Edit(Struct, frozen=True, tag="edit"):
    """`target` is sent as `edited`, where its turn comes; `by`, an amend of it, ends as DONE."""

    target: str
    by: str
    edited: PlaceOrder


class Replace(Struct, frozen=True, tag="replace"):
    """`older` ends as CANCELED, unsent; `newer` is sent as `edited`, where its own turn comes.

    What `older` was to replace in its turn is now `newer`'s to replace: `edited.replaces` names it, or nothing.
    """

    older: str
    newer: str
    edited: PlaceOrder


class Merge(Struct, frozen=True, tag="merge"):
    """`absorbed` ends as MERGED into `survivor`, which is sent as `edited`, where its own turn comes.

    Of places the first survives: it is next, so nobody waits longer than before and what it must not pass is
    behind it still. Of amends the last survives, where it stands: its content is what is wanted in the end, and
    what was asked for between them still comes before it.
    """

    survivor: str
    absorbed: str
    edited: PlaceOrder | AmendOrder


class Withdraw(Struct, frozen=True, tag="withdraw"):
    """The amount of `part` is taken out of `survivor`, which is sent as `edited`, where its turn comes; None: nothing
    is left, and it ends as CANCELED, unsent. `by`, the cancel of the part, ends as DONE.

    The part was merged into the survivor, and ends as CANCELED; or it is what the survivor's own intent asked for.
    """

    survivor: str
    by: str
    part: Absorbed
    edited: PlaceOrder | None


Decision = Expire | Annul | Edit | Replace | Merge | Withdraw
