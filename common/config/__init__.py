"""The settings of a pool: `orderlane.yaml` and the environment, decoded into typed structs and checked.

    settings = load_settings(Path("orderlane.yaml"), os.environ)

`python -m common.config --check FILE` says what is wrong with a file, or prints what holds.
"""

from common.config.exchanges import exchange_settings
from common.config.loading import load_settings, settings_from
from common.config.positions import PositionsSection
from common.config.problems import ConfigInvalid, Problem
from common.config.settings import (
    AccountSection,
    ArchiveSection,
    ExchangeSection,
    LogSection,
    ReconcileSection,
    SchedulerSection,
    SentrySection,
    Settings,
    StuckSection,
    UserStreamSection,
    WorkerSection,
)

__all__ = [
    "AccountSection",
    "ArchiveSection",
    "ConfigInvalid",
    "ExchangeSection",
    "LogSection",
    "PositionsSection",
    "Problem",
    "ReconcileSection",
    "SchedulerSection",
    "SentrySection",
    "Settings",
    "StuckSection",
    "UserStreamSection",
    "WorkerSection",
    "exchange_settings",
    "load_settings",
    "settings_from",
]
