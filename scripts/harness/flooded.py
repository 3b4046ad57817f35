"""`scripts/demo --flood`: the flood on a pool of its own, its table and its closing line."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from orderlane.connection import connect
from orderlane.keys import Keys
from scripts.harness.flood import (
    CONFIG,
    EXCHANGE,
    FLOOD_SYMBOLS,
    LANES,
    PAPER_OPTIONS,
    POOL,
    Outcome,
    run_flood,
)
from scripts.harness.processes import LocalPool
from scripts.harness.verdict import percentile

FLOOD_INTENTS: Final = 10_000
PHASE_SECONDS: Final = 15.0
MOST_RATIO: Final = 2.0
"""The calm accounts' p99 with the flood, as a multiple of what it is without."""


def run_flooded(flood: int, workers: int, seed: int, console: Console, *, machine: bool) -> int:
    """Run it and print what came of it; the exit code.

    Raises:
        PoolFailed: it could not be run.
    """
    console.print(
        f"{flood} intents of one account over {FLOOD_SYMBOLS} symbols, 10 a second of them within its limit; "
        f"{workers} workers, each at work on at most {LANES} lanes; everything on this machine"
    )
    started_at = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="orderlane-flood-") as folder:
        config = Path(folder) / "orderlane.yaml"
        config.write_text(CONFIG)
        with LocalPool(config=config, paper_options=(*PAPER_OPTIONS, "--seed", str(seed))) as pool:
            for number in range(1, workers + 1):
                pool.start_worker(EXCHANGE, number)
            pool.start_scheduler()
            wait_for_workers(pool, workers)
            outcome = run_flood(pool, flood, PHASE_SECONDS, seed, console.print)
    seconds = time.monotonic() - started_at
    show(outcome, seconds, console)
    if machine:
        print(as_json(outcome, seconds), flush=True)
    verdict = outcome.verdict
    return 0 if verdict.holds and not verdict.unknown and ratio(outcome) <= MOST_RATIO else 1


def wait_for_workers(pool: LocalPool, workers: int) -> None:
    """Wait until every worker has joined."""
    client = connect(pool.redis_url)
    while int(client.zcard(Keys(EXCHANGE, POOL).workers)) < workers:
        pool.check()
        time.sleep(0.05)
    client.close()


def ratio(outcome: Outcome) -> float:
    """How many times longer the calm accounts' p99 is with the flood."""
    return percentile(outcome.flooded_ms, 0.99) / max(percentile(outcome.alone_ms, 0.99), 0.001)


def show(outcome: Outcome, seconds: float, console: Console) -> None:
    """Print the closing table."""
    verdict = outcome.verdict
    table = Table(title="calm accounts, from XADD to the exchange", title_justify="left")
    for heading in ("", "without the flood", "while it is appended", "while it waits"):
        table.add_column(heading, justify="right" if heading else "left")
    phases = (outcome.alone_ms, outcome.arriving_ms, outcome.flooded_ms)
    table.add_row("intents", *(str(len(one)) for one in phases))
    for name, share in (("p50", 0.5), ("p99", 0.99), ("longest", 1.0)):
        table.add_row(name, *(f"{percentile(one, share):.1f} ms" for one in phases))
    console.print(table)
    within = ratio(outcome) <= MOST_RATIO
    console.print(
        f"p99 while the flood waits is {ratio(outcome):.2f} times that without it (promised: at most {MOST_RATIO:g})",
        style="green" if within else "bold red",
    )
    console.print(
        f"of the flood {outcome.sent} of {outcome.flood} were sent within its account's limit, "
        f"{outcome.waiting} still waited and expired unsent"
    )
    wrong = verdict.lost + verdict.duplicated + verdict.out_of_order + verdict.unknown
    console.print(
        f"{verdict.intents} intents: lost {verdict.lost}, duplicated {verdict.duplicated}, "
        f"out of lane order {verdict.out_of_order}, outcome unknown {verdict.unknown}; {seconds:.1f} s",
        style="bold red" if wrong else "green",
    )
    for finding in verdict.findings[:20]:
        console.print(finding, style="red", markup=False)


def as_json(outcome: Outcome, seconds: float) -> str:
    """The closing line for machines."""
    verdict = outcome.verdict
    times = {
        f"{phase}_{name}_ms": round(percentile(values, share), 2)
        for phase, values in (
            ("alone", outcome.alone_ms),
            ("arriving", outcome.arriving_ms),
            ("flooded", outcome.flooded_ms),
        )
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }
    return json.dumps(
        {
            "intents": verdict.intents,
            "lost": verdict.lost,
            "duplicated": verdict.duplicated,
            "out_of_order": verdict.out_of_order,
            "unknown": verdict.unknown,
            "reasons": verdict.reasons,
            **times,
            "p99_ratio": round(ratio(outcome), 3),
            "flood": outcome.flood,
            "flood_sent": outcome.sent,
            "flood_waiting": outcome.waiting,
            "seconds": round(seconds, 2),
        }
    )
