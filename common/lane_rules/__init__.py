"""Lanes that think: what is decided about the intents that wait in one lane, before a request is made for any.

`decide` takes a lane as values and returns decisions; `consequences` says what each one does to the entries it
names. Nothing here reads a clock or does I/O.
"""

from common.lane_rules.bounds import merge_bounds
from common.lane_rules.consequences import Consequences, Ended, Kept, Withdrawn, after, consequences
from common.lane_rules.deciding import decide, decide_about, has_expired
from common.lane_rules.dependence import depends, may_pass
from common.lane_rules.merging import are_alike, own_amount
from common.lane_rules.shares import shares
from common.lane_rules.vocabulary import (
    Annul,
    Decision,
    Edit,
    Expire,
    LaneRules,
    Merge,
    MergeBounds,
    Replace,
    SumBounds,
    Waiting,
    Why,
    Withdraw,
)
from common.lane_rules.withdrawing import withdrawal

__all__ = [
    "Annul",
    "Consequences",
    "Decision",
    "Edit",
    "Ended",
    "Expire",
    "Kept",
    "LaneRules",
    "Merge",
    "MergeBounds",
    "Replace",
    "SumBounds",
    "Waiting",
    "Why",
    "Withdraw",
    "Withdrawn",
    "after",
    "are_alike",
    "consequences",
    "decide",
    "decide_about",
    "depends",
    "has_expired",
    "may_pass",
    "merge_bounds",
    "own_amount",
    "shares",
    "withdrawal",
]
