"""The command itself: its subcommands, and how errors leave it: one line, and an exit code."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

import click
from redis.exceptions import RedisError

from orderlane.cli.dead import dead
from orderlane.cli.exits import MEANINGS, Exit, error_code, exit_of_error
from orderlane.cli.external import external
from orderlane.cli.history import archive, trades
from orderlane.cli.holding import hold, resume_
from orderlane.cli.looking import get, id_, orders, schema
from orderlane.cli.operator import Operator, pool_options
from orderlane.cli.plain import json_line
from orderlane.cli.positions import enable, positions
from orderlane.cli.status import status
from orderlane.cli.submitting import amend, cancel, cancel_all, submit
from orderlane.cli.unknown import unknown, unpark
from orderlane.cli.watching import watch
from orderlane.cli.why import why
from orderlane.errors import OrderlaneError
from orderlane.intents import IntentInvalid

EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code.value:>3}  {text}" for code, text in MEANINGS.items())


class Commands(click.Group):
    """A group that turns every foreseen error into one line on stderr and an exit code, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (OrderlaneError, IntentInvalid, RedisError) as error:
            _leave(ctx, error)
        except KeyboardInterrupt:
            ctx.exit(Exit.INTERRUPTED)


def _leave(context: click.Context, error: Exception) -> NoReturn:
    operator = context.ensure_object(Operator)
    code = exit_of_error(error)
    message = str(error)
    if isinstance(error, RedisError):
        message = f"Redis at {operator.client.settings.address} refused the command: {message}"
    if operator.as_json:
        click.echo(
            json_line({"error": error_code(error), "message": message, "exit_code": int(code)}), err=True
        )
    else:
        click.echo(f"Error: {message}", err=True)
    context.exit(code)


def _version() -> str:
    try:
        return version("orderlane")
    except PackageNotFoundError:
        return "(from a checkout)"


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(_version(), prog_name="orderlane", message="%(prog)s %(version)s")
@pool_options(with_environment=True)
def group() -> None:
    """Submit intents to an Orderlane pool, follow their orders, and look after the pool, through Redis alone.

    The options below may stand before or after the subcommand.
    """


for command in (
    submit, get, why, orders, external, positions, trades, archive, cancel, cancel_all, amend, watch, status,
    hold, resume_, enable, dead, unknown, unpark, schema, id_,
):  # fmt: skip
    group.add_command(command)


def main() -> None:
    """The entry point `orderlane`."""
    try:
        group(prog_name="orderlane")
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.REFUSED)
