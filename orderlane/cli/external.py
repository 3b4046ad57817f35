"""Orders on the accounts that the pool did not place, and how accounts agree with the exchange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click
from rich.console import RenderableType
from rich.text import Text

from orderlane.cli.operator import Operator, pool_options
from orderlane.cli.render import moment, number, status, table
from orderlane.external import ExternalAction, ExternalOrder, list_external
from orderlane.reconcile_status import ReconcileState, ReconcileStatus

DONE = {
    ExternalAction.REPORT: "reported",
    ExternalAction.ADOPT: "tracked",
    ExternalAction.CANCEL: "cancelled",
}


@click.command(short_help="Show orders that the pool did not place.")
@click.option("--all", "with_ended", is_flag=True, help="Those that ended lately, too")
@pool_options()
@click.pass_obj
def external(operator: Operator, with_ended: bool) -> None:
    """Show the open orders on the pool's accounts that it did not place, and what is done about them.

    Their names are what intents say in `target` to cancel or amend one that is tracked. --json has all that is known.
    """
    link = operator.link
    operator.check_known(operator.exchange, operator.account)
    found = [
        (exchange, order)
        for exchange in link.named_exchanges(operator.exchange)
        for account in link.accounts(exchange)
        if operator.account in (None, account)
        for order in list_external(link, exchange, account, ended=with_ended)
    ]
    if operator.as_json:
        for exchange, order in found:
            operator.show({"exchange": exchange, **_plain(order)}, lambda: "")
    elif found:
        operator.console.print(_listed(found))
    else:
        operator.console.print("no orders that the pool did not place")


def external_line(counts: Mapping[str, int]) -> Text:
    """How many are open on each account, for the status."""
    return Text(
        ", ".join(f"{account} {count}" for account, count in counts.items()) + " (orderlane external)"
    )


def reconcile_line(found: ReconcileStatus) -> Text:
    """How an account's agreement with the exchange stands, for the status."""
    done = found.state is ReconcileState.DONE
    words = found.words if done else f"reconciling {found.account}: {found.words}"
    style = "" if done else "bold red" if found.state is ReconcileState.FAILED else "yellow"
    return Text(f"{found.account} {words}" if done else words, style)


def _plain(order: ExternalOrder) -> dict[str, object]:
    return {name: getattr(order, name) for name in order.__struct_fields__}


def _listed(found: Sequence[tuple[str, ExternalOrder]]) -> RenderableType:
    made = table(
        "name", "account", "order", "status", "filled", "is", numbers=("filled",)
    )  # fmt: skip
    made.columns[0].no_wrap = True  # it is copied
    for exchange, order in found:
        price = ("at", number(order.price)) if order.price else ()
        asked = " ".join(filter(None, (order.side, number(order.amount), order.type, *price)))
        ended = f", ended {moment(order.ended_at)}" if order.ended_at else ""
        whose = " (another pool's)" if order.other_pool else ""
        made.add_row(
            Text(order.id),
            f"{exchange}/{order.account}",
            asked,
            status(order.status),
            number(order.filled) if order.filled else "",
            Text(DONE[order.action] + whose + ended),
        )
    return made
