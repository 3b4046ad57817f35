"""Measure the pool: ratios to bare ccxt, to job queues and to its own bounds, both sides in turn on this machine.

The exchange is a minimal, fast endpoint, so that it is not what is measured. Every figure is the median of several
runs, shown with the lowest and the highest.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from scripts.harness.bench.measures import MEASURES, Result
from scripts.harness.bench.plan import Conditions, steps
from scripts.harness.bench.profiling import profile, profile_tables
from scripts.harness.bench.queues import NotInstalled
from scripts.harness.bench.scale import scaled
from scripts.harness.bench.scale_model import costs_in
from scripts.harness.bench.scale_tables import (
    CHECK_BEGIN,
    CHECK_END,
    MODEL_BEGIN,
    MODEL_END,
    check_tables,
    model_tables,
)
from scripts.harness.bench.stage import Site
from scripts.harness.bench.tables import (
    as_json,
    as_object,
    document_tables,
    put_between,
    results_in,
    terminal_table,
)
from scripts.harness.processes import ROOT, PoolFailed

DOCUMENT: Final = ROOT / "docs" / "performance.md"
PROFILE_BEGIN: Final = "<!-- profiled: begin -->"
PROFILE_END: Final = "<!-- profiled: end -->"
WIDTH: Final = 160
"""Of the tables, in characters, where no terminal says otherwise."""
STORED: Final = ROOT / "docs" / "performance.json"


def chosen(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, ...]:
    """The measures named by `--only`, in their order."""
    if not text:
        return tuple(MEASURES)
    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise click.BadParameter(f"{text!r} is no list of numbers: expected such as 1,3") from None
    unknown = [str(number) for number in numbers if number not in MEASURES]
    if unknown:
        raise click.BadParameter(f"there is no measure {', '.join(unknown)}: expected 1 to {max(MEASURES)}")
    return tuple(numbers)


def run(numbers: tuple[int, ...], conditions: Conditions, console: Console) -> list[Result]:
    """Take these measures, one after the other; one that can't be taken is said and left out."""
    planned, results = steps(conditions), []
    for number in numbers:
        started = time.monotonic()
        with console.status(f"measure {number}: {MEASURES[number].title}"):
            try:
                results.append(planned[number]())
            except PoolFailed as error:
                console.print(f"[red]measure {number} could not be taken:[/red] {escape(str(error))}")
                continue
        console.print(terminal_table(results[-1]))
        console.print(f"[dim]{time.monotonic() - started:.0f} s[/dim]\n")
    return results


def how_taken(quick: bool) -> str:
    """On what, and how, for the document."""
    size = "with --quick, " if quick else ""
    load = os.getloadavg()[0]
    return f"Taken {size}on {os.cpu_count()} cores with Python {platform.python_version()}, load {load:.1f} at the end."


def document(results: list[Result], taken: str, stored: Path, written: Path) -> None:
    """Put these results in the place of the stored ones, and write the document's tables from all of them."""
    known: dict[str, Any] = msgspec.json.decode(stored.read_bytes()) if stored.exists() else {}
    known.update({number: {**one, "taken": taken} for number, one in as_object(results).items()})
    ordered = dict(sorted(known.items(), key=lambda item: int(item[0])))
    stored.write_bytes(msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n")
    tables = document_tables(
        results_in(ordered), {int(number): one["taken"] for number, one in ordered.items()}
    )
    written.write_text(put_between(written.read_text(), tables))


def write_model(stored: Path, written: Path) -> None:
    """Put the model's tables, from the stored figures, into the document; without them it stays as it is."""
    known: dict[str, Any] = msgspec.json.decode(stored.read_bytes()) if stored.exists() else {}
    if {"1", "6"} <= known.keys():
        modelled = model_tables(costs_in(known))
        written.write_text(put_between(written.read_text(), modelled, MODEL_BEGIN, MODEL_END))


def show_profile(quick: bool, console: Console, written: Path | None) -> None:
    """Profile a worker, and put the tables into the document if there is one."""
    with console.status("profiling a worker at its greatest throughput"):
        tables = profile_tables(profile(1, 3_000, 5) if quick else profile(5, 6_000, 20))
    console.print(tables, soft_wrap=True)
    if written is not None:
        written.write_text(put_between(written.read_text(), tables, PROFILE_BEGIN, PROFILE_END))


def show_scale(quick: bool, console: Console, written: Path | None) -> None:
    """Test the model of scale, and put what was found and the model into the document if there is one."""
    with console.status("a thousand accounts, at given parts of what the model says"):
        tables = check_tables(scaled(3_000, 10.0) if quick else scaled(6_000, 30.0), how_taken(quick))
    console.print(model_tables(costs_in(msgspec.json.decode(STORED.read_bytes()))), soft_wrap=True)
    console.print(tables, soft_wrap=True)
    if written is not None:
        written.write_text(put_between(written.read_text(), tables, CHECK_BEGIN, CHECK_END))
        write_model(STORED, written)


@click.command(help=__doc__)
@click.option("--only", callback=chosen, help="The measures to take, by number: 1,3", metavar="NUMBERS")
@click.option("--quick", is_flag=True, help="Smaller and fewer runs: all of it in under two minutes.")
@click.option(
    "--json",
    "machine",
    is_flag=True,
    help="The last line of stdout is one JSON object; the rest goes to stderr.",
)
@click.option("--repeats", type=click.IntRange(1, 100), help="How often each run is repeated.")
@click.option(
    "--exchange-delay", "delay_ms", default=0.0, type=click.FloatRange(0, 10_000),
    help="How long the fast endpoint takes to answer an order, ms (measures 1 to 5).",
)  # fmt: skip
@click.option(
    "--paper",
    is_flag=True,
    help="The paper exchange in the place of the fast endpoint (measures 1 to 4 and 8).",
)
@click.option(
    "--document",
    "documented",
    is_flag=True,
    help="Write the figures into docs/performance.md and performance.json.",
)
@click.option(
    "--scale", "at_scale", is_flag=True, help="Instead: the model of scale, tested with a thousand accounts."
)
@click.option(
    "--profile", "profiled", is_flag=True, help="Instead: where the microseconds of an intent go in a worker."
)
def main(
    only: tuple[int, ...],
    quick: bool,
    machine: bool,
    repeats: int | None,
    delay_ms: float,
    paper: bool,
    documented: bool,
    at_scale: bool,
    profiled: bool,
) -> None:
    """Run it; exit code 1 if a measure could not be taken."""
    console = Console(stderr=machine, highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    try:
        if profiled:
            show_profile(quick, console, DOCUMENT if documented else None)
            return
        if at_scale:
            show_scale(quick, console, DOCUMENT if documented else None)
            return
        results = run(only, Conditions(quick, Site(paper, delay_ms), repeats), console)
    except (PoolFailed, NotInstalled) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        raise click.Abort from None
    if documented:
        document(results, how_taken(quick), STORED, DOCUMENT)
        write_model(STORED, DOCUMENT)
    if machine:
        print(as_json(results), flush=True)
    sys.exit(0 if len(results) == len(only) else 1)


if __name__ == "__main__":
    main()
