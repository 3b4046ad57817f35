"""An account of which nothing may be sent for a while, as after the exchange's 429."""

from __future__ import annotations

from typing import Any

from common.scripts import load_script
from tests.workers.pool_fixture import Pool


def shut(pool: Pool, account: str = "main", for_ms: int = 60_000) -> None:
    """Let nothing of the account be sent for so long, whatever its urgency."""
    run: Any = pool.client.eval
    run(load_script("penalty").source, 1, pool.keys().bucket(account, "penalty"), str(for_ms), "0")


def reopen(pool: Pool, account: str = "main") -> None:
    pool.client.delete(pool.keys().bucket(account, "penalty"))
