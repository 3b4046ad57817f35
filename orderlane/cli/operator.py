"""What every command shares: where the pool is, how to print, and the options that say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import click
from rich.console import Console, RenderableType
from rich.text import Text

from orderlane.cli.plain import json_line
from orderlane.client import Client
from orderlane.client_settings import ClientSettings
from orderlane.intents import AmendOrder, Intent
from orderlane.lookup import only_exchange
from orderlane.orders import Order
from orderlane.pool_link import PoolLink

DEFAULT_URL = "redis://localhost:6379/0"
RETRY_SECONDS = 5.0
"""How long a command tries to reach Redis: a person waits for it."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass
class Operator:
    """One call of the command: its shared options, and the pool as they name it. Closed when the call ends."""

    redis_url: str = DEFAULT_URL
    pool: str = "orderlane"
    exchange: str | None = None
    account: str | None = None
    as_json: bool = False
    backlog_limit: int | None = None
    context: click.Context | None = field(default=None, repr=False)

    @cached_property
    def client(self) -> Client:
        try:
            client = Client(
                self.redis_url,
                exchange=self.exchange,
                account=self.account,
                pool=self.pool,
                backlog_limit=self.backlog_limit,
                retry_seconds=RETRY_SECONDS,
            )
        except ValueError as error:
            raise self._unusable(error) from None
        self._close_at_end(client.close)
        return client

    @cached_property
    def link(self) -> PoolLink:
        settings: ClientSettings = self.client.settings
        link = PoolLink(settings)
        self._close_at_end(link.close)
        return link

    def one_exchange(self) -> str:
        """The exchange that was named, or the pool's only one."""
        return self.exchange or only_exchange(self.link.exchanges())

    def check_known(self, exchange: str | None, account: str | None) -> None:
        """Refuse what no worker has registered: nothing is known of it, and nobody would heed what is said of it.

        Raises:
            ExchangeUnknown: the pool has others.
            click.UsageError: the exchange (None: none of the pool's) has no such account.
        """
        if exchange is not None:
            self.link.check_exchange(exchange)
        exchanges = self.link.named_exchanges(exchange)
        known = sorted({name for one in exchanges for name in self.link.accounts(one)})
        if account is not None and known and account not in known:
            raise click.UsageError(
                f"account {account!r} is not one of {exchange or 'the pool'}: it has {', '.join(known)}"
            )

    def wait(self, intent: Intent, until: str, timeout_seconds: float) -> Order:
        """Wait until an intent's order is `acknowledged` or `terminal`; for an amend both are its own outcome.

        Where the venue can't amend in place, the amend's order replaces the old one and lives on: its end is not
        what became of the amend.
        """
        return self.client.wait(
            intent.id,
            "terminal" if until == "terminal" and not isinstance(intent, AmendOrder) else "acknowledged",
            timeout_seconds,
            exchange=intent.exchange,
            account=intent.account,
        )

    def show(self, value: Any, shown: Callable[[], RenderableType]) -> None:
        """Print one result: as JSON where that was asked for, else as a person reads it."""
        if self.as_json:
            click.echo(json_line(value))
        else:
            renderable = shown()
            # A line stays a line for whoever reads it through a pipe; a terminal gets it broken between words.
            self.console.print(
                renderable, soft_wrap=isinstance(renderable, Text) and not self.console.is_terminal
            )

    @cached_property
    def console(self) -> Console:
        return Console(highlight=False)

    def _close_at_end(self, close: Callable[[], None]) -> None:
        if self.context is not None:
            self.context.find_root().call_on_close(close)

    def _unusable(self, error: ValueError) -> click.UsageError:
        """What is wrong with the options; of a URL nothing is shown, as it may hold a password."""
        for option in ("pool", "exchange", "account"):
            if str(error).startswith(f"{option} is "):
                return click.UsageError(f"--{option}: {error}")
        return click.UsageError(
            "--redis-url can't be read: expected redis://[user:password@]host:port/database (or rediss://, unix://) "
            "or redis+sentinel://[user:password@]host:port,host:port/service/database or "
            "redis+cluster://[user:password@]host:port,host:port, with special characters in the password "
            "percent-encoded"
        )


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    operator = context.ensure_object(Operator)
    operator.context = context
    if value is not None and value is not False:
        setattr(operator, str(parameter.name), value)


def pool_options(*, with_environment: bool = False) -> Callable[[Decorated], Decorated]:
    """The shared options. The command's group takes them too, and it alone looks at the environment."""
    options = [
        (
            "redis_url",
            "--redis-url",
            "URL",
            ("ORDERLANE_REDIS_URL", "REDIS_URL"),
            f"Redis of the pool [{DEFAULT_URL}]",
        ),
        ("pool", "--pool", "NAME", ("ORDERLANE_POOL",), "The pool: what its keys start with [orderlane]"),
        ("exchange", "--exchange", "NAME", ("ORDERLANE_EXCHANGE",), "The exchange, where it is not clear"),
        ("account", "--account", "NAME", ("ORDERLANE_ACCOUNT",), "The account, where it is not clear"),
    ]

    def decorate(command: Decorated) -> Decorated:
        command = click.option(
            "--json",
            "as_json",
            is_flag=True,
            expose_value=False,
            callback=_keep,
            help="Print JSON, one object a line",
        )(command)
        for name, flag, metavar, variables, text in reversed(options):
            command = click.option(
                flag,
                name,
                metavar=metavar,
                envvar=variables if with_environment else None,
                expose_value=False,
                callback=_keep,
                help=f"{text} ({', then '.join(variables)})",
            )(command)
        return command

    return decorate
