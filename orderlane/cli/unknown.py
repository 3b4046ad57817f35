"""Orders whose outcome is not known, and the lanes parked behind them."""

from __future__ import annotations

import click
from rich.console import RenderableType
from rich.text import Text

from orderlane.cli.exits import Exit
from orderlane.cli.operator import Operator, pool_options
from orderlane.cli.render import moment, table
from orderlane.parking import UnknownOrder, list_unknown
from orderlane.parking import unpark as unpark_lane


@click.group(short_help="Orders whose outcome is not known: list.")
def unknown() -> None:
    """Orders that were sent and whose outcome is not known yet."""


@unknown.command("list")
@pool_options()
@click.pass_obj
def list_(operator: Operator) -> None:
    """Show orders whose outcome is not known, longest first, with their lanes."""
    found = [
        one
        for exchange in operator.link.named_exchanges(operator.exchange)
        for one in list_unknown(operator.link, exchange)
        if operator.account in (None, one.order.intent.account)
    ]
    if operator.as_json:
        for one in found:
            operator.show(one, lambda: "")
    elif found:
        operator.console.print(_listed(found))
    else:
        operator.console.print("no unknown orders")


@click.command(short_help="Let a parked lane run again.")
@click.argument("lane")
@pool_options()
@click.pass_context
def unpark(context: click.Context, lane: str) -> None:
    """Let a parked LANE (account|symbol, in quotes) run again: its first order is asked for once more.

    Needs --exchange where the pool has several.
    """
    operator = context.ensure_object(Operator)
    exchange = operator.one_exchange()
    moved = unpark_lane(operator.link, exchange, lane)
    words = f"lane {lane} of {exchange} is {'ready to run again' if moved else 'not parked (any more)'}"
    operator.show({"exchange": exchange, "lane": lane, "unparked": moved}, lambda: Text(words))
    if not moved:
        context.exit(Exit.NOT_FOUND)


def _listed(found: list[UnknownOrder]) -> RenderableType:
    made = table("intent", "lane", "since", "why")
    for one in found:
        reason = one.order.reason
        lane = Text(one.order.intent.lane)
        lane.append(" parked" if one.parked else "", "bold red")
        made.add_row(
            Text(one.order.id),
            lane,
            moment(one.since),
            Text(f"{reason.code}: {reason.message}" if reason else ""),
        )
    return made
