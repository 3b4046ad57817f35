"""Intents from a file or a pipe, one JSON object a line: submitted as they come, in batches, then waited for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import IO

import click
from rich.text import Text

from orderlane.admission import Submitted
from orderlane.cli.exits import Exit, error_code, exit_of_error, exit_of_order
from orderlane.cli.operator import Operator
from orderlane.cli.plain import json_line
from orderlane.cli.render import status
from orderlane.errors import Unreachable, WaitTimeout
from orderlane.intents import MAX_PAYLOAD_BYTES, Intent, IntentInvalid, decode_intent
from orderlane.orders import Order

READ_BYTES = 65_536


def submit_lines(operator: Operator, source: IO[bytes], until: str | None, timeout_seconds: float) -> Exit:
    """Submit every line, say what became of each, and return the largest exit code among them."""
    counts: Counter[str] = Counter()
    worst = Exit.OK
    to_wait_for: list[Intent] = []
    for batch in _batches(source):
        intents = [intent for _, intent in batch if not isinstance(intent, IntentInvalid)]
        results = iter(operator.client.submit_many(intents))
        for line, intent in batch:
            result = intent if isinstance(intent, IntentInvalid) else next(results)
            counts[_report(operator, line, intent, result)] += 1
            if isinstance(result, Submitted):
                to_wait_for.append(result.order.intent)
            else:
                worst = max(
                    worst, Exit.REFUSED if isinstance(result, IntentInvalid) else exit_of_error(result)
                )
    if not operator.as_json:
        words = ", ".join(f"{count} {what}" for what, count in counts.items()) or "nothing"
        click.echo(f"{counts.total()} intents: {words}")
    if until is not None:
        worst = max([worst, *(_await(operator, intent, until, timeout_seconds) for intent in to_wait_for)])
    return worst


def _batches(source: IO[bytes]) -> Iterator[list[tuple[int, Intent | IntentInvalid]]]:
    """What has come in at once, so that a slow pipe is not kept waiting for a full batch: (line, intent or why not)."""
    rest, number = b"", 0
    read = getattr(source, "read1", source.read)
    while chunk := read(READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        # A line that is too long is refused for its length alone: there is no need to keep the rest of it.
        rest = rest[: 2 * MAX_PAYLOAD_BYTES]
        yield [(number + at, _decoded(line)) for at, line in enumerate(lines, 1) if line.strip()]
        number += len(lines)
    if rest.strip():
        yield [(number + 1, _decoded(rest))]


def _decoded(line: bytes) -> Intent | IntentInvalid:
    try:
        return decode_intent(line.strip())
    except IntentInvalid as error:
        return error


def _report(
    operator: Operator, line: int, intent: Intent | IntentInvalid, result: Submitted | Exception
) -> str:
    """Say what became of one line, in `--json` always, else if it went wrong; what it counts as."""
    intent_id = "" if isinstance(intent, IntentInvalid) else intent.id
    if isinstance(result, Submitted):
        what = "duplicate" if result.duplicate else "added"
        if operator.as_json:
            order = result.order
            said = {
                "line": line,
                "id": intent_id,
                "result": what,
                "entry": order.entry,
                "status": order.status,
            }
            click.echo(json_line(said))
        return "there before" if result.duplicate else "added"
    code = error_code(result)
    if operator.as_json:
        click.echo(json_line({"line": line, "id": intent_id, "result": code, "message": str(result)}))
    else:
        click.echo(f"line {line}: {result}", err=True)
    return "unknown whether added" if isinstance(result, Unreachable) else "refused"


def _await(operator: Operator, intent: Intent, until: str, timeout_seconds: float) -> Exit:
    try:
        order = operator.wait(intent, until, timeout_seconds)
    except WaitTimeout as error:
        if operator.as_json:
            click.echo(json_line({"id": intent.id, "result": error_code(error), "message": str(error)}))
        else:
            click.echo(str(error), err=True)
        return Exit.TIMED_OUT
    operator.show(order, lambda: _ended(order))
    return exit_of_order(order)


def _ended(order: Order) -> Text:
    line = Text(f"{order.id} ").append_text(status(order.status))
    return line.append(f"  {order.reason.code}: {order.reason.message}") if order.reason else line
