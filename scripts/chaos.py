"""Break a pool on purpose and judge what comes of it by the exchange's own books.

Real processes, a real Redis and the paper exchange over real sockets, on this machine alone. The same seed breaks
the same things.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from scripts.harness.chaos import clustered
from scripts.harness.chaos.catalogue import SCENARIOS
from scripts.harness.chaos.running import Outcome, run
from scripts.harness.chaos.stage import Options
from scripts.harness.verdict import percentile


def as_json(outcomes: Sequence[Outcome]) -> str:
    """The closing line for machines: the sums over all scenarios that were run."""
    counted = (
        "intents", "accepted", "refused", "unknown", "lost", "duplicated", "out_of_order", "stuck", "mismatched",
        "leaked_keys", "faults",
    )  # fmt: skip
    recoveries = [one for outcome in outcomes for one in outcome.recoveries_ms]
    closing: dict[str, float] = {name: sum(getattr(one, name) for one in outcomes) for name in counted}
    closing["recovery_ms_p50"] = round(percentile(recoveries, 0.5), 1)
    closing["recovery_ms_max"] = round(max(recoveries, default=0.0), 1)
    closing["seconds"] = round(sum(one.seconds for one in outcomes), 2)
    return json.dumps(closing)


def repeat_command(name: str, options: Options) -> str:
    """The command that runs a scenario again as it was run."""
    words = [
        "scripts/chaos", name, "--seed", str(options.seed), "--intents", str(options.intents), "--workers",
        str(options.workers), "--rate", f"{options.rate:g}",
    ]  # fmt: skip
    if name == "storm":
        words += ["--minutes", f"{options.minutes:g}"]
    words += ["--cluster"] if options.masters and SCENARIOS[name].replicas is None else []
    return " ".join(words + (["--only", options.only] if options.only else []))


@click.command(help=__doc__)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--list", "listing", is_flag=True, help="Name the scenarios and what each breaks.")
@click.option("--all", "everything", is_flag=True, help="Run every scenario.")
@click.option("--cut", is_flag=True, help="Run the cut for continuous integration: a few minutes on 2 cores.")
@click.option(
    "--cluster",
    is_flag=True,
    help="In a Redis Cluster of three masters; leaves out what breaks a single Redis.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed breaks the same things.")
@click.option("--intents", type=click.IntRange(1), help="How many intents; default: the scenario's own.")
@click.option(
    "--workers", type=click.IntRange(1, 32), help="Workers for `binance`; default: the scenario's own."
)
@click.option("--minutes", default=1.0, show_default=True, help="How long `storm` lasts.")
@click.option(
    "--rate", type=float, help="Intents a second, 0: as fast as it goes; default: the scenario's own."
)
@click.option("--only", default="", help="`death`, `zombie`: only these cells, as work:point:behaviour.")
@click.option(
    "--logs",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep what the processes write in this folder.",
)
@click.option(
    "--json", "machine", is_flag=True, help="The last line of stdout is one JSON object; the rest: stderr."
)
def main(
    names: tuple[str, ...], listing: bool, everything: bool, cut: bool, cluster: bool, seed: int, intents: int | None,
    workers: int | None, minutes: float, rate: float | None, only: str, logs: Path | None, machine: bool,
) -> None:  # fmt: skip
    """Run scenarios; exit code 1 if a guarantee did not hold."""
    if listing:
        for name, scenario in SCENARIOS.items():
            click.echo(f"{name:22} {scenario.summary}")
        return
    if everything or cut:
        names = tuple(name for name, scenario in SCENARIOS.items() if everything or scenario.cut_intents)
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown or not names:
        which = f"no scenario is named {unknown[0]!r}" if unknown else "name a scenario, or --all, or --cut"
        raise click.UsageError(f"{which}; there are: {', '.join(SCENARIOS)}")
    console = Console(stderr=machine, width=None if Console().is_terminal else 160)
    outcomes = []
    for name in names:
        scenario = SCENARIOS[name]
        if cluster and scenario.one_redis:
            console.print(f"{name}: left out: {scenario.one_redis}", markup=False)
            continue
        options = Options(
            seed=seed,
            intents=intents or (scenario.cut_intents if cut else scenario.intents),
            workers=workers or scenario.workers,
            minutes=minutes,
            rate=scenario.rate if rate is None else rate,
            only=only,
            masters=clustered.MASTERS if cluster or scenario.replicas is not None else 0,
            replicas=scenario.replicas or 0,
        )
        outcomes.append(run(name, options, console, repeat_command(name, options), logs))
    if machine:
        print(as_json(outcomes), flush=True)
    sys.exit(0 if all(one.holds for one in outcomes) else 1)


if __name__ == "__main__":
    main()
