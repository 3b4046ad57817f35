"""A lane as the rules look at it: who may be touched, who speaks of whom, what stands between two. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from common.lane_rules.dependence import depends, targets
from common.lane_rules.vocabulary import LaneRules, MergeBounds, Waiting
from orderlane.intents import AmendOrder, CancelAll, Intent, PlaceOrder, Side


class LaneView:
    """The first `rules.look_ahead` entries of a lane, in its order."""

    def __init__(self, lane: Sequence[Waiting], rules: LaneRules, bounds: MergeBounds) -> None:
        self.rules = rules
        self.bounds = bounds
        self.entries = tuple(lane[: rules.look_ahead])
        self._first_of: dict[str, int] = {}
        self._spoken_of: dict[str, list[int]] = {}
        self._first_at_price: dict[tuple[Side, Decimal | None, str], int] = {}
        for index, waiting in enumerate(self.entries):
            self._first_of.setdefault(waiting.id, index)
            target = targets(waiting.intent)
            if target is not None:
                self._spoken_of.setdefault(target, []).append(index)
            if isinstance(waiting.intent, PlaceOrder):
                self._first_at_price.setdefault(_level(waiting.intent), index)

    def intent(self, index: int) -> Intent:
        return self.entries[index].intent

    def may_touch(self, index: int) -> bool:
        """Whether it has not begun and is the first of its id: a second one is a repetition, which the worker ends."""
        waiting = self.entries[index]
        return not waiting.begun and self._first_of[waiting.id] == index

    def place_before(self, index: int, intent_id: str | None) -> int | None:
        """Where the place intent of this id stands, if that is before `index` and it may be touched; else None."""
        found = self._first_of.get(intent_id) if intent_id is not None else None
        if found is None or found >= index or not self.may_touch(found):
            return None
        return found if isinstance(self.intent(found), PlaceOrder) else None

    def has_like_before(self, at: int) -> bool:
        """Whether an order of the same side, price and strategy stands before this one: most often none does."""
        order = self.intent(at)
        return isinstance(order, PlaceOrder) and self._first_at_price[_level(order)] < at

    def spoken_of(self, intent_id: str, after: int = -1) -> list[int]:
        """Where cancels, amends and replacements of this intent stand, behind the position `after`."""
        return [index for index in self._spoken_of.get(intent_id, ()) if index > after]

    def between(self, first: int, second: int) -> tuple[Intent, ...] | None:
        """What stands between the two; None where a cancel-all does, across which nothing is decided."""
        intents = tuple(waiting.intent for waiting in self.entries[first + 1 : second])
        return None if any(isinstance(one, CancelAll) for one in intents) else intents

    def nothing_needs(self, first: int, second: int, *, but_its_amends: bool = False) -> bool:
        """Whether nothing between the two, no cancel-all among it, depends on the first."""
        between, needed = self.between(first, second), self.intent(first)
        if between is None:
            return False
        return not any(
            depends(one, needed)
            for one in between
            if not (but_its_amends and isinstance(one, AmendOrder) and one.target == needed.id)
        )


def _level(order: PlaceOrder) -> tuple[Side, Decimal | None, str]:
    return order.side, order.price, order.strategy
