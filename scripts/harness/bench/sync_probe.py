"""One process' sync of open orders, as the scheduler runs it: its CPU time and requests, printed as JSON.

python -m scripts.harness.bench.sync_probe --repeats 3
"""

from __future__ import annotations

import asyncio
import os
import time

import click
import msgspec
from msgspec import Struct

from common.config import load_settings
from scripts.harness.bench.stage import EXCHANGE
from workers.jobs.open_exchange import OpenExchange
from workers.jobs.sync import Synced, sync_account


class SyncRun(Struct, frozen=True):
    """One run: CPU and wall seconds, what the job says it asked and changed."""

    cpu_seconds: float
    seconds: float
    asked: int
    changed: int


async def measure(repeats: int) -> list[SyncRun]:
    """Sync the account again and again."""
    settings = load_settings(None, os.environ)
    one = OpenExchange(settings, EXCHANGE)
    account = next(iter(one.section.accounts))
    runs = []
    try:
        await one.ready()
        for _ in range(repeats):
            synced = Synced()
            cpu, started = time.process_time(), time.perf_counter()
            await sync_account(one, account, synced)
            runs.append(
                SyncRun(
                    time.process_time() - cpu, time.perf_counter() - started, synced.asked, synced.changed
                )
            )
    finally:
        await one.close()
    return runs


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option("--repeats", default=3)
def main(repeats: int) -> None:
    """Run it."""
    print(msgspec.json.encode(asyncio.run(measure(repeats))).decode(), flush=True)


if __name__ == "__main__":
    main()
