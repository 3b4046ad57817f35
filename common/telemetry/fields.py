"""What a log line is about: the process's own fields, those of the running task, and those of the record."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final

_STANDARD: Final = frozenset(
    vars(logging.LogRecord("", 0, "", 0, "", (), None)) | {"message": "", "asctime": "", "taskName": ""}
)
"""What every record has; anything more came in by `extra`."""

_process: dict[str, Any] = {}
_task: ContextVar[Mapping[str, Any]] = ContextVar("orderlane_log_fields", default=MappingProxyType({}))


def identify_process(**fields: Any) -> None:
    """Say on every line from now on who writes it: `identify_process(worker=…, exchange=…)`. Adds to what was
    said."""
    _process.update(fields)


def forget_process() -> None:
    """Take back all that `identify_process` said."""
    _process.clear()


class log_context:
    """Put `fields` on every line that this task, and tasks it starts, write inside the `with`; libraries'
    lines too.

    >>> with log_context(intent="grid-1", account="main"): ... logging.getLogger("example").warning("it took
    long")"""

    __slots__ = ("_fields", "_token")

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def __enter__(self) -> None:
        self._token = _task.set({**_task.get(), **self._fields})

    def __exit__(self, *_: object) -> None:
        _task.reset(self._token)


def current_fields() -> dict[str, Any]:
    """The fields of the process and of the running task."""
    return {**_process, **_task.get()}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """All fields of a record, the nearest last: process, task, the record's own `extra`."""
    fields = current_fields()
    for name, value in record.__dict__.items():
        if name not in _STANDARD:
            fields[name] = value
    return fields
