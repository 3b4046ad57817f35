"""The command reads the archive: filters, limits, files, and clear words when there is none."""

from __future__ import annotations

import csv
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orderlane.archive.exporting import ExportFailed, write_csv, write_parquet
from orderlane.archive.opening import open_for_writing
from orderlane.archive.reading import ColumnKind
from orderlane.archive.state import ArchiveState, encode_state
from orderlane.archive.tables import identity, metadata, notices, orders, positions, trades
from orderlane.cli.exits import Exit
from orderlane.cli.moments import moment_ms
from orderlane.orders import OrderStatus
from tests.orderlane.cli_runs import ROOT, Run, documents
from tests.orderlane.played_pool import PlayedPool, an_intent

DAY_MS = 86_400_000
START_MS = 1_767_225_600_000
"""2026-01-01T00:00 UTC."""
FINE = Decimal("123456789012345678.000000000000000001")


def order(number: int, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {column.name: "" for column in orders.columns}
    times = {column.name: 0 for column in orders.columns if column.name.endswith("_ms")}
    decimals = dict.fromkeys(("amount", "price", "trigger_price", "filled", "average"))
    named = {
        "exchange": "binance", "account": "main", "symbol": "BTC/USDT:USDT", "intent_id": f"o{number}",
        "client_order_id": f"c{number}", "status": "FILLED", "kind": "place", "side": "buy", "type": "limit",
        "amount": Decimal("0.5"), "price": Decimal(64000), "filled": Decimal(0), "fees": '{"USDT":"0.1"}',
        "updated_at_ms": START_MS + number * DAY_MS,
    }  # fmt: skip
    return values | times | decimals | named | changes


@pytest.fixture
def archive(tmp_path: Path) -> str:
    """An archive of 30 orders, one a day, and two fills; its URL."""
    url = f"sqlite:///{tmp_path}/archive.sqlite"
    engine = open_for_writing(url)
    metadata.create_all(engine)
    rows = [order(number) for number in range(30)]
    rows[3] |= {"strategy": "grid", "status": "CANCELED", "price": FINE}
    rows[4] |= {"strategy": "grid", "symbol": "ETH/USDT:USDT", "account": "alt"}
    fill: dict[str, Any] = {column.name: "" for column in trades.columns}
    fill |= {
        "exchange": "binance",
        "account": "main",
        "symbol": "BTC/USDT:USDT",
        "trade_id": "7",
        "side": "buy",
    }
    fill |= {"amount": FINE, "price": Decimal(60000), "fee": None, "traded_at_ms": START_MS}
    with engine.begin() as connection:
        connection.execute(identity.insert().values(one=1, archive="a", pool="orderlane", began_at_ms=1))
        connection.execute(orders.insert(), rows)
        connection.execute(
            trades.insert(), [fill, fill | {"trade_id": "8", "traded_at_ms": START_MS + DAY_MS}]
        )
        connection.execute(
            positions.insert().values(exchange="binance", event_id="5-0", archived_at_ms=START_MS)
        )
    engine.dispose()
    return url


def ids(run: Run, archive: str, *words: str) -> list[str]:
    result = run("orders", "--json", "--archive", archive, *words)
    assert result.exit_code == 0, result.output
    return [row["intent_id"] for row in documents(result)]


def test_orders_are_found_by_time_and_by_every_filter(run: Run, archive: str) -> None:
    assert ids(run, archive, "--since", "2026-01-03", "--until", "2026-01-05T00:00") == ["o2", "o3"]
    assert ids(run, archive, "--strategy", "grid") == ["o3", "o4"]
    assert ids(run, archive, "--strategy", "grid", "--account", "alt") == ["o4"]
    assert ids(run, archive, "--symbol", "ETH/USDT:USDT") == ["o4"]
    assert ids(run, archive, "--status", "canceled") == ["o3"]
    assert ids(run, archive, "--status", "CANCELED", "--exchange", "another") == []


def test_without_a_limit_the_newest_are_shown_and_that_more_exist_is_said(run: Run, archive: str) -> None:
    result = run("orders", "--archive", archive, "--since", "2026-01-01")
    assert "o29" in result.stdout
    assert "o10 " in result.stdout
    assert "o9 " not in result.stdout
    assert "--limit shows more" in result.stderr
    assert ids(run, archive, "--since", "2026-01-01", "--limit", "2") == ["o28", "o29"]
    assert len(ids(run, archive, "--since", "2026-01-01", "--limit", "100")) == 30


def test_decimals_are_exact_in_json_csv_and_parquet(run: Run, archive: str, tmp_path: Path) -> None:
    [row] = documents(run("orders", "--json", "--archive", archive, "--status", "CANCELED"))
    assert (row["price"], row["fees"]) == (str(FINE), {"USDT": "0.1"})
    files = tmp_path / "o.csv", tmp_path / "o.parquet"
    words = ("--csv", str(files[0]), "--parquet", str(files[1]))
    result = run("orders", "--archive", archive, *words)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("30 orders written to") == 2
    with files[0].open(newline="") as file:
        read = list(csv.DictReader(file))
    assert (len(read), read[3]["price"], read[3]["average"]) == (30, str(FINE), "")
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT price, average, reason_code FROM '{files[1]}' ORDER BY updated_at_ms"
        )
        rows = found.fetchall()
    assert (len(rows), rows[3]) == (30, (FINE, None, ""))


def test_any_text_survives_the_way_into_a_file(tmp_path: Path) -> None:
    columns = [ColumnKind("a", "text"), ColumnKind("b", "integer"), ColumnKind("c", "decimal")]
    texts = ["", 'say "x", y', "two\nlines\r\n", "\\N", "NULL", "ü😀", "'; DROP"]
    rows = [{"a": one, "b": None, "c": Decimal("-1.50")} for one in [*texts, None]]
    assert write_parquet(tmp_path / "it's.parquet", columns, iter(rows)) == len(rows)
    with duckdb.connect() as connection:
        found = connection.execute(
            "SELECT a, b, c FROM read_parquet($1)", [str(tmp_path / "it's.parquet")]
        ).fetchall()
    assert found == [(row["a"], None, Decimal("-1.5")) for row in rows]
    assert write_csv(tmp_path / "t.csv", columns, rows[:-1]) == len(texts)
    with (tmp_path / "t.csv").open(newline="") as file:
        assert [row["a"] for row in csv.DictReader(file)] == texts


def test_a_number_too_long_for_parquet_is_refused_and_no_file_is_left(tmp_path: Path) -> None:
    columns = [ColumnKind("c", "decimal")]
    with pytest.raises(ExportFailed, match="Parquet"):
        write_parquet(tmp_path / "x.parquet", columns, [{"c": Decimal("1e30")}])
    with pytest.raises(ExportFailed, match="can't be written"):
        write_csv(tmp_path / "missing" / "x.csv", columns, [])
    assert list(tmp_path.iterdir()) == []


def test_trades_and_the_state_of_the_archive_are_shown(run: Run, archive: str) -> None:
    found = documents(run("trades", "--json", "--archive", archive, "--since", "2026-01-02"))
    assert [(row["trade_id"], row["amount"]) for row in found] == [("8", str(FINE))]
    assert "no flaw" in run("archive", "--archive", archive).stdout
    engine = open_for_writing(archive)
    with engine.begin() as connection:
        connection.execute(
            notices.insert().values(
                id="n", exchange="binance", kind="gap", after_event_id="1-0", before_event_id="2-0",
                message="events may be missing", noticed_at_ms=START_MS, told=True,
            )
        )  # fmt: skip
    engine.dispose()
    assert "events may be missing" in run("archive", "--archive", archive).stdout


def test_without_an_archive_the_command_says_where_it_looked(run: Run, tmp_path: Path) -> None:
    result = run("orders", "--since", "1d", ORDERLANE_DATA_FOLDER=str(tmp_path))
    assert result.exit_code == Exit.REFUSED
    assert f"{tmp_path}/archive.sqlite" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_no_archive_is_refused_without_a_password(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other.sqlite").touch()
    result = run("trades", "--archive", f"sqlite:///{tmp_path}/other.sqlite")
    assert "no archive of orderlane" in result.stderr
    for url in ("mysql://me:hunter2-hunter2@host/x", "postgresql://me:hunter2-hunter2@127.0.0.1:1/x"):
        result = run("trades", "--archive", url)
        assert result.exit_code == Exit.REFUSED
        assert "hunter2" not in result.output


def test_open_orders_are_not_asked_of_the_archive(run: Run, archive: str) -> None:
    assert run("orders", "--open", "--since", "1d", "--archive", archive).exit_code == Exit.USAGE


def test_without_options_about_history_redis_is_asked_as_before(
    run: Run, pool: PlayedPool, archive: str
) -> None:
    pool.register()
    pool.advance(an_intent("live"), OrderStatus.ACTIVE)
    assert "live" in run("orders", ORDERLANE_ARCHIVE_URL=archive).stdout


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-01-01", START_MS),
        ("2026-01-01T02:00+02:00", START_MS),
        (str(START_MS), START_MS),
        ("36h", -36 * 3_600_000),
        ("90s", -90_000),
    ],
)
def test_moments(text: str, ms: int) -> None:
    assert moment_ms(text, 0) == ms


@pytest.mark.parametrize("text", ["yesterday", "5", "", "1y", "2026-13-01"])
def test_what_is_no_moment_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match="expected 2026-01-31"):
        moment_ms(text, 0)


def test_status_shows_how_an_archive_does(run: Run, pool: PlayedPool) -> None:
    pool.register()
    pool.advance(an_intent("a"), OrderStatus.ACTIVE)
    state = ArchiveState(archive="a", event_id="1-0", at=1, notices=2, last_notice="events may be missing")
    pool.raw.hset(pool.keys().archive, "a", encode_state(state))
    shown = run("status", columns=300).stdout
    assert "not heard of" in shown
    assert "events may be missing" in shown
    [exchange] = documents(run("status", "--json"))[0]["exchanges"]
    assert exchange["archives"][0]["notices"] == 2


@pytest.mark.parametrize(
    ("missing", "extra"), [("sqlalchemy", "orderlane[archive]"), ("duckdb", "orderlane[parquet]")]
)
def test_a_missing_library_is_named_with_what_installs_it(
    archive: str, tmp_path: Path, missing: str, extra: str
) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"from orderlane.cli import main; sys.argv = ['orderlane', '--json', 'trades', '--archive', {archive!r}, "
        f"'--parquet', {str(tmp_path / 'x.parquet')!r}]; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == Exit.REFUSED
    assert extra in done.stderr.decode()


def test_why_finds_in_the_archive_what_redis_has_forgotten(run: Run, archive: str) -> None:
    [answer] = documents(run("why", "o3", "--archive", archive, "--json"))
    assert answer["state"] == "forgotten"
    assert "the archive has it: CANCELED" in answer["sentences"][0]
    assert run("why", "o99", "--archive", archive).exit_code == Exit.NOT_FOUND
