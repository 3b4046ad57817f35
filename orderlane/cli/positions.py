"""Positions and balances, and the strategies that a drift of theirs disabled."""

from __future__ import annotations

from decimal import Decimal

import click
from rich.console import Group, RenderableType
from rich.text import Text

from orderlane.cli.exits import Exit
from orderlane.cli.operator import Operator, pool_options
from orderlane.cli.render import number, span, table
from orderlane.disabled import EVERY_STRATEGY, DisabledStrategy
from orderlane.enabling import enable as enable_strategies
from orderlane.positions import AccountPositions, BalanceStatus, ComparedState, PositionStatus


@click.command(short_help="Show positions and balances, and whether the exchange agrees.")
@click.option("--all", "everything", is_flag=True, help="Flat positions and balances of 0 too")
@pool_options()
@click.pass_obj
def positions(operator: Operator, everything: bool) -> None:
    """Show each account's positions and balances as its fills add up to them.

    Beside them: what the exchange said when it was last asked (mark price, unrealised profit, what is free and in use),
    how long ago that was, and by how much fills had said otherwise then (drift; it was corrected). Shares are the
    size by strategy; "?" is what is nobody's. With --json: one object for each account.
    """
    operator.check_known(operator.exchange, operator.account)
    found = operator.client.positions()
    if operator.as_json:
        for one in found:
            operator.show(one, lambda: "")
    elif found:
        operator.console.print(Group(*(part for one in found for part in _account(one, everything))))
    else:
        operator.console.print("no accounts: no worker has started yet, or give --exchange and --account")


@click.command(short_help="Let strategies open orders again that a drift disabled.")
@click.argument("of_account", metavar="ACCOUNT")
@click.argument("symbol")
@click.argument("strategy", required=False)
@pool_options()
@click.pass_context
def enable(context: click.Context, of_account: str, symbol: str, strategy: str | None) -> None:
    """Let a STRATEGY open orders again on SYMBOL of ACCOUNT; without STRATEGY, all that are disabled there.

    Needs --exchange where the pool has several.
    """
    operator = context.ensure_object(Operator)
    exchange = operator.one_exchange()
    enabled = enable_strategies(operator.link, exchange, of_account, symbol, strategy)
    names = ", ".join(_whom(one) for one in enabled)
    words = f"on {symbol} of {of_account} {names} may open orders again"
    if not enabled:
        words = f"nothing is disabled on {symbol} of account {of_account} of {exchange}" + (
            f" under the name {strategy}" if strategy else ""
        )
    operator.show(
        {
            "exchange": exchange,
            "account": of_account,
            "symbol": symbol,
            "enabled": [one.strategy for one in enabled],
        },
        lambda: Text(words),
    )
    if not enabled:
        context.exit(Exit.NOT_FOUND)


def disabled_line(one: DisabledStrategy, now_ms: int) -> Text:
    """A line of `orderlane status`."""
    return Text(
        f"{_whom(one)} on {one.symbol} of {one.account} for {span(max(now_ms - one.since_ms, 0))}: "
        f"{one.reason.message} (orderlane enable {one.account} {one.symbol})",
        "bold red",
    )


def _whom(one: DisabledStrategy) -> str:
    return "every strategy" if one.strategy == EVERY_STRATEGY else f"strategy {one.strategy}"


def _account(one: AccountPositions, everything: bool) -> list[RenderableType]:
    return [
        Text.assemble((f"{one.exchange} {one.account}", "bold underline"), "  ", _comparison(one)),
        *_positions(one, everything),
        *_balances(one, everything),
        Text(),
    ]


def _comparison(one: AccountPositions) -> Text:
    state = one.comparison
    if state is None:
        return Text("never compared with the exchange: does a worker run?", "yellow")
    agreed = f"as the exchange said {span(max(one.at - state.compared_at, 0))} ago"
    if state.state in (ComparedState.AGREED, ComparedState.CORRECTED):
        return Text(agreed, "dim")
    if state.state is ComparedState.CRITICAL:
        return Text(f"{agreed}, after a critical drift (orderlane status)", "bold red")
    since = agreed if state.compared_at else "never compared yet"
    reason = f": {state.reason}" if state.reason else ""
    return Text(f"{since}; {state.state} since{reason}", "yellow")


def _positions(one: AccountPositions, everything: bool) -> list[RenderableType]:
    shown = [position for position in one.positions if everything or position.size]
    if not shown:
        return [Text("no open positions", "dim")]
    numbers = ("size", "entry price", "mark price", "realised", "unrealised", "drift")
    made = table("symbol", "side", *numbers, "fees", "shares", numbers=numbers)
    made.columns[0].no_wrap = True  # it is copied
    for position in shown:
        made.add_row(
            position.symbol,
            Text(position.side, {"long": "green", "short": "red"}.get(position.side, "dim")),
            number(abs(position.size)),
            number(_short(position.entry_price)),
            number(_short(position.mark_price)),
            number(_short(position.realised)),
            number(_short(position.unrealised)),
            _drift(position),
            _amounts(position.fees),
            _shares(position),
        )
    return [made]


def _balances(one: AccountPositions, everything: bool) -> list[RenderableType]:
    shown = [balance for balance in one.balances if everything or balance.total]
    if not shown:
        return []
    numbers = ("total", "free", "in use", "drift")
    made = table("asset", *numbers, numbers=numbers)
    for balance in shown:
        made.add_row(
            balance.asset,
            number(balance.total),
            number(balance.free),
            number(balance.used),
            _drift(balance),
        )
    return [Text(), made]


def _drift(figure: PositionStatus | BalanceStatus) -> Text:
    return Text(number(figure.drift), "bold red") if figure.drift else Text("")


def _shares(position: PositionStatus) -> str:
    named = {name or "(none)": share for name, share in position.shares.items() if share}
    if position.unattributed:
        named["?"] = position.unattributed
    return _amounts(named)


def _amounts(amounts: dict[str, Decimal]) -> str:
    return ", ".join(f"{name} {number(amount)}" for name, amount in sorted(amounts.items()))


def _short(value: Decimal | None) -> Decimal | None:
    """An average with no more digits than a person reads; `--json` has them all."""
    return value if value is None or value == round(value, 8) else round(value, 8)
