"""Rows of the archive as files: CSV, and Parquet with exact decimals.

A file appears whole or not at all: it is written beside its place and moved there when it is complete.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from orderlane.archive.reading import ColumnKind

PARQUET_TYPES: Final[Mapping[str, str]] = {
    "decimal": "DECIMAL(38, 18)",
    "integer": "BIGINT",
    "text": "VARCHAR",
}
"""An intent has at most 18 digits before and 18 after the point."""


class ExportFailed(ValueError):
    """The file could not be written; the message says why and what to do."""


def write_csv(path: Path, columns: Sequence[ColumnKind], rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows with a heading line; how many. What has no value is an empty field.

    Raises:
        ExportFailed: the file can't be written.
    """
    with _in_place(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(column.name for column in columns)
        count = 0
        for row in rows:
            writer.writerow(_csv_text(row[column.name]) for column in columns)
            count += 1
    return count


def write_parquet(path: Path, columns: Sequence[ColumnKind], rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as Parquet; how many. Needs the extra `orderlane[parquet]`.

    Raises:
        ExportFailed: DuckDB is not installed, a number has more digits than DECIMAL(38, 18), or the file can't be
            written.
    """
    try:
        import duckdb
    except ImportError:
        raise ExportFailed("Parquet is written with DuckDB: pip install 'orderlane[parquet]'") from None
    with _in_place(path) as beside, tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        plain = Path(folder) / "rows"
        count = _write_plain(plain, columns, rows)
        types = ", ".join(f"{_quoted(one.name)}: {_quoted(PARQUET_TYPES[one.kind])}" for one in columns)
        source = (
            f"read_csv({_quoted(str(plain))}, header=false, auto_detect=false, delim=',', quote='\"', escape='\"', "
            f"nullstr='', allow_quoted_nulls=false, max_line_size=16777216, columns={{{types}}})"
        )
        try:
            with duckdb.connect() as connection:
                connection.execute(
                    f"COPY (SELECT * FROM {source}) TO {_quoted(str(beside))} (FORMAT parquet)"
                )
        except duckdb.Error as error:
            raise ExportFailed(
                f"{path} could not be written as Parquet: {str(error).splitlines()[0]}"
            ) from None
    return count


def _write_plain(path: Path, columns: Sequence[ColumnKind], rows: Iterable[Mapping[str, Any]]) -> int:
    """The rows as DuckDB reads them: every value in quotes, so that an empty text is told from no value."""
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        for row in rows:
            values = (row[column.name] for column in columns)
            file.write(
                ",".join(
                    "" if one is None else '"' + _csv_text(one).replace('"', '""') + '"' for one in values
                )
                + "\n"
            )
            count += 1
    return count


def _csv_text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _in_place(path: Path) -> Iterator[Path]:
    """A path beside the wanted one, moved there at the end; removed when something failed."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            yield beside
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise ExportFailed(f"{path} can't be written: {error.strerror or error}") from None
