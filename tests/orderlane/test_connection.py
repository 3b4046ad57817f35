"""A Redis URL that does not say which database is refused, not guessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orderlane.connection import connect, connect_async


@pytest.mark.parametrize("make", [connect, connect_async])
@pytest.mark.parametrize(
    "url", ["redis://host/abc", "rediss://host:1/0x", "redis://host/1/2", "redis://:hun/ter2@host/0"]
)
def test_a_database_that_is_no_number_is_refused(make: Callable[[str], Any], url: str) -> None:
    with pytest.raises(ValueError, match=r"is no number: expected rediss?://host:port/0") as caught:
        make(url)
    assert "ter2" not in str(caught.value)


@pytest.mark.parametrize("make", [connect, connect_async])
@pytest.mark.parametrize(
    ("url", "database"),
    [("redis://host", 0), ("redis://host/", 0), ("redis://host/3", 3), ("unix:///run/redis.sock?db=2", 2)],
)
def test_a_database_that_is_a_number_or_left_out_is_taken(
    make: Callable[[str], Any], url: str, database: int
) -> None:
    assert int(make(url).connection_pool.connection_kwargs.get("db", 0)) == database
