"""Dead letters: list, show, retry."""

from __future__ import annotations

import click
from rich.console import Group, RenderableType
from rich.text import Text

from orderlane.cli.operator import Operator, pool_options
from orderlane.cli.render import moment, pairs, table
from orderlane.dead_letters import DeadLetter, list_dead, read_dead, retry_dead


@click.group(short_help="Entries that were set aside: list, show, retry.")
def dead() -> None:
    """Entries that were set aside: no intents, ids used twice, or poison for their workers."""


@dead.command("list")
@click.option(
    "--limit",
    default=50,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="At most so many, of each exchange",
)
@pool_options()
@click.pass_obj
def list_(operator: Operator, limit: int) -> None:
    """Show dead letters, the newest first."""
    letters = [
        letter
        for exchange in operator.link.named_exchanges(operator.exchange)
        for letter in list_dead(operator.link, exchange, limit)
    ]
    if operator.as_json:
        for letter in letters:
            operator.show(letter, lambda: "")
    elif letters:
        operator.console.print(_listed(letters))
    else:
        operator.console.print("no dead letters")


@dead.command()
@click.argument("letter_id", metavar="ID")
@pool_options()
@click.pass_obj
def show(operator: Operator, letter_id: str) -> None:
    """Show one dead letter whole. Needs --exchange where the pool has several."""
    letter = read_dead(operator.link, operator.one_exchange(), letter_id)
    operator.show(letter, lambda: _detail(letter))


@dead.command()
@click.argument("letter_id", metavar="ID")
@click.option("--force", is_flag=True, help="Even if it is no intent")
@pool_options()
@click.pass_obj
def retry(operator: Operator, letter_id: str, force: bool) -> None:
    """Append a dead letter to the stream again, as the newest entry, and take it off the list.

    Refused when an order of its id exists, or when it is no intent (unless --force). Needs --exchange where the
    pool has several.
    """
    exchange = operator.one_exchange()
    entry = retry_dead(operator.link, exchange, letter_id, force=force)
    operator.show(
        {"id": letter_id, "exchange": exchange, "entry": entry},
        lambda: Text(f"{letter_id} is back in the stream of {exchange} as entry {entry}"),
    )


def _listed(letters: list[DeadLetter]) -> RenderableType:
    made = table("id", "exchange", "reason", "message")
    for letter in letters:
        made.add_row(letter.id, letter.exchange, Text(letter.reason.code), Text(letter.reason.message))
    return made


def _detail(letter: DeadLetter) -> RenderableType:
    return Group(
        pairs(
            [
                ("id", letter.id),
                ("exchange", letter.exchange),
                ("entry", letter.entry),
                ("set aside", moment(letter.at)),
                ("reason", f"{letter.reason.code}: {letter.reason.message}"),
                ("numbers", ", ".join(f"{name}={value}" for name, value in letter.reason.numbers.items())),
            ]
        ),
        Text("payload", "dim"),
        Text(letter.payload.decode(errors="backslashreplace")),
    )
