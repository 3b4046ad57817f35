"""Lanes that think: what is decided about the intents that wait in one lane, before a request is made for any.

`decide` takes a lane as values and returns decisions; `consequences` says what each one does to the entries it
names. Nothing here reads a clock or does I/O.
"""

from common.lane_rules.bounds import merge_bounds
from common.lane_rules.consequences import Consequences, Ended, Kept, after, consequences
from common.lane_rules.deciding import decide, has_expired
from common.lane_rules.dependence import depends, may_pass
from common.lane_rules.merging import own_amount
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
)

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
    "after",
    "consequences",
    "decide",
    "depends",
    "has_expired",
    "may_pass",
    "merge_bounds",
    "own_amount",
    "shares",
]
