"""What the archive in SQL tells: orders of any age, trades, and how complete the history is.

It is read from the database itself, so it answers while Redis is away. SQLAlchemy is loaded when it is asked for: the
rest of the command needs none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec
from msgspec import Struct
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from orderlane.cli.moments import FORM, Moment
from orderlane.cli.operator import Operator, pool_options
from orderlane.cli.render import moment, number, pairs, status, table
from orderlane.errors import OrderlaneError
from orderlane.orders import OrderStatus

if TYPE_CHECKING:
    from orderlane.archive.reading import Archive

DEFAULT_LIMIT: Final = 20
DATA_FOLDER: Final = ".data"

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class HistoryUnavailable(OrderlaneError):
    """The archive can't be read, or an export not be written."""


class Wanted(Struct, frozen=True, kw_only=True):
    """The options about history that a command was given."""

    archive: str | None = None
    since: int | None = None
    until: int | None = None
    symbol: str | None = None
    strategy: str | None = None
    statuses: tuple[str, ...] = ()
    csv_file: Path | None = None
    parquet_file: Path | None = None

    @property
    def asks(self) -> bool:
        """Whether something is asked of the archive; where it is may be set for good, and asks nothing."""
        return msgspec.structs.replace(self, archive=None) != Wanted()


def history_options(*, with_status: bool) -> Callable[[Decorated], Decorated]:
    """The options of a command that reads the archive; it gets them as `Wanted`, under their names."""
    options = [
        click.option("--since", type=Moment(), metavar="WHEN", help=f"Changed at or after: {FORM}"),
        click.option("--until", type=Moment(), metavar="WHEN", help="Changed before"),
        click.option("--symbol", metavar="SYMBOL", help="Only of this symbol"),
        click.option("--strategy", metavar="NAME", help="Only of this strategy"),
        click.option(
            "--csv",
            "csv_file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Write all that fit to a file",
        ),
        click.option(
            "--parquet",
            "parquet_file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Likewise, as Parquet",
        ),
        click.option(
            "--archive",
            metavar="URL",
            envvar="ORDERLANE_ARCHIVE_URL",
            help="The archive: sqlite:///PATH or postgresql://… (ORDERLANE_ARCHIVE_URL) [.data/archive.sqlite]",
        ),
    ]
    if with_status:
        options.insert(
            4,
            click.option(
                "--status",
                "statuses",
                multiple=True,
                type=click.Choice([one.value for one in OrderStatus], case_sensitive=False),
                help="Only with this status (repeatable)",
            ),
        )

    def decorate(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.command(short_help="Show or export fills from the archive.")
@click.option("--limit", type=click.IntRange(1), help=f"The newest so many [{DEFAULT_LIMIT}; a file: all]")
@history_options(with_status=False)
@pool_options()
@click.pass_obj
def trades(operator: Operator, /, limit: int | None, **given: Any) -> None:
    """Show fills, each by the exchange's own id, from the archive; or write them to a file."""
    show_history(operator, "trades", Wanted(**given), limit)


@click.command(short_help="Show how far the archive has come, and what its history lacks.")
@click.option(
    "--archive",
    metavar="URL",
    envvar="ORDERLANE_ARCHIVE_URL",
    help="The archive: sqlite:///PATH or postgresql://… (ORDERLANE_ARCHIVE_URL) [.data/archive.sqlite]",
)
@pool_options()
@click.pass_obj
def archive(operator: Operator, archive: str | None) -> None:
    """Show how far the archive has come with each exchange, and every flaw in its history."""
    with opened_archive(archive) as found:
        positions, notices = found.positions(), found.notices()
    operator.show({"positions": positions, "notices": notices}, lambda: _state(positions, notices))


def show_history(operator: Operator, kind: str, wanted: Wanted, limit: int | None) -> None:
    """Show the rows of `orders` or `trades`, or write them to the files that were asked for.

    Raises:
        HistoryUnavailable: the archive can't be read, or a file not be written.
    """
    with opened_archive(wanted.archive) as archive:
        from orderlane.archive.reading import Filter

        chosen = Filter(
            since_ms=wanted.since,
            until_ms=wanted.until,
            exchange=operator.exchange,
            account=operator.account,
            symbol=wanted.symbol,
            strategy=wanted.strategy,
            statuses=tuple(one.upper() for one in wanted.statuses),
        )
        if wanted.csv_file is None and wanted.parquet_file is None:
            _print(
                operator,
                kind,
                list(archive.rows(kind, chosen, (limit or DEFAULT_LIMIT) + 1)),
                limit or DEFAULT_LIMIT,
            )
        else:
            _export(operator, archive, kind, chosen, wanted, limit)


def _export(
    operator: Operator, archive: Archive, kind: str, chosen: Any, wanted: Wanted, limit: int | None
) -> None:
    from orderlane.archive.exporting import ExportFailed, write_csv, write_parquet
    from orderlane.archive.reading import columns

    for path, write in ((wanted.csv_file, write_csv), (wanted.parquet_file, write_parquet)):
        if path is None:
            continue
        try:
            count = write(path, columns(kind), archive.rows(kind, chosen, limit))
        except ExportFailed as error:
            raise HistoryUnavailable(str(error)) from None
        operator.show({"file": str(path), "rows": count}, lambda: Text(f"{count} {kind} written to {path}"))  # noqa: B023 (called at once)


def _print(operator: Operator, kind: str, rows: list[dict[str, Any]], limit: int) -> None:
    shown = rows[-limit:]
    if operator.as_json:
        for row in shown:
            operator.show(_plain(row), lambda: "")
    elif shown:
        operator.console.print(_orders(shown) if kind == "orders" else _trades(shown))
    else:
        operator.console.print(f"the archive has no such {kind}")
    if len(rows) > limit:
        click.echo(f"the newest {limit}; --limit shows more, --csv FILE writes all", err=True)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its JSON texts as what they hold."""
    decoded = {name: msgspec.json.decode(row[name]) for name in ("fees", "record") if row.get(name)}
    return {**row, **decoded}


def _orders(rows: list[dict[str, Any]]) -> RenderableType:
    made = table(
        "changed", "intent", "account", "symbol", "order", "status", "filled", "at", numbers=("filled", "at")
    )
    for row in rows:
        asked = " ".join(
            filter(
                None,
                (
                    row["side"],
                    number(row["amount"]),
                    "at" if row["price"] else row["type"],
                    number(row["price"]),
                ),
            )
        )
        made.add_row(
            moment(row["updated_at_ms"]),
            escape(row["intent_id"]),
            f"{row['exchange']}/{row['account']}",
            row["symbol"],
            escape(asked or row["kind"]),
            status(OrderStatus(row["status"])),
            number(row["filled"]) if row["filled"] else "",
            number(row["average"]),
        )
    return made


def _trades(rows: list[dict[str, Any]]) -> RenderableType:
    made = table(
        "traded", "trade", "intent", "account", "symbol", "side", "amount", "price", "fee", "",
        numbers=("amount", "price", "fee"),
    )  # fmt: skip
    for row in rows:
        made.add_row(
            moment(row["traded_at_ms"]),
            escape(row["trade_id"]),
            escape(row["intent_id"]),
            f"{row['exchange']}/{row['account']}",
            row["symbol"],
            row["side"],
            number(row["amount"]),
            number(row["price"]),
            " ".join(filter(None, (number(row["fee"]), row["fee_currency"]))),
            row["liquidity"],
        )
    return made


def _state(positions: list[dict[str, Any]], notices: list[dict[str, Any]]) -> RenderableType:
    reached = pairs(
        [
            (row["exchange"], f"up to event {row['event_id']}, written {moment(row['archived_at_ms'])}")
            for row in positions
        ]
    )
    if not positions:
        return Text("nothing is archived yet")
    if not notices:
        return Group(reached, Text("no flaw in the history was noticed"))
    made = table("noticed", "exchange", "kind", "what")
    for row in notices:
        made.add_row(moment(row["noticed_at_ms"]), row["exchange"], row["kind"], Text(row["message"]))
    return Group(reached, Text(), made)


@contextmanager
def opened_archive(url: str | None) -> Iterator[Archive]:
    """The archive at this URL, or where the pool's archiver writes when nothing else is set.

    Raises:
        HistoryUnavailable: it can't be read.
    """
    try:
        from orderlane.archive.opening import ArchiveUnusable
        from orderlane.archive.reading import Archive
    except ImportError as error:
        raise HistoryUnavailable(
            f"the archive is read with SQLAlchemy, and {error.name} is not installed: pip install 'orderlane[archive]'"
        ) from None
    try:
        archive = Archive(url or _default_url())
        try:
            yield archive
        finally:
            archive.close()
    except ArchiveUnusable as error:
        raise HistoryUnavailable(str(error)) from None


def _default_url() -> str:
    """Where the pool's archiver writes when nothing else is set."""
    return f"sqlite:///{os.environ.get('ORDERLANE_DATA_FOLDER') or DATA_FOLDER}/archive.sqlite"
