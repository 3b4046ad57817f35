"""Commands that send intents: submit, cancel, cancel-all, amend; and waiting for what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import IO, Any, TypeVar
from uuid import uuid4

import click
import msgspec
from rich.text import Text

from orderlane.admission import Submitted
from orderlane.cli.exits import exit_of_order
from orderlane.cli.intent_lines import submit_lines
from orderlane.cli.operator import Operator, pool_options
from orderlane.cli.render import asked, order_detail, status
from orderlane.cli.seconds import Seconds
from orderlane.errors import ExchangeUnclear, ExchangeUnknown
from orderlane.intents import (
    EVERY_SYMBOL,
    Intent,
    IntentInvalid,
    OrderType,
    Side,
    TimeInForce,
    decode_intent,
)

LONGEST_EXPIRY_SECONDS = 100 * 365 * 86_400

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def wait_options(command: Decorated) -> Decorated:
    """`--wait` and `--timeout`."""
    command = click.option(
        "--timeout",
        "timeout_seconds",
        default=30.0,
        show_default=True,
        type=Seconds(0),
        metavar="SECONDS",
        help="With --wait: how long",
    )(command)
    return click.option(
        "--wait",
        "until",
        type=click.Choice(["acknowledged", "terminal"]),
        help="Wait for a word of the exchange, or for the end",
    )(command)


@click.command()
@click.option(
    "--file",
    "source",
    type=click.File("rb"),
    metavar="FILE",
    help="Intents, one JSON object a line; - for stdin",
)
@click.option("--id", "id", metavar="ID", help="The intent's id; drawn when left out")
@click.option("--symbol", metavar="SYMBOL", help="BTC/USDT (spot), BTC/USDT:USDT (swap)")
@click.option("--side", type=click.Choice([one.value for one in Side]))
@click.option("--type", "type", type=click.Choice([one.value for one in OrderType]))
@click.option("--amount", metavar="DECIMAL", help="In the base currency")
@click.option("--price", metavar="DECIMAL", help="In quote per base, for types with a price")
@click.option("--trigger-price", metavar="DECIMAL", help="For stop and take-profit types")
@click.option("--time-in-force", type=click.Choice([one.value for one in TimeInForce]), help="PO: post only")
@click.option("--reduce-only", is_flag=True)
@click.option("--strategy", metavar="NAME")
@click.option("--leg", metavar="NAME")
@click.option(
    "--replaces", metavar="INTENT", help="Take the place of this intent's order, once its cancel is confirmed"
)
@click.option("--priority", type=int, metavar="0-9", help="0 is most urgent")
@click.option(
    "--expires-in",
    type=Seconds(0, LONGEST_EXPIRY_SECONDS),
    metavar="SECONDS",
    help="Don't send it after so long",
)
@click.option(
    "--backlog-limit",
    type=click.IntRange(1),
    metavar="N",
    help="Add nothing at so many unfinished intents of the exchange; the pool's own limits hold in any case",
)
@click.option(
    "--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Carried through to events (repeatable)"
)
@wait_options
@pool_options()
@click.pass_context
def submit(
    context: click.Context,
    /,
    source: IO[bytes] | None,
    backlog_limit: int | None,
    until: str | None,
    timeout_seconds: float,
    **fields: Any,
) -> None:
    """Add one order from options, or intents from a file.

    --exchange and --account say where the order goes; a file holds whole intents of any kind.
    """
    operator = context.ensure_object(Operator)
    operator.backlog_limit = backlog_limit
    if source is not None:
        given = [name for name, value in fields.items() if _is_given(value)]
        if given:
            raise click.UsageError(f"--file holds whole intents: leave out --{given[0].replace('_', '-')}")
        context.exit(submit_lines(operator, source, until, timeout_seconds))
    submitted = operator.client.submit(_intent_of(operator, fields))
    _finish(context, operator, submitted, until, timeout_seconds)


@click.command()
@click.argument("intent_id", metavar="INTENT")
@click.option(
    "--symbol",
    metavar="SYMBOL",
    help="With --exchange and --account: cancel what the pool has no record of yet",
)
@wait_options
@pool_options()
@click.pass_context
def cancel(
    context: click.Context, intent_id: str, symbol: str | None, until: str | None, timeout_seconds: float
) -> None:
    """Cancel the order of an INTENT.

    Twice is one cancel; after one that failed, a new one is made. No backlog holds it back.
    """
    operator = context.ensure_object(Operator)
    submitted = _of_target(lambda: operator.client.cancel(intent_id, symbol=symbol))
    _finish(context, operator, submitted, until, timeout_seconds)


@click.command()
@click.argument("intent_id", metavar="INTENT")
@click.option("--amount", metavar="DECIMAL", help="The new total, in the base currency")
@click.option("--price", metavar="DECIMAL")
@click.option("--id", "amend_id", metavar="ID", help="The amend's own id; drawn when left out")
@click.option(
    "--symbol",
    metavar="SYMBOL",
    help="With --exchange and --account: amend what the pool has no record of yet",
)
@wait_options
@pool_options()
@click.pass_context
def amend(
    context: click.Context,
    intent_id: str,
    amount: str | None,
    price: str | None,
    amend_id: str | None,
    symbol: str | None,
    until: str | None,
    timeout_seconds: float,
) -> None:
    """Give the order of an INTENT a new amount, a new price, or both."""
    operator = context.ensure_object(Operator)
    new_amount, new_price = _decimal("amount", amount), _decimal("price", price)
    submitted = _of_target(
        lambda: operator.client.amend(
            intent_id, amount=new_amount, price=new_price, id=amend_id, symbol=symbol
        )
    )
    _finish(context, operator, submitted, until, timeout_seconds)


@click.command("cancel-all")
@click.option("--symbol", metavar="SYMBOL", help="On this symbol")
@click.option("--every-symbol", is_flag=True, help="On every symbol of the account")
@click.option(
    "--strategy",
    metavar="NAME",
    help="Only what the pool placed for this strategy; left out, orders placed by others go too",
)
@click.option("--id", "intent_id", metavar="ID", help="The intent's id; drawn when left out")
@click.option("--priority", type=int, metavar="0-9", help="0 is most urgent")
@wait_options
@pool_options()
@click.pass_context
def cancel_all(
    context: click.Context,
    symbol: str | None,
    every_symbol: bool,
    strategy: str | None,
    intent_id: str | None,
    priority: int | None,
    until: str | None,
    timeout_seconds: float,
) -> None:
    """Cancel all open orders of an account: on a symbol, on every symbol, or those of a strategy.

    No backlog holds it back.
    """
    operator = context.ensure_object(Operator)
    if (symbol is None) is not every_symbol:
        raise click.UsageError("give either --symbol SYMBOL or --every-symbol")
    wanted = {"exchange": operator.exchange, "account": operator.account}
    missing = [f"--{name}" for name, value in wanted.items() if value is None]
    if missing:
        raise click.UsageError(f"give {', '.join(missing)}")
    fields = {"id": intent_id or _drawn_id(), "symbol": symbol or EVERY_SYMBOL} | {
        name: value for name, value in (("strategy", strategy), ("priority", priority)) if value is not None
    }
    intent = decode_intent(msgspec.json.encode({"kind": "cancel_all", **wanted, **fields}))
    _finish(context, operator, operator.client.submit(intent), until, timeout_seconds)


def _drawn_id() -> str:
    return f"cli:{uuid4().hex[:16]}"


def _of_target(call: Callable[[], Submitted]) -> Submitted:
    try:
        return call()
    except (IntentInvalid, ExchangeUnclear, ExchangeUnknown):
        raise
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _decimal(field: str, text: str | None) -> Decimal | None:
    """A number as an intent carries it, checked where all of them are."""
    if text is None:
        return None
    try:
        return Decimal(text)
    except ArithmeticError:
        raise click.UsageError(
            f"--{field} is {text!r}: expected a plain positive decimal such as 0.015"
        ) from None


def _intent_of(operator: Operator, fields: dict[str, Any]) -> Intent:
    """The order that the options describe."""
    wanted = {"exchange": operator.exchange, "account": operator.account} | {
        name: fields[name] for name in ("symbol", "side", "type", "amount")
    }
    missing = [f"--{name}" for name, value in wanted.items() if value is None]
    if missing:
        raise click.UsageError(f"give {', '.join(missing)} (or intents with --file)")
    expires_in = fields.pop("expires_in")
    if expires_in is not None:
        fields["expires_at"] = int((time.time() + expires_in) * 1000)
    fields["tags"] = dict(_tag(one) for one in fields["tags"])
    fields["id"] = fields["id"] or _drawn_id()
    given = {name: value for name, value in fields.items() if _is_given(value)}
    return decode_intent(msgspec.json.encode({"kind": "place", **wanted, **given}))


def _is_given(value: Any) -> bool:
    """Whether an option was used: 0 is a value, unlike a switch that is off and a list or map of nothing."""
    return not (value is None or value is False or value == () or value == {})


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--tag is {text!r}: expected NAME=VALUE")
    return name, value


def _finish(
    context: click.Context,
    operator: Operator,
    submitted: Submitted,
    until: str | None,
    timeout_seconds: float,
) -> None:
    """Say what was added, or wait and say what became of it."""
    if until is None:
        operator.show(submitted, lambda: _said(submitted))
        return
    intent = submitted.order.intent
    if not operator.as_json:
        operator.console.print(_said(submitted))
    order = operator.wait(intent, until, timeout_seconds)
    operator.show({"order": order, "duplicate": submitted.duplicate}, lambda: order_detail(order))
    context.exit(exit_of_order(order))


def _said(submitted: Submitted) -> Text:
    order = submitted.order
    intent = order.intent
    words = "was there before" if submitted.duplicate else f"added as entry {order.entry}"
    text = Text(
        f"{intent.id} {words}: {asked(intent)} {intent.symbol} on {intent.exchange}/{intent.account}, "
    )
    return text.append_text(status(order.status))
