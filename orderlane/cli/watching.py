"""Following the pool's events live."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import click

from orderlane.cli.operator import Operator, pool_options
from orderlane.cli.render import event_line
from orderlane.errors import Unreachable
from orderlane.events import Event, EventName
from orderlane.waiting import check_position


@click.command()
@click.option(
    "--after",
    default="$",
    show_default=True,
    metavar="ID",
    help="Start after this event; 0: the oldest kept, $: now",
)
@click.option(
    "--name",
    "names",
    multiple=True,
    type=click.Choice([name.value for name in EventName]),
    help="Only such events (repeatable)",
)
@click.option("--intent", "intent_id", metavar="ID", help="Only events about this intent")
@click.option("--symbol", metavar="SYMBOL", help="Only events of this symbol")
@click.option("--strategy", metavar="NAME", help="Only events of this strategy")
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after so many events")
@pool_options()
@click.pass_obj
def watch(
    operator: Operator,
    after: str,
    names: tuple[str, ...],
    intent_id: str | None,
    symbol: str | None,
    strategy: str | None,
    count: int | None,
) -> None:
    """Show events as they happen, until Ctrl-C. --account counts as a filter.

    Lost connections are made anew. To go on later, pass the last event's id (in --json) as --after.
    """
    try:
        position = check_position(after)
    except ValueError as error:
        raise click.UsageError(f"--after: {error}") from None
    exchange = operator.one_exchange()
    wanted = {
        "name": set(names) or None,
        "intent_id": {intent_id} if intent_id else None,
        "symbol": {symbol} if symbol else None,
        "strategy": {strategy} if strategy else None,
        "account": {operator.account} if operator.account else None,
    }
    with suppress(KeyboardInterrupt):
        for event in _events(operator, exchange, position):
            if all(values is None or getattr(event, field) in values for field, values in wanted.items()):
                _show(operator, event)
                count = count - 1 if count else None
                if count == 0:
                    return


def _events(operator: Operator, exchange: str, position: str) -> Iterator[Event]:
    """Events without end, through any outage of Redis that begins after the first answer."""
    last = operator.client.last_event_id(exchange) if position == "$" else position
    while True:
        try:
            for event in operator.client.events(last, exchange):
                last = event.id
                yield event
        except Unreachable as error:
            click.echo(f"{error}; still trying", err=True)


def _show(operator: Operator, event: Event) -> None:
    operator.show(event, lambda: event_line(event))
