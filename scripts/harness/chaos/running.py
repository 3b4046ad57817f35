"""Running one scenario from start to verdict."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from msgspec import Struct
from rich.console import Console

from scripts.harness.chaos.catalogue import SCENARIOS, Scenario
from scripts.harness.chaos.judging import MOST_STORIES, Ruling, rule, story, worth_telling
from scripts.harness.chaos.stage import Stage
from scripts.harness.chaos.terms import Options
from scripts.harness.processes import PoolFailed

MOST_FINDINGS: Final = 20


class Outcome(Struct, frozen=True, kw_only=True):
    """What the closing line tells of one run."""

    intents: int = 0
    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    lost: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    stuck: int = 0
    mismatched: int = 0
    leaked_keys: int = 0
    faults: int = 0
    recoveries_ms: tuple[float, ...] = ()
    seconds: float = 0.0
    holds: bool = True


def run(name: str, options: Options, console: Console, logs: Path | None = None) -> Outcome:
    """Play a scenario and judge it; says on the console what was found. `logs` is where the files of its processes
    stay."""
    scenario = SCENARIOS[name]
    started_at = time.monotonic()
    with ExitStack() as exits:
        folder = exits.enter_context(tempfile.TemporaryDirectory(prefix="orderlane-chaos-"))
        with Stage(
            name, options, logs / name if logs else Path(folder), scenario.timing, console.print
        ) as stage:
            try:
                scenario.play(stage)
            except PoolFailed as error:
                stage.findings.append(str(error))
            stage.close_house()
            stage.clear_exchange_faults()
            ruling = rule(stage.pool, stage.client, stage.submitter.appended, stage.resent, stage.refused)
            for step in stage.after_ruling:
                step(ruling)
            seconds = time.monotonic() - started_at
            outcome = _outcome(stage, ruling, seconds)
            _show(stage, scenario, ruling, outcome, console)
    return outcome


def _outcome(stage: Stage, ruling: Ruling, seconds: float) -> Outcome:
    verdict = ruling.verdict
    return Outcome(
        intents=verdict.intents,
        accepted=verdict.acknowledged,
        refused=verdict.rejected + verdict.failed,
        unknown=verdict.unknown,
        lost=verdict.lost,
        duplicated=verdict.duplicated,
        out_of_order=verdict.out_of_order,
        stuck=ruling.stuck,
        mismatched=ruling.mismatched,
        leaked_keys=ruling.leaked,
        faults=len(stage.faults),
        recoveries_ms=tuple(stage.recoveries_ms),
        seconds=seconds,
        holds=ruling.holds and not stage.findings,
    )


def _show(stage: Stage, scenario: Scenario, ruling: Ruling, outcome: Outcome, console: Console) -> None:
    for table in stage.tables:
        console.print(table)
    word = "[green]held[/green]" if outcome.holds else "[red]BROKEN[/red]"
    console.print(
        f"{stage.name}: {word}: {outcome.intents} intents, {outcome.accepted} accepted, {outcome.refused} refused, "
        f"{outcome.unknown} unknown, {outcome.faults} faults, {outcome.seconds:.1f} s"
    )
    for note in stage.notes:
        console.print(f"  {note}", highlight=False)
    for finding in (*stage.findings, *ruling.findings)[:MOST_FINDINGS]:
        console.print(f"  {finding}", style="red", markup=False, highlight=False)
    for name in worth_telling(ruling, MOST_STORIES):
        console.print(f"  the story of {name}:", style="bold")
        for line in story(stage.client, ruling, name, stage.faults, stage.submitter.appended):
            console.print(f"    {line}", markup=False, highlight=False)
    if not outcome.holds:
        console.print(f"  to repeat: {stage.repeat()}", markup=False, highlight=False)
