"""Why an intent is where it is, in plain words."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from orderlane.cli.exits import Exit
from orderlane.cli.history import HistoryUnavailable, opened_archive
from orderlane.cli.operator import Operator, pool_options
from orderlane.cli.render import moment, number, pairs, status
from orderlane.why import Explanation, explain
from orderlane.why_facts import Archived, Facts, read_facts
from orderlane.why_waiting import State


@click.command(short_help="Say where an intent is, what it waits for and what was tried.")
@click.argument("name", metavar="INTENT")
@click.option(
    "--archive",
    metavar="URL",
    envvar="ORDERLANE_ARCHIVE_URL",
    help="Where to look for what Redis has forgotten (ORDERLANE_ARCHIVE_URL) [.data/archive.sqlite]",
)
@pool_options()
@click.pass_context
def why(context: click.Context, name: str, archive: str | None) -> None:
    """Say in plain words where INTENT (its id, or client order id) is, what it waits for and what was tried when."""
    operator = context.ensure_object(Operator)
    facts = read_facts(operator.link, name, operator.exchange, operator.account)
    if facts.intent is None and facts.dead is None:
        facts = msgspec.structs.replace(facts, archived=_archived(operator, facts, archive))
    answer = explain(facts)
    operator.show(answer, lambda: _shown(answer))
    if answer.state is State.NOT_KNOWN:
        context.exit(Exit.NOT_FOUND)


def _archived(operator: Operator, facts: Facts, url: str | None) -> Archived | None:
    """The order as the archive has it; None where it has none, or there is none to be read."""
    try:
        with opened_archive(url) as archive:
            from orderlane.archive.reading import Filter

            chosen = Filter(exchange=operator.exchange, account=operator.account, intent_id=facts.name)
            rows: list[dict[str, Any]] = list(archive.rows("orders", chosen, 1))
    except HistoryUnavailable:
        return None
    if not rows:
        return None
    row = rows[-1]
    return Archived(
        status=row["status"],
        updated_at=row["updated_at_ms"],
        reason_code=row["reason_code"],
        reason_message=row["reason_message"],
        filled=number(row["filled"]) if row["filled"] else "",
    )


def _shown(answer: Explanation) -> RenderableType:
    where = f" on {answer.exchange}/{answer.account}" if answer.exchange and answer.account else ""
    stands = status(answer.status) if answer.status else Text(answer.state.value.replace("_", " "))
    heading = Text.assemble((answer.intent_id, "bold"), where, "  ", stands)
    parts: list[RenderableType] = [heading, *(Text(sentence) for sentence in answer.sentences)]
    if answer.tried:
        tried = pairs((moment(one.at), one.what) for one in answer.tried)
        parts += [Text(), Text("what was done", "bold"), tried]
    return Group(*parts)
