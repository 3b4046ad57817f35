"""Break a pool on purpose and judge what comes of it by the exchange's own books.

Real processes, a real Redis and the paper exchange over real sockets, on this machine alone. The same seed gives the
same plan: the same intents, the same faults at the same points or after the same share of the intents, in the same
order. Which request or which bytes a fault then meets depends on timing, as it does in the world.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from scripts.harness.chaos import clustered
from scripts.harness.chaos.catalogue import SCENARIOS
from scripts.harness.chaos.running import Outcome, run
from scripts.harness.chaos.terms import Options
from scripts.harness.verdict import percentile

MINUTES: Final = 1.0


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


def checked(names: Sequence[str], cluster: bool, only: str, minutes: float | None) -> None:
    """Refuse what could not be done as it is asked for.

    Raises:
        click.UsageError: a scenario is unknown, would be left out, or has no use for an option that was given.
    """
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown or not names:
        which = f"no scenario is named {unknown[0]!r}" if unknown else "name a scenario, or --all, or --cut"
        raise click.UsageError(f"{which}; there are: {', '.join(SCENARIOS)}")
    for name in names:
        scenario = SCENARIOS[name]
        if cluster and scenario.one_redis:
            raise click.UsageError(f"{name} is not played in a cluster: {scenario.one_redis}")
        for option, given in (("only", bool(only)), ("minutes", minutes is not None)):
            if given and option not in scenario.heeds:
                heeding = [other for other, one in SCENARIOS.items() if option in one.heeds]
                raise click.UsageError(
                    f"{name} has no use for --{option}, which is for: {', '.join(heeding)}"
                )
        if only and not (scenario.cells and scenario.cells(only)):
            raise click.UsageError(
                f"{name} has no cell whose name begins with {only!r}; a cell is named work:point:behaviour, such as "
                "place:place.begun:hangs"
            )


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
@click.option(
    "--seed",
    default=1,
    show_default=True,
    help="Draws the intents, the cells, and what is broken in which order; whom it meets is up to timing.",
)
@click.option("--intents", type=click.IntRange(1), help="How many intents; default: the scenario's own.")
@click.option(
    "--workers", type=click.IntRange(1, 32), help="Workers for `binance`; default: the scenario's own."
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help=f"How long `storm` lasts; default: {MINUTES:g}.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0),
    help="Intents a second, 0: as fast as it goes; default: the scenario's own.",
)
@click.option(
    "--only",
    default="",
    help="`death`, `zombie`: only cells whose name begins so, work:point:behaviour; with @account/COIN in that lane.",
)
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
    workers: int | None, minutes: float | None, rate: float | None, only: str, logs: Path | None, machine: bool,
) -> None:  # fmt: skip
    """Run scenarios; exit code 1 if a guarantee did not hold."""
    if listing:
        for name, scenario in SCENARIOS.items():
            click.echo(f"{name:22} {scenario.summary}")
        return
    if everything or cut:
        names = tuple(name for name, scenario in SCENARIOS.items() if everything or scenario.cut_intents)
        left_out = [name for name in names if cluster and SCENARIOS[name].one_redis]
        click.echo(
            "".join(f"{name}: left out: {SCENARIOS[name].one_redis}\n" for name in left_out),
            err=True,
            nl=False,
        )
        names = tuple(name for name in names if name not in left_out)
    checked(names, cluster, only, minutes)
    console = Console(stderr=machine, width=None if Console().is_terminal else 160)
    outcomes = []
    for name in names:
        scenario = SCENARIOS[name]
        options = Options(
            seed=seed,
            intents=intents or (scenario.cut_intents if cut else scenario.intents),
            workers=workers or scenario.workers,
            minutes=minutes or MINUTES,
            rate=scenario.rate if rate is None else rate,
            only=only,
            masters=clustered.MASTERS if cluster or scenario.replicas is not None else 0,
            replicas=scenario.replicas or 0,
            cluster=cluster and scenario.replicas is None,
            uses=scenario.heeds,
        )
        outcomes.append(run(name, options, console, logs))
    if machine:
        print(as_json(outcomes), flush=True)
    sys.exit(0 if all(one.holds for one in outcomes) else 1)


if __name__ == "__main__":
    main()
