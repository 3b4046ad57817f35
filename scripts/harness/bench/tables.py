"""Results as people and machines read them: a terminal table, one JSON object, the tables of a document; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from rich.table import Table

from scripts.harness.bench.measures import MEASURES, Figure, Result


def headline(result: Result) -> Figure | None:
    """The figure by which a measure is judged: the worst of those that count; None if none could be taken."""
    taken = [figure for figure in result.counted if figure.ratio is not None]
    if not taken:
        return None
    worst = MEASURES[result.number].worst([figure.ratio for figure in taken if figure.ratio is not None])
    return next(figure for figure in taken if figure.ratio == worst)


def verdict(result: Result) -> str:
    """`aim`, `reached`, `missed`, or `not measured`."""
    figure, measure = headline(result), MEASURES[result.number]
    if figure is None or figure.ratio is None:
        return "not measured"
    if measure.reached(figure.ratio, measure.aim):
        return "aim"
    return "reached" if measure.reached(figure.ratio, measure.must) else "missed"


def as_object(results: Iterable[Result]) -> dict[str, dict[str, Any]]:
    """Measure number -> its ratio, ours, theirs, unit and spread, with every figure it is made of."""
    found: dict[str, dict[str, Any]] = {}
    for result in results:
        figure = headline(result)
        found[str(result.number)] = {
            "ratio": figure.ratio if figure else None,
            "ours": figure.ours if figure else None,
            "theirs": figure.theirs if figure else None,
            "unit": figure.unit if figure else "",
            "spread": list(figure.spread) if figure and figure.spread else None,
            "must": MEASURES[result.number].must,
            "aim": MEASURES[result.number].aim,
            "verdict": verdict(result),
            "counted": msgspec.to_builtins(result.counted),
            "explaining": msgspec.to_builtins(result.explaining),
        }
    return found


def as_json(results: Iterable[Result]) -> str:
    """The closing line for machines."""
    return msgspec.json.encode(as_object(results)).decode()


def results_in(stored: Mapping[str, Any]) -> list[Result]:
    """The results of an object as `as_object` made it, in the order of their numbers."""
    return [
        msgspec.convert(
            {"number": int(number), "counted": one["counted"], "explaining": one["explaining"]}, Result
        )
        for number, one in sorted(stored.items(), key=lambda item: int(item[0]))
    ]


def shown(value: float | None) -> str:
    """A number as a table shows it: three significant digits, large ones in full."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"


def shown_spread(figure: Figure) -> str:
    """The lowest and highest of the repeats."""
    return f"{shown(figure.spread[0])} - {shown(figure.spread[1])}" if figure.spread else "-"


def bound(value: float, *, more_is_better: bool) -> str:
    """A bound on a ratio, with its direction."""
    return f"{'>=' if more_is_better else '<='} {value:g}"


def terminal_table(result: Result) -> Table:
    """One measure, every figure."""
    measure = MEASURES[result.number]
    title = f"{result.number}. {measure.title}"
    must = bound(measure.must, more_is_better=measure.more_is_better)
    aim = bound(measure.aim, more_is_better=measure.more_is_better)
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.caption = f"must {must}, aim {aim}: {verdict(result)}"
    for name in ("", "ours", "theirs", "unit", "ratio", "lowest - highest", ""):
        table.add_column(name, justify="right" if name in ("ours", "theirs", "ratio") else "left")
    for figure in (*result.counted, *result.explaining):
        table.add_row(*_cells(figure), style=None if figure in result.counted else "dim")
    return table


def document_tables(results: list[Result], taken: Mapping[int, str]) -> str:
    """The tables of `docs/performance.md`, in Markdown; `taken` says of each measure on what and how it was taken."""
    lines = [*_summary(results), ""]
    for result in results:
        measure = MEASURES[result.number]
        lines += [f"### {result.number}. {measure.title}", ""]
        lines += [f"Theirs: {measure.theirs}. {taken.get(result.number, '')}".rstrip(), ""]
        lines += ["| | ours | theirs | unit | ratio | lowest - highest | |", "|---|--:|--:|---|--:|---|---|"]
        lines += [f"| {' | '.join(_cells(figure))} |" for figure in (*result.counted, *result.explaining)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _summary(results: list[Result]) -> list[str]:
    lines = ["| # | measure | must | aim | ratio | lowest - highest | |", "|--:|---|--:|--:|--:|---|---|"]
    for result in results:
        measure, figure = MEASURES[result.number], headline(result)
        must = bound(measure.must, more_is_better=measure.more_is_better)
        aim = bound(measure.aim, more_is_better=measure.more_is_better)
        ratio = shown(figure.ratio) if figure else "-"
        apart = shown_spread(figure) if figure else "-"
        lines.append(
            f"| {result.number} | {measure.title} | {must} | {aim} | {ratio} | {apart} | {verdict(result)} |"
        )
    return lines


def _cells(figure: Figure) -> tuple[str, ...]:
    return (
        figure.name, shown(figure.ours), shown(figure.theirs), figure.unit, shown(figure.ratio), shown_spread(figure),
        figure.note,
    )  # fmt: skip


BEGIN: Final = "<!-- measured: begin -->"
END: Final = "<!-- measured: end -->"


def put_between(document: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """The document with `text` between its two marks.

    Raises:
        ValueError: a mark is missing.
    """
    before, found, rest = document.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"the document has no {begin!r} followed by {end!r}")
    return f"{before}{begin}\n\n{text}\n{end}{after}"
