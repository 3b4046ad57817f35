"""Which periodic jobs there are and how often each runs; values only."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

from common.config import SchedulerSection

MARKETS_PERIOD_SECONDS: Final = 60
"""How often the age of the market rules is looked at; they are loaded when older than the settings allow."""
TRIMMING_PERIOD_SECONDS: Final = 60
"""The shortest retention that can be configured."""
SWEEP_PERIOD_SECONDS: Final = 10
BACKLOG_PERIOD_SECONDS: Final = 10
"""How often `system.backlog` is published while there is something to tell."""

RUN_SHARE: Final = 0.8
LOCK_SHARE: Final = 0.9
"""Shares of a period: how long one run may take, and how long it keeps others from starting. A run ends before its
lock does, so no two overlap; the lock ends before the period does, so that a tick that comes a little early is not
refused and the period skipped."""


class JobName(StrEnum):
    """A job; each keeps its lock under its name."""

    SYNC = "sync"
    MARKETS = "market_refresh"
    TRIMMING = "trimming"
    SWEEP = "sweep"
    BACKLOG = "backlog"


class JobPlan(Struct, frozen=True):
    """A job and its period."""

    name: JobName
    period_seconds: int

    @property
    def run_seconds(self) -> float:
        """How long one run may take."""
        return self.period_seconds * RUN_SHARE

    @property
    def lock_ms(self) -> int:
        """How long a run keeps others, in all schedulers, from starting."""
        return int(self.period_seconds * LOCK_SHARE * 1000)


def job_plans(section: SchedulerSection) -> dict[JobName, JobPlan]:
    """Every job of a pool, by its name."""
    periods = {
        # Which accounts are due at a tick, `workers/jobs/pace.py` says.
        JobName.SYNC: min(section.sync_period_seconds, section.sync_period_down_seconds),
        JobName.MARKETS: MARKETS_PERIOD_SECONDS,
        JobName.TRIMMING: TRIMMING_PERIOD_SECONDS,
        JobName.SWEEP: SWEEP_PERIOD_SECONDS,
        JobName.BACKLOG: BACKLOG_PERIOD_SECONDS,
    }
    return {name: JobPlan(name, period) for name, period in periods.items()}
