"""The state of the pool at a glance, once or live."""

from __future__ import annotations

import time
from contextlib import suppress

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from orderlane.cli.external import external_line, reconcile_line
from orderlane.cli.operator import Operator, pool_options
from orderlane.cli.plain import json_line
from orderlane.cli.positions import disabled_line
from orderlane.cli.render import moment, pairs, span, table
from orderlane.cli.seconds import Seconds
from orderlane.cli.stuck import stuck_orders, sync_line
from orderlane.errors import Unreachable
from orderlane.pool_status import ArchiveStatus, BucketStatus, ExchangeStatus, PoolStatus, read_status
from orderlane.standing import Standing, StandingState, describe

MOST_ACCOUNTS = 5
SILENT_MS = 60_000
"""An archiver that runs is heard of every few seconds."""


@click.command(short_help="Show workers, backlog, lanes, buckets and what stands still.")
@click.option("--watch", "live", is_flag=True, help="Refresh until Ctrl-C")
@click.option(
    "--interval",
    default=2.0,
    show_default=True,
    type=Seconds(0.1, 3600),
    metavar="SECONDS",
    help="With --watch: how often",
)
@pool_options()
@click.pass_obj
def status(operator: Operator, live: bool, interval: float) -> None:
    """Show workers and their leases, backlog, lanes, unknown orders, token buckets and switches.

    A bucket that is not shown is full.
    """
    now = read_status(operator.link, operator.exchange)
    if not live:
        operator.show(now, lambda: _shown(now))
        return
    with suppress(KeyboardInterrupt):
        if operator.as_json:
            _print_on(operator, now, interval)
        else:
            _refresh(operator, now, interval)


def _print_on(operator: Operator, now: PoolStatus, interval: float) -> None:
    while True:
        click.echo(json_line(now))
        time.sleep(interval)
        now = read_status(operator.link, operator.exchange)


def _refresh(operator: Operator, now: PoolStatus, interval: float) -> None:
    with Live(
        _shown(now), console=operator.console, auto_refresh=False, screen=operator.console.is_terminal
    ) as screen:
        while True:
            time.sleep(interval)
            try:
                now = read_status(operator.link, operator.exchange)
                screen.update(_shown(now), refresh=True)
            except Unreachable as error:
                screen.update(Group(Text(f"{error}; still trying", "bold red"), _shown(now)), refresh=True)


def _shown(now: PoolStatus) -> RenderableType:
    heading = Text.assemble(
        ("pool ", "dim"), (now.pool, "bold"), (f" at {now.address}, {moment(now.at)}", "dim")
    )
    notice: list[RenderableType] = []
    if not now.exchanges_complete:
        notice = [
            Text("too many keys in Redis to find every exchange that no worker has registered", "yellow")
        ]
    if not now.exchanges:
        hint = Text("no exchange is registered: no worker has started yet, or give --exchange")
        return Group(heading, Text(), hint, *notice)
    parts: list[RenderableType] = [heading, *notice]
    for exchange in now.exchanges:
        parts += [Text(), *_exchange(exchange)]
    return Group(*parts)


def _exchange(one: ExchangeStatus) -> list[RenderableType]:
    lanes = f"{one.lanes_owned} running, {one.lanes_ready} ready"
    unregistered = "" if one.registered else "  not registered: no worker has ever run it. Is the name right?"
    return [
        Text.assemble((one.exchange, "bold underline"), (unregistered, "bold red")),
        pairs(
            [
                ("backlog", _backlog(one)),
                *([("of accounts", _accounts(one))] if one.account_backlogs else []),
                ("lanes", lanes),
                *(("placements", _standing(standing, one.at)) for standing in one.standings),
                *(("agreement", reconcile_line(found)) for found in one.reconciles),
                *(("disabled", disabled_line(found, one.at)) for found in one.disabled),
                (
                    "parked lanes",
                    _alarm(
                        one.lanes_parked, f"the first for {span(one.parked_since_ms)} (orderlane unpark LANE)"
                    ),
                ),
                (
                    "unknown orders",
                    _alarm(
                        one.unknown, f"the first for {span(one.unknown_since_ms)} (orderlane unknown list)"
                    ),
                ),
                ("dead letters", _alarm(one.dead, "(orderlane dead list)")),
                (
                    "open orders",
                    ", ".join(f"{account} {count}" for account, count in one.open_orders.items()),
                ),
                *([("external orders", external_line(one.external_orders))] if one.external_orders else []),
                *(("compared", sync_line(sync, one.at)) for sync in one.syncs),
                *(("archive", _archive(archive)) for archive in one.archives),
                ("switches", ", ".join(f"{name}={value}" for name, value in one.control.items())),
            ]
        ),
        *_workers(one),
        *_streams(one),
        *stuck_orders(one),
        *_buckets(one),
    ]


def _backlog(one: ExchangeStatus) -> str:
    if not one.backlog:
        return "0 intents"
    count = "1 intent" if one.backlog == 1 else f"{one.backlog} intents"
    unread = f", {one.unread} not yet in a lane" if one.unread else ""
    rate = one.drained_per_second
    drained = "drain rate not known: no scheduler" if rate is None else f"{rate:g} a second drained"
    return f"{count}, the oldest for {span(one.oldest_ms)}, {drained}{unread}"


def _accounts(one: ExchangeStatus) -> str:
    limit = one.control.get("account_backlog_limit")
    shown = ", ".join(
        f"{account} {depth}" for account, depth in list(one.account_backlogs.items())[:MOST_ACCOUNTS]
    )
    more = len(one.account_backlogs) - MOST_ACCOUNTS
    return (
        shown
        + (f" and {more} more" if more > 0 else "")
        + (f" (limit {limit} each)" if shown and limit else "")
    )


def _standing(standing: Standing, now_ms: int) -> Text:
    recovering = standing.state is StandingState.RECOVERING
    return Text(describe(standing, now_ms), "yellow" if recovering else "bold red")


def _alarm(count: int, text: str) -> Text:
    return Text(f"{count} {text}", "bold red") if count else Text("0")


def _archive(archive: ArchiveStatus) -> Text:
    shown = Text(f"{span(archive.behind_ms)} behind")
    if archive.silent_ms > SILENT_MS:
        shown = Text(f"not heard of for {span(archive.silent_ms)}: does workers.archiver run?", "bold red")
    if archive.notices:
        shown.append(
            f"  {archive.notices} flaws (orderlane archive), the last: {archive.last_notice}", "bold red"
        )
    return shown


def _workers(one: ExchangeStatus) -> list[RenderableType]:
    if not one.workers:
        return [Text("no worker: nothing is run until one starts", "bold red")]
    made = table(
        "worker", "lanes", "could take", "lease ends in", numbers=("lanes", "could take", "lease ends in")
    )
    for worker in one.workers:
        ended = worker.lease_ends_in_ms < 0
        lease = (
            Text(f"ended {span(-worker.lease_ends_in_ms)} ago", "red")
            if ended
            else Text(span(worker.lease_ends_in_ms))
        )
        made.add_row(worker.id, str(worker.lanes), str(worker.wants_lanes), lease)
    return [Text(), made]


def _streams(one: ExchangeStatus) -> list[RenderableType]:
    if not one.streams:
        return []
    made = table("user stream", "held by", "state", "for", "last message", numbers=("for", "last message"))
    for stream in one.streams:
        state = stream.state if stream.holder else "down"
        made.add_row(
            stream.account,
            stream.holder or "nobody",
            Text(state, "" if state == "live" else "bold red" if state == "down" else "yellow"),
            span(stream.since_ms) if stream.holder else "",
            "none yet" if stream.silent_ms is None else f"{span(stream.silent_ms)} ago",
        )
    return [Text(), made]


def _buckets(one: ExchangeStatus) -> list[RenderableType]:
    notice = [] if one.buckets_complete else [Text("too many keys in Redis to find every bucket", "yellow")]
    if not one.buckets:
        return list(notice)
    made = table("bucket", "tokens", "full in", numbers=("tokens", "full in"))
    for bucket in one.buckets:
        made.add_row(f"{bucket.scope} {bucket.name}", *_level(bucket))
    return [Text(), made, *notice]


def _level(bucket: BucketStatus) -> tuple[Text, Text]:
    if bucket.shut_for_ms is not None:
        shut = (
            Text(f"shut for {span(bucket.shut_for_ms)}", "bold red")
            if bucket.shut_for_ms
            else Text("open again")
        )
        return shut, Text()
    return Text(str(bucket.tokens)), Text(span(bucket.full_in_ms))
