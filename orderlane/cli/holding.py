"""Stopping new placements by hand, and letting them go on."""

from __future__ import annotations

import click
from rich.text import Text

from orderlane.cli.exits import Exit
from orderlane.cli.operator import Operator, pool_options
from orderlane.holds import RESUMABLE, read_standings, resume
from orderlane.holds import hold as hold_scope
from orderlane.standing import WHOLE_EXCHANGE, Cause, Standing, describe


@click.command(short_help="Stop new placements of an exchange or an account.")
@click.argument("on", metavar="EXCHANGE")
@click.argument("of", metavar="[ACCOUNT]", required=False)
@click.option("--reason", required=True, metavar="TEXT", help="Why; shown to whoever looks")
@pool_options()
@click.pass_obj
def hold(operator: Operator, on: str, of: str | None, reason: str) -> None:
    """Stop new placements of EXCHANGE, or of one ACCOUNT of it, until `orderlane resume`.

    They stay queued, and expire at their deadlines. Cancels and reduce-only orders go on. Workers heed it within
    `worker.heartbeat_ms` (half a second).
    """
    account = of or operator.account
    operator.check_known(on, account)
    standing = hold_scope(operator.link, on, account or WHOLE_EXCHANGE, reason)
    operator.show(
        standing, lambda: Text(f"{_whose(on, account)}: new placements wait until `orderlane resume`")
    )


@click.command("resume", short_help="Let placements go on that were held.")
@click.argument("on", metavar="EXCHANGE")
@click.argument("of", metavar="[ACCOUNT]", required=False)
@click.option(
    "--cause",
    type=click.Choice([str(cause) for cause in RESUMABLE]),
    default=str(Cause.OPERATOR),
    show_default=True,
    help="What to end: a person's hold, or what the pool has found out itself and may find again",
)
@pool_options()
@click.pass_context
def resume_(context: click.Context, on: str, of: str | None, cause: str) -> None:
    """Let new placements of EXCHANGE, or of one ACCOUNT of it, go on.

    A hold of the whole exchange is ended by its name alone. A ban by the exchange can't be: it ends at its own time.
    """
    operator = context.ensure_object(Operator)
    account = of or operator.account
    operator.check_known(on, account)
    scope = account or WHOLE_EXCHANGE
    ended = resume(operator.link, on, scope, [Cause(cause)])
    now_ms, standings = read_standings(operator.link, on)
    left = [one for one in standings if WHOLE_EXCHANGE in (scope, one.scope) or one.scope == scope]
    operator.show(
        {"exchange": on, "scope": scope, "resumed": [one.cause for one in ended], "left": left},
        lambda: Text(_said(_whose(on, account), cause, ended, left, now_ms)),
    )
    if not ended:
        context.exit(Exit.NOT_FOUND)


def _whose(exchange: str, account: str | None) -> str:
    return exchange if account is None else f"account {account} of {exchange}"


def _said(whose: str, cause: str, ended: list[Standing], left: list[Standing], now_ms: int) -> str:
    words = f"{whose} goes on" if ended else f"{whose} is not held for the cause {cause!r}"
    if left:
        words += "; still: " + "; ".join(describe(one, now_ms) for one in left)
    return words
