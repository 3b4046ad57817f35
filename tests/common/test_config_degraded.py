"""The settings of degraded mode: defaults, bounds, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.config import ConfigInvalid, settings_from
from common.health import DegradedPolicy

CONFIG = "exchanges: {{binance: {{venue: binanceusdm, accounts: {{main: {{}}}}, degraded: {{{degraded}}}}}}}"


def policy(degraded: str) -> DegradedPolicy:
    settings = settings_from(CONFIG.format(degraded=degraded), "test", Path(), {})
    return settings.exchanges["binance"].degraded


def test_without_settings_the_defaults_hold() -> None:
    assert policy("") == DegradedPolicy()
    assert policy("failures: 20, recovery_shares: []") == DegradedPolicy(failures=20, recovery_shares=())


@pytest.mark.parametrize(
    ("degraded", "named"),
    [
        ("failures: 1", "failures"),
        ("error_rate: 1.5", "error_rate"),
        ("recovery_shares: [0.5, 1]", "recovery_shares"),
        ("recovery_shares: [0.5, 0.2]", "each share to be larger than the one before"),
        ("probe_seconds: 90", "probe_cap_seconds"),
        ("failure: 3", "failure"),
    ],
)
def test_a_setting_that_can_not_be_is_named(degraded: str, named: str) -> None:
    with pytest.raises(ConfigInvalid, match=named):
        policy(degraded)
