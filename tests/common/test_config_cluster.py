"""A pool is told of a Redis Cluster by its URL, and of another Redis for the scheduler's jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.config import ConfigInvalid, load_settings
from common.config.loading import BUILT_IN, settings_from

CLUSTER = "redis+cluster://:pa%2Fssword@one:7000,two:7001"


def test_a_cluster_and_a_plain_redis_for_the_jobs_are_taken() -> None:
    settings = load_settings(None, {"REDIS_URL": CLUSTER, "RQ_REDIS_URL": "redis://three:6379/0"})
    assert settings.redis_url.reveal() == CLUSTER
    assert settings.queue_redis_url.reveal() == "redis://three:6379/0"
    assert str(settings.redis_url) == "redis+cluster://:***@one:7000,two:7001"


@pytest.mark.parametrize("queue", [{}, {"RQ_REDIS_URL": CLUSTER}])
def test_jobs_in_a_cluster_are_refused(queue: dict[str, str]) -> None:
    with pytest.raises(ConfigInvalid, match="where rq does not run: expected a plain Redis") as refused:
        load_settings(None, {"REDIS_URL": CLUSTER, **queue})
    assert "ssword" not in str(refused.value)


@pytest.mark.parametrize("url", ["redis+cluster://one:7000/2", "redis+cluster://one:x", "redis+cluster://"])
def test_a_wrong_url_of_a_cluster_is_refused(url: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"expected .*redis\+cluster://host:6379"):
        settings_from(f"redis_url: {url}\n{BUILT_IN}", "test", Path(), {"RQ_REDIS_URL": "redis://three"})


def test_a_password_of_a_cluster_does_not_stand_in_the_file() -> None:
    with pytest.raises(ConfigInvalid, match="a password does not stand in this file"):
        settings_from(f"redis_url: {CLUSTER}\n{BUILT_IN}", "test", Path(), {"RQ_REDIS_URL": "redis://three"})
